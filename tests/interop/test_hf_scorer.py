"""Models of transformers score branches as whole texts, from a cache that comes back unchanged."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from memformer.config.plotbench import ScoreConfig
from memformer.interop.hf_scorer import HFScorer
from memformer.plotbench.metrics import groups_of
from memformer.plotbench.run import run
from tests.plotbench.examples import example_bench
from tests.plotbench.models import VOCAB_SIZE, PieceTokenizer

BENCH = example_bench()
STORY, PROBE = BENCH.stories[0], BENCH.probes[0]
ASKED = PROBE.stem, PROBE.options, PROBE.suffix
TOKENS = PieceTokenizer()
SIZES = dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    bos_token_id=None, eos_token_id=None,
)  # fmt: skip


def gpt2(n_positions=512):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_embd=32, n_layer=2, n_head=2, n_positions=n_positions,
        bos_token_id=None, eos_token_id=None, initializer_range=0.3,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, initializer_range=0.3)).eval()


def windowed():
    """Its cache forgets, so that nothing can be cropped."""
    torch.manual_seed(0)
    config = MistralConfig(**SIZES, sliding_window=16, initializer_range=0.3)
    return MistralForCausalLM(config).eval()


def whole(model, ids, n):
    """Nats of the last n tokens."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return float(logits.gather(-1, torch.tensor(ids[1:])[:, None])[-n:].sum())


@pytest.mark.parametrize("make", [gpt2, llama, windowed])
def test_branches_score_as_whole_texts(make):
    model = make()
    session = HFScorer(model, TOKENS).open(STORY.text)
    for char in (100, len(STORY.text)):
        session.advance(char)
        for option, score in zip(PROBE.options, session.score(*ASKED), strict=True):
            text = STORY.text[:char] + PROBE.stem + option + PROBE.suffix
            ids = TOKENS.encode(text).ids
            assert score.logprob == pytest.approx(whole(model, ids, score.n_tokens), abs=1e-4)
            assert score.context_tokens + score.n_tokens == len(ids)
            assert score.retrieved is None


@pytest.mark.parametrize("make", [gpt2, windowed])
def test_cache_comes_back_to_the_bit_and_order_does_not_matter(make):
    session = HFScorer(make(), TOKENS).open(STORY.text)
    session.advance(300)
    before = [(each.keys.clone(), each.values.clone()) for each in session._cache.layers]
    one = session.score(*ASKED)
    assert session.score(PROBE.stem, PROBE.options[::-1], PROBE.suffix)[::-1] == one
    session.generate(PROBE.stem, 3, seed=0)
    for (keys, values), each in zip(before, session._cache.layers, strict=True):
        assert torch.equal(keys, each.keys)
        assert torch.equal(values, each.values)


def test_logits_are_computed_only_where_they_are_scored():
    model = gpt2()
    session = HFScorer(model, TOKENS).open(STORY.text)
    rows = []
    model.lm_head.register_forward_hook(lambda module, args, out: rows.append(out.shape[1]))
    session.advance(len(STORY.text))
    assert rows == [1]
    found = session.score(*ASKED)
    assert rows[1:] == [each.n_tokens + 1 for each in found]


def test_hard_truncated_model_tells_no_twins_apart(tmp_path):
    scorer = HFScorer(gpt2(), TOKENS, config=ScoreConfig(last=32))
    rows = run(BENCH, scorer, out=tmp_path)
    assert groups_of(rows).did.tolist() == [0, 0]
    assert {row.context_tokens for row in rows} == {32}
    assert not any(row.truncated for row in rows)
    ids = TOKENS.encode(STORY.text + PROBE.stem + PROBE.options[0] + PROBE.suffix).ids
    n = rows[0].n_tokens[0]
    assert rows[0].logprob[0] == pytest.approx(whole(scorer.model, ids[-n - 32 :], n), abs=1e-4)


def test_context_over_the_models_maximum_is_refused_or_marked():
    model = gpt2(n_positions=64)
    session = HFScorer(model, TOKENS).open(STORY.text)
    session.advance(len(STORY.text))
    with pytest.raises(ValueError, match="exceed max_context=64"):
        session.score(*ASKED)
    with pytest.raises(ValueError, match="max_words: .* tokens may be needed"):
        session.generate(" so", 3, seed=0)
    cut = HFScorer(model, TOKENS, config=ScoreConfig(truncate=True)).open(STORY.text)
    cut.advance(len(STORY.text))
    score = cut.score(*ASKED)[0]
    assert score.truncated and score.context_tokens + score.n_tokens == 64
    ids = TOKENS.encode(STORY.text + PROBE.stem + PROBE.options[0] + PROBE.suffix).ids
    assert score.logprob == pytest.approx(whole(model, ids[-64:], score.n_tokens), abs=1e-4)


def test_headings_are_the_only_thing_that_it_can_be_told():
    scorer = HFScorer(llama(), TOKENS, name="hf:tiny")
    plain, headed = (scorer.open(STORY.text, fraction=f) for f in ("true", "header"))
    for each in (plain, headed):
        each.advance(200)
    assert plain.score(*ASKED)[0].context_tokens < headed.score(*ASKED)[0].context_tokens
    with pytest.raises(ValueError, match="fraction must be one of true, header for hf:tiny"):
        scorer.open(STORY.text, fraction="shuffled")


def test_settings_name_the_weights():
    one = HFScorer(gpt2(), TOKENS)
    other = gpt2()
    assert one.settings == HFScorer(other, TOKENS).settings
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    assert one.settings["weights"] != HFScorer(other, TOKENS).settings["weights"]
    assert one.name == "hf:gpt2" and one.max_context == 512


def test_text_is_generated_on_a_branch_by_seed():
    session = HFScorer(llama(), TOKENS).open(STORY.text)
    session.advance(200)
    assert session.generate(" so", 3, 1) == session.generate(" so", 3, 1)
    assert session.generate(" so", 3, 1) != session.generate(" so", 3, 2)
