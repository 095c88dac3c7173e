"""Fitting raters and texts together on observed cells, by penalised least squares.

    eta_ri = mu + b_r + s_r (f0(x_i) + a_r . F(x_i) + g . u_i)

One objective for every head, minimised by L-BFGS over all parameters at once: the ratings' loss,
weighted, plus ridges. u are nuisances such as length, g is thrown away afterwards. Afterwards the
solution is moved, without changing a prediction, to the one form that two runs share.

    n cells, R raters, I items, d features, k rank, Q nuisances
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memformer.config.reward import RaterConfig
from memformer.reward.heads import ascending, first_cuts, head_loss
from memformer.reward.rater_cells import Cells

_log = logging.getLogger(__name__)
_NUISANCE_RIDGE = 1e-3  # next to none: what a nuisance can explain it shall explain
_NOISE_FLOOR = 1e-2  # of the average variance: nobody counts more than a hundred times
_NOISE_ROUNDS = 2
_SUBSPACE_ROUNDS = 15


class Parameters(NamedTuple):
    """What is fitted, in standardised units."""

    intercept: Tensor
    bias: Tensor
    """(R,)"""
    scale: Tensor
    """(R,)"""
    factor: Tensor
    """(R, k)"""
    weight: Tensor
    """(1 + k, d), or (1 + k, I) without features: f0, then F."""
    hidden: Tensor
    """(h, d + 1), or (0, 0): linear."""
    cuts: Tensor
    """(K - 1,) free numbers, see `ascending`; empty but for the ordinal head."""
    nuisance: Tensor
    """(Q,)"""


class Fit(NamedTuple):
    """Parameters and how they were found."""

    parameters: Parameters
    offset: Tensor
    """(1 + k,) means of f0 and F over rated items, taken off them."""
    precision: Tensor
    """(k, k): the ridge on a new rater's tastes, in the final coordinates."""
    noise: Tensor
    """(R,) variance, relative to the average rater's."""
    variance: float
    """The average rater's, in standardised units."""
    loss: float
    n_iter: int
    gradient: float
    """Greatest entry of the gradient at the end."""


def item_part(x: Tensor | None, weight: Tensor, hidden: Tensor) -> Tensor:
    """f0 and F of each item, (I, 1 + k), before their means are taken off."""
    if x is None:
        return weight.T
    if hidden.numel():
        x = torch.tanh(x @ hidden[:, :-1].T + hidden[:, -1])
    return x @ weight.T


def latent(cells: Cells, p: Parameters) -> Tensor:
    """Opinion of each cell, (n,). A rater with a single rating gets a bias and nothing else."""
    is_known = (cells.n_rating >= 2).to(p.bias.dtype)  # (R,)
    scale = scales(cells, p)
    of_rater = torch.cat(
        (p.bias[:, None], scale[:, None], p.factor * is_known[:, None]), 1
    )  # (R, 2 + k)
    of_item = item_part(cells.x, p.weight, p.hidden)  # (I, 1 + k)
    if p.nuisance.numel():
        swayed = of_item[:, :1] + (cells.nuisance @ p.nuisance)[:, None]
        of_item = torch.cat((swayed, of_item[:, 1:]), 1)
    # index_select: going backward it is twice as fast as indexing
    mine = of_rater.index_select(0, cells.rater)  # (n, 2 + k)
    part = of_item.index_select(0, cells.item)  # (n, 1 + k)
    liked = part[:, 0] + (mine[:, 2:] * part[:, 1:]).sum(-1)
    return p.intercept + mine[:, 0] + mine[:, 1] * liked


def scales(cells: Cells, p: Parameters) -> Tensor:
    """(R,) of mean 1, so that larger scales cannot make the ridges on items smaller; the same for
    everybody with fewer than two ratings."""
    scale = torch.where(cells.n_rating >= 2, p.scale, 1.0)
    return scale / scale.mean()


def penalty(cells: Cells, p: Parameters, config: RaterConfig) -> Tensor:
    """Ridges, in ratings."""
    return (
        config.ridge_bias * (p.bias**2).sum()
        + config.ridge_scale * ((scales(cells, p) - 1) ** 2).sum()
        + config.ridge * (p.weight[0] ** 2).sum()
        + config.ridge_factor * ((p.weight[1:] ** 2).sum() + (p.factor**2).sum())
        + config.ridge_hidden * (p.hidden**2).sum()
        + _NUISANCE_RIDGE * (p.nuisance**2).sum()
    )


