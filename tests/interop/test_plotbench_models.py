"""`memformer plotbench run`, as a user runs it: models by name, resumed, added to, reported."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from memformer.config.plotbench import ScoreConfig
from memformer.config.plotbench_models import ImportedConfig
from memformer.interop import plotbench_models
from memformer.interop.plotbench_models import build_scorer
from memformer.interop.tokenizer import HFTokenizer
from memformer.model.saved_model import save_model
from memformer.plotbench.files import load, save
from memformer.plotbench.memformer_scorer import MemformerScorer
from memformer.plotbench.rows import by_run, load_results
from tests.interop.test_lm_eval import FakeLM, byte_tokenizer, gpt2
from tests.interop.tiny import llama
from tests.interop.tiny import save as save_llama
from tests.plotbench.examples import example_bench
from tests.plotbench.models import decoder
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run as run_verb


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Data `pb`, a run `novels-1`, a checkpoint `gpt` of transformers; nothing asks a hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    save(tmp_path / "pb", example_bench())
    save_model(decoder("fourier"), tmp_path / "novels-1" / "model")
    HFTokenizer(byte_tokenizer()).save_in(tmp_path / "novels-1" / "model")
    gpt2().save_pretrained(tmp_path / "gpt")
    byte_tokenizer().save_pretrained(tmp_path / "gpt")
    return tmp_path


def run(here, *arguments, models=()):
    named = [word for each in models or [here / "novels-1"] for word in ("--model", each)]
    return run_verb("plotbench", "run", here / "pb", *named, "--out", here / "out", *arguments)


def labels(here):
    rows = load_results(here / "out" / "results.jsonl", load(here / "pb"))
    assert {len(each) for each in by_run(rows).values()} == {8}
    return [each.label for each in by_run(rows)]


def test_models_are_run_added_and_reported(here):
    models = (here / "novels-1", f"hf:{here / 'gpt'}", "baseline:bm25")
    done = run(here, "--condition", "on,off", models=models)
    assert done.exit_code == 0, done.output
    told = ["novels-1 on", "novels-1 off", "hf:gpt plain", "baseline:bm25 shortcut"]
    assert labels(here) == told and "32 rows" in done.stdout
    lines = [line for line in done.stderr.splitlines() if ": story " in line]
    assert sum("story 4 of 4" in line for line in lines) == 4
    assert lines[0].startswith("novels-1 on: story 1 of 4, ") and lines[0].endswith(" left")

    again = run(here, models=models)
    assert again.exit_code == 1 and "give --resume (resume=True) to go on" in again.output
    added = run(here, "--fraction", "true,shuffled", "--resume", "--position")
    assert added.exit_code == 0, added.output
    assert labels(here) == [*told, "novels-1 on, fraction shuffled"]
    assert "0 arcs" in added.stdout and (here / "out" / "passages.jsonl").is_file()

    page = here / "pages" / "pb.md"
    report = run_verb("plotbench", "report", here / "out", "--data", here / "pb",
                      "--markdown", page, "--compare", "novels-1 on", "novels-1 off")  # fmt: skip
    assert report.exit_code == 0, report.output
    text = page.read_text()
    assert "](../out/plots/distance.svg)" in text
    for title in ("novels-1 on minus novels-1 off", "Does it use the place", "bear on facts"):
        assert title in text


def test_stopped_runs_say_how_to_go_on_and_do(here, monkeypatch):
    opened = []
    inner = MemformerScorer.open

    def stop(self, text, **told):
        opened.append(text)
        if len(opened) == 4:  # one to see that it fits, two stories, then
            raise KeyboardInterrupt
        return inner(self, text, **told)

    monkeypatch.setattr(MemformerScorer, "open", stop)
    stopped = run(here)
    assert stopped.exit_code == 130
    assert "finished stories are kept" in stopped.stderr and "--resume goes on" in stopped.stderr
    assert len((here / "out" / "results.jsonl").read_text().splitlines()) == 4
    done = run(here, "--resume")
    assert done.exit_code == 0 and labels(here) == ["novels-1 on"]
    assert len(opened) == 4 + 1 + 2


def test_what_is_told_of_a_model_stands_in_the_results(here):
    named = f"mine={here / 'novels-1'}"
    assert run(here, "--last", "20", models=[named]).exit_code == 0
    assert run(here, "--resume", models=[named]).exit_code == 0
    assert labels(here) == ["mine-last20 on", "mine on"]
    models = json.loads((here / "out" / "config.json").read_text())["models"]
    assert models["mine-last20"]["settings"]["score"]["last"] == 20
    short = run(here, "--last", "20", "--resume", "--precision", "bfloat16", models=[named])
    assert short.exit_code == 1
    assert "mine-last20 with score.precision=float32, it now has bfloat16" in short.output


def test_too_long_contexts_are_refused_unless_they_may_be_cut(here):
    config = json.loads((here / "gpt" / "config.json").read_text())
    (here / "gpt" / "config.json").write_text(json.dumps({**config, "n_positions": 64}))
    weights = gpt2()
    weights.transformer.wpe = torch.nn.Embedding(64, 32)
    weights.config.n_positions = 64
    weights.save_pretrained(here / "gpt")
    model = [f"hf:{here / 'gpt'}"]
    refused = run(here, models=model)
    assert refused.exit_code == 1 and "exceed max_context=64" in refused.output
    cut = run(here, "--truncate", "--resume", models=[f"cut={model[0]}"])
    assert cut.exit_code == 0, cut.output
    assert labels(here) == ["cut plain, cut"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hg:gpt2", "model must be one of a folder of `memformer train`, a .gguf file, smollm2"),
        ("runs/none", "there is no 'runs/none'"),
        ("baseline:bm26", "baseline must be one of random"),
        ("mine=baseline:bm25", "baselines have their own names: write baseline:bm25"),
        ("hf:", "such as hf:gpt2"),
        ("none.gguf", "no checkpoint at none.gguf"),
    ],
)
def test_unknown_models_end_with_one_line(here, model, message):
    found = run(here, models=[model])
    assert found.exit_code == 1 and message in found.output
    assert not (here / "out").exists()


def test_unknown_conditions_and_fractions_end_with_one_line(here):
    for option, message in (
        (("--condition", "on,of"), "condition must be one of on, off"),
        (("--fraction", "shufled"), "fraction must be one of true, estimated"),
        (("--last", "0"), "last must be at least 1"),
    ):
        found = run(here, *option)
        assert found.exit_code == 1 and message in found.output


def test_imported_checkpoints_get_a_window_and_a_memory(tmp_path, monkeypatch):
    save_llama(tmp_path / "file", llama())
    monkeypatch.setattr(plotbench_models, "smollm2", lambda: tmp_path)
    monkeypatch.setattr(plotbench_models, "SMOLLM2_FILE", "file")
    imported = ImportedConfig(window=9, n_sink=2, n_retrieved=3)
    found = build_scorer("smollm2", config=ScoreConfig(last=7), imported=imported)
    assert found.name == "smollm2-135m-last7" and found.condition == "on"
    config = found.model.config
    assert (config.window, config.n_sink, config.memory.n_retrieved) == (9, 2, 3)
    assert config.memory_layers == (0, 1, 2) and config.memory.positions == "rotary"


def test_models_of_lm_eval_are_made_by_its_own_registry(here, monkeypatch):
    made = []

    def get_model(name):
        def create(arguments):
            made.append((name, arguments))
            return FakeLM()

        return SimpleNamespace(create_from_arg_string=create)

    class Instance:
        def __init__(self, request_type, doc, arguments, idx):
            self.args = arguments

    for name, content in (
        ("lm_eval", {}), ("lm_eval.api", {}), ("lm_eval.api.registry", {"get_model": get_model}),
        ("lm_eval.api.instance", {"Instance": Instance}),
    ):  # fmt: skip
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    label = "lm-eval:hf,pretrained=gpt2,dtype=float32"
    done = run(here, models=[label])
    assert done.exit_code == 0, done.output
    assert made == [("hf", "pretrained=gpt2,dtype=float32")]
    assert labels(here) == [f"{label} plain"]
    assert done.stderr.count("does not show its weights") == 1
    cut = run(here, "--last", "5", "--resume", models=[label])
    assert cut.exit_code == 1 and "last and truncate cannot be kept" in cut.output
