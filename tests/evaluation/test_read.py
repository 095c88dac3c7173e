from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from memformer import FractionConfig
from memformer.evaluation.arms import Arm, usual_arms
from memformer.evaluation.encoded import encode
from memformer.evaluation.read import STRETCH, _fraction, read
from tests.evaluation.story import LetterGroups, backwards, encoded, make_model, manuscript

ARMS = {a.name: a for a in usual_arms(window=16, n_sink=2, n_retrieved=4, controls=True)}
MEMORY = ARMS["memory-4"]
N = 200


def one_shot(model, book, **changes):
    """Losses from a single pass over all tokens."""
    whole = model.reconfigure({"memory.layers": (), **changes})
    tokens = torch.from_numpy(book.ids)[None]
    with torch.no_grad():
        logits = whole(tokens, whole.new_state(batch_size=1)).logits[0, :-1]
    return F.cross_entropy(logits, tokens[0, 1:], reduction="none").numpy()


def test_full_attention_in_segments_equals_one_window_over_everything(model):
    book = encoded(n_tokens=N)
    expected = one_shot(model, book, window=N, n_sink=0)
    np.testing.assert_allclose(read(model, book, ARMS["full"]).nats, expected, atol=2e-4)


def test_window_in_segments_equals_one_pass_with_that_window(model):
    book = encoded(n_tokens=N)
    expected = one_shot(model, book, window=16, n_sink=0)
    np.testing.assert_allclose(read(model, book, ARMS["window"]).nats, expected, atol=2e-4)


def test_sinks_change_only_what_lies_beyond_the_window(model):
    book = encoded(n_tokens=N)
    plain, sinks = (read(model, book, ARMS[a]).nats for a in ("window", "window-sinks"))
    np.testing.assert_allclose(plain[:16], sinks[:16], atol=1e-5)
    assert np.abs(plain - sinks)[16:].max() > 0.01


@pytest.mark.parametrize("segment_len", [1, 7, 16])
def test_segment_length_does_not_change_losses_with_memory(model, segment_len):
    book = encoded(n_tokens=100)
    arm = replace(MEMORY, overrides={**MEMORY.overrides, "segment_len": segment_len})
    a, b = read(model, book, MEMORY), read(model, book, arm)
    np.testing.assert_allclose(a.nats, b.nats, atol=2e-4)


@pytest.mark.parametrize("control", ["memory-4-shuffled", "memory-4-other-book"])
def test_a_control_reads_like_memory_until_the_memory_holds_pairs(model, control):
    book, other = encoded(n_tokens=N), encoded(backwards(), N)
    true = read(model, book, MEMORY).nats
    false = read(model, book, ARMS[control], other=other if "other" in control else None).nats
    # windows of 16 and sinks of 2: the first pair is written with the second segment's end
    np.testing.assert_allclose(true[:32], false[:32], atol=1e-5)
    assert np.abs(true - false)[48:].max() > 0.01


def test_another_books_memory_depends_on_that_book(model):
    book, arm = encoded(n_tokens=N), ARMS["memory-4-other-book"]
    third = manuscript("third", "A letter came, and then a second letter. " * 60)
    a = read(model, book, arm, other=encoded(backwards(), N)).nats
    b = read(model, book, arm, other=encoded(third, N)).nats
    assert np.abs(a - b).max() > 0.01


def test_only_an_arm_with_memory_holds_bytes(model):
    book = encoded(n_tokens=N)
    assert read(model, book, ARMS["window-sinks"]).memory_bytes == 0
    assert read(model, book, MEMORY).memory_bytes > 0


def test_fraction_is_of_the_whole_manuscript_not_of_what_is_read():
    model = make_model(fraction=FractionConfig(kind="fourier"))
    with torch.no_grad():  # whatever carries the fraction starts at 0
        for name, weight in model.named_parameters():
            if "fraction" in name:
                weight.normal_()
    part, whole = encoded(n_tokens=60), encode(manuscript(), LetterGroups())
    a, b = (read(model, book, ARMS["window"]).nats for book in (part, whole))
    np.testing.assert_allclose(a, b[: len(a)], atol=1e-4)
    claimed = replace(part, n_total=60)
    assert np.abs(read(model, claimed, ARMS["window"]).nats - a).max() > 0.01


