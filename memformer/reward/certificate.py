"""The gradient certificate: what each estimator's gradient is worth, against the exact one.

K draws of an update, each of g novels with m reviews each, P parameters of a generator
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from memformer.config.chain import ChainConfig, DistilConfig
from memformer.config.oracle import CertificateConfig, OracleConfig
from memformer.reward.amortised import Agreement, AmortisedHead, Distilled, distil, sample_scores
from memformer.reward.chain import Chain, Mode
from memformer.reward.estimators import entropy_term, generator_loss, kl_term, score_function
from memformer.reward.relaxed import gumbel, gumbel_rows
from memformer.reward.worlds.oracle import OracleWorld

Route = Literal["log_prob", "rows", "given"]
STEEP = 10.0


class Row(NamedTuple):
    """One estimator at one scorer. All but z are relative to the norm of the exact gradient."""

    scorer: str
    estimator: str
    route: Route
    """`log_prob`: RLOO over novels. `rows`: straight through the generator's tokens. `given`: to
    the rows of given novels, whatever wrote them."""
    rule: Literal["unbiased", "cosine", ""]
    """What it must hold; nothing: shown only."""
    cosine: float
    """Of the mean over draws with exact."""
    bias: float
    """Length of the difference to exact, less what sampling adds to it."""
    sd: float
    """Of one draw: root of the summed variances."""
    z: float
    """Standard errors from exact, along the exact gradient."""
    z_all: float
    """As far as all parameters together lie from exact, in standard errors of that distance."""
    passed: bool


class Check(NamedTuple):
    """A claim that holds or does not."""

    name: str
    claim: str
    value: float
    passed: bool


class Certificate(NamedTuple):
    """Everything that was measured."""

    rows: list[Row]
    checks: list[Check]
    heads: dict[str, Agreement]
    """By scorer: how well the amortised head foresaw the sampled chain on held-out novels."""
    seed: int

    def as_json(self) -> dict[str, Any]:
        """For a file: null for a number that is not finite."""
        return {
            "seed": self.seed,
            "passed": self.passed,
            "rows": [_finite(row._asdict()) for row in self.rows],
            "checks": [_finite(check._asdict()) for check in self.checks],
            "heads": {scorer: _finite(held._asdict()) for scorer, held in self.heads.items()},
        }

    @property
    def passed(self) -> bool:
        """Whether every rule held."""
        return all(row.passed for row in self.rows) and all(c.passed for c in self.checks)


def _finite(told: dict[str, Any]) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in told.items()
    }


def certify(
    world: OracleConfig,
    config: CertificateConfig,
    *,
    seed: int,
    loss: Callable[..., Tensor] = generator_loss,
) -> Certificate:
    """Measure the present code in an oracle world, under a mild and a 10 times steeper scorer.

    Unbiased estimators must lie within `max_z` standard errors of the exact gradient under both;
    straight-through at the first temperature and the amortised value must have `min_cosine` under
    the mild one. Every term of the loss must move its own quantity the right way.

    Args:
        world: sizes; its steepness is the mild scorer's.
        config: draws and limits.
        seed: of world, head and draws.
        loss: the generator's loss, of the signature of `generator_loss`.
    """
    rows: list[Row] = []
    heads: dict[str, Agreement] = {}
    checks: list[Check] = []
    for scorer, steepness in (("mild", world.steepness), ("steep", STEEP * world.steepness)):
        here = OracleWorld(replace(world, steepness=steepness), seed=seed)
        distilled = distilled_head(here, config, seed=seed)
        heads[scorer] = distilled.held_out
        rows += measure(here, distilled.head, config, scorer=scorer, seed=seed)
        if scorer == "mild":
            checks += check_terms(here, config, loss, seed=seed)
            checks += check_gradients(here, distilled.head, seed=seed)
    return Certificate(rows, checks, heads, seed)


def distilled_head(world: OracleWorld, config: CertificateConfig, *, seed: int) -> Distilled:
    """A head that learned from reviews of the reference's texts."""
    generator = torch.Generator().manual_seed(seed)
    ids, _ = world.draw(world.reference, config.n_distil, generator)
    chain = Chain(world.reviewer, world.features, world.raters)
    state = world.reviewer.new_state(len(ids))
    how = DistilConfig()
    samples = sample_scores(chain, ids, state, how.n_review, generator)
    return distil(samples, how, seed=seed)


