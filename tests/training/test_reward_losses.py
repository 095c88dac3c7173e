"""Each rung's gradient against enumeration in a world of 4 tokens, and the sign of every term."""

import copy
from itertools import product

import pytest
import torch

from memformer.config import DecoderConfig, MemoryConfig, SamplingConfig
from memformer.config.reward_training import TuneConfig
from memformer.model.decoder import Decoder
from memformer.training import reward_losses
from memformer.training.branches import (
    Branches,
    apart,
    best_of_branches,
    log_probabilities,
    read_logits,
    until_end,
    write_branches,
)
from memformer.training.reward_losses import (
    direct_loss,
    relaxed_branches,
    rloo_loss,
    winners,
)

MODEL = DecoderConfig(
    vocab_size=4, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=24, window=3,
    segment_len=8, memory=MemoryConfig(layers=(1,), n_retrieved=2, page_len=8),
)  # fmt: skip
PROMPT = torch.tensor([[1, 3]])
TEXTS = torch.tensor(list(product(range(4), repeat=2)))  # (16, 2)
BETA = 0.3


def decoder(seed, config=MODEL, sharp=12.0):
    torch.manual_seed(seed)
    model = Decoder(config).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(sharp)  # so that distributions are far from uniform
    return model


@pytest.fixture
def policy():
    return decoder(0)


@pytest.fixture
def reference():
    return decoder(1).requires_grad_(False)


def branches(new):
    text = torch.cat((PROMPT.expand(len(new), -1), new), dim=1)
    return Branches(text, 2, torch.ones_like(new, dtype=torch.bool))


def log_p(model, new=TEXTS):
    return log_probabilities(read_logits(model, branches(new)), new)


def score(text):
    """Mildly bent, of ids or rows."""
    rows = text if text.dim() == 3 else torch.nn.functional.one_hot(text, 4).float()
    first, second = rows[:, 2] @ torch.tensor([0.2, 1.0, -0.5, 0.0]), rows[:, 3, 2]
    return torch.tanh(first + 0.7 * second + 0.4 * first * second)


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])


def exact_objective(policy, reference, beta):
    total = log_p(policy).sum(1)
    ratio = total - log_p(reference).sum(1)
    return (total.exp() * (score(branches(TEXTS).text) - beta * ratio)).sum()


