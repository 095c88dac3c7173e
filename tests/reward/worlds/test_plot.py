"""The plot world: a tracker that is right sentence by sentence, and gold in closed form."""

import pytest
import torch

from memformer.config.plot_world import PlotWorldConfig
from memformer.reward.worlds.plot import (
    FEATURES,
    contradictions_per_1000,
    features,
    make_plot_world,
)
from memformer.reward.worlds.plot_corpus import write_stories
from memformer.reward.worlds.plot_reviews import review
from memformer.reward.worlds.plot_tracker import follow
from memformer.reward.worlds.plot_words import (
    THREADS,
    VOCAB_SIZE,
    WORDS,
    Sentence,
    decode,
    encode,
    parse,
)

CONFIG = PlotWorldConfig(n_calibration=60)


@pytest.fixture(scope="module")
def world():
    return make_plot_world(CONFIG, seed=0)


@pytest.fixture(scope="module")
def stories():
    return write_stories(CONFIG, 150, seed=1)


def kinds(text):
    return [fault.kind for fault in follow(encode(text)).faults]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("anna walks to mill . anna sings at mill .", []),
        ("anna walks to mill . anna sings at tavern .", ["place"]),
        ("anna sings at mill . boris waits at tavern . anna asks boris at mill .", ["place"]),
        ("anna takes ring at mill . anna gives ring to boris .", []),
        ("anna gives ring to boris .", ["holding"]),
        ("anna takes ring at mill . boris takes ring at mill .", ["holding"]),
        ("anna takes ring at mill . boris waits at tavern . anna gives ring to boris .", ["place"]),
        ("anna takes ring at mill . anna gives ring to boris . boris sings at tavern .", ["place"]),
        ("anna dies at mill . anna sings at mill .", ["dead"]),
        ("anna dies at mill . boris promises anna .", ["dead"]),
        ("anna helps boris .", ["thread"]),
        ("anna promises boris . boris helps anna .", ["thread"]),
        ("anna promises boris . anna helps boris .", []),
        ("anna promises boris . anna helps boris . anna helps boris .", ["thread"]),
        ("anna promises anna .", ["self"]),
        ("anna dies at mill . anna gives ring to anna .", ["holding", "dead", "self"]),
    ],
)
def test_tracker_finds_each_contradiction_and_no_other(text, expected):
    assert kinds("<story> " + text) == expected


def test_one_slip_of_place_is_counted_once():
    assert kinds("anna waits at mill . anna sings at tavern . anna reads at tavern .") == ["place"]


def test_word_of_time_means_nothing():
    plain, timed = "anna waits at mill .", "later anna waits at mill ."
    assert follow(encode(plain)).n_sentence == follow(encode(timed)).n_sentence == 1


def test_threads_say_when_they_open_and_close():
    told = follow(encode("anna owes leo . leo waits at mill . anna repays leo . hugo owes leo ."))
    assert [t.opened for t in told.threads] == [3.5 / 17, 16.5 / 17]
    assert [t.closed for t in told.threads] == [12.5 / 17, None]
    assert told.n_unresolved == 1


def test_thread_opened_twice_is_one_thread():
    assert len(follow(encode("anna owes leo . anna owes leo .")).threads) == 1


@pytest.mark.parametrize(
    "text", ["anna .", "anna sings mill .", ".", "then .", "sings anna at mill .",
             "anna sings at ring .", "<story> <story> anna owes leo .", "anna owes leo"],
)  # fmt: skip
def test_what_is_no_sentence_is_broken(text):
    assert follow(encode(text)).n_broken == 1


def test_sentences_survive_words_and_back():
    for told in (
        Sentence("move", "walks", "anna", place="mill"),
        Sentence("act", "sings", "anna", place="mill"),
        Sentence("talk", "asks", "anna", "leo", "mill"),
        Sentence("take", "takes", "anna", place="mill", thing="ring"),
        Sentence("give", "gives", "anna", "leo", thing="ring"),
        Sentence("die", "dies", "anna", place="mill"),
        *(Sentence("open", verb, "anna", "leo") for verb in THREADS),
        *(Sentence("close", verb, "anna", "leo") for verb in THREADS.values()),
    ):
        assert parse(told.words()[:-1]) == told


def test_words_are_between_60_and_120_and_all_different():
    assert 60 <= VOCAB_SIZE == len(set(WORDS)) <= 120


