"""Where should a decoder be told how far into the novel it is: at the input, when it reads, both?

Small decoders (`small_novels.py`) on 360,000 tokens of novels, three seeds. The fraction is added
to the embedding (`input`: Fourier; `bins`: a rival), shapes the scores of retrieved pairs
(`read time`), or both; it is hidden from one manuscript in ten. Each model that is told it is then
read with the fraction unknown, with stretches that have traded theirs, and with a declared length
wrong by a quarter either way.

Not in it: an absolute index and a text header as rivals, deciles of whole books, PlotBench's B5.
Expect: no difference in nats that can be told at this size; shuffled fractions cost something where
        the fraction is used at all, a length wrong by a quarter nothing.
Run:    memformer ablate experiments/fraction.py --out runs/fraction
Result: experiments/README.md (no way can be told from none; the true fraction is worth nothing)
"""

from collections.abc import Mapping
from typing import Any

from small_novels import BASE as SMALL
from small_novels import NATS, gain, nats

from memformer.ablation import Metric, Trained

BASE = SMALL
INPUT = {"model.fraction.kind": "fourier", "model.fraction.p_unknown": 0.1}
READ = {"model.memory.positions": "fraction", "model.fraction.p_unknown": 0.1}
VARIANTS = {
    "none": {},
    "input": INPUT,
    "bins": INPUT | {"model.fraction.kind": "bins"},
    "read time": READ,
    "both": INPUT | READ,
}
SEEDS = range(3)


def truth(name: str, **told: Any) -> Metric:
    """What the true fraction gains over another; none for a model that is told none."""

    def other(run: Trained) -> Mapping[str, float]:
        return nats(run, **told) if run.config.model.uses_fraction else {}

    what = "nats a token, told otherwise minus told the truth"
    return Metric(name=f"truth over {name}", of=gain(other), better="higher", what=what)


METRICS = (
    NATS,
    truth("unknown", fraction="unknown"),
    truth("shuffled", fraction="shuffled"),
    truth("a length a quarter too short", length_factor=0.75),
    truth("a length a quarter too long", length_factor=1.25),
)
