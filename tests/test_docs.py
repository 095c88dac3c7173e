"""The examples of the README and of docs/model.md run as printed, and are short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/model.md")
BLOCKS = [
    (page, i, code)
    for page in PAGES
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S))
]


@pytest.mark.parametrize(("page", "i", "code"), BLOCKS, ids=[f"{p}-{i}" for p, i, _ in BLOCKS])
def test_example_runs_as_printed(page, i, code):
    exec(compile(code, f"{page} example {i}", "exec"), {"__name__": "example"})


def test_examples_are_short():
    for page, i, code in BLOCKS:
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 20, f"{page} example {i} has {len(lines)} lines"
    assert len(BLOCKS) == 3


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
