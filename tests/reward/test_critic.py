"""A critic scores what its reviewer writes of a text, and counts on nobody's neighbours."""

import pytest
import torch

from memformer.reward.critic import Critic
from memformer.reward.score_head import ScoreHead
from tests.reward.small_reviewer import novels, small_reviewer


@pytest.fixture(scope="module")
def critic():
    reviewer = small_reviewer(max_len=12)
    torch.manual_seed(0)
    head = ScoreHead(reviewer.model.config.n_embd)
    torch.nn.init.normal_(head.value.weight)
    return Critic(reviewer, head, 6)


def test_score_does_not_depend_on_neighbours(critic):
    texts = novels(5, 12)
    whole = critic(texts)
    assert whole.shape == (5,) and len(set(whole[whole.isfinite()].tolist())) > 1
    alone = torch.cat([critic(text[None]) for text in texts])
    torch.testing.assert_close(whole, alone, equal_nan=True, atol=1e-4, rtol=1e-4)
    turned = critic(texts.flip(0)).flip(0)
    torch.testing.assert_close(whole, turned, equal_nan=True, atol=1e-4, rtol=1e-4)


def test_draws_follow_from_the_tokens_of_a_text(critic, monkeypatch):
    asked, draw = [], critic.reviewer.draw

    def watched(reading, m, seeds):
        asked.extend(seeds)
        return draw(reading, m, seeds)

    monkeypatch.setattr(critic.reviewer, "draw", watched)
    texts = novels(5, 12)
    critic(texts)
    critic(texts[2:3])
    assert len(set(asked[:5])) == 5 and asked[5] == asked[2]


def test_text_without_a_finished_review_is_nan(critic):
    reviewer = small_reviewer(max_len=2)
    scores = Critic(reviewer, critic.head, 1)(novels(12, 8))
    assert bool(scores.isnan().any())


def test_relaxed_tokens_are_refused_with_a_way_out(critic):
    with pytest.raises(ValueError, match="use rloo or raft"):
        critic(torch.zeros(1, 4, 31))
    with pytest.raises(ValueError, match="n_review must be at least 1"):
        Critic(critic.reviewer, critic.head, 0)
