"""Facts in sentences of varying form, among filler sentences, asked later; tokens are words.

B lanes, T tokens of a text
"""

import random
from typing import NamedTuple

import torch
from synthetic import Batch
from torch import Tensor


def _words_of(text: str) -> list[str]:
    return text.split()


NAMES = _words_of("""
anna bertha clara dora edith fanny grace hetty irma julia katharine lydia martha nora olive phoebe
rachel sarah tabitha ursula violet winifred albert benjamin charles daniel edward francis george
harold isaac jasper keith lionel martin nathan oscar philip quentin robert samuel theodore victor
walter arthur barnaby cecil duncan
""")
VALUES = {
    "eyes": _words_of("grey blue brown green black hazel amber violet-blue"),
    "trade": _words_of("baker smith weaver sailor teacher tailor carpenter doctor"),
    "town": _words_of("bristol whitby exeter durham lincoln oxford penzance carlisle"),
}
FORMS = {
    "eyes": (
        "{n} had {v} eyes .",
        "{n} 's eyes were {v} .",
        "everybody in the village noticed the {v} eyes of {n} .",
        "the eyes of {n} were {v} .",
        "with {v} eyes {n} looked out at the sea .",
    ),
    "trade": (
        "they all knew {n} the {v} .",
        "{n} worked as a {v} .",
        "{n} was the best {v} of the village .",
        "as a {v} {n} earned very little .",
        "the trade of {n} was that of a {v} .",
    ),
    "town": (
        "the family of {n} lived in {v} .",
        "{n} was born in {v} .",
        "{n} came here from {v} .",
        "{v} was the home of {n} .",
        "from {v} one spring came {n} .",
    ),
}
QUESTIONS = {
    "eyes": ("what colour were the eyes of {n} ? {v} .", "which eyes had {n} ? {v} ."),
    "trade": ("what was the trade of {n} ? {v} .", "how did {n} earn a living ? {v} ."),
    "town": ("from which town came {n} ? {v} .", "where was {n} born ? {v} ."),
}
_FILLER = (
    "the {adjective} {noun} {verb} {where} the {noun} .",
    "a {noun} {verb} {where} the {adjective} {noun} .",
    "{where} the {noun} {verb} a {adjective} {noun} .",
    "it was a {adjective} {time} and the {noun} {verb} .",
    "{n} {verb} {where} the {noun} .",  # a name that says nothing
)
_WORDS = {
    "adjective": _words_of("old cold quiet long narrow bright heavy wet tall dusty gentle broken"),
    "noun": _words_of(
        "horse river door lamp garden bridge clock dog letter wall field carriage orchard church "
        "candle window road ship kettle boy"
    ),
    "verb": _words_of("stood waited slept passed turned stayed vanished trembled moved rested"),
    "where": _words_of("behind under near before beside above past along"),
    "time": _words_of("morning evening night winter day autumn"),
}


def _vocabulary() -> list[str]:
    texts = [f for forms in (*FORMS.values(), *QUESTIONS.values(), _FILLER) for f in forms]
    words = {word for text in texts for word in text.split() if not word.startswith("{")}
    for group in (NAMES, *VALUES.values(), *_WORDS.values()):
        words |= set(group)
    return sorted(words)


VOCABULARY = _vocabulary()
ID = {word: i for i, word in enumerate(VOCABULARY)}


class Asked(NamedTuple):
    """One question of a text."""

    at: int
    """Token before the answer, a question mark."""
    distance: int
    """Tokens from there back to the end of the last sentence that states the fact."""
    copy_last: float
    """Whether the last value stated of this relation, whoever's, is the answer."""
    copy_any: float
    """The chance that a value stated so far of this relation, picked blindly, is the answer."""


class Questions(NamedTuple):
    """Texts with questions, and what rules that bind no value to a name would score."""

    batch: Batch
    copy_last: Tensor
    """(n,) in the order of `batch.is_asked`."""
    copy_any: Tensor
    """(n,)"""


