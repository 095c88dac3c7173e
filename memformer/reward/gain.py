"""Does a reviewer say of a novel what it could not say of any? The gate before the chain.

Generic reviews win likelihood. So what counts is the information that a review has of its novel:

    gain = sum over reviews [NLL(w) - NLL(w | novel)] / sum of tokens, in bits per token,

the pointwise mutual information of review and novel under the model. NLL(w) is the same decoder's
with no novel before the review, which it must have learned to do (`ReviewerConfig.p_without`): a
model that never saw that is merely confused by it, and its gain is too large. Control: the same
with another novel in the novel's place; it should be 0 or below, and what the own novel says beyond
another one does not depend on the model without novel. Both must be above 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.evaluation.metrics import BookDraws, Estimate, Floats, estimate, ratio
from memformer.model.saved_state import weights_hash
from memformer.model.state import DecoderState
from memformer.reward.review_set import ReviewIds, check_reviews, pad, read_part
from memformer.reward.reviewer import Reviewer

N_DRAW = 10_000


class GateClosed(ValueError):
    """A reviewer does not say of novels what it could not say of any."""


class Gain(NamedTuple):
    """Information of reviews about their novels, bits per token with 95% intervals over novels."""

    own: Estimate
    """NLL(w) - NLL(w | novel)."""
    shuffled: Estimate
    """NLL(w) - NLL(w | another novel): about 0, or below where a wrong novel misleads."""
    beyond_shuffled: Estimate
    """NLL(w | another novel) - NLL(w | novel)."""
    n_novel: int
    """Novels that have a review: the units of the intervals."""
    n_review: int
    """Reviews."""
    n_token: int
    """Their tokens, ends included."""
    bits_alone: float
    """NLL(w), bits per token."""
    weights: str
    """Digest of the reviewer's weights."""

    @property
    def is_above_zero(self) -> bool:
        """Whether the lower bounds of `own` and of `beyond_shuffled` are above 0; no interval
        counts as no."""
        return self.own.low > 0 and self.beyond_shuffled.low > 0


class GatePass(NamedTuple):
    """The leave to run a chain; its marks belong into every result."""

    gain: Gain | None
    """None where it was never measured."""
    is_ungated: bool
    """Whether the chain runs in spite of the gate."""

    def marks(self) -> dict[str, Any]:
        """What a result keeps of it, in values that JSON holds."""
        found = None if self.gain is None else gain_json(self.gain)
        return {"ungated": self.is_ungated, "information_gain": found}


def gate(gain: Gain | None, *, ungated: bool = False, weights: str | None = None) -> GatePass:
    """Let a chain run if its reviewer's information gain is above 0.

    Args:
        gain: of this reviewer on novels that it was not trained on; None if not measured.
        ungated: run in any case. Where the gate would have been closed, results are marked.
        weights: digest of the reviewer's weights (`weights_hash`); None leaves it unchecked that
            the gain is of these.

    Raises:
        GateClosed: the gain was not measured, or with other weights, or is not above 0, and not
            `ungated`.
    """
    is_other = gain is not None and weights not in (None, gain.weights)
    is_open = gain is not None and gain.is_above_zero and not is_other
    if is_open or ungated:
        return GatePass(gain, not is_open)
    found = "it was not measured"
    if gain is not None:
        found = _told(gain)
        if is_other:
            found = f"it was measured with weights {gain.weights[:6]}, these are {weights:.6}"
    raise GateClosed(
        "the chain needs a reviewer whose information gain is above 0, and beyond that of another "
        f"novel: {found}; train it further, measure it (on more novels), or run with --ungated, "
        "which marks the results"
    )


def gain_json(gain: Gain) -> dict[str, Any]:
    """A gain in values that JSON holds; bounds that do not exist are None."""

    def bounds(found: Estimate) -> dict[str, float | None]:
        return {k: None if math.isnan(v) else v for k, v in found._asdict().items()}

    rest = gain._asdict()
    return {name: bounds(v) if isinstance(v, Estimate) else v for name, v in rest.items()}


def gain_from_json(found: dict[str, Any]) -> Gain:
    """What `gain_json` wrote; further keys are left alone.

    Raises:
        ValueError: something is missing.
    """
    try:
        parts = {name: found[name] for name in Gain._fields}
        for name in ("own", "shuffled", "beyond_shuffled"):
            bounds = {k: math.nan if v is None else float(v) for k, v in parts[name].items()}
            parts[name] = Estimate(**bounds)
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no information gain: {error} is missing or wrong") from None
    return Gain(**parts)


