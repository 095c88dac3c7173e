"""The report of the goodhart lab: verdicts, curve family and tables, and the figures as JSON."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memformer.config import to_json
from memformer.config.goodhart import GoodhartConfig
from memformer.evaluation.machine import describe
from memformer.evaluation.markdown import markdown_table
from memformer.evaluation.metrics import Estimate
from memformer.evaluation.page_parts import figure, table, whole_page
from memformer.evaluation.plots import Plot
from memformer.evaluation.store import write_json, write_whole
from memformer.evaluation.tables import Cell, Table
from memformer.generation.best_of_n_curve import kl_upper_bound
from memformer.reward.goodhart_fits import fit_overoptimisation, over_seeds
from memformer.reward.goodhart_measure import Row
from memformer.reward.goodhart_plots import every_plot
from memformer.reward.goodhart_rules import Results, Verdict, verdicts

LIMITS = (
    "Raters are simulated. The lab shows that the machinery works and when it fails; it says "
    "nothing about taste, nor about novels.",
    "Gold is a quadratic of features that are linear in word counts, and the quadratic proxy is of "
    "that form. For a real judgement every proxy is misspecified, as the linear one is here.",
    "Texts have 60 words and 64 different ones. The world was chosen on seeds that the protocol "
    "does not use, so that over-optimisation shows; the pass rules were fixed before it ran.",
    "Intervals are over few seeds: percentiles of a bootstrap over them, widened, and never beyond "
    "the least and the most seed.",
    "KL of best-of-n is an upper bound. That of the trained writers is exact.",
)


class Report(NamedTuple):
    """What was written, and what it says."""

    html: Path
    markdown: Path
    figures: Path
    """JSON of every number in the report."""
    verdicts: list[Verdict]


def write_report(config: GoodhartConfig, rows: Sequence[Row], folder: Path) -> Report:
    """Write report.html, report.md, plots/ and goodhart.json into a folder.

    Raises:
        ValueError: a seed lacks a cell: the run is not whole.
    """
    results = Results(config, rows)
    found = verdicts(results)
    plots = every_plot(results, found)
    tables = [_verdict_table(found), *_curve_tables(results), _policy_table(results)]
    headline = _headline(results, found)
    report = Report(folder / "report.html", folder / "report.md", folder / "goodhart.json", found)
    write_whole(report.html, _html(results, headline, plots, tables).encode())
    write_whole(report.markdown, _markdown(headline, plots, tables).encode())
    for plot in plots:
        write_whole(folder / "plots" / f"{plot.name}.svg", plot.wide)
    write_json(report.figures, figures(results, found))
    return report


def figures(results: Results, found: Sequence[Verdict]) -> dict[str, Any]:
    """Every number of the report, rounded to four digits, as JSON holds it."""
    config = results.config
    cells = []
    for proxy, n in _cells(results):
        rows = results.cell("proxy", proxy=proxy, n_rating=n)
        cells.append({
            "proxy": proxy, "n_rating": n,
            **{name: [row[name] for row in rows] for name in
               ("spearman", "r", "r_panel", "shortfall", "peak", "peak_n", "fall", "turnover",
                "stop_n", "stop_loss")},
            "curve": np.mean([row["curve"] for row in rows], axis=0).tolist(),
            "proxy_curve": np.mean([row["proxy_curve"] for row in rows], axis=0).tolist(),
        })  # fmt: skip
    policies = [
        {k: row[k] for k in ("seed", "method", "proxy", "n_rating", "kl", "curve", "peak",
                             "peak_kl", "turnover", "stop_kl", "stop_loss")}
        for row in results.rows if row["part"] == "policy"
    ]  # fmt: skip
    done = [row for row in results.rows if row["part"] == "done"]
    whole: dict[str, Any] = {
        "about": "simulated raters; memformer reward goodhart",
        "machine": describe(),
        "config": to_json(config),
        "seeds": results.seeds,
        "wall_s": sum(row["wall_s"] for row in done),
        "n_best": config.n_best,
        "kl_upper_bound": [kl_upper_bound(n) for n in config.n_best],
        "reliability": [row["reliability"] for row in results.cell("proxy", proxy="gold")],
        "verdicts": [verdict._asdict() for verdict in found],
        "proxies": cells,
        "overoptimisation": _fits(results),
        "policies": policies,
        "ablations": [row for row in results.rows if row["part"] == "ablation"],
        "rank": [row for row in results.rows if row["part"] == "rank"],
        "delays": [row for row in results.rows if row["part"] == "delays"],
    }
    rounded: dict[str, Any] = _rounded(whole)
    return rounded


def _cells(results: Results) -> list[tuple[str, int]]:
    held = ((row["proxy"], row["n_rating"]) for row in results.rows if row["part"] == "proxy")
    return list(dict.fromkeys(held))


def _fits(results: Results) -> list[dict[str, Any]]:
    """a and b of gold against d = sqrt(KL), mean over seeds with intervals."""
    bound = [kl_upper_bound(n) for n in results.config.n_best]
    out = []
    for part in ("proxy", "policy"):
        held = dict.fromkeys(
            (row.get("method", "best-of-n"), row["proxy"], row["n_rating"])
            for row in results.rows if row["part"] == part and row["proxy"] != "noise"
        )  # fmt: skip
        for method, proxy, n in held:
            named = {"proxy": proxy, "n_rating": n}
            rows = results.cell(part, **(named if part == "proxy" else {"method": method, **named}))
            fits = [
                fit_overoptimisation(row.get("kl", bound), row["curve"], log=part == "policy")
                for row in rows
            ]
            out.append({
                "method": method, **named, "form": "d (a - b log d)" if part == "policy" else
                "d (a - b d)", "a": over_seeds([fit.a for fit in fits]),
                "b": over_seeds([fit.b for fit in fits]),
                "r2": float(np.mean([fit.r2 for fit in fits])),
            })  # fmt: skip
    return out


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case bool() | int() | str() | None:
            return value
        case _:
            number = float(value)
            return None if math.isnan(number) else float(f"{number:.4g}")


def _headline(results: Results, found: Sequence[Verdict]) -> list[str]:
    failed = [v for v in found if not v.passed]
    S, (least, *_, most) = len(results.seeds), results.config.n_rating
    told = f"{len(found) - len(failed)} of {len(found)} rules held in {S} worlds"
    sentences = [f"{told} of simulated raters."]
    for proxy in ("linear", "quadratic"):
        few, many = (
            sum(row["turnover"] for row in results.cell("proxy", proxy=proxy, n_rating=n))
            for n in (least, most)
        )
        sentences.append(
            f"The {proxy} proxy turns over in {few} of {S} seeds with {least:,} ratings and in "
            f"{many} with {most:,}."
        )
    if failed:
        sentences.append("Not held: " + "; ".join(f"({v.rule}) {v.claim}" for v in failed) + ".")
    return sentences


def _verdict_table(found: Sequence[Verdict]) -> Table:
    rows = [
        [Cell(v.rule), Cell(v.claim, v.told), Cell("held" if v.passed else "not held"),
         _cell(Estimate(v.value, v.low, v.high))]
        for v in found
    ]  # fmt: skip
    return Table(
        "Pass rules, fixed beforehand", "In brackets: 95% intervals over seeds, and over resampled "
        "raters in (a) and (b).", ["rule", "claim", "verdict", "value"], rows,
        {i for i, v in enumerate(found) if not v.passed}, n_text=3,
    )  # fmt: skip


def _curve_tables(results: Results) -> list[Table]:
    config = results.config
    head = ["", "ratings", "Spearman", *(f"n = {n:,}" for n in config.n_best), "turnovers",
            "peak n, by seed", "lost by early stop"]  # fmt: skip
    rows = []
    for proxy, n in _cells(results):
        held = results.cell("proxy", proxy=proxy, n_rating=n)
        mean = np.mean([row["curve"] for row in held], axis=0)
        rows.append([
            Cell(proxy), Cell(f"{n:,}" if n else "–"),
            _cell(over_seeds([row["spearman"] for row in held]), 2),
            *(Cell(_signed(x, 2)) for x in mean),
            Cell(f"{sum(row['turnover'] for row in held)} of {len(held)}"),
            Cell(", ".join(str(row["peak_n"]) for row in held)),
            _cell(over_seeds([row["stop_loss"] for row in held]), 2),
        ])  # fmt: skip
    return [Table(
        "Best of n", "True gold in standard deviations of ordinary texts, mean over seeds. A "
        "turnover: gold at the largest n lies below the peak by more than two standard errors of "
        "the pool.", head, rows, set(), n_text=2,
    )]  # fmt: skip


def _policy_table(results: Results) -> Table:
    rows = []
    for method, proxy, n in dict.fromkeys(
        (r["method"], r["proxy"], r["n_rating"]) for r in results.rows if r["part"] == "policy"
    ):
        held = results.cell("policy", method=method, proxy=proxy, n_rating=n)
        rows.append([
            Cell(f"{method}, {proxy}"), Cell(f"{n:,}" if n else "–"),
            _cell(over_seeds([row["peak"] for row in held]), 2),
            Cell(f"{np.mean([row['peak_kl'] for row in held]):.1f}"),
            Cell(_signed(float(np.mean([row["curve"][-1] for row in held])), 2)),
            Cell(f"{np.mean([row['kl'][-1] for row in held]):.1f}"),
            Cell(f"{sum(row['turnover'] for row in held)} of {len(held)}"),
            _cell(over_seeds([row["stop_loss"] for row in held]), 2),
        ])  # fmt: skip
    return Table(
        "Training a writer", "Gold in standard deviations of ordinary texts; KL in nats a text, "
        "exact. The peak is that of the steps looked at.",
        ["", "ratings", "gain at the peak", "KL there", "gold at the end", "KL there", "turnovers",
         "lost by early stop"], rows, set(), n_text=2,
    )  # fmt: skip


def _cell(found: Estimate, digits: int = 3) -> Cell:
    small = "" if math.isnan(found.low) else (
        f"[{_signed(found.low, digits)}, {_signed(found.high, digits)}]"
    )  # fmt: skip
    return Cell(_signed(found.value, digits), small)


def _signed(x: float, digits: int) -> str:
    return f"{x:.{digits}f}".replace("-", "−")


def _html(
    results: Results, headline: Sequence[str], plots: Sequence[Plot], tables: Sequence[Table]
) -> str:
    limits = "".join(f"<li>{escape(line)}</li>" for line in LIMITS)
    return whole_page(
        kicker="memformer · goodhart lab · simulated raters",
        title="When does optimising a learned judgement stop being good?",
        lead=" ".join(headline),
        by=f"Worlds {results.seeds[0]} to {results.seeds[-1]}, "
        f"{results.config.world.n_rater} simulated raters each; {describe()['processor']}",
        main=f"""{table(tables[0])}
{"".join(map(figure, plots))}
<h2>The numbers</h2>
{"".join(map(table, tables[1:]))}
<h2>What this does not say</h2>
<ul class="limits">{limits}</ul>""",
    )


def _markdown(headline: Sequence[str], plots: Sequence[Plot], tables: Sequence[Table]) -> str:
    parts = ["# When does optimising a learned judgement stop being good?", " ".join(headline)]
    parts.append(markdown_table(tables[0]))
    parts += [f"## {p.title}\n\n![{p.title}](plots/{p.name}.svg)\n\n{p.caption}" for p in plots]
    parts += ["## The numbers", *map(markdown_table, tables[1:])]
    parts += ["## What this does not say", "\n".join(f"- {line}" for line in LIMITS)]
    return "\n\n".join(parts) + "\n"
