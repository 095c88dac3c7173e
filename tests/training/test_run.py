"""A run: from texts to a decoder; killed and resumed, it gives the same bits."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

from memformer.config import override, to_json
from memformer.data.corpora import texts_named
from memformer.data.sentencepiece_tokenizer import SentencePieceTokenizer, train_tokenizer
from memformer.evaluation.encoded import encode
from memformer.interop.run import load_run
from memformer.memory.storage import SaveFailed
from memformer.model.saved_model import load_model
from memformer.model.saved_state import weights_hash
from memformer.training import callbacks, predictive
from memformer.training.predictive import PredictiveModule, TrainingDiverged
from memformer.training.run import train
from memformer.training.table import Table
from memformer.training.validation import validate
from tests.model.test_compiled_blocks import needs_compiler
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run as run_verb
from tests.training.conftest import jsonl, story


def rows(path, *without):
    found = Table(path, ()).rows()
    return [{name: v for name, v in row.items() if name not in without} for row in found]


def outcome(folder):
    """All that must be equal: weights, losses, held-out nats, use of memory."""
    tables = [rows(folder / "metrics.csv", "seconds"), rows(folder / "memory.csv"),
              rows(folder / "validation.csv")]  # fmt: skip
    return weights_hash(load_model(folder / "model")), *tables


def uninterrupted(config, tmp_path):
    train(config, tmp_path / "whole")
    return outcome(tmp_path / "whole")


def test_run_leaves_a_decoder_its_tokenizer_and_rows(config, tmp_path):
    folder = train(config, tmp_path / "run")
    model = load_model(folder)
    tokenizer = SentencePieceTokenizer.load(folder / "tokenizer.model")
    assert model.config == config.model and tokenizer.vocab_size == 300
    metrics = rows(tmp_path / "run" / "metrics.csv")
    assert [int(row["step"]) for row in metrics] == list(range(1, 21))
    assert float(metrics[-1]["loss"]) < float(metrics[0]["loss"])
    assert float(metrics[-1]["memory_mass"]) > 0
    held = rows(tmp_path / "run" / "validation.csv")
    assert [(row["step"], row["memory"]) for row in held] == [
        (step, memory) for step in ("8", "16", "20") for memory in ("on", "off")
    ]
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["tokenizer"] == tokenizer.hash
    assert about["config"] == json.loads(json.dumps(to_json(config)))


@pytest.mark.parametrize("stop_after", [1, 3, 5, 14])
def test_resumed_run_equals_uninterrupted(config, tmp_path, monkeypatch, stop_after):
    expected = uninterrupted(config, tmp_path)
    step, left = PredictiveModule.training_step, [stop_after]

    def failing(module, batch, i):
        if left[0] == 0:
            raise RuntimeError("the power went out")
        left[0] -= 1
        return step(module, batch, i)

    monkeypatch.setattr(PredictiveModule, "training_step", failing)
    with pytest.raises(RuntimeError, match="the power went out"):
        train(config, tmp_path / "cut")
    monkeypatch.undo()
    torch.rand(7)  # whatever happens in between
    train(config, tmp_path / "cut", resume=True)
    assert outcome(tmp_path / "cut") == expected


def test_two_stages_are_read_one_after_the_other(config, texts, tmp_path):
    tokens = config.step_tokens
    both = override(config, {
        "general.n_token": 4 * tokens, "general.corpora": (texts[0],),
        "novels.n_token": 6 * tokens,
    })  # fmt: skip
    assert both.stage_steps == (4, 6)
    train(both, tmp_path / "whole")
    assert len(rows(tmp_path / "whole" / "metrics.csv")) == 10


def test_resume_with_another_config_names_the_difference(config, tmp_path):
    short = override(config, {"novels.n_token": 3 * config.step_tokens})
    train(short, tmp_path / "run")
    with pytest.raises(ValueError, match=r"begun with optimiser\.learning_rate=0\.003, this run"):
        train(override(short, {"optimiser.learning_rate": 0.1}), tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="holds a run already: resume it"):
        train(short, tmp_path / "run")


def test_nothing_to_resume_is_an_error_and_begins_nothing(config, tmp_path):
    with pytest.raises(ValueError, match=r"mistyped holds no run to resume: name the folder of"):
        train(config, tmp_path / "mistyped", resume=True)
    assert not (tmp_path / "mistyped").exists()


def test_nothing_to_resume_is_said_before_the_start_is_looked_for(tmp_path):
    (tmp_path / "experiment.py").write_text(
        "from memformer.config import DecoderConfig, RunConfig\n"
        "BASE = RunConfig(start='nowhere.gguf', model=DecoderConfig(vocab_size=300, n_layer=2, "
        "n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=24, window=8, segment_len=8))\n"
    )
    out = tmp_path / "mistyped"
    done = run_verb("train", tmp_path / "experiment.py", "--out", out, "--resume")
    assert done.exit_code == 1 and "mistyped holds no run to resume" in done.stderr


@pytest.mark.parametrize("content", ['{"config": {', "[]", "{}"])
def test_damaged_run_json_is_named_with_its_path(config, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "run.json"))):
        train(config, tmp_path, resume=True)


def test_corpora_of_one_name_are_counted_apart(config, texts, tmp_path):
    tokens = config.step_tokens
    both = override(config, {
        "general.n_token": tokens, "general.corpora": (texts[0],), "novels.n_token": tokens,
        "novels.corpora": (texts[0], texts[0]),
    })  # fmt: skip
    train(both, tmp_path / "run")
    counted = json.loads((tmp_path / "run" / "run.json").read_text())["tokens"]
    assert [(row["stage"], row["corpus"]) for row in counted] == [
        ("general", texts[0]), ("novels", texts[0]), ("novels", texts[0]),
    ]  # fmt: skip
    assert len({row["n_token"] for row in counted}) == 1


def test_run_without_validation_says_nothing_of_it(config, tmp_path):
    console = Console(file=io.StringIO(), width=100)
    short = override(config, {"validation": (), "novels.n_token": 3 * config.step_tokens})
    train(short, tmp_path / "run", console=console)
    assert "held-out" not in console.file.getvalue()


def test_finished_run_resumed_does_nothing(config, tmp_path):
    short = override(config, {"novels.n_token": 3 * config.step_tokens})
    train(short, tmp_path / "run")
    before = outcome(tmp_path / "run")
    train(short, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == before


def test_nan_loss_stops_with_the_last_checkpoint_named(config, tmp_path, monkeypatch):
    real, calls = predictive.train_step, []

    def poisoned(model, *args, **kwargs):
        calls.append(1)
        out = real(model, *args, **kwargs)
        return out._replace(loss=float("nan")) if len(calls) == 5 else out

    monkeypatch.setattr(predictive, "train_step", poisoned)
    with pytest.raises(TrainingDiverged, match=r"step 5: loss nan.*checkpoint holds step 3"):
        train(config, tmp_path / "run")


def test_full_disk_at_a_checkpoint_is_named_and_the_one_before_opens(config, tmp_path, monkeypatch):
    real, calls = callbacks.save_checkpoint, []

    def full(folder, **parts):
        calls.append(1)
        if len(calls) == 2:
            raise SaveFailed(28, "the disk is full")
        real(folder, **parts)

    expected = uninterrupted(config, tmp_path)
    monkeypatch.setattr(callbacks, "save_checkpoint", full)
    with pytest.raises(SaveFailed, match="the disk is full"):
        train(config, tmp_path / "run")
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == expected


def test_shared_author_and_empty_corpus_are_refused(config, texts, tmp_path):
    with pytest.raises(ValueError, match="(?i)author"):
        train(override(config, {"validation": (texts[0],)}), tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="no texts 'nowhere'"):
        train(override(config, {"novels.corpora": ("nowhere",)}), tmp_path / "b")
    with pytest.raises(ValueError, match="vocab_size must be at most"):
        train(override(config, {"model.vocab_size": 30_000}), tmp_path / "c")


def test_id_shared_by_two_texts_hides_no_leak(config, tmp_path):
    texts = [story(i, 30) for i in range(2)]
    first = jsonl(
        tmp_path / "a.jsonl", [{"id": "1", "author": "X", "title": "P", "text": texts[0]}]
    )
    other = jsonl(
        tmp_path / "b.jsonl", [{"id": "1", "author": "Y", "title": "Q", "text": texts[1]}]
    )
    held = jsonl(tmp_path / "v.jsonl", [{"id": "9", "author": "X", "title": "P", "text": texts[0]}])
    leaking = override(config, {"novels.corpora": (first, other), "validation": (held,)})
    with pytest.raises(ValueError, match="(?i)author|same"):
        train(leaking, tmp_path / "run")


def test_tokenizer_of_a_run_that_never_began_is_not_used(config, tmp_path):
    train_tokenizer([story(5, 50)], 290).save(tmp_path / "run" / "tokenizer.model")
    short = override(config, {"novels.n_token": 3 * config.step_tokens})
    folder = train(short, tmp_path / "run")
    assert SentencePieceTokenizer.load(folder / "tokenizer.model").vocab_size == 300


def test_short_held_out_book_is_refused_before_training(config, tmp_path):
    held = jsonl(tmp_path / "v.jsonl", [{"id": "v", "author": "V", "title": "V", "text": "Ada"}])
    with pytest.raises(ValueError, match=r"'v' must have at least window \+ 2 = 10 tokens"):
        train(override(config, {"validation": (held,)}), tmp_path / "run")


def test_averaged_weights_are_validated_and_published(config, tmp_path):
    slow = override(config, {"optimiser.ema_decay": 0.99})
    folder = train(slow, tmp_path / "run")
    tokenizer = SentencePieceTokenizer.load(folder / "tokenizer.model")
    (book,) = texts_named(slow.validation[0], "validation")
    held = validate(load_model(folder), [encode(book, tokenizer, 40)])
    written = rows(tmp_path / "run" / "validation.csv")[-2:]
    assert [float(row["nats"]) for row in written] == [each.nats for each in held]


def test_ctrl_c_is_a_keyboard_interrupt(config, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(PredictiveModule, "_guard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run")


def test_unfinished_run_and_no_run_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match="is no run of `memformer train`"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="a run that has not ended: go on with it by --resume"):
        load_run(tmp_path)


PROGRAM = """
import json, sys
from pathlib import Path
from memformer.config import RunConfig, from_json
from memformer.training.run import train
config = from_json(RunConfig, json.loads(Path(sys.argv[1]).read_text()))
folder = Path(sys.argv[2])
train(config, folder, resume=(folder / "run.json").is_file())
"""


@pytest.mark.slow
def test_run_killed_five_times_equals_uninterrupted(config, tmp_path):
    config = override(config, {"novels.n_token": 150 * config.step_tokens})
    (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "config.json")]
    # in a process of its own too: sums depend on the number of threads, which pytest's sets to 1
    subprocess.run([*program, str(tmp_path / "whole")], check=True, stderr=subprocess.DEVNULL)
    expected = outcome(tmp_path / "whole")
    command = [*program, str(tmp_path / "cut")]
    draw, kills = torch.Generator().manual_seed(0), 0
    while kills < 5:
        before = len(rows(tmp_path / "cut" / "metrics.csv"))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while len(rows(tmp_path / "cut" / "metrics.csv")) <= before and process.poll() is None:
            time.sleep(0.02)  # until it is at work
        time.sleep(float(torch.rand((), generator=draw)) * 0.4)
        assert process.poll() is None, "it ended before it was killed: give it more steps"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert outcome(tmp_path / "cut") == expected


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of torch's own code, as it compiles
def test_resumed_run_with_compiled_blocks_equals_uninterrupted(config, tmp_path):
    config = override(config, {"compile": True, "novels.n_token": 8 * config.step_tokens})
    expected = uninterrupted(config, tmp_path)
    step = PredictiveModule.training_step
    left = [5]

    def failing(module, batch, i):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the power went out")
        return step(module, batch, i)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PredictiveModule, "training_step", failing)
        with pytest.raises(RuntimeError, match="the power went out"):
            train(config, tmp_path / "cut")
    torch._dynamo.reset()  # as in a process of its own
    train(config, tmp_path / "cut", resume=True)
    assert outcome(tmp_path / "cut") == expected


def test_run_begun_before_a_field_was_goes_on(config, tmp_path):
    config = override(config, {"novels.n_token": 3 * config.step_tokens})
    train(config, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    del about["config"]["compile"]
    del about["config"]["model"]["n_sink"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(about))
    train(config, tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="begun with compile=False, this run has True"):
        train(override(config, {"compile": True}), tmp_path / "run", resume=True)