def fit_parameters(cells: Cells, config: RaterConfig, *, seed: int) -> Fit:
    """First what raters share, then tastes, which begin where its residuals point.

    Args:
        cells: what was observed.
        config: rank, head and ridges.
        seed: of the hidden layer and of where the search for tastes begins; without a hidden layer
            two seeds reach the same solution up to rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.ones(cells.n_rater, dtype=torch.float64)
    p, n_iter = _start(cells, config, generator), 0
    ranks = [0] if config.rank == 0 else [0, config.rank]
    variance, loss, gradient = 1.0, 0.0, 0.0
    for rank in ranks:
        if rank:
            p = _with_tastes(cells, p, rank, generator)
        rounds = 1 + _NOISE_ROUNDS * (config.learn_noise and config.head != "ordinal")
        for _ in range(rounds):
            p, loss, steps, gradient = _minimise(cells, p, noise, config)
            n_iter += steps
            if config.head != "ordinal":
                noise, variance = _noise(cells, p, config)
    return _canonical(cells, p, noise, config)._replace(
        variance=variance, loss=loss, n_iter=n_iter, gradient=gradient
    )


def objective(cells: Cells, p: Parameters, noise: Tensor, config: RaterConfig) -> Tensor:
    """What is minimised: weighted losses plus ridges, divided by the ratings' weight."""
    cuts = ascending(p.cuts) if p.cuts.numel() else p.cuts
    each = head_loss(
        config.head, latent(cells, p), cells.target, noise[cells.rater], cuts, config.huber_delta
    )
    return ((cells.weight * each).sum() + penalty(cells, p, config)) / cells.weight.sum()


