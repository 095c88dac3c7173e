"""Training a generator on a reward: predictive loss and reward loss in one update.

The loop is plain functions, each of which may be replaced: what a reward is, the loss of a rung,
what is judged as gold. Lightning is not used: its trainer turns batches into steps, while here a
batch does not exist before the policy of this very update has written it, and looks at gold stand
between updates and decide whether there is another. The update itself is as in `step.train_step`.

n prompts, P tokens of a prompt, L of a continuation, M held-out prompts
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from memformer.config import to_json
from memformer.config.reward_training import TuneConfig
from memformer.data.lanes import Segment
from memformer.evaluation.machine import describe
from memformer.evaluation.store import write_json
from memformer.model.decoder import Decoder
from memformer.model.saved_state import weights_hash
from memformer.reward.chain import TooManyUnscorable
from memformer.reward.goodhart_stop import gold_stop
from memformer.training.branches import Reward, write_branches
from memformer.training.optimiser import build_optimiser, rate_share, set_rate
from memformer.training.predictive import TrainingDiverged
from memformer.training.reward_losses import LossOf, RewardLoss, build_loss, draw_seed
from memformer.training.step import read_passage, trained
from memformer.training.table import Table
from memformer.training.tune_checkpoint import has_tuning, load_tuning, save_tuning

COLUMNS = (
    "score", "score_sd", "k1", "k3", "n_clamped", "n_text", "n_unscorable", "n_unused", "nats",
    "grad_norm", "tokens",
)  # fmt: skip
_GOLD_SEED = 1 << 61


class TuneData(NamedTuple):
    """What is read, as functions of the update: a resumed run reads what it would have read."""

    prompts: Callable[[int], Tensor]
    """update -> (n, P) int64 to be continued; n is the config's n_prompt."""
    passages: Callable[[int], Sequence[Segment]]
    """update -> consecutive segments of real texts for the predictive loss, read from a fresh
    state; give what lies before a passage with weight 0."""
    held: Tensor
    """(M, P) int64: prompts of held-out gold."""


class Look(NamedTuple):
    """Held-out gold after some updates."""

    update: int
    mean: float
    error: float
    """Standard error over texts."""
    n_missing: int
    """Texts that gold could not judge; left out."""


class Tuned(NamedTuple):
    """What a tuning came to. The model holds the weights of the best look, or the last average."""

    rows: list[dict[str, Any]]
    """One an update, with `COLUMNS`."""
    looks: list[Look]
    reason: str
    """Why it stopped."""
    best: int
    """Updates made when the weights that are kept were judged."""
    spent: int
    """Tokens, as `TuneConfig` counts them; looks at gold included."""


class Update(NamedTuple):
    """What one update of the weights was made from."""

    reward: RewardLoss
    nats: float
    """Predictive loss a token; NaN without one."""
    grad_norm: float
    n_token: int


def reward_update(
    model: Decoder,
    reference: Decoder,
    optimiser: torch.optim.Optimizer,
    data: TuneData,
    reward: Reward,
    config: TuneConfig,
    n: int,
    loss_of: LossOf,
) -> Update:
    """One update: reward loss + predictive_weight · nats a token, one backward pass each.

    Nothing is moved unless losses and gradient are finite. Prompts are read anew, by policy and
    reference each into states of its own.

    Raises:
        TooManyUnscorable: more than `max_unscorable` of the continuations.
        TrainingDiverged: a loss or the gradient is not finite.
    """
    optimiser.zero_grad(set_to_none=True)
    model.eval()  # the fraction is hidden only where text is learned
    out = loss_of(model, reference, data.prompts(n), reward, config, n)
    n_bad = int((~out.scores.isfinite()).sum())
    if n_bad > config.max_unscorable * len(out.scores):
        raise TooManyUnscorable(
            f"update {n + 1}: {n_bad} of {len(out.scores)} continuations have no score, more than "
            f"max_unscorable={config.max_unscorable}: no weight was moved; look at what the reward "
            "cannot read, or raise max_unscorable"
        )
    if out.loss is not None:
        out.loss.backward()  # type: ignore[no-untyped-call]
    nats, n_read = math.nan, 0
    if config.predictive_weight:
        nats, n_read = _predictive(model, data.passages(n), config, n)
    norm = float(nn.utils.clip_grad_norm_(trained(optimiser), config.optimiser.clip_norm))
    numbers = [norm, *([float(out.loss.detach())] if out.loss is not None else [])]
    numbers += [nats] if config.predictive_weight else []
    if not all(math.isfinite(x) for x in numbers):
        raise TrainingDiverged(
            f"update {n + 1}: gradient norm and losses {numbers}; the weights were not moved. "
            "Lower optimiser.learning_rate or kl_weight"
        )
    set_rate(optimiser, rate_share(n, config.n_update, config.optimiser))
    optimiser.step()
    return Update(out, nats, norm, out.n_token + 3 * n_read)