@pytest.mark.parametrize("n_sentence", [1, 7, 9, 60, 300])
def test_falsified_fractions_are_unknown_or_traded_and_none_is_true(n_sentence):
    text = "A letter came, and then a second one. " * n_sentence
    book = encode(manuscript("long", text), LetterGroups())
    told = {name: _fraction(book, name)[0] for name in ("true", "shuffled", "unknown")}
    assert told["unknown"].isnan().all()
    torch.testing.assert_close(told["true"], (torch.arange(len(book)) + 0.5) / book.n_total)
    assert (told["shuffled"] != told["true"]).all()
    torch.testing.assert_close(told["shuffled"].sort().values, told["true"])  # a permutation
    together = (told["shuffled"].diff() * book.n_total - 1).abs() < 0.1
    n_stretch = max(8, book.n_total // STRETCH)
    assert int((~together).sum()) < n_stretch


def test_part_of_a_novel_is_told_places_of_the_whole():
    part, whole = encoded(n_tokens=60), encode(manuscript(), LetterGroups())
    told = _fraction(part, "shuffled")
    torch.testing.assert_close(told, _fraction(whole, "shuffled")[:, :60])


def test_arms_of_the_fraction_tell_it_to_the_model():
    model = make_model(fraction=FractionConfig(kind="fourier"))
    with torch.no_grad():
        model.fraction.weight.normal_()
    book, arm = encoded(n_tokens=100), ARMS["window"]
    nats = {f: read(model, book, replace(arm, fraction=f)).nats for f in ("true", "unknown")}
    assert np.abs(nats["true"] - nats["unknown"]).max() > 0.01
    hidden = model(torch.from_numpy(book.ids[:16])[None], model.new_state(1)).logits[0, :15]
    expected = F.cross_entropy(hidden, torch.from_numpy(book.ids[1:16]), reduction="none")
    np.testing.assert_allclose(nats["unknown"][:15], expected.detach().numpy(), atol=1e-4)


def test_progress_counts_tokens_up_to_all(model):
    seen = []
    read(model, encoded(n_tokens=70), ARMS["window"], progress=seen.append)
    assert seen == [16, 32, 48, 64, 70]


def test_reading_leaves_the_model_as_it_was():
    model = make_model().train()
    before = [weight.clone() for weight in model.parameters()]
    read(model, encoded(n_tokens=60), MEMORY)
    assert model.training and all(block.training for block in model.blocks)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())


def test_retrievals_equal_what_the_decoder_hands_out(model):
    book = encoded(n_tokens=N)
    found = read(model, book, MEMORY, want=[range(100, 140)]).retrieved
    reader = model.reconfigure(MEMORY.overrides)
    tokens = torch.from_numpy(book.ids)[None]
    with torch.no_grad():
        out = reader(tokens, reader.new_state(batch_size=1), want_retrieved=True)
    assert found.query.tolist() == list(range(100, 140))
    for row, t in enumerate(range(100, 140)):
        index = torch.stack([out.retrieved[i].token_index[0, :, t] for i in (0, 1)])  # (2, H, K)
        weight = torch.stack([out.retrieved[i].weight[0, :, t] for i in (0, 1)])
        # each of the two layers is a group of its own
        best = [torch.bincount(index[g].flatten(), weight[g].flatten()) / 4 for g in (0, 1)]
        for g in (0, 1):
            top = best[g].topk(2)
            np.testing.assert_allclose(found.share[row, g, :2], top.values, atol=1e-4)
            assert found.layer[row, g, 0] == g
            head = int(found.head[row, g, 0])
            own = weight[g, head][index[g, head] == int(found.found[row, g, 0])]
            np.testing.assert_allclose(found.weight[row, g, 0], own.sum(), atol=1e-4)
        np.testing.assert_allclose(found.mass[row], weight.sum(-1).mean(), atol=1e-4)


