"""The report as HTML and as Markdown: both from the same tables, plots and examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from memformer.evaluation.markdown import markdown_table
from memformer.evaluation.page_parts import figure, table, whole_page
from memformer.evaluation.plots import Plot
from memformer.evaluation.tables import Table
from memformer.plotbench.worked import Example, Excerpt

_STYLE = """
.example { margin: 1.4rem 0 2.2rem; padding: 1rem 1.2rem; border: 1px solid var(--line);
  border-radius: 8px; background: #fff; }
.example h3 { margin: 0 0 .6rem; font-size: 1.02rem; }
.example h4 { margin: 1rem 0 .2rem; font: 600 .8rem system-ui, "DejaVu Sans", sans-serif;
  color: var(--soft); }
.example p { margin: .3rem 0; max-width: 46rem; line-height: 1.5; }
.example mark.gold { background: #cfe6b8; } .example mark.other { background: #f8d9b0; }
.example mark.found { background: #cfe0f3; }
.option { font-weight: 600; } .option.gold { color: #3d6b16; } .option.other { color: #9a4f06; }
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that a report says."""

    title: str
    subtitle: str
    headline: Sequence[str]
    plots: Sequence[Plot]
    tables: Sequence[Table]
    examples: Sequence[Example]
    limits: Sequence[str]


def html_page(page: Page) -> str:
    """One file: styles and plots inside, nothing fetched from anywhere."""
    limits = "".join(f"<li>{escape(line)}</li>" for line in page.limits)
    return whole_page(
        kicker="PlotBench · does it keep the plot straight?",
        title=page.title,
        lead=" ".join(page.headline),
        by=page.subtitle,
        style=_STYLE,
        main=f"""<aside class="warn">{escape(page.limits[0])}</aside>
{"".join(map(figure, page.plots))}
{"<h2>Worked examples</h2>" if page.examples else ""}
{"".join(map(_example, page.examples))}
<h2>The numbers</h2>
{"".join(map(table, page.tables))}
<h2>What this does not say</h2>
<ul class="limits">{limits}</ul>""",
    )


def markdown_page(page: Page, plots: str = "plots") -> str:
    """The same; plots are linked as `<plots>/<name>.svg`."""
    parts = [f"# {page.title}", page.subtitle, " ".join(page.headline), f"> {page.limits[0]}"]
    parts += [
        f"## {plot.title}\n\n![{plot.title}]({plots}/{plot.name}.svg)\n\n{plot.caption}"
        for plot in page.plots
    ]
    if page.examples:
        parts += ["## Worked examples", *map(_example_in_markdown, page.examples)]
    parts += ["## The numbers", *map(markdown_table, page.tables)]
    parts += ["## What this does not say", "\n".join(f"- {line}" for line in page.limits)]
    return "\n\n".join(parts) + "\n"


def _example(example: Example) -> str:
    facts = "".join(
        _excerpt(each, "gold" if each.note.startswith("licenses") else "other")
        for each in example.facts
    )
    options = " / ".join(
        f'<span class="option {"gold" if is_gold else "other"}">{escape(text.strip())}</span> '
        f"<small>{logprob:.2f} nats{', consistent' if is_gold else ''}</small>"
        for text, logprob, is_gold in example.options
    )
    if example.retrieved is None:
        found = "<p>Nothing: this run has no memory, or did not say.</p>"
    else:
        found = "".join(_excerpt(each, "found") for each in example.retrieved)
    return f"""<section class="example">
<h3>{escape(example.title)}</h3>
<h4>What the story says</h4>{facts}
<h4>The question</h4>
<p>{escape(example.stem)} … {options} … {escape(example.suffix.strip())}</p>
<h4>What was retrieved first</h4>{found or "<p>Nothing.</p>"}
<h4>What was preferred</h4><p>{escape(example.verdict)}</p>
</section>"""


def _excerpt(each: Excerpt, kind: str) -> str:
    return (
        f'<p>… {escape(each.before)} <mark class="{kind}">{escape(each.marked)}</mark> '
        f"{escape(each.after)} … <small>{escape(each.note)}</small></p>"
    )


def _example_in_markdown(example: Example) -> str:
    lines = [f"**{example.title}**", ""]
    lines += [_excerpt_in_markdown(each) for each in example.facts]
    options = " / ".join(
        f"**{text.strip()}** ({logprob:.2f} nats{', consistent' if is_gold else ''})"
        for text, logprob, is_gold in example.options
    )
    lines += ["", f"Question: {example.stem} … {options} … {example.suffix.strip()}", ""]
    if example.retrieved is not None:
        lines += ["Retrieved first:", ""]
        lines += [_excerpt_in_markdown(each) for each in example.retrieved]
        lines.append("")
    return "\n".join([*lines, example.verdict])


def _excerpt_in_markdown(each: Excerpt) -> str:
    return f"- … {each.before} **{each.marked}** {each.after} … ({each.note})"
