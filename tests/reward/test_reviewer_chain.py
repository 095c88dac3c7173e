"""The reviewer in the chain: every mode runs over a decoder, with a gradient to the novel."""

import json

import pytest
import torch

from memformer.config.chain import ChainConfig
from memformer.evaluation.metrics import Estimate
from memformer.model.saved_state import weights_hash
from memformer.reward.chain import Chain
from memformer.reward.gain import Gain, GateClosed
from memformer.reward.gated_chain import open_chain
from memformer.reward.review_features import DecoderFeatures
from tests.reward.small_reviewer import novels, small_reviewer


class Line:
    """Raters who like one direction of the features."""

    def score(self, features, aggregate=None):
        return features @ torch.linspace(-1, 1, features.shape[1])


@pytest.fixture(scope="module")
def chain():
    reviewer = small_reviewer(max_len=4)
    features = DecoderFeatures(reviewer.model, start=reviewer.vocabulary.review)
    return Chain(reviewer, features, Line(), config=ChainConfig(ending="fixed"))


@pytest.mark.parametrize("mode", ["st_gumbel", "score_function"])
def test_gradient_reaches_the_whole_novel(chain, mode):
    n = chain.writer.vocabulary.n_text
    rows = torch.nn.functional.one_hot(novels(2, 20), n).float().requires_grad_()
    state = chain.writer.new_state(2, n_token=20)
    out = chain.score(rows, state, mode, 3, torch.Generator().manual_seed(0))
    out.surrogate.backward()
    assert rows.grad.isfinite().all()
    assert (rows.grad.abs().sum(-1) > 0).all()  # past the window of 6, in both novels
    assert out.value.isfinite().all() and out.reviews.ids.shape == (2, 3, 4)
    assert not torch.isin(out.reviews.ids, torch.tensor(chain.writer.vocabulary.never())).any()


def test_log_probability_of_the_chain_is_that_of_teacher_forcing(chain):
    writer, x = chain.writer, novels(2, 20)
    out = chain.score(x, writer.new_state(2), "score_function", 3, torch.Generator().manual_seed(0))
    for lane in range(2):
        for ids, told in zip(out.reviews.ids[lane], out.reviews.log_prob[lane], strict=True):
            alone = writer.ask(writer.read_novel(x[lane : lane + 1], writer.new_state(1)))
            logits = writer.logits_of(alone, ids[None]).detach().clone()
            logits[..., writer.end] = -1e9  # reviews of a fixed length
            said = logits.log_softmax(-1).gather(-1, ids[None, :, None]).sum()
            assert float(said) == pytest.approx(float(told), abs=1e-3)


def test_chain_opens_for_the_reviewer_that_was_measured_and_no_other(chain):
    parts = (chain.writer, chain.features, chain.raters)
    above = Estimate(0.2, 0.1, 0.3)
    gain = Gain(above, above, above, 9, 20, 100, 3.0, weights_hash(chain.writer.model))
    opened = open_chain(*parts, gain)
    assert opened.chain.writer is chain.writer and not opened.leave.is_ungated
    other = small_reviewer(seed=1, max_len=4)
    for reviewer, found in ((chain.writer, None), (other, gain)):
        with pytest.raises(GateClosed):
            open_chain(reviewer, *parts[1:], found)
        marked = open_chain(reviewer, *parts[1:], found, ungated=True)
        assert json.loads(json.dumps(marked.leave.marks()))["ungated"] is True
