"""How should what is retrieved be mixed with the window: in one softmax, or by a gate?

Small decoders (`small_novels.py`) on 360,000 tokens of novels, three seeds. The base is one softmax
over both (`joint`); `gate` mixes two softmaxes by a sigmoid a head that begins at -1, `tanh` adds
the second with a weight that begins at 0. Gates learn at 1e-2 where all else learns at 3e-3; two
variants let them learn at the common rate.

Expect: `joint` at least level with the best gate; `tanh` below, for it begins from no memory; the
        slow gates below the fast ones. All differences small, and some not told apart.
Run:    memformer ablate experiments/gate.py --out runs/gate
Result: experiments/README.md (joint first in every seed, not told apart, nor any memory used)
"""

from small_novels import BASE as SMALL
from small_novels import MEMORY_GAIN, NATS

BASE = SMALL
GATE, TANH = {"model.memory.combine": "gate"}, {"model.memory.combine": "tanh"}
SLOW = {"optimiser.gate_learning_rate": 3e-3}
VARIANTS = {
    "joint": {},
    "gate": GATE,
    "tanh": TANH,
    "gate, common rate": GATE | SLOW,
    "tanh, common rate": TANH | SLOW,
    "none": {"model.memory.layers": ()},
}
SEEDS = range(3)
METRICS = (NATS, MEMORY_GAIN)