def _predictive(
    model: Decoder, passage: Sequence[Segment], config: TuneConfig, n: int
) -> tuple[float, int]:
    model.train()
    with torch.random.fork_rng(devices=[]):  # hidden fractions are drawn by the update's number
        torch.manual_seed(draw_seed(config, n))
        state = model.new_state(len(passage[0].tokens), grad_segments=len(passage))
        read = read_passage(model, state, passage)
    model.eval()
    (config.predictive_weight * read.loss / read.weight).backward()  # type: ignore[no-untyped-call]
    return float(read.loss.detach()) / read.weight, sum(int(part.mask.sum()) for part in passage)


Gold = Callable[[Tensor], Tensor]
"""(M, P + L) ids of whole held-out texts -> (M,) gold, NaN where there is none: raters and items
that the reward was never trained on."""


def look(
    model: Decoder, data: TuneData, gold: Gold, config: TuneConfig, update: int
) -> tuple[Look, int]:
    """Held-out gold of what the model writes now, one text a prompt; the draws are always the same.

    Returns:
        The look, and the tokens it cost.
    """
    model.eval()
    drawn = replace(config.sampling, seed=_GOLD_SEED + config.seed)
    wrote = write_branches(
        model, data.held, 1, config.n_new, sampling=drawn, length=config.length, end=config.end
    )
    value = gold(wrote.text)
    good = value[value.isfinite()].double()
    if len(good) < 2:
        raise ValueError(f"gold judged {len(good)} of {len(value)} held-out texts, 2 are needed")
    error = float(good.std()) / len(good) ** 0.5
    return Look(update, float(good.mean()), error, len(value) - len(good)), wrote.text.numel()


