"""How well do text features predict what a panel makes of a film review it has never seen?

10,605 snippets of film reviews, each rated from -4 to 4 by 15 to 29 anonymous people. A fifth of
the snippets is held out whole. The score is compared with the mean of its panel; what a perfect
score could reach is the root of that mean's reliability. The ridge is chosen on held-out parts of
the training snippets. The panel's columns are no people: rank is tried all the same, and with each
snippet's ratings shuffled among columns.

Features  minilm           all-MiniLM-L6-v2 as it is
          decoder          SmolLM2-135M in our own decoder as it is, on 4,000 snippets
          minilm-4000      MiniLM on the same 4,000
          minilm-trained   MiniLM's weights trained along on the training snippets' means: two
                           epochs, and four, which were added after that figure had been seen
Expect: minilm at least .85 of the ceiling; rank brings nothing.
Run:    python experiments/ratings_vader.py experiments/results/ratings_vader.json
        about 40 minutes of half a core, 20 of them for training MiniLM
Result: experiments/README.md
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import numpy as np
import torch
from text_features import text_features
from text_training import SETTINGS, trained_features
from torch import Tensor

from memformer.config import to_json
from memformer.config.reward import RaterConfig
from memformer.data.rating_sources import Panel, vader_panels
from memformer.evaluation.machine import describe
from memformer.reward.acceptance import accept
from memformer.reward.choice import choose_raters, expected_cells
from memformer.reward.raters import fit_raters
from memformer.reward.ratings import Ratings, distinct, folds, item_means, select

SPLIT_SEED, CHOICE_SEED, FIT_SEED, DRAW_SEED, SUBSET_SEED, N_DRAW = 0, 0, 0, 0, 0, 1000
N_SUBSET, N_COLUMN = 4000, 15
RIDGES = (100.0, 30.0, 10.0, 3.0)
TRAINED = {"minilm-trained": 2, "minilm-trained-longer": 4}
"""Epochs. Four were added after the held-out figure of two had been seen."""
PLAIN = RaterConfig(learn_scale=False, learn_noise=False, tolerance=1e-7)


def cells_of(panels: Sequence[Panel], *, is_panel: bool, shuffle: bool = False) -> Ratings:
    """The ratings as one exchangeable panel, or as if each of the first 15 columns (which every
    snippet has) were a person; shuffled within each snippet they certainly are none."""
    rng = np.random.default_rng(DRAW_SEED)
    rows = []
    for i, panel in enumerate(panels):
        own = list(panel.ratings)
        own = own if is_panel else own[:N_COLUMN]
        order = rng.permutation(len(own)) if shuffle else range(len(own))
        rows += [(0 if is_panel else c, i, own[k]) for c, k in enumerate(order)]
    rater, item, value = torch.tensor(rows).T
    n_rater = 1 if is_panel else N_COLUMN
    return Ratings(rater, item, value.double(), None, n_rater, len(panels), (-4.0, 4.0))


def judge(panels: Sequence[Panel], features: Tensor, name: str) -> dict[str, Any]:
    """Choose a ridge on training snippets, fit, and report on the held-out ones."""
    cells = cells_of(panels, is_panel=True)
    fold = folds(cells, 5, by="item", seed=SPLIT_SEED)
    train, test = select(cells, fold != 0), select(cells, fold == 0)
    candidates = [RaterConfig(**to_json(PLAIN) | {"ridge": ridge}) for ridge in RIDGES]
    chosen = choose_raters(
        train, features, candidates, by="item", n_fold=3, n_error=0, seed=CHOICE_SEED
    )
    model = fit_raters(train, features, chosen.config, seed=FIT_SEED)
    length = torch.tensor([float(len(panel.text.split())) for panel in panels])
    report = accept(
        model, test, features, exchangeable=True, length=length, n_draw=N_DRAW, seed=DRAW_SEED
    )
    print(f"{name}: ridge {chosen.config.ridge:g}\n{report.text()}\n", flush=True)
    return {
        "ridge": chosen.config.ridge,
        "inner_rmse": {t.config.ridge: t.mean for t in chosen.trials},
        "n_train_items": len(distinct(train.item)),
        "report": report.to_json(),
    }


def ranks(panels: Sequence[Panel], features: Tensor, ridge: float) -> dict[str, Any]:
    """Error of single ratings on held-out snippets and on held-out cells: bias, rank 1 and 2, with
    columns as they are and shuffled; the difference to bias by snippets resampled."""
    out: dict[str, Any] = {}
    for by in ("item", "cell"):
        for shuffled in (False, True):
            cells = cells_of(panels, is_panel=False, shuffle=shuffled)
            fold = folds(cells, 5, by=by, seed=SPLIT_SEED)
            train, test = select(cells, fold != 0), select(cells, fold == 0)
            off = {}
            for rank in (0, 1, 2):
                config = RaterConfig(**to_json(PLAIN) | {"ridge": ridge, "rank": rank})
                model = fit_raters(train, features, config, seed=FIT_SEED)
                off[rank] = (expected_cells(model, test, features) - test.value) ** 2
            name = f"{by}, {'shuffled columns' if shuffled else 'columns'}"
            out[name] = {
                f"rank {rank}": {
                    "rmse": float(off[rank].mean().sqrt()),
                    **({"minus rank 0": gap(off[rank], off[0], test.item)} if rank else {}),
                }
                for rank in off
            }
            print(name, out[name], flush=True)
    return out


def gap(a: Tensor, b: Tensor, item: Tensor) -> dict[str, float]:
    """Difference of two root mean squares, with an interval over items."""
    rng = np.random.default_rng(DRAW_SEED)
    _, at = np.unique(item.numpy(), return_inverse=True)
    n = at.max() + 1
    weight = np.concatenate((np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=N_DRAW)))
    count = weight @ np.bincount(at)
    roots = [np.sqrt(weight @ np.bincount(at, x.double().numpy()) / count) for x in (a, b)]
    value = roots[0] - roots[1]
    low, high = np.quantile(value[1:], (0.025, 0.975))
    return {"value": float(value[0]), "low": float(low), "high": float(high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe()
    panels = vader_panels().rows
    texts = [panel.text for panel in panels]
    order = np.random.default_rng(SUBSET_SEED).permutation(len(panels))
    few = np.sort(order[:N_SUBSET])
    some = [panels[i] for i in few]
    frozen = text_features(texts, "minilm")
    result: dict[str, Any] = {"features": {}}
    result["features"]["minilm"] = judge(panels, frozen, "minilm")
    result["features"]["minilm-4000"] = judge(some, frozen[few], "minilm-4000")
    own = text_features([panel.text for panel in some], "decoder")
    result["features"]["decoder"] = judge(some, own, "decoder")
    result["ranks"] = ranks(panels, frozen, result["features"]["minilm"]["ridge"])
    cells = cells_of(panels, is_panel=True)
    train = select(cells, folds(cells, 5, by="item", seed=SPLIT_SEED) != 0)
    means, count = item_means(train)
    learnt = (count > 0).nonzero()[:, 0]
    for name, epochs in TRAINED.items():
        trained = trained_features(
            texts, learnt, means[learnt].float(), epochs=epochs, seed=FIT_SEED
        )  # fmt: skip
        result["features"][name] = judge(panels, trained, name)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    result["training"] = SETTINGS | {"epochs": TRAINED}
    result["seeds"] = {
        "split": SPLIT_SEED, "choice": CHOICE_SEED, "fit": FIT_SEED, "draws": DRAW_SEED,
        "subset": SUBSET_SEED,
    }  # fmt: skip
    result["machine"] = machine
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
