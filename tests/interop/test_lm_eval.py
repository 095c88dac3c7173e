"""lm-eval itself, on the exported tasks, finds the log-likelihoods that our scorer finds."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from memformer.interop.hf_scorer import HFScorer
from memformer.interop.lm_eval import LMEvalScorer, load_lm, memformer_lm
from memformer.interop.lm_eval_tasks import export_tasks
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.run import run
from tests.plotbench.examples import example_bench
from tests.plotbench.models import PieceTokenizer, decoder

BENCH = example_bench()
PROBE, STORY = BENCH.probes[0], BENCH.stories[0]
STORIES = {story.story_id: story for story in BENCH.stories}
PROBES = {probe.probe_id: probe for probe in BENCH.probes}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def byte_tokenizer():
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator([story.text for story in BENCH.stories], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|end|>")


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=400, n_embd=32, n_layer=2, n_head=2, n_positions=1024, bos_token_id=0,
        eos_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def samples(lm, folder):
    """By probe_id: log-likelihoods that lm-eval found of the options."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    names = export_tasks(BENCH, folder)
    found = lm_eval.simple_evaluate(
        model=lm, tasks=names, log_samples=True, bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
    )  # fmt: skip
    return {
        sample["doc"]["probe_id"]: [float(each[0]) for each in sample["filtered_resps"]]
        for name in names
        for sample in found["samples"][name]
    }


@pytest.mark.filterwarnings("ignore")  # lm-eval's own
def test_lm_eval_finds_what_our_scorer_finds(tmp_path):
    pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = gpt2(), byte_tokenizer()
    lm = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=2, device="cpu")
    theirs = samples(lm, tmp_path / "tasks")
    ours = run(BENCH, HFScorer(model, tokenizer), out=tmp_path / "ours")
    through = run(BENCH, LMEvalScorer(lm), out=tmp_path / "through")
    assert len(theirs) == len(ours) == len(through) == 8
    for one, other in zip(ours, through, strict=True):
        assert one.logprob == pytest.approx(theirs[one.probe_id], abs=1e-4)
        assert other.logprob == pytest.approx(theirs[other.probe_id], abs=1e-4)
        assert (one.n_tokens, one.context_tokens) == (other.n_tokens, other.context_tokens)


@pytest.mark.filterwarnings("ignore")
def test_our_decoders_are_models_of_lm_eval(tmp_path):
    pytest.importorskip("lm_eval")
    model, tokenizer = decoder(), PieceTokenizer()
    theirs = samples(memformer_lm(model, tokenizer), tmp_path / "tasks")
    for row in run(BENCH, MemformerScorer(model, tokenizer), out=tmp_path / "ours"):
        assert row.logprob == pytest.approx(theirs[row.probe_id], abs=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_decoder_rolls_and_writes_as_lm_eval_asks():
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance

    model, tokenizer = decoder(), PieceTokenizer()
    lm = memformer_lm(model, tokenizer)
    (nats,) = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (STORY.text,), 0)])
    ids = torch.tensor([[lm.eot_token_id, *tokenizer.encode(STORY.text).ids]])
    with torch.inference_mode():
        logits = model(ids, model.new_state(1)).logits[0, :-1].log_softmax(-1)
    assert nats == pytest.approx(float(logits.gather(-1, ids[0, 1:, None]).sum()), abs=1e-3)
    (text,) = lm.generate_until(
        [Instance("generate_until", {}, (STORY.text, {"until": [], "max_gen_toks": 4}), 0)]
    )
    assert len(text.split()) == 4
    stop = text.split()[2]
    (cut,) = lm.generate_until(
        [Instance("generate_until", {}, (STORY.text, {"until": [stop], "max_gen_toks": 4}), 0)]
    )
    assert cut == text[: text.index(stop)]


def test_exported_documents_hold_context_and_options(tmp_path):
    names = export_tasks(BENCH, tmp_path / "tasks")
    assert names == ["plotbench_attr_static_d128", "plotbench_attr_static_d512"]
    for name in names:
        assert f"task: {name}\n" in (tmp_path / "tasks" / f"{name}.yaml").read_text()
        for line in (tmp_path / "tasks" / f"{name}.jsonl").read_text().splitlines():
            told = json.loads(line)
            probe = PROBES[told["probe_id"]]
            text = (tmp_path / "tasks" / "text" / f"{told['story_id']}.txt").read_text()
            assert text == STORIES[probe.story_id].text
            assert told["options"] == [option + probe.suffix for option in probe.options]
            assert (told["gold"], told["stem"]) == (probe.gold, probe.stem)
    with pytest.raises(FileExistsError, match="is not empty"):
        export_tasks(BENCH, tmp_path / "tasks")


class FakeLM:
    """Words are tokens; it says what it was asked."""

    max_length = 200

    def __init__(self):
        self.asked = []

    def loglikelihood(self, requests):
        self.asked += [request.args for request in requests]
        return [(-float(len(request.args[1])), False) for request in requests]


def test_a_model_of_lm_eval_is_asked_for_each_option_with_its_whole_context():
    pytest.importorskip("lm_eval")
    lm = FakeLM()
    session = LMEvalScorer(lm).open(STORY.text)
    session.advance(100)
    found = session.score(" He had", (" one", " three"), ".")
    context = STORY.text[:100] + " He had"
    assert lm.asked == [(context, " one."), (context, " three.")]
    assert [each.logprob for each in found] == [-5, -7]


def test_contexts_that_lm_eval_would_cut_are_refused():
    scorer = LMEvalScorer(FakeLM(), max_context=20)
    session = scorer.open(STORY.text)
    session.advance(len(STORY.text))
    with pytest.raises(ValueError, match="exceed max_context=20"):
        session.score(PROBE.stem, PROBE.options, PROBE.suffix)
    with pytest.raises(ValueError, match="only reads on"):
        session.advance(3)
    with pytest.raises(ValueError, match="fraction must be one of true, header"):
        scorer.open(STORY.text, fraction="unknown")
    assert LMEvalScorer(FakeLM()).max_context == 200


def test_weights_are_noticed_where_they_are_shown_and_warned_of_once_where_not(caplog):
    shown = FakeLM()
    shown.model = torch.nn.Linear(2, 2)
    before = LMEvalScorer(shown).settings
    shown.model.weight.data += 1
    after = LMEvalScorer(shown).settings
    assert before["weights"] != after["weights"] and not caplog.records
    hidden = LMEvalScorer(FakeLM(), name="lm-eval:far")
    assert hidden.settings["weights"] is hidden.settings["weights"] is None
    (record,) = caplog.records
    assert "lm-eval:far does not show its weights" in record.getMessage()


def test_without_lm_eval_the_extra_is_named():
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"memformer-lm\[lm-eval\]"):
            memformer_lm(decoder(), PieceTokenizer())
        with pytest.raises(ImportError, match=r"memformer-lm\[lm-eval\]"):
            load_lm("hf", "pretrained=gpt2")
    else:
        pytest.skip("lm-eval is here")
