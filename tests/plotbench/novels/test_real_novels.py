"""The packaged recipes on the real novels, read in the cache or fetched into it."""

import pytest

from memformer.config.plotbench_novels import NovelConfig
from memformer.data.packages import FetchError
from memformer.plotbench.novels.candidates import raw_lines
from memformer.plotbench.novels.corpus import novels
from memformer.plotbench.novels.corrupt import make_novels
from memformer.plotbench.novels.recipes import recipes
from memformer.plotbench.novels.rename import fresh_names
from memformer.plotbench.validity import faults, incomplete_groups

pytestmark = pytest.mark.real
RECIPES = recipes()


@pytest.fixture(scope="module")
def texts():
    try:
        return novels([each.book for each in RECIPES])
    except FetchError as error:
        pytest.skip(str(error))


def test_all_groups_are_made_of_the_published_lines(texts):
    bench = make_novels(NovelConfig(context_chars=100_000), texts)
    assert not list(faults(bench))
    assert not incomplete_groups(bench.probes)
    assert {p.stem + p.options[p.gold] + p.suffix in texts[p.probe_id.split(".")[0]].text
            for p in bench.probes if p.cell[0] == "A"} == {True}  # fmt: skip


def test_every_line_is_one_that_the_pattern_gives(texts):
    for recipe in RECIPES:
        for swap in recipe.swaps:
            given = {
                (each.side, each.insert, each.value, each.stop)
                for side in ("x", "y")
                for each in raw_lines(texts[recipe.book].text, swap, side)
            }
            assert {(e.side, e.insert, e.value, e.stop) for e in swap.lines} <= given


def test_there_are_fresh_names_for_every_book(texts):
    for recipe in RECIPES:
        fresh = fresh_names(recipe, texts[recipe.book].text)
        assert len(set(fresh.values())) == len(recipe.names)
        assert all(name in texts[recipe.book].text for name in fresh)
