"""The example of docs/reviewer.md runs as printed."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reviewer.md"


def test_example_runs_as_printed_and_is_short(capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 20
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
    assert "can be scored" in capsys.readouterr().out
