"""The chain over real parts: a decoder that read the novel, a decoder's features, fitted raters."""

import pytest
import torch

from memformer.config.chain import ChainConfig, DistilConfig
from memformer.config.reward import RaterConfig
from memformer.reward.amortised import distil, sample_scores
from memformer.reward.chain import Chain
from memformer.reward.policy import draw_relaxed, log_prob
from memformer.reward.raters import fit_raters
from memformer.reward.ratings import Ratings
from memformer.reward.review_features import DecoderFeatures
from tests.reward.small_reviewer import LETTERS, novels, small_decoder, small_reviewer

B, L = 2, 12
ENOUGH = ChainConfig(max_unscorable=0.9)


class Brief:
    """A reviewer that ends with probability .3 after each token; an untrained one never does."""

    def __init__(self, reviewer):
        self.reviewer = reviewer
        self.vocab_size, self.end, self.max_len = (
            reviewer.vocab_size,
            reviewer.end,
            reviewer.max_len,
        )

    def __getattr__(self, name):
        return getattr(self.reviewer, name)

    def read(self, x, state, mask=None):
        found = self.reviewer.read(x, state, mask)
        return found._replace(logits=self._ends(found.logits))

    def write(self, token, state):
        logits, state = self.reviewer.write(token, state)
        return self._ends(logits), state

    def _ends(self, logits):
        is_end = torch.arange(self.vocab_size) == self.end
        others = logits.masked_fill(is_end, -1e9).logsumexp(-1, keepdim=True)
        return torch.where(is_end, others - 0.85, logits)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def reviewer():
    found = small_reviewer(max_len=4)
    found.model.requires_grad_(False)
    return Brief(found)


@pytest.fixture(scope="module")
def features(reviewer):
    model = small_reviewer(seed=1).model.requires_grad_(False)
    return DecoderFeatures(model, start=reviewer.vocabulary.review)


@pytest.fixture(scope="module")
def raters(features):
    """Fitted to invented ratings of invented reviews."""
    told = features(novels(30, 5, seed=4), torch.ones(30, 5)).detach()
    rater, item = torch.arange(4).repeat(30), torch.arange(30).repeat_interleave(4)
    value = torch.randint(1, 8, (120,), generator=seeded(5)).float()
    ratings = Ratings(rater, item, value, None, 4, 30, (1.0, 7.0))
    return fit_raters(ratings, told, RaterConfig(), seed=0)


@pytest.fixture(scope="module")
def chain(reviewer, features, raters):
    return Chain(reviewer, features, raters, config=ENOUGH)


def relaxed(more=0):
    return torch.nn.functional.one_hot(novels(B, L), len(LETTERS) + more).float().requires_grad_()


@pytest.mark.parametrize("mode", ["st_gumbel", "score_function"])
def test_gradient_reaches_every_token_of_the_novel(reviewer, chain, mode):
    x = relaxed()
    out = chain.score(x, reviewer.new_state(B, n_token=L), mode, 8, seeded())
    assert out.value.shape == (B,) and bool(out.reviews.is_scored.any())
    out.surrogate.backward()
    scored = out.reviews.is_scored.sum(1) > (mode == "score_function")
    assert bool(scored.any())
    assert bool((x.grad[scored].abs().sum(-1) > 0).all())


def test_value_is_the_raters_mean_over_the_reviews_that_ended(reviewer, chain, features, raters):
    out = chain.score(novels(B, L), reviewer.new_state(B), "score_function", 8, seeded())
    for lane in range(B):
        told = []
        for ids, ok in zip(out.reviews.ids[lane], out.reviews.is_scored[lane], strict=True):
            where = (ids == reviewer.end).nonzero()
            assert bool(ok) == (len(where) > 0 and int(where[0]) > 0)
            if ok:
                words = ids[: int(where[0])]
                weight = torch.ones(1, len(words))
                told.append(float(raters.score(features(words[None], weight).detach(), "mean")))
        if told:
            assert float(out.value[lane]) == pytest.approx(sum(told) / len(told), abs=1e-4)


def test_a_gradient_that_would_have_to_reach_further_is_refused(chain, reviewer):
    with pytest.raises(ValueError, match="needs grad_segments=.*the state has 1"):
        chain.score(relaxed(), reviewer.new_state(B), "st_gumbel", 2, seeded())


def test_partial_reach_ends_where_the_states_graph_ends(features, raters):
    reviewer = Brief(small_reviewer(max_len=4, is_partial=True))
    chain = Chain(reviewer, features, raters, config=ENOUGH)
    grads, values = [], []
    for state in (reviewer.new_state(B), reviewer.model.new_state(B, grad_segments=2),
                  reviewer.new_state(B, n_token=L)):  # fmt: skip
        x = relaxed()
        out = chain.score(x, state, "st_gumbel", 8, seeded())
        out.surrogate.backward()
        values.append(out.value)
        grads.append(x.grad)
    assert torch.equal(values[0], values[1]) and torch.equal(values[1], values[2])
    nothing, part, whole = grads
    assert nothing is None and float(part.norm()) > 0
    assert not torch.allclose(part, whole, rtol=0.01, atol=1e-3 * float(whole.norm()))


def test_other_tokenizers_rows_are_refused(chain, reviewer):
    with pytest.raises(ValueError, match="another tokenizer"):
        chain.score(relaxed(more=1), reviewer.new_state(B), "st_gumbel", 2, seeded())


def test_amortised_value_of_a_decoders_hidden_state(reviewer, features, raters):
    plain = Chain(reviewer, features, raters, config=ENOUGH)
    x = novels(24, 6, seed=7)
    samples = sample_scores(plain, x, reviewer.new_state(24), 12, seeded())
    found = distil(samples, DistilConfig(width=0), seed=0)
    assert len(samples.mean) + found.n_left_out == 24
    chain = Chain(reviewer, features, raters, head=found.head, config=ENOUGH)
    rows = relaxed()
    out = chain.score(rows, reviewer.new_state(B, n_token=L), "amortised")
    out.surrogate.backward()
    assert out.reviews is None and bool((rows.grad.abs().sum(-1) > 0).all())


def test_a_generators_weights_get_a_gradient_by_either_way(reviewer, chain):
    generator = small_decoder(seed=3)
    weight = generator.embedding.weight
    last = torch.tensor([1, 1])
    state = generator.new_state(B, grad_segments=4)
    drawn = draw_relaxed(generator, last, state, 4, seeded(1))
    out = chain.score(drawn.rows, reviewer.new_state(B, n_token=4), "st_gumbel", 8, seeded(2))
    (direct,) = torch.autograd.grad(out.surrogate, weight)
    said = log_prob(generator, last, drawn.ids, state)
    out = chain.score(
        drawn.ids, reviewer.new_state(B), "score_function", 8, seeded(2), log_prob=said
    )
    (scored,) = torch.autograd.grad(out.surrogate, weight)
    for grad in (direct, scored):
        assert bool(grad.isfinite().all()) and float(grad.norm()) > 0