def written(words: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words as English is written, and the half-open span of characters of each."""
    text, spans, begins = "", [], True
    for word in words:
        is_name = word in NAMES or word in VALUES["town"]
        if text and word not in (".", "?", "'s"):
            text += " "
        start = len(text)
        text += word.capitalize() if is_name or begins else word
        spans.append((start, len(text)))
        begins = word in (".", "?")
    return text, spans


def draw(
    rng: random.Random,
    n_lane: int,
    n_token: int,
    *,
    n_name: int,
    n_fact: int,
    n_ask: int,
    gap: int | None = None,
) -> Questions:
    """Texts of `n_fact` facts on `n_name` people, each stated once, and `n_fact · n_ask` questions.

    Each question is about any fact stated so far, whether it was asked before or not: if every fact
    were asked once, an answer could be guessed from what was not asked yet.

    Statements and questions are scattered among filler over the text; with `gap`, all statements
    stand first, then that many tokens of filler, then the questions. What passes `n_token` is cut.
    """
    lanes = [_text(rng, n_token, n_name, n_fact, n_ask, gap) for _ in range(n_lane)]
    tokens = torch.tensor([[ID[w] for w in words] for words, _ in lanes])
    distance = torch.zeros(n_lane, n_token, dtype=torch.int64)
    for lane, (_, asked) in enumerate(lanes):
        for each in asked:
            distance[lane, each.at] = each.distance
    rows = [each for _, asked in lanes for each in asked]
    return Questions(
        Batch(tokens, distance > 0, distance),
        torch.tensor([each.copy_last for each in rows]),
        torch.tensor([each.copy_any for each in rows]),
    )


def _text(
    rng: random.Random, n_token: int, n_name: int, n_fact: int, n_ask: int, gap: int | None
) -> tuple[list[str], list[Asked]]:
    names = rng.sample(NAMES, n_name)
    places = [(name, relation) for name in names for relation in VALUES]
    facts = [(*place, rng.choice(VALUES[place[1]])) for place in rng.sample(places, n_fact)]
    words: list[str] = []
    asked: list[Asked] = []
    stated: dict[int, int] = {}  # fact: end of the last sentence that states it
    order: list[int] = []
    for kind in _plan(rng, n_token, n_fact, n_ask, gap):
        if kind == "filler" or (kind == "question" and not stated):
            words += _filler(rng, names)
            continue
        is_question = kind == "question"
        fact = rng.choice(list(stated)) if is_question else len(stated)
        name, relation, value = facts[fact]
        if is_question:
            sentence = rng.choice(QUESTIONS[relation]).format(n=name, v=value).split()
            at = len(words) + sentence.index(value) - 1
            seen = [facts[i][2] for i in order if facts[i][1] == relation]
            known = [facts[i][2] for i in stated if facts[i][1] == relation]
            copies = float(seen[-1] == value), known.count(value) / len(known)
            asked.append(Asked(at, at - stated[fact], *copies))
        else:
            sentence = rng.choice(FORMS[relation]).format(n=name, v=value).split()
        words += sentence
        stated[fact] = len(words) - 1
        order.append(fact)
    while len(words) <= n_token:
        words += _filler(rng, names)
    return words[: n_token + 1], [each for each in asked if each.at < n_token]


def _plan(rng: random.Random, n_token: int, n_fact: int, n_ask: int, gap: int | None) -> list[str]:
    """Kinds of sentences in order: `fact`, `question`, `filler`."""
    facts, questions = ["fact"] * n_fact, ["question"] * n_fact * n_ask
    n_word = 8  # of any sentence, on average
    if gap is not None:
        return [*facts, *["filler"] * (gap // n_word), *questions]
    n_filler = max(0, n_token // n_word - len(facts) - len(questions))
    plan = [*facts, *questions, *["filler"] * n_filler]
    rng.shuffle(plan)
    return plan


def _filler(rng: random.Random, names: list[str]) -> list[str]:
    words = rng.choice(_FILLER).split()
    return [
        rng.choice(names) if w == "{n}" else rng.choice(_WORDS[w[1:-1]]) if w[0] == "{" else w
        for w in words
    ]
