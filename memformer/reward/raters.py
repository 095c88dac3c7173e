"""The rater model: from a review's features to the rating that each rater would give it.

y_ri = mu + b_r + s_r (f0(x_i) + a_r . F(x_i)) + e,   e ~ N(0, sigma_r²)

m items, R raters, d features, k rank, I rated items
"""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memformer.config.changes import from_json, to_json
from memformer.config.reward import Aggregate, RaterConfig
from memformer.memory.storage import (
    UnreadableSave,
    complete_save,
    read_manifest,
    read_tensors,
    write_tensors,
)
from memformer.reward.heads import ascending, expected_rating
from memformer.reward.rater_cells import Cells, check_items, check_rank, standardised
from memformer.reward.rater_checks import RaterCheck, check_raters
from memformer.reward.rater_fit import Fit, fit_parameters, item_part
from memformer.reward.ratings import Ratings, cell_weights, check_ratings, distinct
from memformer.reward.social_choice import aggregate as choose

KIND = "raters"
_log = logging.getLogger(__name__)


class RaterModel(nn.Module):
    """Raters fitted to their ratings, made by `fit_raters`.

    Features are (m, d); a model fitted without features knows items by their number alone and takes
    (m,) int64 numbers, or (m, I) rows over the items. What it expects of an item that nobody rated
    is what its bias terms and ridges say: a prediction, never a filled-in rating.

    Args:
        config: as fitted.
        scale: least and greatest rating.
        n_rater, n_item: as fitted.
        d: width of the features; None: items by number.
    """

    def __init__(
        self,
        config: RaterConfig,
        scale: tuple[float, float],
        *,
        n_rater: int,
        n_item: int,
        d: int | None,
    ) -> None:
        super().__init__()
        k, has_hidden = config.rank, d is not None and config.hidden > 0
        width = n_item if d is None else config.hidden if has_hidden else d
        n_cut = round(scale[1] - scale[0]) if config.head == "ordinal" else 0
        self.config, self.scale, self.n_rater, self.n_item, self.d = (
            config, scale, n_rater, n_item, d,
        )  # fmt: skip
        self.checks: tuple[RaterCheck, ...] = ()
        self.report: dict[str, Any] = {}
        """How the fit went: cells, weights, steps, gradient, what is not known."""
        self.intercept = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(n_rater))
        self.stretch = nn.Parameter(torch.ones(n_rater))
        self.factor = nn.Parameter(torch.zeros(n_rater, k))
        self.weight = nn.Parameter(torch.zeros(1 + k, width))
        self.hidden = nn.Parameter(
            torch.zeros(config.hidden, d + 1) if has_hidden and d else torch.zeros(0, 0)
        )
        self.offset: Tensor
        self.precision: Tensor
        self.cuts: Tensor
        self.noise: Tensor
        self.population: Tensor
        self.centre: Tensor
        self.spread: Tensor
        self.deviation: Tensor
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        for name, value in {
            "offset": torch.zeros(1 + k),
            "precision": torch.eye(k),
            "cuts": torch.zeros(n_cut),
            "noise": torch.ones(n_rater),
            "population": torch.ones(n_rater),
            "centre": torch.zeros(()),
            "spread": torch.ones(()),
            "deviation": torch.ones(()),
            "feature_mean": torch.zeros(d or 0),
            "feature_scale": torch.ones(()),
        }.items():
            self.register_buffer(name, value)

    def item_part(self, features: Tensor) -> Tensor:
        """f0 and F of items, (m, 1 + k), in standardised units.

        Raises:
            ValueError: features of another width, or of items by number where texts are known.
        """
        if self.d is None:
            if features.dtype == torch.int64 and features.dim() == 1:
                return self.weight.T[features] - self.offset
            self._check(features, self.n_item, "or (m,) int64 numbers of items")
            return features.to(self.weight.dtype) @ self.weight.T - self.offset
        self._check(features, self.d, "as the model was fitted with")
        x = (features.to(self.weight.dtype) - self.feature_mean) / self.feature_scale
        return item_part(x, self.weight, self.hidden) - self.offset

    def latent(self, features: Tensor) -> Tensor:
        """(m, d) -> (m, R): each rater's opinion in standardised units, or logits with ordinal."""
        part = self.item_part(features)
        liked = part[:, :1] + part[:, 1:] @ self.factor.T  # (m, R)
        return self.intercept + self.bias + self.stretch * liked

    def forward(self, features: Tensor) -> Tensor:
        """(m, d) -> (m, R) expected ratings, on the ratings' scale and not clipped to it."""
        return self.rating(self.latent(features))

    def expected(self, rater: Tensor, features: Tensor) -> Tensor:
        """Expected rating of each pair: rater (n,), features (n, d) or item numbers -> (n,)."""
        part = self.item_part(features)
        liked = part[:, 0] + (part[:, 1:] * self.factor[rater]).sum(-1)
        return self.rating(self.intercept + self.bias[rater] + self.stretch[rater] * liked)

    def score(self, features: Tensor, aggregate: Aggregate | Tensor | None = None) -> Tensor:
        """(m, d) -> (m,): what the population of raters makes of each item; differentiable.

        The population is every rater of the model with the weight that `checks` names, whoever
        rated how much.

        Args:
            features: of the items.
            aggregate: the social choice, see `social_choice.aggregate`, or (R,) weights; by
                default that of the config.
        """
        rule = self.config.aggregate if aggregate is None else aggregate
        share = self.config.cvar_share
        return choose(self(features), self.population, rule, cvar_share=share)

    def save(self, folder: Path) -> None:
        """Write settings and tensors to a folder: safetensors and JSON.

        Raises:
            SaveFailed: the disk is full or cannot be written; what was there is whole.
        """
        manifest = {
            "kind": KIND,
            "config": to_json(self.config),
            "scale": list(self.scale),
            "n_rater": self.n_rater,
            "n_item": self.n_item,
            "d": self.d,
            "checks": [check._asdict() for check in self.checks],
            "report": self.report,
            "tensors": write_tensors(folder, dict(self.state_dict())),
        }
        complete_save(folder, manifest)

    @classmethod
    def load(cls, folder: Path) -> "RaterModel":
        """Read what `save` wrote.

        Raises:
            UnreadableSave: nothing was saved there, or it is damaged or of another kind.
        """
        manifest = read_manifest(folder, KIND)
        tensors = read_tensors(folder, manifest["tensors"])
        try:
            model = cls(
                from_json(RaterConfig, manifest["config"]),
                tuple(manifest["scale"]),
                n_rater=manifest["n_rater"],
                n_item=manifest["n_item"],
                d=manifest["d"],
            )
            model.load_state_dict(tensors, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UnreadableSave(f"{folder}: the manifest describes no raters ({error})") from None
        model.checks = tuple(
            RaterCheck(**each | {"reasons": tuple(each["reasons"])}) for each in manifest["checks"]
        )
        model.report = manifest["report"]
        return model.requires_grad_(False)

    def rating(self, eta: Tensor) -> Tensor:
        """Expected ratings of opinions in standardised units, of the same shape."""
        return expected_rating(
            self.config.head, eta, self.cuts, centre=self.centre, spread=self.spread,
            low=self.scale[0],
        )  # fmt: skip

    def _check(self, features: Tensor, width: int, what: str) -> None:
        if features.dim() != 2 or features.shape[1] != width or not features.is_floating_point():
            raise ValueError(
                f"features must be float (m, {width}) {what}, got {features.dtype} "
                f"of {tuple(features.shape)}"
            )


def fit_raters(
    ratings: Ratings,
    features: Tensor | None,
    config: RaterConfig,
    *,
    seed: int,
    nuisance: Tensor | None = None,
    weight: Tensor | None = None,
    failed: Tensor | None = None,
) -> RaterModel:
    """Fit raters and texts to observed cells.

    Args:
        ratings: observed cells.
        features: (I, d) of every item, rated or not. None: the items have no text and are known by
            their number alone, each with a free value and free tastes under the same ridges (matrix
            factorisation with biases; Koren, Bell and Volinsky 2009).
        config: rank, head, ridges, thresholds.
        seed: of what is drawn, see `fit_parameters`.
        nuisance: (I, Q) what sways ratings and shall not count, such as log length: fitted along
            and dropped at use, as if every item had the average.
        weight: (n,) how often each cell counts; 2 is a row given twice.
        failed: (R,) bool, raters who failed checks elsewhere; they are weighted down.

    Returns:
        The model, in the dtype of the features (else float32), without gradient in its own
        parameters.

    Raises:
        ValueError: ratings as in `check_ratings`; features or nuisances that are not finite or of
            another number of items; a rank above what raters, items or features allow; the ordinal
            head with ratings that are no whole numbers.
    """
    check_ratings(ratings)
    check_items("features", features, ratings.n_item)
    check_items("nuisance", nuisance, ratings.n_item)
    weights = cell_weights(ratings, config.min_propensity, weight)
    if weights.n_clipped > 0.2 * len(ratings.value):
        _log.warning(
            "raters: %d of %d propensities are below min_propensity=%g and count as it: their "
            "weights say little; lower it",
            weights.n_clipped, len(ratings.value), config.min_propensity,
        )  # fmt: skip
    cells, centre, spread, mean, length = standardised(
        ratings, features, config, weights.weight, nuisance, weight
    )
    check_rank(cells, config)
    fit = fit_parameters(cells, config, seed=seed)
    d = None if features is None else features.shape[1]
    model = RaterModel(
        config, ratings.scale, n_rater=ratings.n_rater, n_item=ratings.n_item, d=d
    )  # fmt: skip
    _fill(model, fit)
    model.centre, model.spread = centre, spread
    model.feature_mean, model.feature_scale = mean, length
    model.checks = _checks(model.double(), fit, cells, ratings, failed)
    model.population = torch.tensor([c.weight for c in model.checks], dtype=torch.float64)
    model.report = {
        "n": len(ratings.value),
        "n_rater": ratings.n_rater,
        "n_item": ratings.n_item,
        "n_item_unrated": ratings.n_item - len(distinct(ratings.item)),
        "n_rater_unrated": ratings.n_rater - len(distinct(ratings.rater)),
        "n_rater_single": int((torch.bincount(ratings.rater) == 1).sum()),
        "propensities_known": ratings.propensity is not None,
        "n_clipped": weights.n_clipped,
        "effective_n": weights.effective_n,
        "seed": seed,
        "steps": fit.n_iter,
        "loss": fit.loss,
        "gradient": fit.gradient,
        "nuisance": fit.parameters.nuisance.tolist(),
    }
    return model.to(torch.float32 if features is None else features.dtype).requires_grad_(False)


def _fill(model: RaterModel, fit: Fit) -> None:
    p = fit.parameters
    for parameter, value in (
        ("intercept", p.intercept), ("bias", p.bias), ("stretch", p.scale), ("factor", p.factor),
        ("weight", p.weight), ("hidden", p.hidden),
    ):  # fmt: skip
        setattr(model, parameter, nn.Parameter(value, requires_grad=False))
    model.offset, model.precision, model.noise = fit.offset, fit.precision, fit.noise
    model.deviation = torch.tensor(fit.variance, dtype=torch.float64).sqrt()
    model.cuts = ascending(p.cuts) if p.cuts.numel() else p.cuts


def _checks(
    model: RaterModel, fit: Fit, cells: Cells, ratings: Ratings, failed: Tensor | None
) -> tuple[RaterCheck, ...]:
    part = (item_part(cells.x, fit.parameters.weight, fit.parameters.hidden) - fit.offset)[
        distinct(cells.item)
    ]
    own = model.stretch * (part[:, :1] + part[:, 1:] @ model.factor.T)  # (I, R)
    square = (part[:, 0] ** 2).sum()
    agreement = (part[:, 0] @ own) / square if square > 1e-12 else torch.ones(ratings.n_rater)
    return check_raters(
        ratings,
        bias=model.bias * (1 if model.config.head == "ordinal" else model.spread),
        agreement=agreement,
        noise=model.noise,
        config=model.config,
        failed=failed,
    )