def test_probabilities_of_all_texts_sum_to_1(policy):
    assert float(log_p(policy).detach().sum(1).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_rloo_over_all_pairs_of_branches_is_the_exact_gradient(policy, reference, monkeypatch):
    config = TuneConfig(n_prompt=1, n_branch=2, n_new=2, kl_weight=BETA)
    p = log_p(policy).sum(1).exp().detach()
    total = 0.0
    for i, j in product(range(16), repeat=2):
        pair = branches(TEXTS[[i, j]])
        monkeypatch.setattr(reward_losses, "write_branches", lambda *a, _p=pair, **k: _p)
        out = rloo_loss(policy, reference, PROMPT, score, config, 0)
        total = total + p[i] * p[j] * out.loss
    got = gradient(policy, total)
    expected = gradient(policy, -exact_objective(policy, reference, BETA))
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("beta", [0.0, BETA])
def test_direct_gradient_points_where_the_exact_one_does(policy, reference, beta):
    config = TuneConfig(method="direct", n_prompt=100, n_branch=16, n_new=2, kl_weight=beta)
    out = direct_loss(policy, reference, PROMPT.expand(100, -1), score, config, 0)
    got = gradient(policy, out.loss)
    expected = gradient(policy, -exact_objective(policy, reference, beta))
    assert float(torch.cosine_similarity(got, expected, dim=0)) > 0.9


@pytest.mark.parametrize("method", ["rloo", "direct"])
def test_kl_term_alone_pulls_towards_the_reference(policy, reference, method):
    def flat(text):
        return 0.0 * score(text)

    config = TuneConfig(method=method, n_prompt=60, n_branch=16, n_new=2, kl_weight=1.0)
    loss_of = reward_losses.build_loss(config)

    def kl(model):
        total = log_p(model).sum(1)
        return (total.exp() * (total - log_p(reference).sum(1))).sum()

    before = float(kl(policy).detach())
    towards = gradient(
        policy, loss_of(policy, reference, PROMPT.expand(60, -1), flat, config, 0).loss
    )
    assert float(torch.cosine_similarity(towards, gradient(policy, kl(policy)), dim=0)) > 0.9
    for sign in (-1, 1):  # down the loss KL falls; flipped, it rises
        moved = copy.deepcopy(policy)
        step, at = sign * 0.02 * towards / towards.norm(), 0
        with torch.no_grad():
            for weight, old in zip(moved.parameters(), policy.parameters(), strict=True):
                if old.grad is not None:
                    weight += step[at : at + weight.numel()].view_as(weight)
                    at += weight.numel()
        assert (float(kl(moved).detach()) > before) == (sign == 1)


def test_both_estimates_of_kl_are_exact_over_all_texts(policy, reference):
    ours, theirs = log_p(policy).detach(), log_p(reference)
    counts = torch.ones_like(TEXTS, dtype=torch.bool)
    p = ours.sum(1).exp()
    exact = float((p * (ours - theirs).sum(1)).sum())
    each = [apart(ours[[i]], theirs[[i]], counts[[i]], 50.0) for i in range(16)]
    assert sum(float(w) * one.k1 for w, one in zip(p, each, strict=True)) == pytest.approx(
        exact, abs=1e-5
    )
    # a token's exp(-d) has mean 1 under the policy: so the mean of k3 is KL too
    assert sum(float(w) * one.k3 for w, one in zip(p, each, strict=True)) == pytest.approx(
        exact, abs=1e-4
    )
    flipped = [apart(theirs[[i]], ours[[i]], counts[[i]], 50.0).k1 for i in range(16)]
    assert flipped == pytest.approx([-one.k1 for one in each], abs=1e-6)
    assert all(one.k3 >= 0 for one in each)


def test_wild_log_ratios_are_clamped_and_counted():
    far = apart(torch.tensor([[0.0, -1.0]]), torch.tensor([[-900.0, -1.0]]),
                torch.ones(1, 2, dtype=torch.bool), 20.0)  # fmt: skip
    assert far.k1 == 20.0 and far.n_clamped == 1 and far.k3 == pytest.approx(19.0)
    none = apart(torch.tensor([[0.0, torch.nan]]), torch.zeros(1, 2),
                 torch.tensor([[True, False]]), 20.0)  # fmt: skip
    assert none.k1 == 0.0  # what stands after the end takes no part


def test_scores_are_not_divided_by_their_spread(policy, reference):
    config = TuneConfig(n_prompt=1, n_branch=4, n_new=3, kl_weight=0.0)
    one, ten = (
        gradient(policy, rloo_loss(policy, reference, PROMPT, reward, config, 0).loss)
        for reward in (score, lambda text: 10 * score(text))
    )
    torch.testing.assert_close(10 * one, ten, atol=1e-5, rtol=1e-3)
    same = gradient(
        policy, rloo_loss(policy, reference, PROMPT, lambda text: score(text) + 7, config, 0).loss
    )
    torch.testing.assert_close(one, same, atol=1e-5, rtol=1e-3)  # the baseline takes levels off


def test_unscorable_branches_are_nobodys_sibling(policy, reference, monkeypatch):
    nan, config = torch.nan, TuneConfig(n_prompt=2, n_branch=3, n_new=2, kl_weight=0.0)
    given = torch.tensor([1.0, nan, 4.0, nan, 2.0, nan])
    six = branches(TEXTS[:6])
    monkeypatch.setattr(reward_losses, "write_branches", lambda *a, **k: six)
    out = rloo_loss(policy, reference, PROMPT.expand(2, -1), lambda _: given.clone(), config, 0)
    total = log_p(policy, TEXTS[:6]).sum(1)
    expected = -(-3.0 * total[0] + 3.0 * total[2]) / 2
    torch.testing.assert_close(gradient(policy, out.loss), gradient(policy, expected))
    assert out.n_unused == 1 and int(out.scores.isnan().sum()) == 3
    won = winners(given.view(2, 3))
    assert won.tolist() == [[False, False, True], [False, False, False]]


def test_each_model_reads_into_its_own_state(policy, reference):
    # a reading with the policy's keys and the reference's weights would differ from both
    config = TuneConfig(n_prompt=1, n_branch=4, n_new=5)
    out = rloo_loss(policy, reference, PROMPT, score, config, 0)
    wrote = Branches(out.text, 2, torch.ones_like(out.text[:, 2:], dtype=torch.bool))
    ratio = 0.0
    for sign, model in ((1, policy), (-1, reference)):
        state, logits = model.new_state(4), []
        for t in range(6):  # token by token
            step = model(out.text[:, t : t + 1], state)
            state.advance(step)
            logits.append(step.logits[:, 0])
        said = torch.stack(logits, dim=1)[:, 1:].log_softmax(-1)
        ratio = ratio + sign * said.gather(-1, wrote.new[..., None]).sum((1, 2))
    assert out.k1 == pytest.approx(float(ratio.mean().detach()), abs=1e-5)


def test_segments_do_not_change_log_probabilities(policy):
    wrote = write_branches(policy, PROMPT, 3, 9, sampling=SamplingConfig(seed=4))
    small = policy.reconfigure({"segment_len": 2})
    torch.testing.assert_close(read_logits(policy, wrote), read_logits(small, wrote))


def test_branches_begin_with_their_prompt_and_differ(policy):
    prompts = torch.tensor([[1, 3], [0, 2]])
    wrote = write_branches(policy, prompts, 6, 12, sampling=SamplingConfig(seed=0))
    assert torch.equal(wrote.text[:, :2], prompts.repeat_interleave(6, 0))
    assert len({tuple(row) for row in wrote.new.tolist()}) > 6


def test_tokens_after_the_end_do_not_count():
    new = torch.tensor([[0, 3, 1, 3], [0, 1, 2, 0], [3, 3, 3, 3]])
    assert until_end(new, 3).tolist() == [
        [True, True, False, False], [True, True, True, True], [True, False, False, False],
    ]  # fmt: skip
    assert bool(until_end(new, None).all())


def test_nothing_that_is_drawn_after_the_end_is_scored():
    even, sampling = decoder(0, sharp=1.0), SamplingConfig(seed=4)
    wrote, free = (
        write_branches(even, PROMPT, 8, 12, sampling=sampling, end=end) for end in (2, None)
    )
    after = ~wrote.counts
    assert bool(after.any()) and bool((free.new[after] != 2).any())
    assert bool((wrote.new[after] == 2).all())
    assert torch.equal(wrote.new[wrote.counts], free.new[wrote.counts])


def test_best_of_branches_takes_the_largest_score_of_each_prompt(policy):
    prompts = torch.tensor([[1, 3], [0, 2], [2, 2]])
    sampling = SamplingConfig(seed=5)
    best, n_bad = best_of_branches(
        policy, prompts, 4, 3, lambda text: text.sum(1).float(), sampling=sampling
    )
    wrote = write_branches(policy, prompts, 4, 3, sampling=sampling)
    assert best.text.sum(1).tolist() == wrote.text.sum(1).view(3, 4).amax(1).tolist()
    assert n_bad == 0
    with pytest.raises(ValueError, match="could be scored"):
        best_of_branches(policy, prompts, 2, 3, lambda text: torch.full((len(text),), torch.nan),
                         sampling=sampling)  # fmt: skip


def test_relaxed_writing_is_a_draw_read_again_token_by_token(policy):
    config = TuneConfig(method="direct", n_branch=3, n_new=6)
    wrote = relaxed_branches(policy, PROMPT, config, torch.Generator().manual_seed(0))
    assert torch.equal(wrote.rows.detach().sum(-1).round(decimals=5), torch.ones(3, 8))
    assert torch.equal(wrote.rows.detach().argmax(-1), wrote.text)
    plain = Branches(wrote.text, 2, torch.ones_like(wrote.text[:, 2:], dtype=torch.bool))
    torch.testing.assert_close(wrote.logits, read_logits(policy, plain), atol=1e-5, rtol=1e-4)


def test_direct_gradient_reaches_grad_segments_and_says_so(policy):
    small = policy.reconfigure({"segment_len": 2})
    config = TuneConfig(method="direct", n_branch=2, n_new=6, grad_segments=2)
    with pytest.raises(ValueError, match="reaches grad_segments · segment_len = 4 tokens"):
        relaxed_branches(small, PROMPT, config, torch.Generator())
    config = TuneConfig(method="direct", n_branch=2, n_new=6, grad_segments=2, partial=True)
    wrote = relaxed_branches(small, PROMPT, config, torch.Generator().manual_seed(0))
    for t, has_gradient in ((2, False), (3, False), (4, True), (7, True)):
        found = torch.autograd.grad(
            wrote.rows[:, t, 1].sum(), policy.embedding.weight, retain_graph=True, allow_unused=True
        )[0]  # fmt: skip
        assert (found is not None and bool(found.abs().sum() > 0)) == has_gradient


def test_reward_without_gradient_is_refused_by_direct(policy, reference):
    config = TuneConfig(method="direct", n_branch=2, n_new=4)
    with pytest.raises(ValueError, match="differentiable"):
        direct_loss(policy, reference, PROMPT, lambda rows: torch.zeros(len(rows)), config, 0)


@pytest.mark.parametrize("changes", [{"top_p": 0.9}, {"top_k": 3}, {"temperature": 0.7},
                                     {"min_p": 0.1}, {"repetition_penalty": 1.2}])  # fmt: skip
def test_truncated_samplers_are_refused_where_kl_counts(changes):
    sampling = SamplingConfig(**changes)
    for kwargs in ({}, {"method": "raft"}, {"method": "rloo", "kl_weight": 0.0}):
        with pytest.raises(ValueError, match="sampling must leave the model's own distribution"):
            TuneConfig(sampling=sampling, **kwargs)
    assert not TuneConfig(method="raft", kl_weight=0.0, sampling=sampling).has_kl


def test_settings_name_what_is_wrong():
    with pytest.raises(ValueError, match="n_branch must be at least 2"):
        TuneConfig(n_branch=1)
    with pytest.raises(ValueError, match="end must be None with method='direct'"):
        TuneConfig(method="direct", end=3)
