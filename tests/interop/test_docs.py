"""The examples of docs/interop.md run as printed, on a tiny checkpoint in place of SmolLM2."""

import re
from pathlib import Path

import pytest

from memformer.data import sources
from tests.interop.test_gguf_file import write
from tests.interop.tiny import llama

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_two_examples_of_fifteen_lines_or_so():
    assert [len(example.splitlines()) <= 18 for example in EXAMPLES] == [True, True]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example, tmp_path, monkeypatch, capsys):
    write(tmp_path / sources.SMOLLM2_FILE, llama(head_dim=None))
    monkeypatch.setattr(sources, "smollm2", lambda: tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.strip()
