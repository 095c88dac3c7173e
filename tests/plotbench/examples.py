"""A small benchmark written by hand: two stories in twins, a group each, short enough to read."""

from memformer.plotbench.make import BENCH_VERSION, content_hash
from memformer.plotbench.story import (
    Bench,
    Chapter,
    Fact,
    Mention,
    Probe,
    Story,
    Support,
    Trace,
)

_EYES = """CHAPTER ONE

{x}'s eyes were {a}, they said on the quay. {y} had {b} eyes and a brass key.

The ferry turned in the rain and went back. Nobody had bought a ticket, and nobody asked why.

CHAPTER TWO

That night someone knocked. It was only the wind, or so the landlord told them at breakfast.

The tide was out. The boats lay on their sides in the mud, and the gulls walked between them."""

_STEM = "\n\nThe lantern showed {who}'s eyes, which were"
_SUFFIX = ", and closed."
_LICENCE = "\n\n{who} had {value} eyes."


def _story(seed, bucket, names, values):
    base = f"s{seed:06d}.d{bucket}"
    stories, traces, probes = [], [], []
    for twin in (0, 1):
        told = values if twin == 0 else values[::-1]
        text = _EYES.format(x=names[0], y=names[1], a=told[0], b=told[1])
        places = [text.index(value) for value in told]
        swaps = tuple((at, at + len(value)) for at, value in zip(places, told, strict=True))
        sentences = [(text.index(names[0]), text.index(", they")),
                     (text.index(names[1]), text.index(" and a brass"))]  # fmt: skip
        story_id, other = f"{base}.{'AB'[twin]}", f"{base}.{'BA'[twin]}"
        second = text.index("CHAPTER TWO")
        stories.append(Story(
            story_id=story_id, twin_of=other, seed=seed, split="dev", track="sim", filler="sim",
            bucket=bucket, text=text, swaps=swaps,
            chapters=(Chapter(i=1, span=(0, second), act="setup"),
                      Chapter(i=2, span=(second, len(text)), act="resolution")),
        ))  # fmt: skip
        ids = [f"c_{name.lower()}.eyes.0" for name in names]
        facts = tuple(
            Fact(
                id=f"c_{name.lower()}.name.0", s=f"c_{name.lower()}", p="name", o=name, t=(0, None)
            )
            for name in names
        ) + tuple(
            Fact(id=id, s=id.split(".")[0], p="eyes", o=value, t=(0, None))
            for id, value in zip(ids, told, strict=True)
        )
        traces.append(Trace(
            story_id=story_id, facts=facts,
            mentions=tuple(Mention(fact=id, span=span, role="establish")
                           for id, span in zip(ids, sentences, strict=True)),
        ))  # fmt: skip
        for side in (0, 1):
            gold = (side + twin) % 2
            own = sentences[side]
            support = [Support(fact=ids[i], span=sentences[i], of="gold" if i == side else "other")
                       for i in (0, 1)]  # fmt: skip
            probes.append(Probe(
                probe_id=f"{base}.g00.{'AB'[twin]}.{'xy'[side]}", group_id=f"{base}.g00",
                story_id=story_id, cell=("AB"[twin], "xy"[side]), family="attr.static",
                insert_at_char=len(text),
                stem=_STEM.format(who=names[side]), options=tuple(f" {v}" for v in values),
                suffix=_SUFFIX, gold=gold, support=tuple(support),
                d_near_chars=len(text) - own[1], d_first_chars=len(text) - own[1],
                d_swap_chars=len(text) - swaps[-1][1], n_distractors=1,
                licence=_LICENCE.format(who=names[side], value=told[side]),
            ))  # fmt: skip
    return stories, traces, probes


def example_bench():
    """Two base stories of about 400 characters, one group of `attr.static` each: 4 stories, 8
    probes, distances 128 and 512 in name only."""
    made = [
        _story(3, 128, ("Della", "Edwin"), ("green", "hazel")),
        _story(4, 512, ("Marta", "Corin"), ("brown", "black")),
    ]
    stories, traces, probes = (tuple(x for each in made for x in each[i]) for i in range(3))
    return Bench(
        stories=stories, traces=traces, probes=probes,
        manifest={"bench_version": BENCH_VERSION, "split": "dev",
                  "content_sha256": content_hash(stories, probes)},
    )  # fmt: skip
