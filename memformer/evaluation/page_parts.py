"""What all HTML reports are made of: the page, its figures, its tables. Nothing is fetched."""

import base64
from html import escape

from memformer.evaluation.assets import STYLE
from memformer.evaluation.plots import Plot
from memformer.evaluation.tables import Cell, Table


def whole_page(
    *, kicker: str, title: str, lead: str, by: str, main: str, style: str = "", tail: str = ""
) -> str:
    """One HTML file.

    Args:
        kicker, title, lead, by: text of the header.
        main: HTML below it.
        style: CSS beside the common one.
        tail: HTML before the body's end.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
<p class="by">{escape(by)}</p>
</header>
<main>
{main}
</main>
{tail}</body>
</html>
"""


def figure(plot: Plot) -> str:
    """A plot, wide or narrow as the screen is."""
    return f"""<figure id="{plot.name}">
<h2>{escape(plot.title)}</h2>
<picture>
<source media="(max-width: 640px)" srcset="{_uri(plot.narrow)}">
<img src="{_uri(plot.wide)}" alt="{escape(plot.title)}">
</picture>
<figcaption>{escape(plot.caption)}</figcaption>
</figure>"""


def _uri(svg: bytes) -> str:
    # as an image each plot keeps its ids to itself
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def table(told: Table) -> str:
    """A table with its caption below."""
    head = "".join(
        f'<th scope="col"{_left(i, told)}>{escape(name)}</th>' for i, name in enumerate(told.head)
    )
    rows = "".join(
        f"<tr{' class=strong' if i in told.strong else ''}>{_cells(row, told)}</tr>"
        for i, row in enumerate(told.rows)
    )
    return f"""<div class="table"><table>
<caption>{escape(told.title)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody>
</table></div>
<p class="note">{escape(told.caption)}</p>"""


def _cells(row: list[Cell], told: Table) -> str:
    first, *rest = (
        escape(cell.main) + (f"<small>{escape(cell.small)}</small>" if cell.small else "")
        for cell in row
    )
    others = (f"<td{_left(i, told)}>{each}</td>" for i, each in enumerate(rest, start=1))
    return f'<th scope="row">{first}</th>' + "".join(others)


def _left(column: int, told: Table) -> str:
    return " class=left" if column < told.n_text else ""
