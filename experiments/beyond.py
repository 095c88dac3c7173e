"""Past the length a decoder was trained for, is a memory worth more than what full attention loses?

SmolLM2-135M-Instruct was trained on 8,192 tokens. It reads the first 16,384 of four novels. Full
attention as it is meets distances that it never saw; its fair rivals see all of the text as well,
with distances clamped to 6,000 (ReRoPE) or with a rotary base raised for twice the length
(NTK-aware: 100,000 x 2^(64/62)). Window, sinks and memory clamp to 6,000 too. Nothing is trained;
each book is a unit. What counts is the second half, past the trained length.

Expect: full attention as it is loses to window and sinks in the second half; clamped or rescaled it
        leads; a memory in the upper half of the layers closes two thirds of the gap to it.
Run:    memformer ablate experiments/beyond.py --out runs/beyond
Result: not run yet
"""

from reading import NATS, SECOND_HALF, Reading, read

BASE = Reading(
    n_token=16_384, max_distance=6000,
    books=("austen-pride", "huxley-crome", "wells-moreau", "woolf-voyage"),
)  # fmt: skip
ON, FULL = {"memory": "on"}, {"n_sink": 0}
UPPER = {"layers": tuple(range(15, 30))}
VARIANTS = {
    "window and sinks": {},
    "full attention": FULL | {"attention": "full", "max_distance": None},
    "full, clamped": FULL | {"attention": "full_clamped"},
    "full, rescaled base": FULL
    | {"attention": "full", "max_distance": None, "rope_base": 204_500.0},
    "memory": ON,
    "memory, upper half": ON | UPPER,
    "window 1024, memory, upper half": ON | UPPER | {"window": 1024},
}
SEEDS = (0,)
METRICS = (SECOND_HALF, NATS)
make = read
