"""Training a reviewer: it learns what stands early, its head is on its own reviews, it resumes."""

import dataclasses
import itertools

import pytest
import torch

from memformer import Decoder, DecoderConfig, MemoryConfig
from memformer.config import OptimiserConfig
from memformer.config.reviewer import ReviewConfig, ReviewerConfig
from memformer.memory.storage import UnreadableSave
from memformer.reward.gain import GateClosed, gate, information_gain
from memformer.reward.review_set import pad
from memformer.reward.review_text import with_review_tokens
from memformer.reward.reviewer import Reviewer
from memformer.reward.saved_reviewer import load_reviewer, save_reviewer
from memformer.reward.score_head import ScoreHead, head_loss, read_review, scores_of
from memformer.reward.worlds.early_fact import EarlyFact
from memformer.training.reviewer import draw_reviews, train_reviewer
from memformer.training.reviewer_batches import ReviewerData, draw_batch, review_batch

WORLD = EarlyFact(n_token=24)
OPTIMISER = OptimiserConfig(learning_rate=4e-3, warmup_steps=20, schedule="trapezoid")
CONFIG = ReviewerConfig(
    review=ReviewConfig(max_len=6), optimiser=OPTIMISER, n_learn=110, n_head=24, n_novel=16,
    n_review=2, n_drawn=2, p_without=0.2, seed=1,
)  # fmt: skip
QUICK = dataclasses.replace(CONFIG, n_learn=6, n_head=6, n_novel=3, n_review=2, most_unusable=1.0)


def new_model(seed=0, n_embd=64):
    torch.manual_seed(seed)
    config = DecoderConfig(
        vocab_size=WORLD.vocabulary.n_text, n_layer=2, n_head=2, n_kv_head=2, n_embd=n_embd,
        head_dim=n_embd // 2, mlp_dim=2 * n_embd, window=6, segment_len=16,
        memory=MemoryConfig(layers=(1,), n_retrieved=64),
    )  # fmt: skip
    return with_review_tokens(Decoder(config), WORLD.vocabulary, seed=seed)


def data_of(shelf):
    return ReviewerData(shelf.novels, shelf.reviews, shelf.values)


def shuffled(shelf):
    """Every review goes to another novel: they say nothing of the novels they stand with."""
    n = len(shelf.novels)
    return [each._replace(novel=(each.novel + 7 * i + 1) % n)
            for i, each in enumerate(shelf.reviews)]  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    updates = []
    shelf = WORLD.draw(256, 4, seed=0)
    out = train_reviewer(
        new_model(), WORLD.vocabulary, data_of(shelf), CONFIG, watch=updates.append
    )
    return out, updates


@pytest.fixture(scope="module")
def held():
    return WORLD.draw(40, 3, seed=99)


def test_reviewer_learns_a_fact_that_left_the_window(trained, held):
    out, _ = trained
    gain = information_gain(out.reviewer, held.novels, held.reviews, n_draw=2000)
    assert gain.own.low > 0.6 * WORLD.bits
    assert gain.own.value < WORLD.bits + 0.1  # there is no more
    assert gain.shuffled.high < 0  # a wrong novel misleads
    assert not gate(gain).is_ungated


def test_without_memory_the_gain_is_gone(trained, held):
    model = trained[0].reviewer.model.reconfigure({"memory.layers": ()})
    reviewer = Reviewer(model, WORLD.vocabulary, max_len=6)
    gain = information_gain(reviewer, held.novels, held.reviews, n_draw=2000)
    assert gain.beyond_shuffled.low <= 0.02 and gain.beyond_shuffled.high < 0.1


def test_reviews_of_shuffled_novels_teach_nothing_of_a_novel(held):
    shelf = WORLD.draw(256, 4, seed=0)
    data = ReviewerData(shelf.novels, shuffled(shelf))
    config = dataclasses.replace(CONFIG, n_learn=50, n_head=0, n_novel=8)
    out = train_reviewer(new_model(), WORLD.vocabulary, data, config)
    gain = information_gain(out.reviewer, held.novels, held.reviews, n_draw=2000)
    assert abs(gain.own.value) < 0.02 and abs(gain.shuffled.value) < 0.02
    with pytest.raises(GateClosed):
        gate(gain)


