"""Prompts of different lengths in one batch: each as if read alone."""

import pytest
import torch

from memformer.generation.prompts import prompt_text, read_prompts

PROMPTS = [[3] * 1, list(range(16)), list(range(7, 47)), [9, 4, 1] * 11]


@pytest.mark.parametrize("length", [None, 45])
def test_each_prompt_is_read_as_if_alone(model, length):
    state = model.new_state(4)
    logits = read_prompts(model, state, PROMPTS, length=length)
    assert state.n_read == [1, 16, 40, 33]
    for lane, prompt in enumerate(PROMPTS):
        alone = model.new_state(1)
        expected = read_prompts(model, alone, [prompt], length=length)
        torch.testing.assert_close(logits[lane], expected[0])
        u = None
        if length:
            u = ((torch.arange(len(prompt)) + 0.5) / length).clamp(max=1)[None]
        with torch.no_grad():
            at_once = model(torch.tensor([prompt]), model.new_state(1), fraction=u).logits[:, -1]
        torch.testing.assert_close(logits[lane], at_once[0], atol=1e-4, rtol=1e-4)


def test_states_are_the_same_afterwards(model):
    state = model.new_state(4)
    read_prompts(model, state, PROMPTS)
    again = read_prompts(model, state, [[1, 2, 3]] * 4)  # every lane goes on from where it stands
    for lane, prompt in enumerate(PROMPTS):
        expected = read_prompts(model, model.new_state(1), [prompt + [1, 2, 3]])
        torch.testing.assert_close(again[lane], expected[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("prompts", "message"), [
    ([[1], []], "the prompt of lane 1 is empty: give it at least one token"),
    ([[1]], r"prompts must be one a lane \(2\), got 1"),
    ([[1], [2] * 20 + [50]], r"ids must be in \[0, vocab_size=50\), got 50 in lane 1"),
    ([[-1], [2]], r"got -1 in lane 0"),
])  # fmt: skip
def test_bad_prompts_are_named_and_nothing_is_read(model, prompts, message):
    state = model.new_state(2)
    with pytest.raises(ValueError, match=message):
        read_prompts(model, state, prompts)
    assert state.n_read == [0, 0]


def test_length_below_one_is_refused(model):
    with pytest.raises(ValueError, match="length must be at least 1 token, got 0"):
        read_prompts(model, model.new_state(1), [[1]], length=0)


def test_text_comes_from_an_argument_or_a_file(tmp_path):
    (tmp_path / "a.txt").write_bytes("It rained — ".encode())
    assert prompt_text("It rained.", None) == "It rained."
    assert prompt_text(None, tmp_path / "a.txt") == "It rained — "


@pytest.mark.parametrize(("prompt", "content", "message"), [
    (None, None, "give one of prompt and prompt-file, got neither"),
    ("a", b"b", "give one of prompt and prompt-file, got both"),
    (" \n", None, "the prompt is empty"),
    ("", None, "the prompt is empty"),
    (None, b"", "the prompt is empty"),
    (None, b"caf\xe9", r"a\.txt is not UTF-8"),
])  # fmt: skip
def test_prompt_errors_are_named(tmp_path, prompt, content, message):
    file = None if content is None else tmp_path / "a.txt"
    if file is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prompt_text(prompt, file)


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="no-such"):
        prompt_text(None, tmp_path / "no-such.txt")