@torch.no_grad()
def information_gain(
    reviewer: Reviewer,
    novels: Sequence[Sequence[int]],
    reviews: Sequence[ReviewIds],
    *,
    seed: int = 0,
    n_draw: int = N_DRAW,
    progress: Callable[[int, int], None] | None = None,
) -> Gain:
    """Measure a reviewer's gain on reviews of novels that it was not trained on.

    Each novel is read once (once for every `upto_u` of its reviews); its state serves its own
    reviews and those of the novel whose control it is. The other novel is the next in an order
    drawn by the seed, cut like the novel at the review's `upto_u`.

    Args:
        reviewer: its model is read in evaluation mode.
        novels: tokens of each; of those without a review none is read.
        reviews: with metadata and all.
        seed: of the order and the resamples.
        n_draw: resamples of whole novels, with replacement.
        progress: told novels read and in all.

    Raises:
        ValueError: fewer than 5 novels have reviews, or a review is empty, too long or of no novel,
            or a loss is not finite.
    """
    check_reviews(reviews, len(novels), reviewer.end, reviewer.max_len)
    used = sorted({each.novel for each in reviews})
    draws = BookDraws(len(used), n_draw, seed)  # refuses few novels before the work begins
    order = np.random.default_rng(seed).permutation(used).tolist()
    other = {novel: order[(i + 1) % len(order)] for i, novel in enumerate(order)}
    wanted: dict[tuple[int, float], list[tuple[str, int]]] = {}
    for i, each in enumerate(reviews):
        wanted.setdefault((each.novel, each.upto_u), []).append(("own", i))
        wanted.setdefault((other[each.novel], each.upto_u), []).append(("other", i))
    nats: dict[str, Floats] = {arm: np.zeros(len(reviews)) for arm in ("alone", "own", "other")}
    was_training = reviewer.model.training
    reviewer.model.eval()
    try:
        nats["alone"][:] = _nats(reviewer, _read(reviewer, []), list(reviews))
        for done, ((novel, upto_u), asked) in enumerate(sorted(wanted.items())):
            state = _read(reviewer, novels[novel], upto_u)
            told = _nats(reviewer, state, [reviews[i] for _, i in asked])
            for (arm, i), value in zip(asked, told, strict=True):
                nats[arm][i] = value
            if progress is not None:
                progress(done + 1, len(wanted))
    finally:
        reviewer.model.train(was_training)
    return _gain(draws, used, reviews, nats, weights_hash(reviewer.model))


def _read(reviewer: Reviewer, novel: Sequence[int], upto_u: float = 1.0) -> DecoderState:
    device = reviewer.model.embedding.weight.device
    part = read_part(novel, upto_u) if len(novel) else []
    ids = torch.tensor([part], dtype=torch.int64, device=device)
    length = [len(novel)] if part else None
    return reviewer.read_novel(ids, reviewer.new_state(1), length=length)


def _nats(reviewer: Reviewer, state: DecoderState, reviews: list[ReviewIds]) -> list[float]:
    """Nats of each review after one novel."""
    found: list[float] = []
    for start in range(0, len(reviews), 64):
        part = reviews[start : start + 64]
        ids, mask = pad([each.ids for each in part], reviewer.end, state.layers[0].keys.device)
        asked = torch.tensor([(each.group, each.delay) for each in part], device=ids.device)
        reading = reviewer.ask(state.fork(len(part)), asked[:, 0], asked[:, 1])
        nats: Tensor = reviewer.nats(reading, ids).double().where(mask, 0.0).sum(1)
        if not bool(nats.isfinite().all()):
            at = int((~nats.isfinite()).nonzero()[0])
            raise ValueError(f"review {part[at].id}: its loss is {float(nats[at])}")
        found += nats.tolist()
    return found


def _gain(
    draws: BookDraws,
    used: list[int],
    reviews: Sequence[ReviewIds],
    nats: dict[str, Floats],
    weights: str,
) -> Gain:
    novel = np.array([each.novel for each in reviews])
    n_token = np.array([len(each.ids) for each in reviews], dtype=np.float64)

    def bits(top: Floats) -> Floats:
        rows = [novel == each for each in used]
        return ratio(draws, [top[r] / math.log(2) for r in rows], [n_token[r] for r in rows])

    alone, own, other = nats["alone"], nats["own"], nats["other"]
    return Gain(
        own=estimate(bits(alone - own), draws.n_unit),
        shuffled=estimate(bits(alone - other), draws.n_unit),
        beyond_shuffled=estimate(bits(other - own), draws.n_unit),
        n_novel=len(used),
        n_review=len(reviews),
        n_token=int(n_token.sum()),
        bits_alone=float(alone.sum() / math.log(2) / n_token.sum()),
        weights=weights,
    )


def _told(gain: Gain) -> str:
    own, rest = gain.own, gain.beyond_shuffled
    return (
        f"{own.value:.3f} bits a token [{own.low:.3f}, {own.high:.3f}], {rest.value:.3f} "
        f"[{rest.low:.3f}, {rest.high:.3f}] beyond another novel, over {gain.n_novel} novels"
    )
