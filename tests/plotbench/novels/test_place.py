"""Places are told by ridge regression across authors, and by a model's own fraction."""

import math

import numpy as np
import pytest
import torch

from memformer.config.plotbench_novels import PlaceConfig
from memformer.plotbench.novels.excerpts import (
    Excerpt,
    excerpts,
    likeliest_fraction,
    mean_hidden,
)
from memformer.plotbench.novels.place import (
    by_chapter_number,
    by_constant,
    chapter_number,
    judge,
    probe,
    ridge,
    scaled,
    spearman,
    tf_idf,
)
from tests.plotbench.models import PieceTokenizer, decoder
from tests.plotbench.novels.made import manuscript

CONFIG = PlaceConfig(n_excerpt=4, n_token=12)


def excerpt(author, u, text="", ids=()):
    return Excerpt(f"book of {author}", author, 20, u, tuple(ids), text)


def spread(n_author=4, n=12, text=lambda u: ""):
    return [
        excerpt(f"a{a}", (i + 0.5) / n, text((i + 0.5) / n))
        for a in range(n_author)
        for i in range(n)
    ]


def test_excerpts_are_the_texts_own_tokens_one_from_each_part():
    book = manuscript(["word and other " * 60, "more of them " * 60], id="a", author="X")
    found = excerpts([book], PieceTokenizer(), CONFIG)
    ids, _ = PieceTokenizer().encode(book.text)
    assert len(found) == 4
    for i, each in enumerate(found):
        start = round(each.u * len(ids) - 6)
        assert tuple(ids[start : start + 12]) == each.ids
        assert i / 4 <= start / (len(ids) - 12) <= (i + 1) / 4
        assert each.text in book.text and each.n_chapter == 2
    assert excerpts([book], PieceTokenizer(), CONFIG) == found
    with pytest.raises(ValueError, match="a has 4 tokens: too few for 4 excerpts of 12"):
        excerpts([manuscript(["a b c d"], id="a")], PieceTokenizer(), CONFIG)


def test_ridge_is_least_squares_at_a_small_penalty_and_the_mean_at_a_large_one():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    weights = np.array([1.0, -2.0, 0.5, 0.0])
    assert ridge(x, x @ weights + 3, new, 1e-9) == pytest.approx(new @ weights + 3, abs=1e-6)
    y = rng.normal(size=30)
    assert ridge(x, y, new, 1e9) == pytest.approx(np.full(5, y.mean()), abs=1e-6)
    z = x - x.mean(0)
    primal = np.linalg.solve(z.T @ z + 2 * np.eye(4), z.T @ (y - y.mean()))
    assert ridge(x, y, new, 2.0) == pytest.approx((new - x.mean(0)) @ primal + y.mean())


def test_probe_finds_a_direction_that_all_authors_share_and_none_in_noise():
    found = spread()
    u = np.array([each.u for each in found])
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(found), 8))
    told = judge(found, probe(found, scaled(np.c_[noise, u]), PlaceConfig()))
    assert told.mae.value < 0.08 and told.spearman.value > 0.95
    nothing = judge(found, probe(found, scaled(noise), PlaceConfig()))
    assert nothing.mae.value > 0.2


def test_probe_never_sees_the_author_it_is_judged_on():
    found = spread()
    seen = []

    def features(train):
        seen.append({found[i].author for i in train})
        return np.zeros((len(found), 1))

    probe(found, features, PlaceConfig())
    assert [{f"a{a}" for a in range(4)} - each for each in seen] == [{f"a{a}"} for a in range(4)]
    with pytest.raises(ValueError, match="at least three authors, got \\['a0', 'a1'\\]"):
        probe(spread(2), features, PlaceConfig())


def test_tf_idf_finds_words_of_beginnings_and_ends():
    found = spread(text=lambda u: "they met and " + ("arrived" if u < 0.5 else "farewell"))
    told = judge(found, probe(found, tf_idf([each.text for each in found]), PlaceConfig()))
    assert told.mae.value == pytest.approx(0.125, abs=0.01)  # half of the book is known
    x = tf_idf(["one two", "one two", "one three", "one"])(np.array([0, 1, 2]))
    assert x.shape == (4, 1) and not x.any()  # only `one` stands in three, and tells nothing


def test_constant_has_mean_error_a_quarter_and_no_rank():
    told = judge(spread(), by_constant(spread()))
    assert told.mae.value == pytest.approx(0.25)
    assert math.isnan(told.spearman.value)
    with pytest.raises(ValueError, match="one number an excerpt, got 1 for 48"):
        judge(spread(), np.array([0.5]))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("end.\n\nChapter 7\n\nIt", 7), ("so\n\nXIV.\n\nThen", 14), ("CHAPTER XL", 40),
        ("a volume ix b", 9), ("I went there", None), ("the chapter of accidents", None),
    ],
)  # fmt: skip
def test_chapter_numbers_are_read(text, number):
    assert chapter_number(text) == number


def test_chapter_pattern_tells_the_place_where_headings_were_kept():
    kept = spread(text=lambda u: f"so.\n\nChapter {1 + int(20 * u)}\n\nThen")
    told = by_chapter_number(kept)
    assert told.share == 1
    assert judge(kept, told.predicted).mae.value < 0.05
    assert by_chapter_number(spread()).share == 0


def test_spearman_shares_ranks_and_knows_order():
    assert spearman(np.array([1.0, 2, 3]), np.array([2.0, 5, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 5, 2])) == pytest.approx(-1)
    tied = spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 1, 2, 2]))
    assert tied == pytest.approx(2 / math.sqrt(5))
    assert math.isnan(spearman(np.array([1.0, 2]), np.array([3.0, 3])))


def test_hidden_states_are_the_mean_of_each_excerpt_read_alone():
    model = decoder()
    found = [excerpt("a", 0.5, ids=range(i + 1, i + 13)) for i in range(10)]
    every = mean_hidden(model, found)
    with torch.inference_mode():
        out = model(torch.tensor([found[9].ids]), model.new_state(batch_size=1), want_hidden=True)
    assert every.shape == (10, 32)
    assert every[9] == pytest.approx(out.hidden[0].mean(0).numpy(), abs=1e-5)


def test_likeliest_fraction_is_the_argmax_of_the_excerpts_logprob():
    model = decoder(fraction="modulation")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    found = [excerpt("a", 0.5, ids=torch.randperm(500)[:12].tolist()) for _ in range(9)]
    chosen = likeliest_fraction(model, found, 5)
    assert len(set(chosen)) > 1
    for each, u in zip(found, chosen, strict=True):
        scores = []
        tokens = torch.tensor([each.ids])
        for point in torch.linspace(0, 1, 5):
            state, told = model.new_state(batch_size=1), torch.full((1, 12), float(point))
            with torch.inference_mode():
                logits = model(tokens, state, fraction=told).logits[0].log_softmax(-1)
            scores.append(sum(logits[i, tokens[0, i + 1]].item() for i in range(11)))
        assert scores[round(u * 4)] == pytest.approx(max(scores), abs=1e-3)
    with pytest.raises(ValueError, match="fraction.kind is 'none'"):
        likeliest_fraction(decoder(), found, 5)
