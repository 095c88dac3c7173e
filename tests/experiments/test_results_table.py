"""README.md's tables are those of the committed results."""

import pytest
from results_table import BEGIN, END, PAGE, RESULTS, tables, written


def test_the_page_holds_what_the_results_give():
    page = PAGE.read_text()
    lines = tables(RESULTS)
    assert page == written(page, lines)
    assert sum(line.count("`") for line in lines) == 2 * (3 + 2 + 3)  # every row names its file


def test_only_what_stands_between_the_markers_is_replaced():
    assert written(f"a\n{BEGIN}\nold\n{END}\nb", ["new"]) == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="the page must hold"):
        written("no markers", ["new"])
