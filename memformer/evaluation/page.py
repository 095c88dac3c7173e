"""The report as one HTML page: styles, plots and script inside, nothing fetched from anywhere."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from memformer.evaluation.assets import SCRIPT
from memformer.evaluation.outcome import Outcome
from memformer.evaluation.page_parts import figure, table, whole_page
from memformer.evaluation.passage import Passage
from memformer.evaluation.plots import Chapter, Plot
from memformer.evaluation.words import LIMITS, Words


def html_page(
    outcome: Outcome,
    words: Words,
    plots: Sequence[Plot],
    passages: Sequence[Passage],
    chapters: Sequence[Chapter] = (),
) -> str:
    """The whole page."""
    figures = "\n".join(figure(plot) for plot in plots)
    shown = "\n".join(_passage(outcome, passage, i) for i, passage in enumerate(passages))
    more_done = "\n".join(_chapter(chapter) for chapter in chapters)
    data = json.dumps([_data(passage) for passage in passages], ensure_ascii=False)
    data = data.replace("</", "<\\/")  # a book may hold what would end the script
    tables = "\n".join(table(each) for each in words.tables)
    more = "\n".join(table(each) for each in words.more_tables)
    limits = "".join(f"<li>{escape(line)}</li>" for line in LIMITS)
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in words.machine)
    return whole_page(
        kicker="memformer · reading report",
        title=words.title,
        lead=" ".join(words.headline),
        by=words.subtitle,
        main=f"""<aside class="warn">{escape(LIMITS[0])}</aside>
{figures}
{shown}
{more_done}
<h2>The numbers</h2>
{tables}
{f"<details><summary>Book by book</summary>{more}</details>" if more else ""}
<h2>What this does not say</h2>
<ul class="limits">{limits}</ul>
<h2>How it was made</h2>
<dl>{facts}</dl>""",
        tail=f"""<script type="application/json" id="passages">{data}</script>
<script>{SCRIPT}</script>
""",
    )


def _chapter(chapter: Chapter) -> str:
    text = "".join(f"<p>{escape(each)}</p>" for each in chapter.paragraphs)
    return f"{figure(chapter.plot)}\n<blockquote>{text}</blockquote>"


def _passage(outcome: Outcome, passage: Passage, number: int) -> str:
    book = passage.book
    spans = "".join(_span(each, i) for i, each in enumerate(passage.tokens))
    places = "".join(_place(place, number, i) for i, place in enumerate(passage.places))
    chapters = "".join(
        f'<i style="left:{100 * at / len(book):.2f}%" title="{escape(name)}"></i>'
        for at, name in passage.chapters
    )
    return f"""<section class="passage" data-number="{number}">
<h2>What a passage of <em>{escape(book.title)}</em> remembered</h2>
<p class="note">Token {passage.start:,} on ({100 * passage.start / book.n_total:.1f}% into the
book): of the {passage.n_recorded} stretches recorded, the one in which memory gained most
({passage.mean_gain:+.2f} nats a token). <b class="gain">Blue</b>: memory made the token likelier
than {escape(outcome.label(outcome.baseline))} did; <b class="loss">orange</b>: less likely.
Point at a token, or tap it, to see what the model retrieved to predict it.</p>
<div class="reader">
<p class="text">{spans.strip()}</p>
<div class="panel" aria-live="polite"><p class="hint">Choose a token of the passage.</p></div>
</div>
<div class="map" aria-hidden="true"><div class="strip">{chapters}</div>
<p><span>start</span><span>{len(book):,} tokens read</span></p></div>
<details class="places">
<summary>The {len(passage.places)} places of the book it reached for</summary>
{places}</details>
</section>"""


def _span(token: dict[str, Any], i: int) -> str:
    """A token of the passage, its leading space outside the colour; a line break has none."""
    word = token["text"].lstrip()
    space = escape(token["text"][: len(token["text"]) - len(word)])
    if not word:
        return space
    style = f'style="{_shade(token["gain"])}"'
    return f'{space}<span class="t" tabindex="0" data-i="{i}" {style}>{escape(word)}</span>'


def _place(place: dict[str, object], passage: int, i: int) -> str:
    pieces = place["pieces"]
    assert isinstance(pieces, list)
    text = "".join(
        f"<mark>{escape(piece)}</mark>" if is_hit else escape(piece) for piece, is_hit in pieces
    )
    where = f"{place['chapter']} · " if place["chapter"] else ""
    return (
        f'<p class="place" id="place-{passage}-{i}"><small>{escape(where)}token '
        f"{place['token']:,} · {place['into']}% into the book</small>… {text} …</p>"
    )


def _shade(gain: float) -> str:
    """Background by the gain in nats; full colour from 2 nats on."""
    strength = min(abs(gain) / 2, 1) ** 0.7
    colour = "33, 118, 199" if gain > 0 else "233, 138, 35"
    return f"background:rgba({colour},{0.55 * strength:.2f})"


def _data(passage: Passage) -> dict[str, object]:
    return {"tokens": passage.tokens, "n": len(passage.book), "groups": passage.layer_groups}
