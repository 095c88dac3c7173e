"""Do biases and low rank predict held-out ratings as well as scikit-surprise's models?

MovieLens-100k: 943 raters, 1,682 films without text, 100,000 ratings from 1 to 5. The package that
carries it lacks the five published splits, so five folds of cells are drawn by a seed; all methods
see the same. Settings are chosen on a fifth of each fold's training cells, never on its test cells;
scikit-surprise's models run with their defaults, and SVD also with settings chosen in that way from
a grid of its own. All predictions are clipped to the scale. Intervals resample raters, 95 %.

Expect: biases as BaselineOnly within .003; low rank not worse than SVD, and better than biases.
Run:    python -m venv peer; peer/bin/pip install "numpy<2" scikit-surprise==1.1.5
        python experiments/ratings_movielens.py experiments/results/ratings_movielens.json \
            --peer peer/bin/python
        about 20 minutes of one core
Result: experiments/README.md
"""

import argparse
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import numpy as np
import torch
from numpy.typing import NDArray

from memformer.config import to_json
from memformer.config.reward import RaterConfig
from memformer.data.rating_sources import five_folds, movielens_100k
from memformer.evaluation.machine import describe
from memformer.reward.raters import fit_raters
from memformer.reward.ratings import Ratings, folds, select

WORKER = Path(__file__).parent / "surprise_worker.py"
FOLD_SEED, INNER_SEED, FIT_SEED, DRAW_SEED, N_DRAW = 0, 1, 0, 0, 2000
PLAIN = RaterConfig(ridge=3, ridge_bias=3, learn_scale=False, learn_noise=False, tolerance=1e-7)
CANDIDATES = {
    "bias": [
        replace(PLAIN, ridge=r, ridge_bias=b) for r, b in ((2, 2), (3, 3))
    ],
    "bias-scale": [
        replace(PLAIN, learn_scale=True, ridge_scale=s, learn_noise=n)
        for s, n in ((10, False), (10, True))
    ],
    "low-rank": [replace(PLAIN, rank=k, ridge_factor=f) for k, f in ((4, 12), (8, 12), (8, 14))],
}  # fmt: skip
SVD_GRID = [
    {"n_factors": k, "n_epochs": e, "reg_all": reg}
    for k in (20, 100) for e, reg in ((20, 0.02), (40, 0.1), (80, 0.1))
]  # fmt: skip
Floats = NDArray[np.float64]


def predict(train: Ratings, test: Ratings, config: RaterConfig) -> tuple[Floats, dict[str, Any]]:
    """Clipped predictions for the test cells, and how the fit went."""
    start = time.perf_counter()
    model = fit_raters(train, None, config, seed=FIT_SEED)
    took = {"seconds": time.perf_counter() - start, "steps": model.report["steps"]}
    return model.expected(test.rater, test.item).clamp(*test.scale).double().numpy(), took