def test_the_head_scores_novels_by_reviews_of_its_own(trained, held):
    out, updates = trained
    assert out.head is not None and out.is_finished
    errors = [each.squared_error for each in updates if each.squared_error is not None]
    assert len(errors) == CONFIG.n_head
    assert sum(errors[-8:]) < sum(errors[:8]) / 2
    reading = out.reviewer.read(torch.tensor(held.novels), out.reviewer.new_state(40))
    drawn = out.reviewer.draw(reading, 2, range(40))
    scores = scores_of(out.reviewer, out.head, reading, drawn)
    usable = ~scores.isnan()
    assert torch.equal(usable, drawn.is_usable) and int(usable.sum()) > 60
    values = held.values.repeat_interleave(2)
    pair = torch.stack((scores[usable], values[usable]))
    assert float(torch.corrcoef(pair)[0, 1]) > 0.7


def test_updates_say_what_they_are_made_from(trained):
    _, updates = trained
    assert [each.step for each in updates] == list(range(134))
    assert [stage for stage, _ in itertools.groupby(each.stage for each in updates)] == [
        "learn", "head",
    ]  # fmt: skip
    assert updates[-1].nats < updates[0].nats / 2


@pytest.mark.parametrize("stop", [3, 6, 9])
def test_resumed_run_equals_uninterrupted(tmp_path, stop):
    data = data_of(WORLD.draw(8, 2, seed=0))
    whole = train_reviewer(new_model(n_embd=16), WORLD.vocabulary, data, QUICK)
    model = new_model(n_embd=16)
    part = train_reviewer(model, WORLD.vocabulary, data, QUICK, tmp_path, stop_after=stop)
    assert not part.is_finished
    other = new_model(seed=5, n_embd=16)  # all weights come from the checkpoint
    torch.manual_seed(12345)
    again = train_reviewer(other, WORLD.vocabulary, data, QUICK, tmp_path, resume=True)
    assert again.is_finished
    pairs = zip(whole.reviewer.model.parameters(), again.reviewer.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    for name, tensor in whole.head.state_dict().items():
        assert torch.equal(tensor, again.head.state_dict()[name])
    assert torch.equal(whole.drawn.ids, again.drawn.ids)
    assert whole.drawn[3:] == again.drawn[3:]


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        (dict(seed=9), None, "was made with seed=1, this run has 9"),
        (dict(), WORLD.draw(8, 2, seed=5), "was made from other novels, reviews or targets"),
    ],
)
def test_resuming_something_else_is_refused(tmp_path, changes, data, message):
    shelf = WORLD.draw(8, 2, seed=0)
    model, words = new_model(n_embd=16), WORLD.vocabulary
    train_reviewer(model, words, data_of(shelf), QUICK, tmp_path, stop_after=1)
    config = dataclasses.replace(QUICK, **changes)
    with pytest.raises(ValueError, match=message):
        train_reviewer(model, words, data_of(data or shelf), config, tmp_path, resume=True)


