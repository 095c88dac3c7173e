"""The reviewer over a decoder: what is read, what is drawn, what has a gradient."""

import dataclasses

import pytest
import torch

from memformer.memory.storage import UnreadableSave
from memformer.model.state import DecoderState
from memformer.reward.review_features import DecoderFeatures
from tests.reward.small_reviewer import novels, small_reviewer


@pytest.fixture(scope="module")
def reviewer():
    return small_reviewer()


def bits_of(state):
    """Everything a state holds."""
    found = [*state.conv]
    for layer in state.layers:
        found += [layer.keys, layer.values, layer.fraction, layer.sink_keys]
        if layer.memory is not None:
            for lane in range(state.n_lane):
                n, memory = layer.memory.size(lane=lane), layer.memory.select([lane])
                pairs = memory.at(torch.arange(n).expand(1, 4, 1, n))
                found += [pairs.keys, pairs.values]
    return [x.clone() for x in found]


def are_equal(before, after):
    return all(torch.equal(a.nan_to_num(7), b.nan_to_num(7))
               for a, b in zip(before, after, strict=True))  # fmt: skip


def test_writing_reviews_leaves_the_novels_state_untouched(reviewer):
    state = reviewer.read_novel(novels(1, 30), reviewer.new_state(1))
    before, n_read = bits_of(state), list(state.n_read)
    reading = reviewer.ask(state)
    asked = bits_of(reading.state)
    reviewer.draw(reading, 5, [3])
    reviewer.write(torch.tensor([4]), reading.state)
    reviewer.logits_of(reading, novels(1, 5))
    assert are_equal(before, bits_of(state)) and state.n_read == n_read
    assert are_equal(asked, bits_of(reading.state))
    reviewer.read_novel(novels(1, 3), state)
    assert are_equal(before, bits_of(state))


def test_another_lanes_novel_does_not_leak_into_a_review(reviewer):
    first = novels(3, 30)
    second = torch.cat((first[:1], novels(2, 30, seed=9)))
    readings = [reviewer.read(x, reviewer.new_state(3)) for x in (first, second)]
    assert torch.equal(readings[0].logits[0], readings[1].logits[0])
    assert not torch.allclose(readings[0].logits[1], readings[1].logits[1])
    drawn = [reviewer.draw(reading, 4, [1, 2, 3]) for reading in readings]
    assert torch.equal(drawn[0].ids[:4, :1], drawn[1].ids[:4, :1])
    told = [reviewer.logits_of(reading, novels(3, 5)) for reading in readings]
    assert torch.equal(told[0][0], told[1][0])


@pytest.mark.parametrize("segment_len", [3, 31, 64])
def test_segments_of_reading_do_not_change_a_review(reviewer, segment_len):
    other = dataclasses.replace(reviewer.model.config, segment_len=segment_len)
    twin = small_reviewer()
    twin.model.config = other
    x, review = novels(2, 30), novels(2, 5, seed=2)
    told = [
        each.logits_of(each.read(x, each.new_state(2)), review) for each in (reviewer, twin)
    ]  # fmt: skip
    torch.testing.assert_close(told[0], told[1], atol=1e-4, rtol=1e-4)


