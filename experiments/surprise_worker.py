"""scikit-surprise's side of `ratings_movielens.py`, in an environment of its own: it wants numpy 1.

    python -m venv peer; peer/bin/pip install "numpy<2" scikit-surprise==1.1.5

Reads one JSON object on standard input (`train`, `test`: lists of [rater, item, value]; `scale`;
`jobs`: name to {`kind`: "baseline" or "svd", `options`}), writes {name: predictions} and versions.
Nothing of memformer is imported.
"""

import json
import sys

import numpy as np
import surprise
from surprise.prediction_algorithms.algo_base import AlgoBase
from surprise.trainset import Trainset


def trainset(rows: list[list[float]], scale: list[float]) -> Trainset:
    """The rows as surprise's own training set; raw ids are text, as in its readers."""
    reader = surprise.Reader(rating_scale=tuple(scale))
    data = surprise.Dataset(reader)
    return data.construct_trainset([(str(int(u)), str(int(i)), v, None) for u, i, v in rows])


def algorithm(kind: str, options: dict) -> AlgoBase:
    """BaselineOnly (alternating least squares of two biases) or SVD (Funk's, with biases)."""
    match kind:
        case "baseline":
            return surprise.BaselineOnly(verbose=False, bsl_options=options)
        case "svd":
            return surprise.SVD(**options)
        case _:
            raise ValueError(f"kind must be 'baseline' or 'svd', got {kind!r}")


def main() -> None:
    asked = json.load(sys.stdin)
    train = trainset(asked["train"], asked["scale"])
    out = {"versions": {"scikit-surprise": surprise.__version__, "numpy": np.__version__}}
    for name, job in asked["jobs"].items():
        fitted = algorithm(job["kind"], job["options"]).fit(train)
        # `predict` clips to the scale
        out[name] = [fitted.predict(str(int(u)), str(int(i))).est for u, i, _ in asked["test"]]
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
