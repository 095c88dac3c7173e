"""The examples of docs/data.md run as printed, on a few short texts in place of the novels."""

import re
from pathlib import Path

import pytest

from memformer import data
from memformer.data.manuscripts import Manuscript

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
AUTHORS = ("Jane Austen", "H. G. Wells", "Virginia Woolf")


def novel(author):
    text = f"{author} wrote of nothing but rain. " * 9
    return Manuscript(
        id=author[0].lower(), author=author, title="Rain", text=text, source="own", raw_hash=""
    )


def test_there_are_three_examples():
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs_as_printed(example, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "classics", lambda: tuple(map(novel, AUTHORS)))
    (tmp_path / "pg19" / "train").mkdir(parents=True)
    for i, text in enumerate((novel(AUTHORS[2]).text, "It snowed in Lowmouth.")):
        (tmp_path / "pg19" / "train" / f"{i}.txt").write_text(text)
    (tmp_path / "pg19" / "metadata.csv").write_text("0,Rain,1915,link\n1,Snow,1888,link\n")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example, str(PAGE), "exec"), names)
    if "books" in names:
        assert [book.title for book in names["books"]] == ["Snow"]
    else:
        assert capsys.readouterr().out.strip()