def test_resuming_with_another_tokenizer_is_refused(tmp_path):
    shelf, model = WORLD.draw(8, 2, seed=0), new_model(n_embd=16)
    train_reviewer(model, WORLD.vocabulary, data_of(shelf), QUICK, tmp_path, stop_after=1)
    other = dataclasses.replace(WORLD.vocabulary, tokenizer="another")
    with pytest.raises(ValueError, match="was made with tokenizer='early-fact', this run has"):
        train_reviewer(model, other, data_of(shelf), QUICK, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d._replace(targets=None), "needs the values of at least 2 novels, got 0"),
        (lambda d: d._replace(targets=torch.zeros(3)), "one number for each of 8 novels"),
        (lambda d: d._replace(novels=[[], *d.novels[1:]]), "novel 0 is empty"),
        (lambda d: d._replace(reviews=[]), "at least one review, got none"),
        (lambda d: d._replace(targets=torch.ones(8)), "targets must differ"),
        (
            lambda d: d._replace(targets=torch.tensor([torch.inf, *[1.0] * 7])),
            "targets must be finite",
        ),
        (
            lambda d: d._replace(reviews=[d.reviews[0]._replace(ids=(30,) * 7)]),
            "has 7 tokens, the reviewer writes 6 at most",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(change, message):
    data = change(data_of(WORLD.draw(8, 2, seed=0)))
    made = []
    with pytest.raises(ValueError, match=message):
        train_reviewer(new_model(n_embd=16), WORLD.vocabulary, data, QUICK, watch=made.append)
    assert not made  # before the first update


def test_a_loss_that_is_not_finite_stops_the_run():
    model = new_model(n_embd=16)
    with torch.no_grad():
        model.norm.weight[0] = torch.nan
    before = model.embedding.weight.detach().clone()
    with pytest.raises(FloatingPointError, match="update 0: loss nan"):
        train_reviewer(model, WORLD.vocabulary, data_of(WORLD.draw(8, 2, seed=0)), QUICK)
    assert torch.equal(model.embedding.weight, before)


def test_too_many_reviews_without_end_stop_the_run():
    config = dataclasses.replace(QUICK, n_learn=1, most_unusable=0.1)
    with pytest.raises(ValueError, match="of 16 reviews drawn, .* more than most_unusable=0.1"):
        train_reviewer(
            new_model(n_embd=16), WORLD.vocabulary, data_of(WORLD.draw(8, 2, seed=0)), config
        )


def test_no_review_that_can_be_scored_stops_the_run():
    config = dataclasses.replace(QUICK, n_learn=1)
    data = data_of(WORLD.draw(2, 2, seed=0))
    with pytest.raises(ValueError, match="none of 4 reviews drawn can be scored"):
        train_reviewer(new_model(n_embd=16), WORLD.vocabulary, data, config)


def test_reviews_are_drawn_of_novels_with_a_value_and_none_is_lost_uncounted(trained):
    shelf = WORLD.draw(8, 2, seed=0)
    targets = shelf.values.clone()
    targets[2:] = torch.nan
    data = ReviewerData(shelf.novels, shelf.reviews, targets)
    drawn = draw_reviews(trained[0].reviewer, data, dataclasses.replace(CONFIG, most_unusable=1.0))
    assert set(drawn.novel.tolist()) == {0, 1}
    assert len(drawn.novel) + drawn.n_empty + drawn.n_unfinished == 2 * CONFIG.n_drawn
    assert (drawn.ids.gather(1, drawn.mask.sum(1, keepdim=True) - 1) == WORLD.vocabulary.end).all()


def test_joint_loss_is_its_parts_with_the_weight():
    reviewer = load_untrained()
    head = ScoreHead(16)
    torch.nn.init.normal_(head.value.weight)
    shelf = WORLD.draw(3, 1, seed=0)
    head.fit_units(shelf.values)
    ids, mask = pad([each.ids for each in shelf.reviews], reviewer.end)
    reading = reviewer.read(torch.tensor(shelf.novels), reviewer.new_state(3))
    loss = head_loss(reviewer, head, reading, ids, mask, shelf.values, language_weight=1.25)
    assert float((loss.squared_error + 1.25 * loss.nats).detach()) == pytest.approx(
        float(loss.total.detach())
    )
    nats = reviewer.nats(reading, ids)
    assert float(loss.nats.detach()) == pytest.approx(float(nats.mean().detach()), rel=1e-5)
    _, hidden = read_review(reviewer, reading, ids, mask)
    error = ((head(hidden) - shelf.values) / head.scale) ** 2
    assert float(loss.squared_error.detach()) == pytest.approx(float(error.mean().detach()))
    only = torch.tensor([False, True, False])
    part = head_loss(
        reviewer, head, reading, ids, mask, shelf.values, language_weight=1.25, is_scored=only
    )
    assert float(part.squared_error.detach()) == pytest.approx(float(error[1].detach()))
    assert torch.equal(part.nats, loss.nats)
    with pytest.raises(ValueError, match="at least one review"):
        head_loss(reviewer, head, reading, ids, mask, shelf.values, language_weight=1,
                  is_scored=~only & only)  # fmt: skip
    with pytest.raises(ValueError, match="target must be 3 finite numbers"):
        head_loss(reviewer, head, reading, ids, mask, shelf.values * torch.nan, language_weight=1)


def load_untrained():
    return Reviewer(new_model(n_embd=16).eval(), WORLD.vocabulary, max_len=6)


def test_a_review_without_end_is_not_scored():
    reviewer = load_untrained()
    shelf = WORLD.draw(2, 1, seed=0)
    rows = [shelf.reviews[0].ids, shelf.reviews[1].ids[:-1]]
    ids, mask = pad(rows, 30)
    reading = reviewer.read(torch.tensor(shelf.novels), reviewer.new_state(2))
    with pytest.raises(ValueError, match="review 1 has no end and cannot be scored"):
        read_review(reviewer, reading, ids, mask)


def test_batches_leave_novels_out_at_their_rate_and_cut_at_upto_u():
    shelf = WORLD.draw(20, 2, seed=0)
    reviews = [each._replace(upto_u=0.5) for each in shelf.reviews]
    data = ReviewerData(shelf.novels, reviews)
    batches = [review_batch(data, WORLD.vocabulary, CONFIG, step) for step in range(20)]
    lengths = torch.cat([batch.novels.mask.sum(1) for batch in batches])
    assert set(lengths.tolist()) == {0, 12}
    assert float((lengths == 0).float().mean()) == pytest.approx(CONFIG.p_without, abs=0.1)
    assert batches[0].length == [24] * 16 and batches[0].reviews.ids.shape == (32, 4)
    again = review_batch(data, WORLD.vocabulary, CONFIG, 0)
    assert torch.equal(again.novels.ids, batches[0].novels.ids)
    assert not torch.equal(batches[0].novels.ids, batches[1].novels.ids)


def test_drawn_batches_pair_reviews_with_the_value_of_their_novel():
    shelf = WORLD.draw(6, 1, seed=0)
    ids, mask = pad([each.ids for each in shelf.reviews], WORLD.vocabulary.end)
    batch = draw_batch(data_of(shelf), torch.arange(6), ids, mask, QUICK, 0)
    for i in batch.is_scored.nonzero()[:, 0].tolist():
        at = shelf.novels.index(batch.novels.ids[i // QUICK.n_review].tolist())
        assert batch.reviews.ids[i].tolist() == list(shelf.reviews[at].ids)
        assert float(batch.target[i]) == pytest.approx(float(shelf.values[at]))
    batches = [
        draw_batch(data_of(shelf), torch.arange(6), ids, mask, QUICK, step) for step in range(60)
    ]
    is_read = torch.stack([each.novels.mask.any(1) for each in batches])
    is_scored = torch.stack([each.is_scored for each in batches])
    assert torch.equal(is_scored, is_read.repeat_interleave(QUICK.n_review, 1))
    assert is_read[:, 0].all()
    assert float(is_read[:, 1:].float().mean()) == pytest.approx(1 - QUICK.p_without, abs=0.1)


def test_saved_reviewer_is_the_same_and_knows_its_tokenizer(tmp_path, trained, held):
    out, _ = trained
    save_reviewer(tmp_path, out.reviewer, out.head)
    loaded = load_reviewer(tmp_path)
    x = torch.tensor(held.novels[:2])
    readings = [each.read(x, each.new_state(2)) for each in (out.reviewer, loaded.reviewer)]
    assert torch.equal(readings[0].logits, readings[1].logits)
    assert torch.equal(out.head(readings[0].hidden), loaded.head(readings[1].hidden))

    class Other:
        hash = "another"

    with pytest.raises(UnreadableSave, match="reads tokenizer early-, this one is anothe"):
        load_reviewer(tmp_path, Other())
    save_reviewer(tmp_path, out.reviewer)
    assert load_reviewer(tmp_path).head is None


def test_bits_of_the_world_are_those_of_its_reviews():
    shelf = EarlyFact(n_fact=4, p_other=0.4).draw(4000, 1, seed=0)
    world = EarlyFact(n_fact=4, p_other=0.4)
    joint = torch.zeros(4, 4, dtype=torch.float64)
    for fact, review in zip(shelf.facts, shelf.reviews, strict=True):
        joint[fact, review.ids[1] - (world.n_noise + world.n_fact + 4)] += 1
    joint /= joint.sum()
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    bits = float((joint * (joint / apart).log2()).sum())
    assert bits / world.review_len == pytest.approx(world.bits, abs=0.02)
    assert len({world.value(fact) for fact in range(4)}) == 4
