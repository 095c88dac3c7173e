"""The examples of docs/training.md run as printed."""

import re
from pathlib import Path


def test_example_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code, {})
    assert capsys.readouterr().out.strip()


def test_tuning_example_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(code, {})
    assert "all 20 updates are made" in capsys.readouterr().out
