"""What a report says around its plots, for both of its forms."""

from dataclasses import dataclass

from memformer.evaluation.outcome import Outcome
from memformer.evaluation.tables import Table, gap_table, headline, machine_lines, summary_table

LIMITS = [
    "If the model is pretrained, it has probably read these books: nothing here is a held-out "
    "number. What can be compared is one way of reading with another under the same weights.",
    "The intervals cover other stretches of these very books. They say nothing about other books, "
    "authors, models or seeds; an interval over books is given only from five books on.",
    "Losses of tokens are not the quality of a novel. A lower loss says that the next token was "
    "less of a surprise, given a true text; it does not say that the model writes consistently.",
    "The controls leak. A pair that left the window within the running segment, and the window and "
    "sinks themselves, are the true ones under shuffled memory and under another book's memory.",
    "Names are found by rules on the text, not by a reader: some are missed, and some words that "
    "are no names are counted as such. A name is one word; its later subwords count with it.",
    "The passage shown was picked because memory gained there. Retrieved does not mean used: the "
    "weight says what was attended to, not what the prediction hung on.",
]


@dataclass(frozen=True)
class Words:
    """Title, sentences and tables."""

    title: str
    subtitle: str
    headline: list[str]
    tables: list[Table]
    more_tables: list[Table]
    machine: list[tuple[str, str]]


def write_words(outcome: Outcome) -> Words:
    """Everything a report says, from the numbers."""
    books = outcome.books
    window = outcome.config(outcome.lead)["window"]
    named = [book["title"] for book in books]
    title = (
        f"{_listed(named)}, read through a window of {window} tokens"
        if len(books) <= 3
        else f"{len(books)} books, read through a window of {window} tokens"
    )
    parts = [
        f"{book['title']}{' by ' if book['author'] else ''}{book['author']}: "
        f"{book['n_tokens']:,} of {book['n_total']:,} tokens{_TOLD[book.get('trained_on')]}"
        for book in books
    ]
    gaps = gap_table(outcome)
    own = [summary_table(outcome, b["id"]) for b in books if b["id"] != outcome.scope]
    return Words(
        title=title,
        subtitle="; ".join(parts) + ".",
        headline=headline(outcome),
        tables=[summary_table(outcome, outcome.scope), *([gaps] if gaps else [])],
        more_tables=own,
        machine=machine_lines(outcome),
    )


_TOLD = {None: "", True: ", trained on", False: ", held out"}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
