"""Lanes: each reads one book to its end, in order; shares hold; a stream resumes exactly."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from memformer.data.lanes import Corpus, Lanes
from memformer.data.token_files import TokenLists

LENGTHS = (2, 9, 16, 17, 40, 75)
BOOKS = TokenLists(
    [f"book{n}" for n in LENGTHS], [np.arange(n) + 1000 * n for n in LENGTHS]
)  # a token tells its book and place


def lanes(**changes) -> Lanes:
    settings = dict(n_lane=3, segment_len=8, seed=5) | changes
    return Lanes([Corpus("novels", BOOKS, 1.0)], **settings)


def same(a, b) -> bool:
    tensors = all(torch.equal(x, y) for x, y in zip(a[:5], b[:5], strict=True))
    return tensors and a.begins == b.begins and a.books == b.books


def test_each_lane_reads_whole_books_in_order_and_resets_alone():
    stream, read = lanes(), [[], [], []]
    for _ in range(40):
        segment = next(stream)
        for lane, row in enumerate(read):
            if lane in segment.begins and row:
                n = row[-1] // 1000
                assert row == [1000 * n + i for i in range(n)]  # the book before was read whole
                row.clear()
            row += segment.tokens[lane][segment.mask[lane]].tolist()
            assert {token // 1000 for token in row} == {int(segment.books[lane][4:])}


def test_targets_are_the_next_tokens_of_the_same_book():
    stream = lanes()
    for _ in range(40):
        segment = next(stream)
        has_target = segment.weight > 0
        assert (segment.targets[has_target] == segment.tokens[has_target] + 1).all()
        length = segment.tokens // 1000
        is_last = segment.mask & (segment.tokens % 1000 == length - 1)
        assert torch.equal(has_target, segment.mask & ~is_last)


def test_padding_stands_at_the_end_and_fraction_is_of_the_whole_book():
    stream = lanes()
    for _ in range(40):
        segment = next(stream)
        assert (segment.mask[:, 1:] <= segment.mask[:, :-1]).all()
        assert (segment.tokens[~segment.mask] == 0).all()
        u = (segment.tokens % 1000 + 0.5) / (segment.tokens // 1000)
        torch.testing.assert_close(segment.fraction[segment.mask], u[segment.mask])


def read_tokens(stream, n) -> Counter:
    total = Counter()
    for _ in range(n):
        segment = next(stream)
        for book, row in zip(segment.books, segment.mask.sum(1).tolist(), strict=True):
            total[book] += row
    return total


def test_no_book_is_favoured_by_its_length():
    many = TokenLists([str(n) for n in range(20)], [np.zeros(20 + 30 * n) for n in range(20)])
    stream = Lanes([Corpus("a", many, 1.0)], n_lane=4, segment_len=16, seed=0)
    shares = np.array(list(read_tokens(stream, 20_000).values()))
    assert shares.max() / shares.min() < 1.1


def test_with_power_one_every_book_is_read_equally_often():
    many = TokenLists([str(n) for n in range(20)], [np.zeros(20 + 30 * n) for n in range(20)])
    stream = Lanes([Corpus("a", many, 1.0)], n_lane=4, segment_len=16, seed=0, length_power=1.0)
    total = read_tokens(stream, 20_000)
    passes = np.array([total[str(n)] / (20 + 30 * n) for n in range(20)])
    assert passes.max() / passes.min() < 1.1


def test_order_among_equals_is_drawn_anew_in_each_pass():
    equal = TokenLists([str(n) for n in range(50)], [np.zeros(8, int)] * 50)
    stream = Lanes([Corpus("a", equal, 1.0)], n_lane=1, segment_len=8, seed=0)
    passes = [[next(stream).books[0] for _ in range(50)] for _ in range(6)]
    assert all(sorted(each) == sorted(equal.ids) for each in passes)
    places = np.corrcoef([np.argsort([int(book) for book in each]) for each in passes])
    assert np.abs(places - np.eye(6)).max() < 0.6


def test_corpora_are_mixed_by_weight():
    other = TokenLists([f"o{n}" for n in range(6)], [np.zeros(30 + n) for n in range(6)])
    corpora = [Corpus("novels", BOOKS, 3.0), Corpus("other", other, 1.0)]
    total = read_tokens(Lanes(corpora, n_lane=3, segment_len=8, seed=0), 5000)
    novels = sum(n for book, n in total.items() if book.startswith("book"))
    assert abs(novels / total.total() - 0.75) < 0.02


@pytest.mark.parametrize("n", [0, 1, 2, 13, 50])
def test_restored_stream_goes_on_as_the_original(n):
    stream = lanes()
    for _ in range(n):
        next(stream)
    twin = lanes()
    twin.restore(json.loads(json.dumps(stream.to_json())))
    assert all(same(next(stream), next(twin)) for _ in range(60))


def test_rank_slices_together_are_the_whole():
    whole, left, right = lanes(), lanes(own=range(0, 2)), lanes(own=range(2, 3))
    for _ in range(30):
        segment, a, b = next(whole), next(left), next(right)
        for all_rows, *parts in zip(segment[:5], a[:5], b[:5], strict=True):
            assert torch.equal(all_rows, torch.cat(parts))
        assert segment.begins == [*a.begins, *(i + 2 for i in b.begins)]
        assert segment.books == [*a.books, *b.books]


def test_seed_changes_the_order_and_nothing_else_does():
    assert same(next(lanes()), next(lanes()))
    orders = {tuple(next(lanes(seed=seed)).books) for seed in range(8)}
    assert len(orders) > 1


@pytest.mark.parametrize(("changes", "name"), [
    (dict(segment_len=4), "segment_len"), (dict(n_lane=2), "n_lane"), (dict(seed=1), "seed"),
    (dict(length_power=1.0), "length_power"),
])  # fmt: skip
def test_restoring_another_stream_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=f"saved with {name}="):
        lanes(**changes).restore(lanes().to_json())


def test_restoring_from_something_else_is_named():
    where = lanes().to_json()
    del where["given"]
    with pytest.raises(ValueError, match="what to_json gave, it has no 'given'"):
        lanes().restore(where)


def test_restoring_over_other_texts_is_refused():
    other = Lanes([Corpus("novels", TokenLists(["x"], [np.zeros(9)]), 1.0)], n_lane=3,
                  segment_len=8, seed=5)  # fmt: skip
    with pytest.raises(ValueError, match="saved with corpora="):
        other.restore(lanes().to_json())


@pytest.mark.parametrize(("changes", "message"), [
    (dict(n_lane=0), "n_lane must be at least 1, got 0"),
    (dict(segment_len=0), "segment_len must be at least 1, got 0"),
    (dict(length_power=-1), "length_power must be at least 0, got -1"),
    (dict(length_power=float("nan")), "length_power must be at least 0, got nan"),
    (dict(seed=-3), "seed must be at least 0, got -3"),
    (dict(own=range(0)), r"own must be lanes in \[0, n_lane=3\)"),
    (dict(own=range(2, 4)), r"own must be lanes in \[0, n_lane=3\)"),
])  # fmt: skip
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        lanes(**changes)


def test_bad_corpora_are_named():
    with pytest.raises(ValueError, match="at least one corpus, got none"):
        Lanes([], n_lane=1, segment_len=1, seed=0)
    with pytest.raises(ValueError, match="weight of 'novels' must be above 0, got 0"):
        Lanes([Corpus("novels", BOOKS, 0.0)], n_lane=1, segment_len=1, seed=0)


def test_restoring_over_other_tokens_of_the_same_lengths_is_refused():
    blank = TokenLists(BOOKS.ids, [np.zeros(n) for n in LENGTHS])
    other = Lanes([Corpus("novels", blank, 1.0)], n_lane=3, segment_len=8, seed=5)
    with pytest.raises(ValueError, match="saved with corpora="):
        other.restore(lanes().to_json())