def ask_peer(python: str, train: Ratings, test: Ratings, jobs: dict[str, Any]) -> dict[str, Any]:
    """Predictions of scikit-surprise's models, by the name of the job."""

    def rows(cells: Ratings) -> list[list[float]]:
        return torch.stack((cells.rater.double(), cells.item.double(), cells.value)).T.tolist()

    asked = {"train": rows(train), "test": rows(test), "scale": train.scale, "jobs": jobs}
    done = subprocess.run(
        [python, str(WORKER)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def rmse(prediction: Floats, cells: Ratings) -> float:
    return float(np.sqrt(((np.asarray(prediction) - cells.value.numpy()) ** 2).mean()))


def best(train: Ratings, kind: str, log: list[Any]) -> RaterConfig:
    """The candidate with the least error on a held-out fifth of the training cells."""
    inner = folds(train, 5, seed=INNER_SEED)
    fit_on, judged = select(train, inner != 0), select(train, inner == 0)
    scores = []
    for config in CANDIDATES[kind]:
        prediction, took = predict(fit_on, judged, config)
        scores.append(rmse(prediction, judged))
        log.append({"kind": kind, "config": to_json(config), "inner_rmse": scores[-1], **took})
        print(kind, config.rank, config.ridge_factor, f"{scores[-1]:.4f}", took, flush=True)
    return CANDIDATES[kind][int(np.argmin(scores))]


def best_svd(python: str, train: Ratings) -> dict[str, Any]:
    inner = folds(train, 5, seed=INNER_SEED)
    fit_on, judged = select(train, inner != 0), select(train, inner == 0)
    jobs = {
        str(n): {"kind": "svd", "options": {**options, "random_state": FIT_SEED}}
        for n, options in enumerate(SVD_GRID)
    }
    found = ask_peer(python, fit_on, judged, jobs)
    return min(SVD_GRID, key=lambda o: rmse(found[str(SVD_GRID.index(o))], judged))


def interval(square: dict[str, Floats], count: Floats, a: str, b: str | None) -> dict[str, float]:
    """RMSE of a, or of a minus that of b; `square` and `count` are sums by rater."""
    rng = np.random.default_rng(DRAW_SEED)
    drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=N_DRAW)
    weight = np.concatenate((np.ones((1, len(count))), drawn))

    def of(name: str) -> Floats:
        return np.sqrt(weight @ square[name] / (weight @ count))

    value = of(a) if b is None else of(a) - of(b)
    low, high = np.quantile(value[1:], (0.025, 0.975))
    return {"value": float(value[0]), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peer", required=True, help="Python that has scikit-surprise")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe()  # the commit that runs, whatever happens meanwhile
    table = movielens_100k()
    cells = Ratings(
        torch.from_numpy(table.rater), torch.from_numpy(table.item), torch.from_numpy(table.value),
        None, len(table.raters), len(table.items), table.scale,
    )  # fmt: skip
    fold = torch.from_numpy(five_folds(len(table.value), seed=FOLD_SEED))
    predicted: dict[str, Floats] = {}
    chosen, log, per_fold, versions = [], [], [], {}
    for number in range(5):
        train, test = select(cells, fold != number), select(cells, fold == number)
        configs = {kind: best(train, kind, log) for kind in CANDIDATES}
        svd = best_svd(args.peer, train)
        found = {kind: predict(train, test, config)[0] for kind, config in configs.items()}
        seed = {"random_state": FIT_SEED}
        peers = ask_peer(args.peer, train, test, {
            "BaselineOnly": {"kind": "baseline", "options": {}},
            "SVD": {"kind": "svd", "options": seed},
            "SVD-tuned": {"kind": "svd", "options": {**svd, **seed}},
        })  # fmt: skip
        versions = peers.pop("versions")
        found |= {name: np.array(value) for name, value in peers.items()}
        per_fold.append({name: rmse(value, test) for name, value in found.items()})
        chosen.append({**{k: to_json(c) for k, c in configs.items()}, "SVD-tuned": svd})
        print(number, {name: round(value, 4) for name, value in per_fold[-1].items()}, flush=True)
        for name, value in found.items():
            predicted.setdefault(name, np.full(len(table.value), np.nan))[fold == number] = value
    square = {
        name: np.bincount(table.rater, (value - table.value) ** 2)
        for name, value in predicted.items()
    }
    count = np.bincount(table.rater).astype(float)
    pairs = [
        ("bias", "BaselineOnly"), ("bias-scale", "BaselineOnly"), ("bias-scale", "bias"),
        ("low-rank", "SVD"), ("low-rank", "SVD-tuned"), ("low-rank", "bias-scale"),
    ]  # fmt: skip
    result = {
        "rmse": {name: interval(square, count, name, None) for name in square},
        "difference": {f"{a} - {b}": interval(square, count, a, b) for a, b in pairs},
        "per_fold": per_fold,
        "chosen": chosen,
        "inner": log,
        "seeds": {"folds": FOLD_SEED, "inner": INNER_SEED, "fit": FIT_SEED, "draws": DRAW_SEED},
        "machine": machine | {"peer": versions},
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result["rmse"].items():
        print(f"{name:14} {value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]")
    for name, value in result["difference"].items():
        print(f"{name:28} {value['value']:+.4f} [{value['low']:+.4f}, {value['high']:+.4f}]")


if __name__ == "__main__":
    main()