def descend(
    free: list[Tensor], value: Callable[[], Tensor], max_iter: int, tolerance: float
) -> tuple[float, int, float]:
    """L-BFGS with strong Wolfe line search (Nocedal and Wright 2006, ch. 7) on tensors in place.

    Returns:
        The least value, the steps taken, and the greatest entry of the gradient there.
    """
    search = torch.optim.LBFGS(
        free, max_iter=max_iter, max_eval=2 * max_iter, history_size=20, tolerance_grad=1e-9,
        tolerance_change=tolerance, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> float:
        search.zero_grad()
        loss = value()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    search.step(closure)  # type: ignore[no-untyped-call]
    final = closure()
    gradient = max(float(t.grad.abs().max()) for t in free if t.grad is not None and t.numel())
    return final, int(search.state[free[0]]["n_iter"]), gradient


def _minimise(
    cells: Cells, p: Parameters, noise: Tensor, config: RaterConfig
) -> tuple[Parameters, float, int, float]:
    fixed = {"intercept"} if config.head == "ordinal" else {"cuts"}
    if not config.learn_scale:
        fixed.add("scale")
    unit = _units(cells, p, config)
    free = {
        name: (t / u).detach().contiguous().requires_grad_(name not in fixed)
        for (name, t), u in zip(p._asdict().items(), unit, strict=True)
    }

    def now() -> Parameters:
        return Parameters(*(t * u for t, u in zip(free.values(), unit, strict=True)))

    moving = [t for t in free.values() if t.requires_grad and t.numel()]
    loss, steps, gradient = descend(
        moving, lambda: objective(cells, now(), noise, config), config.max_iter, config.tolerance
    )
    if steps >= config.max_iter:
        _log.warning(
            "raters: not converged after %d steps, gradient %.1e: raise max_iter", steps, gradient
        )
    return Parameters(*(t.detach() for t in now())), loss, steps, gradient


def _units(cells: Cells, p: Parameters, config: RaterConfig) -> Parameters:
    """Steps of about equal effect for each entry: one by the root of the loss's curvature there.

    Raters and items differ a hundredfold in ratings; in these units L-BFGS takes fewer steps. The
    solution is the same.
    """
    n, n_rater = cells.weight.sum(), cells.n_by_rater
    part = item_part(cells.x, p.weight, p.hidden)[cells.item]  # (n, 1 + k)
    square = (cells.weight[:, None] * part**2).sum(0) / n  # (1 + k,)
    taste = (p.factor**2).mean(0) if len(p.factor) else p.factor.new_zeros(p.factor.shape[1])
    if cells.x is None:
        each = torch.zeros(cells.n_item, dtype=n.dtype).index_add(0, cells.item, cells.weight)
    elif p.hidden.numel():
        each = n.expand(p.weight.shape[1])
    else:
        each = cells.weight @ cells.x[cells.item] ** 2
    per_weight = torch.cat((torch.ones(1, dtype=n.dtype), taste))[:, None] * each
    ridge = torch.full_like(per_weight, config.ridge_factor)
    ridge[0] = config.ridge

    def whole(t: Tensor) -> Tensor:
        return n.expand(t.shape)

    curvature = Parameters(
        intercept=whole(p.intercept),
        bias=n_rater + config.ridge_bias,
        scale=n_rater * square[0] + config.ridge_scale,
        factor=n_rater[:, None] * square[1:] + config.ridge_factor,
        weight=per_weight + ridge,
        hidden=whole(p.hidden),
        cuts=whole(p.cuts),
        nuisance=whole(p.nuisance),
    )
    return Parameters(*((n / t).sqrt() for t in curvature))


def _start(cells: Cells, config: RaterConfig, generator: torch.Generator) -> Parameters:
    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64)

    width = cells.n_item if cells.x is None else config.hidden or cells.x.shape[1]
    hidden = zeros(0, 0)
    if cells.x is not None and config.hidden:
        d = cells.x.shape[1]
        hidden = torch.randn(config.hidden, d + 1, generator=generator, dtype=torch.float64)
    cuts = zeros(0)
    if config.head == "ordinal":
        cuts = first_cuts(cells.target, cells.weight, cells.n_level)
    weight = zeros(1, width)
    if hidden.numel():  # at 0 the hidden layer would have no gradient
        weight = 0.1 * torch.randn(1, width, generator=generator, dtype=torch.float64)
    return Parameters(
        intercept=torch.zeros((), dtype=torch.float64), bias=zeros(cells.n_rater),
        scale=zeros(cells.n_rater) + 1,
        factor=zeros(cells.n_rater, 0), weight=weight, hidden=hidden, cuts=cuts,
        nuisance=zeros(cells.nuisance.shape[1]),
    )  # fmt: skip


def _with_tastes(cells: Cells, p: Parameters, rank: int, generator: torch.Generator) -> Parameters:
    """Begin tastes in the leading directions of the residuals (R, I), times the features, found by
    subspace iteration without making that matrix."""
    off = cells.weight * _residual(cells, p)
    x = cells.x
    if x is not None and p.hidden.numel():
        x = torch.tanh(x @ p.hidden[:, :-1].T + p.hidden[:, -1])

    def times(side: Tensor, at: Tensor, to: Tensor, n: int) -> Tensor:
        rows = off[:, None] * side[at]
        return torch.zeros(n, rank, dtype=torch.float64).index_add(0, to, rows)

    basis = torch.randn(cells.n_rater, rank, generator=generator, dtype=torch.float64)
    texts = torch.empty(0)
    for _ in range(_SUBSPACE_ROUNDS):
        on_items = times(basis, cells.rater, cells.item, cells.n_item)  # (I, k)
        texts = on_items if x is None else x.T @ on_items  # (d, k)
        back = texts if x is None else x @ texts
        basis = torch.linalg.qr(times(back, cells.item, cells.rater, cells.n_rater)).Q
        if basis.shape[1] < rank:  # fewer raters than tastes: the rest stays near 0
            extra = torch.zeros(cells.n_rater, rank - basis.shape[1], dtype=torch.float64)
            basis = torch.cat((basis, extra), 1)
    texts = texts / texts.norm(dim=0).clamp(min=1e-12)
    small = 0.3
    weight = torch.cat((p.weight, small * texts.T * texts.shape[0] ** 0.5 * 0.1))
    return p._replace(factor=small * basis * cells.n_rater**0.5, weight=weight)