class _Run:
    """Where a tuning stands: all that a checkpoint holds beside model and optimiser."""

    def __init__(self, model: Decoder, config: TuneConfig) -> None:
        self.model, self.config = model, config
        self.average: dict[str, Tensor] | None = None
        if config.optimiser.ema_decay is not None:
            self.average = _copy(model)
        self.best = _copy(model)
        self.rows: list[dict[str, Any]] = []
        self.looks: list[Look] = []
        self.spent, self.done, self.reason = 0, 0, ""
        self.cost = 0
        """Tokens of the last update, which the next one is expected to cost."""

    def follow(self) -> None:
        """Move the average towards the weights; as `PredictiveModule` does, faster at the start."""
        if self.average is None or self.config.optimiser.ema_decay is None:
            return
        decay = min(self.config.optimiser.ema_decay, (1 + self.done) / (10 + self.done))
        for name, weight in self.model.named_parameters():
            self.average[name].lerp_(weight.detach(), 1 - decay)

    def judge(self, data: TuneData, gold: Gold) -> None:
        """Look at gold with the averaged weights; keep them if their lower bound is the best."""
        kept = _copy(self.model)
        if self.average is not None:
            self.model.load_state_dict(self.average)
        seen, n_token = look(self.model, data, gold, self.config, self.done)
        self.looks.append(seen)
        self.spent += n_token
        if self.stop_index() == len(self.looks) - 1:
            self.best = _copy(self.model)
        self.model.load_state_dict(kept)

    def stop_index(self) -> int:
        """Which look is best so far."""
        return gold_stop(
            *self._seen(), z=self.config.gold_z, patience=self.config.gold_patience
        ).best

    def why_stop(self) -> str:
        """The reason to make no other update; empty: go on."""
        config = self.config
        if self.looks:
            mean, error = self._seen()
            rule = dict(z=config.gold_z, patience=config.gold_patience)
            # one look that no rule could stop at: reached only if none before it stopped
            if gold_stop([*mean, math.inf], [*error, 0.0], **rule).looked_at == len(mean):  # type: ignore[arg-type]
                return "held-out gold: " + gold_stop(mean, error, **rule).reason  # type: ignore[arg-type]
        last = [row["k1"] for row in self.rows[-config.kl_smoothing :]]
        if config.kl_budget is not None and last and sum(last) / len(last) > config.kl_budget:
            return (
                f"KL budget: {sum(last) / len(last):.3f} nats a continuation, mean of the last "
                f"{len(last)} updates, is above {config.kl_budget}"
            )
        if self.done >= config.n_update:
            return f"all {config.n_update} updates are made"
        if config.max_tokens is not None and self.spent + self.cost > config.max_tokens:
            return f"compute: {self.spent} of {config.max_tokens} tokens are spent"
        return ""

    def _seen(self) -> tuple[list[float], list[float]]:
        return [each.mean for each in self.looks], [each.error for each in self.looks]

    def progress(self) -> dict[str, Any]:
        """What the checkpoint's manifest holds."""
        return {
            "done": self.done, "rows": [_jsonable(row) for row in self.rows], "spent": self.spent,
            "looks": [each._asdict() for each in self.looks], "reason": self.reason,
            "cost": self.cost,
        }  # fmt: skip

    def resume(self, best: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Stand where a checkpoint stood."""
        self.best, self.done, self.spent = best, progress["done"], progress["spent"]
        self.rows = [{k: math.nan if v is None else v for k, v in row.items()}
                     for row in progress["rows"]]  # fmt: skip
        self.looks = [Look(**each) for each in progress["looks"]]
        self.reason, self.cost = progress["reason"], progress["cost"]


def tune(
    model: Decoder,
    reference: Decoder,
    data: TuneData,
    reward: Reward,
    config: TuneConfig,
    *,
    gold: Gold | None = None,
    out: Path | None = None,
    loss_of: LossOf | None = None,
    inputs: str = "",
    told: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Train a policy until gold, KL, compute or updates say stop; the log says which.

    At the end the model holds the weights of the look at gold with the largest lower bound, or
    without gold the moving average.

    Args:
        model: the policy; its weights are changed.
        reference: frozen, the model before; never the same object as `model`.
        data: prompts, real texts, held-out prompts.
        reward: see `Reward`.
        config: see `TuneConfig`.
        gold: what early stopping looks at; None trains on without it, and the log says so.
        out: folder of config, metrics.csv, gold.csv and checkpoints; one with a checkpoint of the
            same config is gone on from.
        loss_of: instead of the config's method.
        inputs: names data, reward and gold, by a digest say: a checkpoint of others is refused.
        told: gets a line at each look and at the end.

    Raises:
        ValueError: reference is model; a checkpoint of another config or other inputs, or one made
            with gold where there is none now, or without.
        TooManyUnscorable, TrainingDiverged: see `reward_update`.
    """
    if reference is model:
        raise ValueError("reference must be a frozen copy of the policy, got the policy itself")
    loss_of = loss_of or build_loss(config)
    run, optimiser = _Run(model, config), build_optimiser(model, config.optimiser)
    reference.eval()  # it is read without gradient, and nothing of it is changed
    folder, made_of = None if out is None else out / "checkpoint", (weights_hash(reference), inputs)
    is_resumed = folder is not None and has_tuning(folder)
    if folder is not None and is_resumed:
        run.resume(*load_tuning(folder, config, made_of, model, optimiser, run.average))
        if (gold is not None) != bool(run.looks):
            raise ValueError(
                f"{folder} was made {'with' if run.looks else 'without'} held-out gold: go on as "
                "it began, or begin a new one in another folder"
            )
    tables = None if out is None else _tables(out, config, run.done if is_resumed else -1)
    if gold is not None and not run.looks:
        _judge(run, data, gold, tables, told)
    while not (reason := run.reason or run.why_stop()):
        made = reward_update(model, reference, optimiser, data, reward, config, run.done, loss_of)
        run.done += 1
        run.spent += made.n_token
        run.cost = made.n_token
        run.follow()
        run.rows.append(_row(made, run.spent))
        if tables is not None:
            tables[0].append({"step": run.done, **run.rows[-1]})
        if gold is not None and run.done % config.gold_every == 0:
            _judge(run, data, gold, tables, told)
        if folder is not None and run.done % config.checkpoint_every == 0:
            save_tuning(
                folder, config, made_of, model, optimiser, run.average, run.best, run.progress()
            )
    if not run.reason and gold is not None and run.looks[-1].update != run.done:
        _judge(run, data, gold, tables, told)
    run.reason = reason
    if folder is not None:
        save_tuning(
            folder, config, made_of, model, optimiser, run.average, run.best, run.progress()
        )
    if gold is None:
        run.best = run.average or _copy(model)
    model.load_state_dict(run.best)
    best = run.looks[run.stop_index()].update if gold is not None else run.done
    ending = "" if gold is not None else "; without held-out gold nothing watches for hacking"
    told(f"stopped after {run.done} updates: {reason}; kept update {best}{ending}")
    return Tuned(run.rows, run.looks, reason, best, run.spent)


def _judge(
    run: _Run,
    data: TuneData,
    gold: Gold,
    tables: tuple[Table, Table] | None,
    told: Callable[[str], None],
) -> None:
    run.judge(data, gold)
    seen = run.looks[-1]
    if tables is not None:
        tables[1].append({"step": seen.update, **{k: v for k, v in seen._asdict().items()
                                                  if k != "update"}})  # fmt: skip
    score = f", score {run.rows[-1]['score']:.3f}" if run.rows else ""
    kl = f", KL {run.rows[-1]['k1']:.2f} / {run.rows[-1]['k3']:.2f}" if run.rows else ""
    told(f"update {seen.update}: gold {seen.mean:.3f} ± {seen.error:.3f}{score}{kl}")


def _row(made: Update, spent: int) -> dict[str, Any]:
    scores = made.reward.scores
    good = scores[scores.isfinite()].double()
    return {
        "score": float(good.mean()) if len(good) else math.nan,
        "score_sd": float(good.std()) if len(good) > 1 else math.nan,
        "k1": made.reward.k1,
        "k3": made.reward.k3,
        "n_clamped": made.reward.n_clamped,
        "n_text": len(scores),
        "n_unscorable": len(scores) - len(good),
        "n_unused": made.reward.n_unused,
        "nats": made.nats,
        "grad_norm": made.grad_norm,
        "tokens": spent,
    }


def _tables(out: Path, config: TuneConfig, done: int) -> tuple[Table, Table]:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "tune.json", {"config": to_json(config), "made_with": describe()})
    tables = Table(out / "metrics.csv", COLUMNS), Table(out / "gold.csv", Look._fields[1:])
    for table in tables:
        table.cut(done)
    return tables


def _copy(model: Decoder) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def _jsonable(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has; NaN becomes null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
