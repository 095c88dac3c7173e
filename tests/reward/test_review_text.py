"""Special tokens above the tokenizer's, and metadata."""

import pytest
import torch

from memformer.config.reviewer import ReviewConfig, ReviewerConfig
from memformer.data.sentencepiece_tokenizer import train_tokenizer
from memformer.reward.review_text import hide_metadata, review_vocabulary, with_review_tokens
from tests.reward.small_reviewer import CONFIG, LETTERS, letters, novels, small_decoder


@pytest.fixture(scope="module")
def words():
    return review_vocabulary(letters(), CONFIG)


def test_every_special_token_has_an_id_of_its_own_above_the_texts(words):
    ids = [words.novel, words.review, words.end]
    ids += [words.group_id(group) for group in (None, "young", "old")]
    ids += [words.delay_id(days) for days in (None, 0, 7, 366)]
    assert sorted(ids) == list(range(len(LETTERS), words.vocab_size))


def test_delay_has_the_token_of_its_interval(words):
    known = [words.delay_id(days) for days in (0, 6.9, 7, 364, 365, 9999)]
    assert [i - known[0] for i in known] == [0, 0, 1, 1, 2, 2]
    plain = review_vocabulary(letters(), ReviewConfig())
    assert plain.delay_id(3.0) == plain.delay_id(None) == plain.vocab_size - 1


def test_unknown_group_and_bad_delay_are_refused(words):
    with pytest.raises(ValueError, match="group must be one of young, old, .* got 'teens'"):
        words.group_id("teens")
    for days in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="delay must be at least 0 days"):
            words.delay_id(days)


def test_no_review_contains_a_special_token_but_its_end(words):
    allowed = set(range(words.vocab_size)) - set(words.never())
    assert allowed == {*range(1, len(LETTERS)), words.end}  # 0 is special to the tokenizer


def test_sentencepiece_keeps_its_ids_and_its_file():
    tokenizer = train_tokenizer(["the cat sat on the mat. " * 20, "a dog ran far away. " * 20], 300)
    words = review_vocabulary(tokenizer, CONFIG)
    assert words.n_text == 300 and words.tokenizer == tokenizer.hash
    assert set(words.special_ids) == set(tokenizer.special_ids) and len(words.special_ids) == 3
    assert words.novel == 300 and tokenizer.vocab_size == 300


def test_rows_of_an_imported_embedding_without_a_token_are_no_text():
    words = review_vocabulary(letters(), CONFIG, n_text=40)
    assert set(range(len(LETTERS), 40)) <= set(words.never()) and words.novel == 40
    with pytest.raises(ValueError, match="n_text must be at least the tokenizer's 31, got 5"):
        review_vocabulary(letters(), CONFIG, n_text=5)


@pytest.mark.parametrize("is_tied", [True, False])
def test_new_rows_leave_texts_as_they_were(words, is_tied):
    model = small_decoder(tie_embeddings=is_tied)
    longer = with_review_tokens(model, words, seed=1)
    x = novels(2, 12)
    before = model(x, model.new_state(2)).logits
    after = longer(x, longer.new_state(2)).logits
    assert torch.equal(after[..., : words.n_text], before)
    assert after.shape[-1] == words.vocab_size
    again = with_review_tokens(model, words, seed=1)
    assert torch.equal(again.embedding.weight, longer.embedding.weight)
    with torch.no_grad():
        longer.embedding.weight.add_(1)
    assert torch.equal(model(x, model.new_state(2)).logits, before)  # nothing is shared


def test_new_rows_take_little_probability(words):
    model = small_decoder()
    longer = with_review_tokens(model, words)
    p = longer(novels(2, 12), longer.new_state(2)).logits.softmax(-1)
    n_new = words.vocab_size - words.n_text
    assert float(p[..., words.n_text :].sum(-1).mean().detach()) < 2 * n_new / words.vocab_size


def test_frozen_weights_stay_frozen(words):
    model = small_decoder()
    model.embedding.weight.requires_grad_(False)
    longer = with_review_tokens(model, words)
    assert not longer.embedding.weight.requires_grad and longer.norm.weight.requires_grad


def test_a_decoder_of_another_vocabulary_is_refused(words):
    with pytest.raises(ValueError, match="the decoder has 50 ids, the vocabulary 31 of text"):
        with_review_tokens(small_decoder(vocab_size=50), words)


def test_metadata_is_hidden_at_its_rate_and_each_apart(words):
    groups = torch.full((2000,), words.group_id("old"))
    delays = torch.full((2000,), words.delay_id(9.0))
    random = torch.Generator().manual_seed(0)
    group, delay = hide_metadata(groups, delays, words, 0.3, random)
    is_hidden = torch.stack((group == words.group_id(None), delay == words.delay_id(None)))
    assert is_hidden.float().mean(1).tolist() == pytest.approx([0.3, 0.3], abs=0.04)
    assert float(is_hidden.all(0).float().mean()) == pytest.approx(0.09, abs=0.03)
    assert torch.equal(group[~is_hidden[0]], groups[~is_hidden[0]])
    same = hide_metadata(groups, delays, words, 0.0, random)
    assert torch.equal(same[0], groups) and torch.equal(same[1], delays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(max_len=1), "max_len must be an integer of at least 2"),
        (dict(groups=("a", "a")), "groups must be different names"),
        (dict(groups=("",)), "groups must be different names, none empty"),
        (dict(delay_edges=(3.0, 1.0)), "delay_edges must rise"),
        (dict(too_long="truncate"), "too_long must be one of leave_out, cut"),
    ],
)
def test_review_config_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        ReviewConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(p_without=1.0), "p_without must be in"),
        (dict(n_learn=0, n_head=0), "one of n_learn and n_head must be above 0"),
        (dict(language_weight=-1), "language_weight must be in"),
    ],
)
def test_reviewer_config_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        ReviewerConfig(**changes)
