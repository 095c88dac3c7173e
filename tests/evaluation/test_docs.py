"""The example of docs/evaluation.md runs as printed, on a tiny checkpoint and made-up novels."""

import random
import re
from pathlib import Path

from memformer import data
from memformer.data import sources
from tests.evaluation.story import manuscript
from tests.interop.test_gguf_file import write
from tests.interop.tiny import WORDS, llama

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def novel(name):
    return manuscript(name, " ".join(random.Random(name).choices(WORDS[1:], k=1100)))


def test_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    write(tmp_path / sources.SMOLLM2_FILE, llama(head_dim=None))
    monkeypatch.setattr(data, "smollm2", lambda: tmp_path)
    monkeypatch.setattr(data, "classics", lambda: [novel("huxley-crome"), novel("woolf-voyage")])
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    assert capsys.readouterr().out.strip() == "runs/first/report.html"
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
