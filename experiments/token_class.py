"""Which tokens does a memory help with, and is it this book's memory that helps?

SmolLM2-135M reads the first 4,096 tokens of eight novels through a window of 256 and 4 sinks, with
no memory, with 32 pairs in every layer, with keys that give others' values, and with another book's
memory. Nats are split by what the token is: a name's first mention, a name mentioned again after so
many tokens, anything else. Each book is a unit.

Expect: nearly all of the gain on names that come again after the window has lost them; none of it
        with another book's memory; harm with shuffled values.
Run:    memformer ablate experiments/token_class.py --out runs/token_class
Result: experiments/README.md
"""

from reading import NATS, Reading, of_class, read

BASE = Reading()
VARIANTS = {
    "no memory": {},
    "memory": {"memory": "on"},
    "shuffled values": {"memory": "shuffled"},
    "another book's": {"memory": "other_book"},
}
SEEDS = (0,)
METRICS = (
    NATS,
    *map(of_class, ("other", "first_name", "again <256", "again 256-1024", "again 1024-4096")),
)
make = read
