"""`memformer generate` end to end, on a tiny random decoder and a tiny trained tokenizer."""

import pytest
import torch

from memformer import Decoder
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.model.saved_model import save_model
from tests.model.conftest import lively, small_config
from tests.test_cli import process as process  # the fixture that keeps verbs within this process
from tests.test_cli import run

TEXT = "It was a bright cold day in April, and every clock in the house had stopped at noon.\n" * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tokenizer = train_tokenizer([TEXT], 320)
    config = small_config(
        vocab_size=320, memory=dict(layers=(1, 2), n_retrieved=5), fraction=dict(kind="fourier")
    )
    save_model(lively(Decoder(config)), path / "model")
    tokenizer.save(path / "model" / "tokenizer.model")
    return path


def generate(folder, *words):
    result = run("generate", folder, *words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.endswith("\n")
    return result.stdout[:-1], result.stderr


def test_continuation_goes_to_stdout_alone(folder):
    text, told = generate(folder, "--prompt", TEXT, "--words", 3, "--length", 400)
    assert 0 < len(text.split()) <= 3 and told == ""
    assert generate(folder, "--prompt", TEXT, "--words", 3, "--length", 400) == (text, "")
    assert generate(folder, "--prompt", TEXT, "--words", 3, "--seed", 1)[0] != text


def test_every_option_arrives(folder):
    base = ("--prompt", TEXT, "--words", 3)
    plain, _ = generate(folder, *base)
    greedy, _ = generate(folder, *base, "--temperature", 0)
    for words in (("--top-k", 1), ("--top-p", 1e-6), ("--min-p", 1)):
        assert generate(folder, *base, *words)[0] == greedy
    for words in (("--length", 200), ("--repetition-penalty", 3)):
        assert generate(folder, *base, *words)[0] != plain
    letters = [c for c in plain.strip()[1:] if c.isascii() and c.isalpha()]
    stopped, _ = generate(folder, *base, "--stop", letters[0], "--stop", letters[1])
    assert stopped == plain[: min(plain.index(each) for each in letters[:2])]


def test_prompt_file_is_read(folder, tmp_path):
    (tmp_path / "ch1.txt").write_text(TEXT)
    from_file, _ = generate(folder, "--prompt-file", tmp_path / "ch1.txt", "--words", 2)
    assert from_file == generate(folder, "--prompt", TEXT, "--words", 2)[0]


def test_saved_state_goes_on_as_if_uninterrupted(folder, tmp_path):
    whole, _ = generate(folder, "--prompt", TEXT, "--words", 6, "--length", 500)
    first, told = generate(
        folder, "--prompt", TEXT, "--words", 3, "--length", 500, "--save-state", tmp_path
    )
    assert told == f"state: saved in {tmp_path}\n"
    second, _ = generate(folder, "--state", tmp_path, "--words", 4)  # knows its length
    assert (first + second).startswith(whole)
    with_prompt, _ = generate(folder, "--state", tmp_path, "--prompt", "The end.", "--words", 4)
    assert with_prompt != second


def test_best_of_says_its_scores_on_stderr(folder, tmp_path):
    text, told = generate(
        folder, "--prompt", TEXT, "--words", 6, "--best-of", 3, "--save-state", tmp_path
    )
    assert 0 < len(text.split()) <= 6
    assert "writing 3 continuations side by side" in told and "nats a token" in told
    assert generate(folder, "--state", tmp_path, "--words", 3)[0]


@pytest.mark.parametrize(("words", "message"), [
    ((), "give one of prompt and prompt-file, got neither"),
    (("--prompt", "a", "--prompt-file", "b"), "give one of prompt and prompt-file, got both"),
    (("--prompt", ""), "the prompt is empty"),
    (("--prompt-file", "no-such-file"), "No such file or directory: 'no-such-file'"),
    (("--prompt", "a", "--words", 0), "n_word must be at least 1, got 0"),
    (("--prompt", "a", "--top-p", 2), "top_p must be in [0, 1], got 2.0"),
    (("--prompt", "a", "--length", 0), "length must be at least 1 token, got 0"),
    (("--prompt", "a", "--stop", ""), "stop must not hold an empty string"),
    (("--state", "no-such-folder"), "nothing was completely saved here"),
])  # fmt: skip
def test_error_is_one_line(folder, words, message):
    result = run("generate", folder, *words)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert result.stderr.count("\n") == 1


def test_folder_without_a_model_is_named(tmp_path):
    result = run("generate", tmp_path, "--prompt", "a")
    assert result.exit_code == 1 and "is no run of `memformer train`" in result.stderr


def test_folder_that_holds_something_is_not_replaced_unasked(folder, tmp_path):
    base, save = ("--prompt", TEXT, "--words", 1), ("--save-state", tmp_path / "draft")
    generate(folder, *base, *save)
    before = (tmp_path / "draft" / "manifest.json").read_bytes()
    refused = run("generate", folder, *base, *save)
    assert refused.exit_code == 1 and refused.stdout == ""
    assert "draft is not empty, saving would replace what it holds: name another" in refused.stderr
    assert (tmp_path / "draft" / "manifest.json").read_bytes() == before
    generate(folder, *base, "--seed", 3, *save, "--overwrite")
    changed = (tmp_path / "draft" / "manifest.json").read_bytes()
    generate(folder, "--state", tmp_path / "draft", "--words", 1, *save)  # the draft goes on
    assert len({before, changed, (tmp_path / "draft" / "manifest.json").read_bytes()}) == 3


def test_decoder_in_a_run_is_named_with_the_run(folder):
    refused = run("generate", folder / "model", "--prompt", "a")
    assert refused.exit_code == 1 and f"as model/, {folder}" in refused.stderr