def measure(
    world: OracleWorld, head: AmortisedHead, config: CertificateConfig, *, scorer: str, seed: int
) -> list[Row]:
    """Rows of one scorer."""
    rule: Literal["cosine", ""] = "cosine" if scorer == "mild" else ""
    first, *more = config.temperatures
    plain = ChainConfig()
    control, soft = ChainConfig(has_control=True), ChainConfig(is_hard=False, temperature=first)
    table: list[tuple[str, Mode, Route, Literal["unbiased", "cosine", ""], ChainConfig]] = [
        ("RLOO over novels", "score_function", "log_prob", "unbiased", plain),
        ("RLOO over novels, amortised score", "amortised", "log_prob", "", plain),
        ("amortised", "amortised", "rows", rule, plain),
        (f"ST-Gumbel, tau {first:g}", "st_gumbel", "rows", rule, ChainConfig(temperature=first)),
        *(
            (f"ST-Gumbel, tau {tau:g}", "st_gumbel", "rows", "", ChainConfig(temperature=tau))
            for tau in more
        ),
        (f"soft Gumbel, tau {first:g}", "st_gumbel", "rows", "", soft),
        ("RLOO over reviews", "score_function", "rows", "", plain),
        ("RLOO over reviews", "score_function", "given", "unbiased", plain),
        ("amortised as baseline", "score_function", "given", "unbiased", control),
        (f"ST-Gumbel, tau {first:g}", "st_gumbel", "given", "", ChainConfig(temperature=first)),
        ("amortised", "amortised", "given", "", plain),
    ]  # fmt: skip
    rows = []
    for name, mode, route, must, how in table:
        chain = Chain(world.reviewer, world.features, world.raters, head=head, config=how)
        draws, exact = gradients(world, chain, mode, route, config, seed=seed)
        rows.append(_row(scorer, name, route, must, draws, exact, config))
    return rows


