import random
from dataclasses import replace

import pytest

from memformer.data.manuscripts import Manuscript
from memformer.data.splits import (
    Split,
    classics_1,
    distinct,
    part_in_classics_1,
    split_by_author,
    split_by_manuscript,
    without,
)


def prose(seed: int, n_word: int = 400) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(10**6)}" for _ in range(n_word))


def novel(id: str, author: str | None, seed: int | None = None, **changes) -> Manuscript:
    fields = {"title": id, "text": prose(len(id) if seed is None else seed), "source": "test"}
    return Manuscript(**{"id": id, "author": author, "raw_hash": "0", **fields, **changes})


A1 = novel("a-1", "Doe, Jane", 1)
A2 = novel("a-2", "Jane Doe", 2)
B = novel("b", "John Roe", 3)
C = novel("c", "Ann Poe", 4)


def ids(manuscripts):
    return [manuscript.id for manuscript in manuscripts]


def test_held_out_authors_are_held_out_with_all_their_novels():
    split = split_by_author((A1, B, A2, C), name="s", validation=["john roe"], test=["Jane Doe"])
    assert (ids(split.train), ids(split.validation), ids(split.test)) == (
        ["c"],
        ["b"],
        ["a-1", "a-2"],
    )
    assert split.part_of(A2) == "test" and split.part_of(novel("x", None, 8)) is None


def test_author_in_two_parts_is_an_error():
    with pytest.raises(ValueError, match="'Jane Doe' .'a-2'. stands in train and in test"):
        Split(name="s", train=(A1,), validation=(B,), test=(A2,))


def test_author_unknown_is_an_error_that_names_the_way_out():
    with pytest.raises(ValueError, match="'x' has none: name it, or split by manuscript"):
        split_by_author((A1, novel("x", None, 8)), name="s", validation=[], test=["Jane Doe"])


def test_split_by_manuscript_only_when_told_to():
    every = (A1, A2, novel("x", None, 8))
    split = split_by_manuscript(every, name="s", validation=["a-1"], test=["x"])
    assert (ids(split.train), ids(split.validation), ids(split.test)) == (["a-2"], ["a-1"], ["x"])


def test_held_out_author_or_id_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="held-out author 'Nobody' has written none"):
        split_by_author((A1, B), name="s", validation=[], test=["Nobody"])
    with pytest.raises(ValueError, match="held-out id 'z' is none of the distinct manuscripts'"):
        split_by_manuscript((A1, B), name="s", validation=[], test=["z"])


def test_author_held_out_twice_is_an_error():
    with pytest.raises(ValueError, match="'Doe, Jane' must be in validation or test, not both"):
        split_by_author((A1, B), name="s", validation=["Jane Doe"], test=["Doe, Jane"])


def test_same_title_and_author_is_the_same_work():
    again = replace(A1, id="again", author="JANE DOE", title="A 1", text=prose(9))
    assert ids(distinct((replace(A1, title="a 1"), again, B))) == ["a-1", "b"]


def test_same_wording_is_the_same_work_whatever_it_is_called():
    words = A1.text.split()
    words[::40] = ["other"] * len(words[::40])
    again = novel("again", "Somebody Else", text=" ".join(words))
    part = novel("part", None, text=" ".join(A1.text.split()[100:300]))
    assert ids(distinct((A1, again, part, B))) == ["a-1", "b"]


def test_passages_in_common_do_not_make_the_same_work():
    quoting = novel("quoting", "X", text=prose(7) + " " + " ".join(A1.text.split()[:100]))
    assert ids(distinct((A1, quoting))) == ["a-1", "quoting"]


def test_same_work_in_two_parts_is_an_error_even_by_manuscript():
    again = novel("again", None, 1)
    with pytest.raises(ValueError, match="'again' in test is the same as 'a-1' in train"):
        Split(name="s", train=(A1,), validation=(), test=(again,), by="manuscript")


def test_known_works_are_dropped_lazily():
    def corpus():
        yield novel("again", None, 1)
        yield B
        pytest.fail("read too far")

    assert next(without(corpus(), known=(A1,))).id == "b"


def test_classics_1_goes_by_author():
    every = (
        novel("pride", "Jane Austen", 1),
        novel("crome", "Huxley, Aldous", 2),
        novel("moreau", "H. G. Wells", 3),
        novel("voyage", "Virginia Woolf", 4),
        novel("moby", "Herman Melville", 5),
    )
    split = classics_1(every)
    assert (ids(split.train), ids(split.validation)) == (["pride"], ["crome", "moreau"])
    assert ids(split.test) == ["voyage", "moby"]
    assert part_in_classics_1(every[1]) == "validation" and part_in_classics_1(A1) is None


def test_classics_1_refuses_other_authors():
    with pytest.raises(ValueError, match="classics-1 must hold its own authors, got 'Doe, Jane'"):
        classics_1((A1,))
