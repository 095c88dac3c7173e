"""The certificate passes for this code, and fails for code with one sign turned."""

import pytest
import torch

from memformer.config.oracle import CertificateConfig, OracleConfig
from memformer.reward import estimators
from memformer.reward.certificate import certify, check_terms
from memformer.reward.chain import Chain
from memformer.reward.estimators import generator_loss, kl_term, score_function
from memformer.reward.worlds.oracle import OracleWorld

WORLD = OracleConfig(n_token=3, n_symbol=5, n_word=4, max_len=3)
FEW = CertificateConfig(n_draw=1000, n_distil=800, temperatures=(1.0,))


@pytest.fixture(scope="module")
def found():
    return certify(WORLD, FEW, seed=0)


def test_certificate_passes(found):
    wrong = [row for row in found.rows if not row.passed]
    assert found.passed, (wrong, [c for c in found.checks if not c.passed])


def test_certificate_has_a_rule_for_every_mode(found):
    ruled = {(row.estimator, row.route): row.rule for row in found.rows if row.scorer == "mild"}
    assert ruled["RLOO over novels", "log_prob"] == "unbiased"
    assert ruled["RLOO over reviews", "given"] == "unbiased"
    assert ruled["amortised", "rows"] == ruled["ST-Gumbel, tau 1", "rows"] == "cosine"
    assert {"sign of score", "sign of KL", "sign of entropy"} <= {c.name for c in found.checks}
    assert set(found.heads) == {"mild", "steep"}


def test_biased_modes_lie_further_than_three_errors_from_exact(found):
    """The rule for unbiased modes can tell: it would fail these."""
    biased = [r for r in found.rows if r.estimator.startswith("ST") and r.route == "rows"]
    assert all(row.z_all > FEW.max_z and row.bias > 0.1 for row in biased)


@pytest.mark.parametrize("turned", ["score", "KL", "entropy"])
def test_a_term_with_its_sign_turned_fails(turned):
    def loss(score, kl, entropy, *, beta, bonus):
        score = -score if turned == "score" else score
        kl = -kl if turned == "KL" else kl
        entropy = -entropy if turned == "entropy" else entropy
        return generator_loss(score, kl, entropy, beta=beta, bonus=bonus)

    checks = check_terms(OracleWorld(WORLD, seed=0), FEW, loss, seed=0)
    assert [c.name for c in checks if not c.passed] == [f"sign of {turned}"]


def test_a_baseline_that_holds_the_score_itself_fails(monkeypatch):
    """A baseline over all siblings, itself included, shrinks the gradient by (g - 1) / g."""
    right = estimators.leave_one_out

    def wrong(score, is_scored):
        found = right(score, is_scored)
        return found._replace(advantage=found.advantage * 0.75)

    monkeypatch.setattr(estimators, "leave_one_out", wrong)
    world = OracleWorld(WORLD, seed=0)
    from memformer.reward.certificate import distilled_head, measure

    head = distilled_head(world, FEW, seed=0).head
    rows = measure(world, head, FEW, scorer="mild", seed=0)
    failed = {(row.estimator, row.route) for row in rows if not row.passed}
    assert ("RLOO over reviews", "given") in failed


@pytest.mark.parametrize("method", ["rloo", "st_gumbel", "amortised"])
def test_every_methods_frontier_lies_below_the_optimum(method):
    world = OracleWorld(WORLD, seed=1)
    from memformer.reward.certificate import distilled_head

    head = distilled_head(world, FEW, seed=0).head if method == "amortised" else None
    chain = Chain(world.reviewer, world.features, world.raters, head=head)
    g = torch.Generator().manual_seed(0)
    logits = world.reference.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.05)
    before = float(world.expectation(world.reference))
    told = []
    for step in range(1, 61):
        ids, rows = world.draw(logits, 64, g)
        state = world.reviewer.new_state(64)
        log_p = world.log_prob(logits, ids)
        if method == "rloo":
            out = chain.score(ids, state, "score_function", 4, g, log_prob=log_p)
        else:
            out = chain.score(rows, state, method, 4, g)
        kl = kl_term(log_p[None], world.log_prob(world.reference, ids)[None])
        optimiser.zero_grad()
        generator_loss(out.surrogate, kl, beta=0.02).backward()
        optimiser.step()
        if step % 20 == 0:
            with torch.no_grad():
                told.append((float(world.kl(logits)), float(world.expectation(logits))))
    for kl, gold in told:
        assert before < gold <= world.most_gold(kl) + 1e-9
    assert told[-1][0] > 0.1  # it did move
    assert told[-1][1] > before + 0.3 * (world.most_gold(told[-1][0]) - before)


def test_value_of_the_score_term_is_the_mean():
    told = score_function(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    assert float(told) == 1.5