def test_retrieved_tokens_lie_beyond_the_window_and_behind_the_sinks(model):
    found = read(model, encoded(n_tokens=N), MEMORY, want=[range(60, 90)]).retrieved
    held = found.found >= 0
    distance = found.query[:, None, None] - found.found
    assert held.any() and distance[held].min() >= 16 and found.found[held].min() >= 2


def test_distances_count_every_pair_once(model):
    found = read(model, encoded(n_tokens=N), MEMORY, want=[range(60, 90), range(95, 99)]).retrieved
    assert found.count.sum() == 34 * 2 * 4 * 4  # queries, layers, heads, K
    np.testing.assert_allclose(found.attention.sum() / (2 * 4), found.mass.sum(), rtol=1e-4)
    queries = [*range(60, 90), *range(95, 99)]
    assert found.available.sum() == sum(t - 2 - 16 + 1 for t in queries)


def test_manuscript_shorter_than_the_window_is_refused(model):
    with pytest.raises(ValueError, match=r"has 17 tokens to read, needs at least window \+ 2 = 18"):
        read(model, encoded(n_tokens=17), ARMS["window"])


def test_token_id_out_of_range_is_refused(model):
    book = encoded(n_tokens=60)
    ids = book.ids.copy()
    ids[41] = 96
    with pytest.raises(ValueError, match="token 41 has id 96, outside the model's vocab_size=96"):
        read(model, replace(book, ids=ids), ARMS["window"])


def test_another_book_must_be_given_longer_and_other(model):
    book, arm = encoded(n_tokens=60), ARMS["memory-4-other-book"]
    with pytest.raises(ValueError, match="other is missing"):
        read(model, book, arm)
    with pytest.raises(ValueError, match="another manuscript than 'ferry'"):
        read(model, book, arm, other=book)
    with pytest.raises(ValueError, match="'quay' has 59 tokens, needs at least the 60"):
        read(model, book, arm, other=encoded(backwards(), 59))


@pytest.mark.parametrize("bad", [range(50, 60), range(0), range(-1, 3), range(0, 9, 2)])
def test_range_of_retrievals_must_lie_in_the_text(model, bad):
    with pytest.raises(ValueError, match=r"want must be ranges of tokens in \[0, 59\)"):
        read(model, encoded(n_tokens=60), MEMORY, want=[bad])


def test_full_attention_retrieves_nothing(model):
    with pytest.raises(ValueError, match="attends to all tokens and retrieves none"):
        read(model, encoded(n_tokens=60), ARMS["full"], want=[range(3)])


def test_more_tokens_than_the_manuscript_has_are_refused():
    with pytest.raises(ValueError, match=r"n_tokens must be in \[1, \d+\], .* got 9999: lower it"):
        encoded(n_tokens=9999)


def test_full_arm_with_clamped_distances_differs_beyond_the_clamp(model):
    book = encoded(n_tokens=N)
    clamped = Arm(name="c", attention="full_clamped", overrides={"memory.max_distance": 40})
    true, other = read(model, book, ARMS["full"]).nats, read(model, book, clamped).nats
    np.testing.assert_allclose(true[:40], other[:40], atol=2e-4)
    assert np.abs(true - other)[41:].max() > 0.01


def test_a_memory_that_reads_by_the_fraction_is_told_it(model):
    """Also where nothing at the input is: such a model was read as if it were never told."""
    by_fraction = {**MEMORY.overrides, "memory.positions": "fraction", "memory.max_distance": None}
    told = model.reconfigure(by_fraction)
    for block in told.blocks:
        bias = getattr(block.attention, "fraction_bias", None)
        if bias is not None:
            torch.nn.init.normal_(bias.weight, std=30.0)
    book, arm = encoded(n_tokens=N), replace(MEMORY, overrides={})
    true, unknown, shuffled = (
        read(told, book, replace(arm, fraction=name)).nats
        for name in ("true", "unknown", "shuffled")
    )
    assert np.abs(true - unknown).max() > 1e-3 and np.abs(true - shuffled).max() > 1e-3
