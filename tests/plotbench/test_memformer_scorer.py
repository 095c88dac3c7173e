"""Branches of one reading score as whole texts do, and leave no trace."""

from dataclasses import replace

import pytest
import torch

from memformer.config.plotbench import ScoreConfig
from memformer.plotbench.memformer_scorer import CONDITIONS, MemformerScorer
from memformer.plotbench.session import Question
from tests.plotbench.examples import example_bench
from tests.plotbench.models import PieceTokenizer, decoder

BENCH = example_bench()
STORY, TWIN, OTHER = BENCH.stories[0], BENCH.stories[1], BENCH.stories[2]
PROBE = BENCH.probes[0]
TOKENS = PieceTokenizer()
MODEL = decoder()
ASKED = PROBE.stem, PROBE.options, PROBE.suffix


def scored(condition="on", text=STORY.text, char=None, model=MODEL, fraction="true", config=None):
    scorer = MemformerScorer(model, TOKENS, condition=condition, config=config)
    session = scorer.open(text, fraction=fraction, other=OTHER.text)
    session.advance(len(text) if char is None else char)
    return session.score(*ASKED)


def nats(scores):
    return [each.logprob for each in scores]


def whole(model, text, n):
    """Nats of the last n tokens of a text read in one go."""
    ids = torch.tensor([TOKENS.encode(text).ids])
    logits = model(ids, model.new_state(1)).logits[0, :-1].log_softmax(-1)
    return float(logits.gather(-1, ids[0, 1:, None])[-n:].sum().detach())


def tensors(state):
    """Everything a state holds."""
    for layer in state.layers:
        yield from (layer.keys, layer.values, layer.fraction, layer.sink_keys, layer.sink_values)
        for book in [] if layer.memory is None else layer.memory.books:
            for page in book.pages():
                yield from page.columns


@pytest.mark.parametrize("condition", ["on", "off", "full"])
def test_branches_score_as_whole_texts(condition):
    changes = {
        "on": {},
        "off": {"memory.layers": ()},
        "full": {"memory.layers": (), "window": 4096, "n_sink": 0},
    }
    model = MODEL.reconfigure(changes[condition]).eval()
    found = scored(condition)
    for option, score in zip(PROBE.options, found, strict=True):
        text = STORY.text + PROBE.stem + option + PROBE.suffix
        assert score.logprob == pytest.approx(whole(model, text, score.n_tokens), abs=1e-4)
        assert score.n_tokens + score.context_tokens == len(TOKENS.encode(text).ids)
        assert score.n_bytes == len(option + PROBE.suffix)
        assert not score.truncated


def test_products_in_bfloat16_score_nearly_alike():
    exact, short = (
        nats(scored(config=ScoreConfig(precision=each))) for each in ("float32", "bfloat16")
    )
    assert short != exact and short == pytest.approx(exact, abs=0.5)
    with pytest.raises(ValueError, match="precision must be float32 or bfloat16, got 'half'"):
        ScoreConfig(precision="half")


def test_scoring_leaves_the_state_as_it_was_to_the_bit():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    session.advance(300)
    before = [each.clone() for each in tensors(session.state)]
    n_read = session.state.n_read
    session.score(*ASKED)
    session.generate(PROBE.stem, 3, seed=0)
    after = list(tensors(session.state))
    assert session.state.n_read == n_read
    assert len(before) == len(after) > 10
    assert all(
        torch.equal(a.nan_to_num(9), b.nan_to_num(9)) for a, b in zip(before, after, strict=True)
    )
    fresh = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    fresh.advance(300)
    for each in (session, fresh):
        each.advance(len(STORY.text))
    assert session.score(*ASKED) == fresh.score(*ASKED)


def test_order_of_options_changes_no_bit():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    session.advance(len(STORY.text))
    one = session.score(*ASKED)
    assert session.score(PROBE.stem, PROBE.options[::-1], PROBE.suffix)[::-1] == one
    assert session.score(*ASKED) == one


def test_probes_asked_together_score_as_alone():
    session = MemformerScorer(MODEL, TOKENS, config=ScoreConfig(max_lanes=3)).open(STORY.text)
    session.advance(len(STORY.text))
    long = Question("\n\nIt was the landlord's word that they were", (" brown", " blue"), " then.")
    together = session.score_all([Question(*ASKED), long])
    for question, found in zip((ASKED, long), together, strict=True):
        assert nats(found) == pytest.approx(nats(session.score(*question)), abs=1e-4)


def test_what_comes_later_changes_nothing():
    char = 250
    later = STORY.text[:char] + STORY.text[char:].swapcase()
    assert len(TOKENS.encode(later).ids) == len(TOKENS.encode(STORY.text).ids)
    model = decoder("fourier")
    assert scored(text=later, char=char, model=model) == scored(char=char, model=model)


def test_reading_on_in_steps_scores_as_reading_at_once():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    for char in (50, 51, 200, len(STORY.text)):
        session.advance(char)
    assert nats(session.score(*ASKED)) == pytest.approx(nats(scored()), abs=1e-4)


def test_a_story_is_read_once_however_many_probes():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    read = []
    session._reader.register_forward_pre_hook(lambda _, args: read.append(args[0].shape))
    for char in (200, 300, len(STORY.text)):
        session.advance(char)
        session.score_all([Question(*ASKED)] * 5)
    trunk = sum(L for B, L in read if B == 1)
    assert trunk == session.story.n_context(len(STORY.text))
    assert [B for B, _ in read if B > 1] == [2, 2, 2]  # equal questions are read once