def gradients(
    world: OracleWorld,
    chain: Chain,
    mode: Mode,
    route: Route,
    config: CertificateConfig,
    *,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """K draws of a gradient, (K, P), and the exact one, (P,).

    To the generator's logits (at the reference), or, `given`, to the rows of g fixed novels.
    """
    K, g, m = config.n_draw, config.n_novel, config.n_review
    generator = torch.Generator().manual_seed(seed + 1)
    tau, is_hard = chain.config.temperature, chain.config.is_hard
    state = world.reviewer.new_state(K * g)
    if route == "given":
        ids, _ = world.draw(world.reference, g, generator)
        novels = torch.nn.functional.one_hot(ids, world.config.n_symbol).to(world.reference)
        exact = _exact(lambda x: world.value(x).mean(), novels)
        leaf = novels.repeat(K, 1, 1).requires_grad_()  # (K g, L, V)
        surrogate = chain.score(leaf, state, mode, m, generator).surrogate
    else:
        exact = _exact(world.expectation, world.reference)
        leaf = world.reference.expand(K, *world.reference.shape).clone().requires_grad_()
        lanes = leaf.repeat_interleave(g, 0)  # each draw has a generator and a gradient of its own
        ids, novels = world.draw(lanes, K * g, generator, temperature=tau, is_hard=is_hard)
        if route == "rows":
            surrogate = chain.score(novels, state, mode, m, generator).surrogate
        else:
            log_prob = world.log_prob(lanes, ids)
            surrogate = chain.score(
                ids, state, mode, m, generator, log_prob=log_prob, n_sibling=g
            ).surrogate
    (grad,) = torch.autograd.grad(surrogate * K, leaf)
    return grad.reshape(K, -1), exact.flatten()


def _exact(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(of(leaf), leaf)
    return grad


def _row(
    scorer: str, name: str, route: Route, rule: Literal["unbiased", "cosine", ""],
    draws: Tensor, exact: Tensor, config: CertificateConfig,
) -> Row:  # fmt: skip
    K, length = len(draws), exact.norm()
    mean = draws.mean(0)
    deviation = draws - mean
    trace = deviation.square().sum() / (K - 1)
    gram = (deviation.T @ deviation) / (K - 1)  # (P, P)
    trace_square = (gram.square().sum() - trace**2 / K).clamp(min=0)  # less what sampling adds
    excess = (mean - exact).square().sum() - trace / K  # 0 on average if unbiased
    along = (draws @ exact) / length
    error = along.std() / K**0.5
    spread = (2 * trace_square).sqrt() / K
    z = float((along.mean() - length) / error) if error > 0 else float("inf")
    z_all = float(excess / spread) if spread > 0 else float("inf")
    cosine = float(mean @ exact / mean.norm() / length)
    match rule:
        case "unbiased":
            passed = abs(z) <= config.max_z and z_all <= config.max_z
        case "cosine":
            passed = cosine >= config.min_cosine
        case _:
            passed = True
    return Row(
        scorer, name, route, rule, cosine, float(excess.clamp(min=0).sqrt() / length),
        float(trace.sqrt() / length), z, z_all, passed,
    )  # fmt: skip


def check_terms(
    world: OracleWorld, config: CertificateConfig, loss: Callable[..., Tensor], *, seed: int
) -> list[Check]:
    """A small step down the estimated gradient of each term alone: the score must rise, the KL
    fall, the entropy rise; all exact. From a generator that is not the reference, where KL has a
    gradient."""
    K, g = config.n_draw, config.n_novel
    generator = torch.Generator().manual_seed(seed + 2)
    moved = world.reference + 0.7 * torch.randn(
        world.reference.shape, dtype=torch.float64, generator=generator
    )
    leaf = moved.clone().requires_grad_()
    ids, _ = world.draw(moved, K * g, generator)
    log_prob = world.log_prob(leaf, ids).view(K, g)
    log_reference = world.log_prob(world.reference, ids).view(K, g)
    chain = Chain(world.reviewer, world.features, world.raters)
    state = world.reviewer.new_state(K * g)
    value = chain.score(ids, state, "score_function", config.n_review, generator).value.view(K, g)
    score = score_function(value, log_prob)
    nothing = score * 0
    kl, entropy = kl_term(log_prob, log_reference), entropy_term(log_prob)
    checks = []
    for name, term, of, sign in (
        ("score", loss(score, kl, entropy, beta=0.0, bonus=0.0), world.expectation, 1),
        ("KL", loss(nothing, kl, entropy, beta=1.0, bonus=0.0), world.kl, -1),
        ("entropy", loss(nothing, kl, entropy, beta=0.0, bonus=1.0), world.entropy, 1),
    ):
        (grad,) = torch.autograd.grad(term, leaf, retain_graph=True)
        step = moved - 1e-3 * grad / grad.norm().clamp(min=1e-30)
        change = float(of(step) - of(moved))
        claim = f"a step down its loss makes the {name} {'rise' if sign > 0 else 'fall'}"
        checks.append(Check(f"sign of {name}", claim, change, sign * change > 0))
    return checks


def check_gradients(world: OracleWorld, head: AmortisedHead, *, seed: int) -> list[Check]:
    """Finite differences in float64 (gradcheck), of all that is smooth; and that straight-through
    goes back as the softmax that it stands for."""
    generator = torch.Generator().manual_seed(seed + 3)
    shape = (2, world.config.n_token, world.config.n_symbol)
    rows = torch.randn(shape, dtype=torch.float64, generator=generator).softmax(-1)
    state = world.reviewer.new_state(2)
    plain = type(world.features)(world.features.table, is_rescaled=False)
    soft = ChainConfig(is_hard=False)

    def amortised(x: Tensor) -> Tensor:
        chain = Chain(world.reviewer, plain, world.raters, head=head)
        return chain.score(x, state, "amortised").surrogate

    def soft_gumbel(x: Tensor) -> Tensor:
        noise = torch.Generator().manual_seed(seed)
        chain = Chain(world.reviewer, plain, world.raters, config=soft)
        return chain.score(x, state, "st_gumbel", 2, noise).surrogate

    def log_prob(x: Tensor) -> Tensor:
        noise = torch.Generator().manual_seed(seed)
        chain = Chain(world.reviewer, plain, world.raters)
        reading = world.reviewer.read(x, state)
        return chain.write_and_score(reading, 2, noise, is_relaxed=False).log_prob

    checks = []
    for name, of in (
        ("amortised", amortised), ("soft Gumbel", soft_gumbel), ("log p(review | novel)", log_prob),
    ):  # fmt: skip
        held = torch.autograd.gradcheck(of, rows.requires_grad_(), raise_exception=False)
        checks.append(
            Check(f"gradcheck, {name}", "finite differences agree in float64", float(held), held)
        )
    logits = torch.randn(3, 5, dtype=torch.float64, generator=generator).requires_grad_()
    noise = gumbel((3, 5), logits, generator)
    weight = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    sides = [
        torch.autograd.grad((weight * gumbel_rows(logits, noise, 0.7, is_hard=h)[1]).sum(), logits)
        for h in (True, False)
    ]
    gap = float((sides[0][0] - sides[1][0]).abs().max())
    claim = "one-hot forward, the softmax backward"
    return [*checks, Check("straight-through", claim, gap, gap < 1e-12)]
