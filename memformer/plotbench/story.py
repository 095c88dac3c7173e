"""What a benchmark is made of: stories in twins, a trace of their facts, probes in groups of four.

Offsets count code points of NFC text; spans are half-open. Distances in characters: each model
counts its own tokens.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

Span = tuple[int, int]
Split = Literal["train", "dev", "test"]
Role = Literal["establish", "restate", "imply", "update", "hearsay", "negate", "presuppose"]
Act = Literal["setup", "confrontation", "climax", "resolution"]
Twin = Literal["A", "B"]
Side = Literal["x", "y"]

CORE = (
    "attr.static", "attr.update", "attr.alias", "attr.hearsay", "poss.chain", "life",
    "know.secret", "thread.payoff", "arc.position",
)  # fmt: skip
EXTENDED = ("attr.latent", "kin.hop", "time.order", "thread.status")
FAMILIES = CORE + EXTENDED
RETRIEVAL_FLOOR = ("attr.static", "attr.update")
"""Solved by the latest sentence that holds a name and a value: they measure retrieval alone."""
CLAIM = ("attr.alias", "attr.hearsay", "know.secret", "thread.payoff")
"""The primary set: what a shortcut cannot solve."""
UNGATED = ("arc.position",)
"""Decided by one sentence out of few, whose length and words give it away: it must not be used to
claim anything, and the gate lets it be."""
BUCKETS = (128, 512, 2_048, 8_192, 32_768, 131_072, 524_288)
"""Distances in tokens, by which stories are built and results are grouped."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One chapter, from its heading to the next one's."""

    i: int
    span: Span
    act: Act


@dataclass(frozen=True, kw_only=True)
class Story:
    """One twin of a story. Twins of the simulator have the same length, and differ where `swaps`
    say; those of a novel may differ in length, each with its own offsets."""

    story_id: str
    """`<base>.<A or B>`; the base names seed and distance: `s000017.d2048.A`."""
    twin_of: str | None
    """The other twin's id."""
    seed: int
    """Of the world: the unit of all statistics, shared by twins and by distances."""
    split: Split
    track: Literal["sim", "novel"]
    filler: str
    """`sim`: small events of other characters; for novels, the source."""
    bucket: int
    """Distance in tokens for which it was built; one of `BUCKETS`."""
    text: str
    swaps: tuple[Span, ...]
    """Spans outside which the twins are equal; ascending, disjoint. In the simulator the same in
    both twins."""
    chapters: tuple[Chapter, ...]

    @property
    def twin(self) -> Twin:
        """Which of the two it is."""
        return "B" if self.story_id.endswith(".B") else "A"

    @property
    def base(self) -> str:
        """What both twins' ids begin with."""
        return self.story_id[:-2]

    @property
    def sha256(self) -> str:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`o` is the value of `p` of `s` on [t[0], t[1]) of the story's clock (None: to the end)."""

    id: str
    s: str
    p: str
    o: str
    t: tuple[int, int | None]
    supersedes: str | None = None


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """Who knows a proposition, and from which moment of the story's clock on."""

    id: str
    prop: str
    knowers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A line of plot that opens and asks to be closed; fractions of the story."""

    id: str
    kind: Literal["debt", "murder", "promise", "quest", "love"]
    open_u: float
    close_u: float | None
    payoff: str
    """What would resolve it, as a predicate: `meet(c_della,c_edric)`."""
    status: Literal["open", "closed", "foreclosed"]


@dataclass(frozen=True, kw_only=True)
class Mention:
    """Words of the text that bear on a fact (or knowledge, or a thread), by its id."""

    fact: str
    span: Span
    role: Role


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The ground truth of one twin."""

    story_id: str
    facts: tuple[Fact, ...]
    knowledge: tuple[Knowledge, ...] = ()
    threads: tuple[Thread, ...] = ()
    mentions: tuple[Mention, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Support:
    """Where the text licenses the answer (or, with `of="other"`, the rival's counterpart)."""

    fact: str
    span: Span
    of: Literal["gold", "other"] = "gold"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One cell of a 2x2 group: two twins, two characters, the same two options in each.

    A continuation of the story at `insert_at_char`, never a question: stem, option, suffix.
    The stem ends without a space; an option begins with one if it needs it.
    """

    probe_id: str
    group_id: str
    """`<base of the story>.<gNN>`; four probes share it."""
    story_id: str
    cell: tuple[Twin, Side]
    family: str
    insert_at_char: int
    stem: str
    options: tuple[str, str]
    """In the same order in all four cells."""
    suffix: str
    gold: int
    """Index of the option that is consistent with this twin."""
    support: tuple[Support, ...]
    d_near_chars: int
    """From the end of the latest mention that licenses the answer to `insert_at_char`."""
    d_first_chars: int
    """From the end of the first."""
    d_swap_chars: int
    """From the end of the latest span of the story's `swaps` to `insert_at_char`: who sees less
    than this much of the text sees the same in both twins."""
    n_mentions: int = 1
    n_updates: int = 0
    n_distractors: int = 0
    """Same-type values of others between the mention and the probe."""
    hops: int = 1
    licence: str = ""
    """A sentence that, put right before the probe, licenses the answer at no distance (the
    oracle-local variant); empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A benchmark: everything that scoring and judging need."""

    stories: tuple[Story, ...]
    traces: tuple[Trace, ...]
    probes: tuple[Probe, ...]
    manifest: dict[str, object]