def test_conditions_do_what_they_say():
    model = MODEL.reconfigure({"memory.max_distance": 20})
    found = {each: nats(scored(each, model=model)) for each in (*CONDITIONS, "K0", "K1", "K64")}
    assert found["K0"] == found["off"]
    assert len({tuple(each) for each in found.values()}) == len(found) - 1
    assert found["K64"] != found["K1"]


def test_clamped_full_attention_is_full_attention_up_to_the_clamp():
    with pytest.raises(ValueError, match="full_clamped.* needs the override memory.max_distance"):
        MemformerScorer(decoder(max_distance=None), TOKENS, condition="full_clamped")
    tight = MODEL.reconfigure({"memory.max_distance": 20})
    full = nats(scored("full"))
    assert nats(scored("full_clamped")) == pytest.approx(full, abs=1e-4)
    assert nats(scored("full_clamped", model=tight)) != pytest.approx(full, abs=1e-3)


def test_a_memory_of_another_story_cannot_tell_the_twins_apart():
    # the window has left the swapped words behind; the memory alone could know them
    one, two = (scored("other_book", text=each.text) for each in (STORY, TWIN))
    assert nats(one) == pytest.approx(nats(two), abs=1e-5)
    assert one[0].retrieved is None


@pytest.mark.parametrize("fraction", ["true", "unknown", "shuffled", "estimated"])
def test_truncated_model_scores_twins_alike_to_the_bit(fraction):
    model = decoder("fourier")
    one, two = (
        scored("truncated", text=s.text, model=model, fraction=fraction) for s in (STORY, TWIN)
    )
    assert one == two
    assert one[0].context_tokens == model.config.window
    assert one[0].truncated is False  # the condition says so; nothing was too long


def test_a_truncated_model_sees_its_last_tokens_alone():
    score = scored("truncated")[0]
    text = STORY.text + PROBE.stem + PROBE.options[0] + PROBE.suffix
    ids = torch.tensor([TOKENS.encode(text).ids[-(16 + score.n_tokens) :]])
    model = MODEL.reconfigure({"memory.layers": ()})
    logits = model(ids, model.new_state(1)).logits[0, :-1].log_softmax(-1)
    told = logits.gather(-1, ids[0, 1:, None])[-score.n_tokens :].sum()
    assert score.logprob == pytest.approx(float(told.detach()), abs=1e-4)


def test_retrieved_are_places_that_left_the_window():
    first, other = scored()
    assert first.retrieved == other.retrieved
    assert 0 < len(first.retrieved) <= 4 * 4  # K of each head
    spans = set(TOKENS.encode(STORY.text).spans)
    assert set(first.retrieved) <= spans
    assert max(stop for _, stop in first.retrieved) < len(STORY.text) - 8
    assert scored("off")[0].retrieved is None
    few = scored(config=ScoreConfig(n_retrieved=2))[0].retrieved
    assert few == first.retrieved[:2]


def test_retrieved_places_of_a_headed_text_are_those_of_the_story():
    found = scored(fraction="header")[0]
    assert found.context_tokens > scored()[0].context_tokens
    assert all(0 <= a < b <= len(STORY.text) for a, b in found.retrieved)


def test_fractions_change_what_a_model_that_takes_them_says():
    model = decoder("fourier")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "fraction" in name:
                weight.normal_(0, 1)
    told = ("true", "estimated", "unknown", "shuffled")
    assert len({tuple(nats(scored(model=model, fraction=each))) for each in told}) == 4
    with pytest.raises(ValueError, match="fraction must be one of true, estimated"):
        scored(model=model, fraction="header")
    with pytest.raises(ValueError, match="fraction must be one of true, header"):
        scored(fraction="shuffled")


def test_text_is_generated_on_a_branch_by_seed():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    session.advance(200)
    one = session.generate(" so", 4, seed=1)
    assert one == session.generate(" so", 4, seed=1)
    assert one != session.generate(" so", 4, seed=2)
    assert 1 <= len(one.split()) <= 4
    with pytest.raises(ValueError, match="max_words must be at least 1"):
        session.generate(" so", 0, seed=1)


@pytest.mark.parametrize("condition", ["truncated", "other_book", "shuffled", "full"])
def test_text_is_generated_under_every_condition(condition):
    scorer = MemformerScorer(MODEL, TOKENS, condition=condition)
    session = scorer.open(STORY.text, other=OTHER.text)
    session.advance(300)
    assert session.generate(" so", 3, seed=1).split()


def test_what_cannot_be_is_refused():
    session = MemformerScorer(MODEL, TOKENS).open(STORY.text)
    session.advance(100)
    with pytest.raises(ValueError, match=r"to_char must lie .* got 99"):
        session.advance(99)
    with pytest.raises(ValueError, match="to_char must lie"):
        session.advance(len(STORY.text) + 1)
    with pytest.raises(ValueError, match="condition must be one of on, off, .*got 'of'"):
        MemformerScorer(MODEL, TOKENS, condition="of")
    with pytest.raises(ValueError, match="other is missing"):
        MemformerScorer(MODEL, TOKENS, condition="other_book").open(STORY.text)
    bare = MODEL.reconfigure({"memory.layers": ()})
    with pytest.raises(ValueError, match="memory.layers"):
        MemformerScorer(bare, TOKENS, condition="on")


def test_under_changes_the_condition_alone():
    scorer = MemformerScorer(MODEL, TOKENS, name="m", config=ScoreConfig(n_held=5))
    cut = scorer.under("truncated")
    assert (cut.name, cut.config.n_held, cut.config.last) == ("m", 5, 16)
    assert cut.under("on").config == scorer.config == replace(cut.config, last=None)
    assert scorer.settings == cut.under("on").settings
