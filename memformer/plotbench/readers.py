"""Readers of one sentence or of two: what a family asks beyond them is what it can show.

They are no shortcuts, as they find and read what decides; so the gate does not forbid them. A
family in which one does well says little more than that such reading was done.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memformer.plotbench.frames import arc, know, life, order, status
from memformer.plotbench.frames.by_names import BY_NAMES
from memformer.plotbench.names import NAMES
from memformer.plotbench.probe_text import regression_logits
from memformer.plotbench.rules import Asked, Ranks, asked, side_by_side
from memformer.plotbench.story import Bench, Probe
from memformer.plotbench.story_words import StoryWords

POLES: dict[str, frozenset[str]] = {
    "life": life.LIVING,
    "thread.status": status.SETTLED,
    "arc.position": arc.LATE,
    "time.order": frozenset({order.OPTIONS[0].strip()}),
}
"""Families whose options mean one of two states, with the words for the first. In `know.secret`
the first is the place that was told first: of who does not know better."""
Apart = Callable[[Asked], NDArray[np.float32]]
"""What is said of one person, as numbers, minus what is said of the other."""
_WIDTH = 4096  # columns that words are hashed into
_FAR = 99  # steps between what no path joins


def learned_words(train: Bench, bench: Bench) -> dict[str, Ranks]:
    """Logistic regression on the words that are said of one person, minus those of the other.

    Trained on other stories, with the names taken out: does the vocabulary of a sentence give its
    state away? Families without `POLES` are ties.
    """
    return _learned(train, bench, _words_apart)


def learned_shape(train: Bench, bench: Bench) -> dict[str, Ranks]:
    """The same of the two sentences' lengths and of where the name stands in each: no word is read.

    What of a state shows in the mere build of its sentences, so that the split's frames agree in
    it, is no understanding; it should be nothing.
    """
    return _learned(train, bench, _shapes_apart)


def _learned(train: Bench, bench: Bench, apart: Apart) -> dict[str, Ranks]:
    found: dict[str, Ranks] = {p.probe_id: (0.0, 0.0) for p in bench.probes}
    for family in (*POLES, "know.secret"):
        x, y, _ = _states(train, family, apart)
        told, _, firsts = _states(bench, family, apart)
        if not len(x) or not len(told):
            continue
        margins = regression_logits(x, y, told)
        for (id, at), margin in zip(firsts.items(), margins.tolist(), strict=True):
            found[id] = (margin, -margin) if at == 0 else (-margin, margin)
    return found


def _states(
    bench: Bench, family: str, apart: Apart
) -> tuple[NDArray[np.float32], NDArray[np.float64], dict[str, int]]:
    """(n, width) differences of words, rows of length 1; (n,) 1 for the first state; by probe_id
    the index of the option that means it."""
    here = [(p, q) for p, q in asked(bench) if p.family == family]
    x = np.stack([apart(q) for _, q in here]) if here else np.zeros((0, 1), np.float32)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    firsts = {p.probe_id: _first_state(p, q) for p, q in here}
    y = np.array([float(p.gold == firsts[p.probe_id]) for p, _ in here])
    return x, y, firsts


def _words_apart(q: Asked) -> NDArray[np.float32]:
    """(width,) words of the one's sentences, minus those of the other's; without the names."""
    row = np.zeros(_WIDTH, dtype=np.float32)
    for sign, sentences in zip((1, -1), _of_both(q), strict=True):
        for words in sentences:
            for word in set(words) - {*q.name, *q.other}:
                row[zlib.crc32(word.encode()) % _WIDTH] += sign
    return row


def _shapes_apart(q: Asked) -> NDArray[np.float32]:
    """(6,) length in words and in letters, place of the name in words and as a share, and whether
    it comes first or last: of the one's last sentence, minus the other's."""
    mine, theirs = (
        _shape(sentences[-1], name) if sentences else np.zeros(6, np.float32)
        for sentences, name in zip(_of_both(q), (q.name, q.other), strict=True)
    )
    return mine - theirs


def _shape(words: tuple[str, ...], name: list[str]) -> NDArray[np.float32]:
    n, at = len(words), words.index(name[0])
    letters = sum(len(word) for word in words)
    last = n - 1
    return np.array(
        [n / 20, letters / 100, at / 10, at / max(1, last), at == 0, at == last], dtype=np.float32
    )


def _of_both(q: Asked) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Two sentences in a row of which each names one; else all that name one alone."""
    spans = side_by_side(q)
    if spans is None:
        return list(_with_one(q, q.name)), list(_with_one(q, q.other))
    mine, theirs = (tuple(q.story.words[i] for i in span) for span in spans)
    return [mine], [theirs]


def _first_state(p: Probe, q: Asked) -> int:
    if p.family != "know.secret":
        return next(i for i, option in enumerate(p.options) if option.strip() in POLES[p.family])
    things = set(q.stem) & set(know.THINGS)
    for words in _sentences(q.story, q.n_read):
        held = [option[0] in words for option in q.options]
        if things & set(words) and held[0] != held[1]:
            return held.index(True)
    return 0