def test_a_novel_read_in_two_parts_is_the_novel(reviewer):
    x = novels(2, 30)
    whole = reviewer.read(x, reviewer.new_state(2))
    part = reviewer.read_novel(x[:, :13], reviewer.new_state(2), length=[30, 30])
    joined = reviewer.ask(reviewer.read_novel(x[:, 13:], part))
    torch.testing.assert_close(whole.logits, joined.logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(whole.state.layers[0].fraction, joined.state.layers[0].fraction)


def test_padding_of_a_shorter_novel_changes_nothing(reviewer):
    x = novels(2, 30)
    mask = torch.arange(30) < torch.tensor([[30], [11]])
    together = reviewer.read(x, reviewer.new_state(2), mask)
    alone = reviewer.read(x[1:, :11], reviewer.new_state(1))
    torch.testing.assert_close(together.logits[1:], alone.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.hidden[1:], alone.hidden, atol=1e-4, rtol=1e-4)


def test_review_tokens_keep_the_fraction_of_the_novels_last_token(reviewer):
    state = reviewer.read_novel(novels(1, 12), reviewer.new_state(1), length=[20])
    u = float(state.layers[0].fraction[0, -1])
    assert u == pytest.approx(11.5 / 20)
    reading = reviewer.ask(state)
    _, written = reviewer.write(torch.tensor([3]), reading.state)
    assert written.layers[0].fraction[0, -4:].tolist() == pytest.approx([u] * 4)


def test_teacher_forcing_is_writing_token_by_token(reviewer):
    reading = reviewer.read(novels(2, 30), reviewer.new_state(2))
    review = novels(2, 6, seed=3)
    told = reviewer.logits_of(reading, review)
    logits, state = reading.logits, reading.state
    for r in range(6):
        torch.testing.assert_close(told[:, r], logits, atol=2e-4, rtol=1e-4)
        if r < 5:
            logits, state = reviewer.write(review[:, r], state)


def test_batch_of_novels_draws_what_each_draws_alone(reviewer):
    x, seeds = novels(3, 30), [11, 12, 13]
    together = reviewer.draw(reviewer.read(x, reviewer.new_state(3)), 2, seeds)
    for lane, seed in enumerate(seeds):
        reading = reviewer.read(x[lane : lane + 1], reviewer.new_state(1))
        alone = reviewer.draw(reading, 2, [seed])
        n = alone.ids.shape[1]
        assert torch.equal(together.ids[2 * lane : 2 * lane + 2, :n], alone.ids)
        more = reviewer.draw(reading, 5, [seed])
        n = min(n, more.ids.shape[1])
        assert torch.equal(more.ids[:2, :n], alone.ids[:, :n])
        assert not torch.equal(reviewer.draw(reading, 5, [seed + 1]).ids[:, :1], more.ids[:, :1])


def test_drawn_reviews_consist_of_text_up_to_their_end(reviewer):
    drawn = reviewer.draw(reviewer.read(novels(4, 20), reviewer.new_state(4)), 60, range(4))
    never = torch.tensor(reviewer.vocabulary.never())
    assert not torch.isin(drawn.ids, never).any()
    assert drawn.is_finished.any() and not drawn.is_finished.all()
    assert drawn.is_empty.any() and not (drawn.is_empty & drawn.is_usable).any()
    for ids, mask, is_over in zip(*drawn, strict=True):
        n = int(mask.sum())
        assert mask[:n].all() and (ids[:n] == reviewer.end).sum() == int(is_over)
        assert n == reviewer.max_len or ids[n - 1] == reviewer.end


def test_drawn_reviews_have_the_frequencies_of_the_model():
    reviewer = small_reviewer(max_len=2)
    reading = reviewer.read(novels(1, 20), reviewer.new_state(1))
    first = reviewer.draw(reading, 500, [5]).ids[:, 0]
    share = torch.bincount(first, minlength=reviewer.vocab_size) / 500
    p = reading.logits[0].detach().softmax(-1)
    assert float(p.max()) > 0.1  # far from uniform
    assert float((share - p).abs().max()) < 3.5 * (0.25 / 500) ** 0.5


def rows_of(ids, V):
    return torch.nn.functional.one_hot(ids, V).float()


def test_rows_give_what_ids_give(reviewer):
    x, review = novels(2, 20), novels(2, 5, seed=4)
    V, n = reviewer.vocab_size, reviewer.vocabulary.n_text
    hard = reviewer.read(x, reviewer.new_state(2))
    for width in (n, V):
        soft = reviewer.read(rows_of(x, width), reviewer.new_state(2))
        torch.testing.assert_close(hard.logits, soft.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(hard.hidden, soft.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        reviewer.nats(hard, review), reviewer.nats(hard, rows_of(review, V)), atol=1e-5, rtol=1e-5
    )
    ids, rows = review[:, 0], rows_of(review[:, 0], V)
    torch.testing.assert_close(
        reviewer.write(ids, hard.state)[0], reviewer.write(rows, hard.state)[0],
        atol=1e-4, rtol=1e-5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def double():
    """In float64, all pairs retrieved: no search whose ties finite differences could turn over."""
    reviewer = small_reviewer(max_len=4, memory=dict(layers=(1, 2), n_retrieved=64))
    reviewer.model.double().requires_grad_(False)
    return reviewer


def written(reviewer, rows, review, *, at_once):
    """A number that depends on the novel through window, memory and every token of a review."""
    reading = reviewer.read(rows, reviewer.new_state(1, n_token=rows.shape[1]))
    probe = torch.linspace(-1, 1, reviewer.vocab_size, dtype=rows.dtype)
    if at_once:
        return (reviewer.logits_of(reading, review).softmax(-1) @ probe).sum()
    logits, state, total = reading.logits, reading.state, 0.0
    for r in range(review.shape[1]):
        total = total + (logits.softmax(-1) @ probe).sum()
        if r + 1 < review.shape[1]:
            logits, state = reviewer.write(review[:, r], state)
    return total


@pytest.mark.parametrize("at_once", [True, False])
def test_gradient_reaches_every_token_of_the_novel(double, at_once):
    x = novels(1, 20)
    rows = (0.8 * rows_of(x, double.vocabulary.n_text) + 0.2 / double.vocabulary.n_text).double()
    rows.requires_grad_()
    review = (0.9 * rows_of(novels(1, 4, seed=5), double.vocab_size)).double()
    review[..., 1] += 0.1
    (gradient,) = torch.autograd.grad(written(double, rows, review, at_once=at_once), rows)
    assert (gradient.abs().amax(-1) > 1e-9).all()  # beyond the window of 6 too
    random = torch.Generator().manual_seed(0)
    for t in (0, 7, 13, 19):  # of three segments
        step = torch.randn(rows.shape[-1], generator=random).double() * 1e-3
        step -= step.mean()
        up, down = rows.detach().clone(), rows.detach().clone()
        up[0, t] += step
        down[0, t] -= step
        with torch.no_grad():
            rise = written(double, up, review, at_once=at_once) - written(
                double, down, review, at_once=at_once
            )
        assert float(rise / 2) == pytest.approx(float(gradient[0, t] @ step), rel=2e-3)


def test_gradient_through_pages_of_memory_reaches_as_far_with_a_search(reviewer):
    rows = rows_of(novels(1, 20), reviewer.vocabulary.n_text).requires_grad_()
    reading = reviewer.read(rows, reviewer.new_state(1, n_token=20))
    (gradient,) = torch.autograd.grad(reviewer.nats(reading, novels(1, 5)).sum(), rows)
    assert gradient.isfinite().all() and (gradient[0, :8].abs().sum() > 0)


def test_gradient_that_the_state_would_cut_is_refused_unless_partial(reviewer):
    rows = rows_of(novels(1, 20), reviewer.vocabulary.n_text).requires_grad_()
    with pytest.raises(ValueError, match="needs grad_segments=9, the state has 1"):
        reviewer.read(rows, reviewer.new_state(1))
    partial = small_reviewer(is_partial=True)
    reading = partial.read(rows, partial.new_state(1))
    (gradient,) = torch.autograd.grad(partial.nats(reading, novels(1, 5)).sum(), rows,
                                      allow_unused=True)  # fmt: skip
    assert gradient is None or not gradient[0, :16].any()  # those segments are cut off
    with torch.no_grad():
        reviewer.read(rows, reviewer.new_state(1))


def test_reader_and_delay_change_the_review_and_unknown_is_the_default(reviewer):
    state = reviewer.read_novel(novels(2, 20), reviewer.new_state(2))
    words = reviewer.vocabulary
    plain = reviewer.ask(state)
    unknown = reviewer.ask(
        state, torch.full((2,), words.group_id(None)), torch.full((2,), words.delay_id(None))
    )
    assert torch.equal(plain.logits, unknown.logits)
    old = reviewer.ask(state, torch.tensor([words.group_id(None), words.group_id("old")]))
    assert torch.equal(plain.logits[0], old.logits[0])
    assert not torch.allclose(plain.logits[1], old.logits[1])


def test_novel_nats_are_the_decoders_own(reviewer):
    x = novels(2, 20)
    mask = torch.arange(20) < torch.tensor([[20], [9]])
    state, nats = reviewer.read_novel_with_nats(x, reviewer.new_state(2), mask)
    assert nats.shape == (2, 20) and not nats[1, 9:].any()
    marked = torch.cat((torch.full((2, 1), reviewer.vocabulary.novel), x), 1)
    u = torch.cat((torch.zeros(1), (torch.arange(20) + 0.5) / 20)).expand(2, -1)
    out = reviewer.model(marked, reviewer.new_state(2), fraction=u)
    said = out.logits[0, :-1].log_softmax(-1).gather(-1, x[0, :, None])[:, 0]
    torch.testing.assert_close(nats[0], -said, atol=2e-4, rtol=1e-4)
    plain = reviewer.read_novel(x, reviewer.new_state(2), mask)
    assert are_equal(bits_of(plain), bits_of(state))


def half_read(reviewer):
    state = reviewer.read_novel(novels(2, 3), reviewer.new_state(2))
    state.reset([1])
    return state


REFUSED = {
    "ids of a novel must be in": lambda r: r.read(torch.tensor([[31]]), r.new_state(1)),
    "rows over another tokenizer": lambda r: r.read(torch.ones(1, 2, 7) / 7, r.new_state(1)),
    "must sum to 1, got a row off by 1": lambda r: r.read(torch.zeros(1, 2, 31), r.new_state(1)),
    "must be finite": lambda r: r.read(torch.full((1, 2, 31), torch.nan), r.new_state(1)),
    "begin together": lambda r: r.read(novels(2, 3), half_read(r)),
    "nothing was read yet": lambda r: r.ask(r.new_state(1)),
    "has a special token": lambda r: r.write(torch.tensor([0]), r.new_state(1)),
    "m >= 1": lambda r: r.draw(r.read(novels(1, 3), r.new_state(1)), 0, [0]),
    "the state is of another decoder": lambda r: r.read(
        novels(1, 3), small_reviewer(window=7).new_state(1)
    ),
    "length must be one number of at least 1": lambda r: r.read_novel(
        novels(1, 3), r.new_state(1), length=[0]
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input_is_refused(reviewer, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](reviewer)


def test_logits_that_are_nan_are_refused_when_drawing(reviewer):
    reading = reviewer.read(novels(2, 3), reviewer.new_state(2))
    broken = reading._replace(
        logits=reading.logits.clone().index_fill(0, torch.tensor([1]), torch.nan)
    )
    with pytest.raises(ValueError, match="logits of token 0 are not finite in review 2"):
        reviewer.draw(broken, 2, [0, 1])


def test_a_state_read_with_other_weights_is_refused(reviewer, tmp_path):
    reviewer.read_novel(novels(1, 9), reviewer.new_state(1)).save(tmp_path, reviewer.model)
    again = DecoderState.load(tmp_path, reviewer.model)
    assert reviewer.ask(again).logits.isfinite().all()
    with pytest.raises(UnreadableSave, match="saved with weights"):
        DecoderState.load(tmp_path, small_reviewer(seed=1).model)


@pytest.fixture(scope="module")
def features(reviewer):
    return DecoderFeatures(reviewer.model, start=reviewer.vocabulary.review)


def test_features_are_equal_for_ids_and_rows(features, reviewer):
    review, weight = novels(2, 6), torch.tensor([[1.0] * 6, [1.0] * 3 + [0.0] * 3])
    hard = features(review, weight)
    soft = features(rows_of(review, reviewer.vocab_size), weight)
    assert hard.shape == (2, features.dim)
    torch.testing.assert_close(hard, soft, atol=1e-5, rtol=1e-5)


def test_features_respect_the_weight(features):
    review, weight = novels(1, 6), torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    short = features(review[:, :3], weight[:, :3])
    torch.testing.assert_close(features(review, weight), short, atol=1e-5, rtol=1e-5)
    other = torch.cat((review[:, :3], novels(1, 3, seed=8)), 1)
    torch.testing.assert_close(features(other, weight), short, atol=1e-5, rtol=1e-5)
    last = features(review, torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]))
    half = features(review, torch.tensor([[0.5, 0.5, 0.5, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(half, short, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(last, short)


def test_features_have_a_gradient_in_review_and_weight(features, reviewer):
    rows = rows_of(novels(1, 6), reviewer.vocab_size).requires_grad_()
    weight = torch.full((1, 6), 0.5, requires_grad=True)
    features(rows, weight)[0, 0].backward()
    assert (rows.grad.abs().sum(-1) > 0).all() and weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(1, 6), "review 0 has no token of weight"),
        (torch.full((1, 6), 1.5), "must be .* numbers in"),
        (torch.full((1, 6), torch.nan), "must be .* numbers in"),
        (torch.ones(1, 5), r"got \(1, 5\)"),
    ],
)
def test_features_refuse_bad_weights(features, weight, message):
    with pytest.raises(ValueError, match=message):
        features(novels(1, 6), weight)