def _residual(cells: Cells, p: Parameters) -> Tensor:
    """Observed minus expected; with ordinal cuts, the direction in which the loss falls."""
    with torch.enable_grad():
        eta = latent(cells, p).detach().requires_grad_()
        one = torch.ones_like(eta)
        head = "ordinal" if p.cuts.numel() else "mse"
        cuts = ascending(p.cuts) if p.cuts.numel() else p.cuts
        loss = head_loss(head, eta, cells.target, one, cuts, 1.0).sum()  # type: ignore[arg-type]
        return -torch.autograd.grad(loss, eta)[0] / 2


def _noise(cells: Cells, p: Parameters, config: RaterConfig) -> tuple[Tensor, float]:
    """Each rater's variance relative to the average, which counts as `noise_prior` ratings, and
    the average."""
    square = cells.weight * _residual(cells, p) ** 2
    total = torch.zeros(cells.n_rater, dtype=torch.float64).index_add(0, cells.rater, square)
    average = float(total.sum() / cells.weight.sum())
    if average < 1e-12:  # everybody is explained
        return torch.ones_like(total), average
    if not config.learn_noise:
        return torch.ones_like(total), average
    n0 = config.noise_prior
    own = (total + n0 * average) / (cells.n_by_rater + n0) / average
    return own.clamp(min=_NOISE_FLOOR), average


def _canonical(cells: Cells, p: Parameters, noise: Tensor, config: RaterConfig) -> Fit:
    """The form that two runs share; no prediction changes.

    Means over rated items of f0 and F, and over raters of b and a, are 0; s has mean 1; F has
    orthogonal columns of mean square 1 over rated items, ordered by how much ratings vary along
    them (the SVD of a·F), each with the sign that makes its largest entry of `a` positive.
    """
    is_known = cells.n_rating >= 2
    bias, factor = p.bias.clone(), p.factor * is_known[:, None]
    scale = scales(cells, p)
    weight, part = p.weight.clone(), item_part(cells.x, p.weight, p.hidden)
    rated = torch.bincount(cells.item, minlength=cells.n_item) > 0

    mean = factor.mean(0)  # (k,): what all like belongs to f0
    factor = factor - mean
    weight[0] += mean @ weight[1:]
    part = torch.cat((part[:, :1] + part[:, 1:] @ mean[:, None], part[:, 1:]), 1)

    offset = part[rated].mean(0)  # (1 + k,)
    bias = bias + scale * (offset[0] + factor @ offset[1:])
    part = part - offset

    intercept = p.intercept + bias.mean()
    bias = bias - bias.mean()

    k = factor.shape[1]
    precision = config.ridge_factor * torch.eye(k, dtype=torch.float64)
    if k:
        turn = _turn(factor, part[rated, 1:])  # (k, k)
        inverse = torch.linalg.pinv(turn)
        factor = factor @ inverse.T
        weight[1:] = turn.T @ weight[1:]
        offset[1:] = turn.T @ offset[1:]
        precision = turn.T @ precision @ turn
        precision += torch.diag((precision.diagonal() == 0).double())  # a direction not in use
    found = p._replace(
        intercept=intercept, bias=bias, scale=scale, factor=factor, weight=weight
    )  # fmt: skip
    return Fit(found, offset, precision, noise, 1.0, 0.0, 0, 0.0)


def _turn(factor: Tensor, taste: Tensor) -> Tensor:
    """M (k, k) for which `taste @ M` has orthogonal columns of mean square 1 and `factor @ M^-T`
    orthogonal ones in descending length; a direction without variance becomes 0."""
    qa, ra = torch.linalg.qr(factor)
    _, rf = torch.linalg.qr(taste)
    u, s, _ = torch.linalg.svd(ra @ rf.T)
    left = qa @ u  # (R, k)
    top = left.gather(0, left.abs().argmax(0, keepdim=True))[0]
    sign = torch.where(top < 0, -1.0, 1.0)
    is_real = s > 1e-9 * s.max().clamp(min=1e-12)
    # taste = qf rf and factor' taste = (qa u) s (qf v)', so qf v = taste ra' u / s
    inverse = torch.where(is_real, 1 / s.clamp(min=1e-300), 0.0)
    turn: Tensor = ra.T @ u * (inverse * sign * taste.shape[0] ** 0.5)
    return turn