def test_stories_are_whole_and_reproducible(stories):
    assert stories.shape == (150, CONFIG.n_token)
    assert torch.equal(stories, write_stories(CONFIG, 150, seed=1))
    assert not torch.equal(stories, write_stories(CONFIG, 150, seed=2))
    told = [follow(row) for row in stories.tolist()]
    assert sum(each.n_broken for each in told) == 0
    text = decode(stories[0].tolist())
    assert encode(text) == stories[0].tolist()


def test_flaws_come_at_the_rate_asked_for(stories):
    clean = write_stories(PlotWorldConfig(flaw_rate=0.0), 100, seed=1)
    assert sum(len(follow(row).faults) for row in clean.tolist()) == 0
    told = [follow(row) for row in stories.tolist()]
    flawed = sum(len({f.at for f in each.faults}) for each in told)
    share = flawed / sum(each.n_sentence for each in told)
    assert 0.1 < share < 0.17  # a little under .15: early on there is nothing to contradict
    assert contradictions_per_1000(told) == pytest.approx(
        1000 * sum(len(t.faults) for t in told) / sum(t.n_word for t in told)
    )


def test_bad_pacing_opens_threads_late():
    early, late = (
        features(write_stories(PlotWorldConfig(late_rate=rate), 100, seed=1))[:, 2].mean()
        for rate in (0.0, 1.0)
    )
    assert early + 0.5 < late


def test_gold_is_the_mean_reader_in_closed_form(world, stories):
    z = features(stories)
    by_reader = (world.utility(z).mean(1) - world.centre) / world.spread
    torch.testing.assert_close(world.gold(z), by_reader)
    torch.testing.assert_close(world.gold_of(stories), world.gold(z))
    ordinary = world.gold_of(write_stories(CONFIG, CONFIG.n_calibration, seed=0))
    assert float(ordinary.mean()) == pytest.approx(0, abs=1e-9)
    assert float(ordinary.std()) == pytest.approx(1)


@pytest.mark.parametrize("feature", [0, 1, 5])
def test_every_reader_dislikes_flaws(world, feature):
    z = torch.tensor([[0.5, 0.5, 1.2, 3.0, 2.5, 0.5]], dtype=torch.float64)
    worse = z.clone()
    worse[0, feature] += 2
    assert bool((world.utility(worse) < world.utility(z)).all())


def test_clusters_mind_different_things(world):
    weight = world.readers.weight
    for cluster, j in ((0, 0), (1, 1), (2, 2)):
        inside = world.readers.cluster == cluster
        assert weight[inside, j].mean() > 2 * weight[~inside, j].mean()


def test_ratings_are_on_the_scale_and_follow_the_readers(world, stories):
    rng = torch.Generator().manual_seed(0)
    z = features(stories)
    ratings = world.collect(z, torch.arange(20), 10, rng)
    assert ratings.value.min() >= 1 and ratings.value.max() <= 7
    assert torch.equal(ratings.value, ratings.value.round())
    assert ratings.rater.max() < 20 and len(ratings.value) == 1500
    mean = ratings.value.view(-1, 10).mean(1)
    assert float(torch.corrcoef(torch.stack((mean, world.gold(z))))[0, 1]) > 0.7
    pairs = set(zip(ratings.rater.tolist(), ratings.item.tolist(), strict=True))
    assert len(pairs) == 1500  # nobody rates a story twice


def test_review_follows_from_story_and_reader(world):
    z = torch.tensor([4.0, 3.0, 3.5, 0.5, 2.5, 0.0], dtype=torch.float64)
    said = {review(world, z, rater) for rater in range(CONFIG.n_rater)}
    assert len(said) > 1
    of_consistency = review(world, torch.tensor([6.0, 0, 1.2, 3, 2.5, 0]).double(), 0)
    assert of_consistency.startswith("it contradicts itself") and "I gave it up" in of_consistency
    perfect = review(world, world.readers.ideal[3], 3)
    assert perfect.endswith("I would read it again.")


def test_bad_input_is_named(world, stories):
    with pytest.raises(ValueError, match="no word 'dragon'"):
        encode("anna owes dragon")
    with pytest.raises(ValueError, match=r"ids must be in \[0, "):
        follow([VOCAB_SIZE])
    with pytest.raises(ValueError, match="at least one token"):
        follow([])
    with pytest.raises(ValueError, match="n must be at least 1"):
        write_stories(CONFIG, 0, seed=0)
    with pytest.raises(ValueError, match=r"per_item must be in \[1, 2\], got 3"):
        world.collect(features(stories[:2]), torch.arange(2), 3, torch.Generator())
    with pytest.raises(ValueError, match="n_person must be at most 12"):
        PlotWorldConfig(n_person=13)
    assert len(FEATURES) == features(stories[:1]).shape[1]