@lru_cache(maxsize=4)  # probes at one place follow each other
def _sentences(story: StoryWords, n_read: int) -> tuple[tuple[str, ...], ...]:
    """What has been read, cut into sentences of words."""
    index = story.units["sentence"][:n_read]
    cuts = [0, *(i for i in range(1, len(index)) if index[i] != index[i - 1]), len(index)]
    return tuple(tuple(story.words[a:b]) for a, b in pairwise(cuts))


def _with_one(q: Asked, name: list[str]) -> Iterator[tuple[str, ...]]:
    """Sentences that name this one of the two and not the other."""
    for words in _sentences(q.story, q.n_read):
        if [each for each in q.name + q.other if each in words] == name:
            yield words


def along_names(bench: Bench) -> dict[str, Ranks]:
    """The option that is nearer to this person than to the other, over names and by-names.

    Two of them are one step apart where a sentence, or two in a row, hold both: lexical retrieval
    in as many steps as it takes. Skipped is what ties nothing: sentences with both people, or with
    a person and an option.
    """
    found: dict[str, Ranks] = {}
    for p, q in asked(bench):
        options = [option[0] for option in q.options]
        if not q.name or not q.other:
            found[p.probe_id] = (0.0, 0.0)
            continue
        steps = _steps(_units(q.story, q.n_read), {*q.name, *q.other}, set(options))
        me, rival = (_distances(steps, name[0], set(options)) for name in (q.name, q.other))
        # by how much this person is nearer to an option than the other one is
        one, other = (rival.get(o, _FAR) - me.get(o, _FAR) for o in options)
        found[p.probe_id] = (float(one), float(other))
    return found


@lru_cache(maxsize=4)
def _units(story: StoryWords, n_read: int) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Sentences, and two in a row: the names in them, and all their words."""
    people = (each for genders in NAMES.values() for each in genders.values())
    classes = (each for group in (*people, *BY_NAMES.values()) for each in group)
    names = {name.lower() for each in classes for name in each.split()}
    sentences = _sentences(story, n_read)
    words = [frozenset(each) for each in (*sentences, *(a + b for a, b in pairwise(sentences)))]
    return tuple((each & names, each) for each in words)


def _steps(
    units: Iterable[tuple[frozenset[str], frozenset[str]]], people: set[str], options: set[str]
) -> dict[str, set[str]]:
    """Who stands beside whom."""
    beside: dict[str, set[str]] = {}
    for names, words in units:
        told = words & options
        asked_about = names & people
        if len(names) + len(told) < 2 or len(asked_about) > 1 or len(told) > 1:
            continue
        if asked_about and told:
            continue
        for node in names | told:
            beside.setdefault(node, set()).update((names | told) - {node})
    return beside


def _distances(beside: dict[str, set[str]], start: str, ends: set[str]) -> dict[str, int]:
    """Steps from one node to all others; options are ends and lead no further."""
    found, edge, n = {start: 0}, {start}, 0
    while edge:
        n += 1
        reached = {node for each in edge for node in beside.get(each, ()) if node not in found}
        found |= dict.fromkeys(reached, n)
        edge = reached - ends
    return found


def shared_letters(bench: Bench) -> dict[str, Ranks]:
    """The option of which more is spelt in what is said of this person than of the other one.

    Counted are its runs of three letters in the words of sentences that name one and no option, and
    of the next sentence if that names neither. What is found is likeness of
    spelling, as of `schoolroom` and `roof`: the option itself stands in none of them.
    """
    found: dict[str, Ranks] = {}
    for p, q in asked(bench):
        one, other = ("".join(option) for option in q.options)
        mine, theirs = (_told_of(q, *names) for names in ((q.name, q.other), (q.other, q.name)))
        found[p.probe_id] = (
            float(_spelt(one, mine) - _spelt(one, theirs)),
            float(_spelt(other, mine) - _spelt(other, theirs)),
        )
    return found


def _told_of(q: Asked, name: list[str], other: list[str]) -> list[str]:
    """Words of the sentences that name one alone and no option, and of those after them."""
    found: list[str] = []
    options = {word for option in q.options for word in option}
    skipped = {*name, *other, *options}
    for words, after in pairwise((*_sentences(q.story, q.n_read), ())):
        if not name or name[0] not in words or {*other, *options} & {*words}:
            continue
        found += words if skipped & {*after} else words + after
    return found


def _spelt(option: str, words: list[str]) -> int:
    threes = {option[i : i + 3] for i in range(len(option) - 2)}
    return sum(three in word for word in words for three in threes)


def smaller_number(bench: Bench) -> dict[str, Ranks]:
    """The first option for whoever stands beside the smaller number: `9.40` against `9.53`.

    As the two of a group always differ in the answer, an event between them need not be looked up.
    """
    found: dict[str, Ranks] = {}
    for p, q in asked(bench):
        mine, theirs = (
            [_number(words) for words in _with_one(q, name) if _number(words)]
            for name in (q.name, q.other)
        )
        is_known = p.family == "time.order" and mine and theirs
        gap = (mine[-1] or 0) - (theirs[-1] or 0) if is_known else 0
        found[p.probe_id] = (float(gap < 0), float(gap > 0))
    return found


def _number(words: tuple[str, ...]) -> int | None:
    digits = [word for word in words if word.isdecimal()]
    return int("".join(digits)) if digits else None
