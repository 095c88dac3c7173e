"""Write the tables of docs/performance.md from the committed results: `python benchmarks/table.py`.

Only what stands between the two markers is replaced.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "performance.md"
BEGIN = "<!-- from here on written by benchmarks/table.py -->"
END = "<!-- to here -->"
Row = dict[str, Any]


def search(rows: Sequence[Row]) -> list[str]:
    """Ways of searching; FAISS's indexes each in the column of their kind."""
    kinds = ("fused ", "exact", "FAISS Flat", "FAISS HNSW", "FAISS IVF", "FAISS PQ")
    heads = (f"{_code(kind)} / `fused`" for kind in kinds[1:])
    lines = _head("pairs", "queries", "keys", "`fused`", "without tiles / `fused`", *heads)
    for row in sorted(rows, key=lambda r: (r["keys"] == "novel", -r["queries"], r["pairs"])):
        ways = row["ways"]
        cells = [_n(row["pairs"]), _n(row["queries"]), row["keys"]]
        cells.append(f"{ways['fused']['milliseconds']:.3g} ms")
        for kind in kinds:
            fits = [name for name in ways if name.startswith(kind)]
            cells.append(", ".join(_searched(name, ways[name]) for name in fits) or "–")
        lines.append(_line(*cells))
    return lines


def train_step(rows: Sequence[Row]) -> list[str]:
    """The same model with and without memory."""
    lines = _head(
        "pairs",
        "window",
        "precision",
        "training",
        "with / without",
        "aim",
        "reading",
        "with / without",
        "recall",
    )
    for row in sorted(rows, key=lambda r: (-r["window"], r["precision"], r["pairs"])):
        cells = [_n(row["pairs"]), str(row["window"]), row["precision"]]
        for kind, aim in (("train", [_aim(row["aim"])]), ("evaluate", [])):
            part = row[kind]
            cells += [_ms(part["milliseconds"]), _ratio(part["ratio"]), *aim]
        lines.append(_line(*cells, f"{row['recall']:.4f}"))
    return lines


def memorizing(rows: Sequence[Row]) -> list[str]:
    """The nearest peer."""
    lines = _head(
        "pairs",
        "our window",
        "",
        "peer, float32",
        "peer / ours, float32",
        "compiled",
        "peer / ours, bfloat16",
        "compiled",
        "recall, peer",
        "ours",
    )
    for row in sorted(rows, key=lambda r: (-r["window"], r["pairs"])):
        for kind, name in (("train", "training"), ("evaluate", "reading")):
            part = row[kind]
            ratios = [
                _ratio(part[f"peer_times_{each}"]) if f"peer_times_{each}" in part else "–"
                for each in ("float32", "float32_compiled", "bfloat16", "bfloat16_compiled")
            ]
            recalls = f"{row['peer_recall']:.2f}", f"{row['recall']:.4f}"
            sizes = _n(row["pairs"]), str(row["window"])
            lines.append(_line(*sizes, name, _ms(part["peer"]), *ratios, *recalls))
    return lines


def versions(rows: Sequence[Row]) -> list[str]:
    """Reading at a depth, before and now."""
    lines = _head("tokens read", "256 tokens, now", "before", "before / now", "commit before")
    for row in sorted(rows, key=lambda r: r["depth"]):
        times = _ms(row["milliseconds"]), _ms(row["before"]), _ratio(row["before_times_ours"])
        lines.append(_line(_n(row["depth"]), *times, _commit(row["commit_before"])))
    return lines


def profile_steps(rows: Sequence[Row]) -> list[str]:
    """Kinds of work, in milliseconds under the profiler."""
    kinds = list(rows[0]["kinds"])
    lines = _head("step", "version", "precision", "a step", "floor", *kinds)
    for row in sorted(rows, key=lambda r: (r["step"], r["version"] != "before")):
        each = (f"{row['kinds'].get(kind, 0):,.0f}" for kind in kinds)
        times = f"{row['milliseconds']:,.0f} ms", f"{row['floor']:,.0f} ms"
        lines.append(_line(row["step"], row["version"], row["precision"], *times, *each))
    return lines


def decode(rows: Sequence[Row]) -> list[str]:
    """Tokens written one by one."""
    lines = _head(
        "tokens read",
        "key/value heads",
        "ours, a token",
        "/ at the shortest",
        "GPT-2, a token",
        "GPT-2 / ours",
    )
    for row in sorted(rows, key=lambda r: (-r["kv_heads"], r["context"])):
        gpt2 = row["gpt2"]
        other = ["–", "–"]
        if gpt2 is not None:
            other = [_ms(gpt2["milliseconds"]), _ratio(gpt2["times_ours"])]
        ours = [_ms(row["milliseconds"]), _ratio(row["times_shortest"])]
        lines.append(_line(_n(row["context"]), str(row["kv_heads"]), *ours, *other))
    return lines


def read_novel(rows: Sequence[Row]) -> list[str]:
    """A whole novel, or the part that was read."""
    lines = _head(
        "memory in layers",
        "pages",
        "search",
        "precision",
        "tokens",
        "tokens/s",
        "first, last stretch",
        "page bytes a token (arithmetic)",
        "peak MiB",
        "nats",
    )
    for row in rows:
        layers = row["layers"] if isinstance(row["layers"], str) else len(row["layers"])
        first, last = row["stretches"][0], row["stretches"][-1]
        pages = f"{_n(row['page_bytes_a_token'])} ({_n(row['page_bytes_a_token_by_arithmetic'])})"
        lines.append(
            _line(
                *(str(layers), row["dtype"], row["search"], row["precision"], _n(row["tokens"])),
                f"{row['tokens_a_second']:.0f}",
                f"{first['tokens_a_second']:.0f}, {last['tokens_a_second']:.0f}",
                *(pages, _n(row["resident_peak_mib"]), f"{row['nats']:.3f}"),
            )
        )
    return lines


def fork_and_save(rows: Sequence[Row]) -> list[str]:
    """Forks and saves."""
    lines = _head("what", "pages", "time", "bytes", "against", "time", "bytes", "ratio")
    for row in sorted(rows, key=lambda r: (r["what"], r["dtype"], r["pairs"])):
        n, dtype = _n(row["pairs"]), row["dtype"]
        if row["what"] == "fork":
            ours = (_ms(row["fork"]), _mib(row["fork_bytes"]))
            other = (_ms(row["copy_once"]), _mib(row["copy_once_bytes"]))
            what = f"fork({row['branches']}) of {n} pairs"
            each = _ratio(row["copy_once_times_fork"])
            lines.append(_line(what, dtype, *ours, "one deep copy", *other, each))
            continue
        times, sizes = row["milliseconds"], row["bytes_written"]
        for what, of, times_ours in (
            (f"first save of {n} pairs", "first save", "torch_times_first"),
            (f"save again, {_n(row['more_pairs'])} pairs more", "save again", "torch_times_again"),
        ):
            other = (_ms(times["torch.save"]), _mib(sizes["torch.save"]))
            ours = (_ms(times[of]), _mib(sizes[of]))
            lines.append(_line(what, dtype, *ours, "`torch.save`", *other, _ratio(row[times_ours])))
        ours = (_ms(times["open"]), "")
        other = (_ms(times["torch.load"]), "", _ratio(row["torch_load_times_open"]))
        lines.append(_line("open, verified", dtype, *ours, "`torch.load`", *other))
    return lines


TABLES: dict[str, tuple[str, str, Callable[[Sequence[Row]], list[str]]]] = {
    "search": (
        "Search",
        "8 heads, queries a head, 32 pairs a query; recall in brackets.",
        search,
    ),
    "train_step": (
        "What memory costs",
        "30 million weights, one memory layer of 8, 2 lanes of 512 tokens. Reading: a segment and "
        "its loss.",
        train_step,
    ),
    "profile_steps": (
        "Where the time goes",
        "The model above with 65,536 pairs, and one token written by it. Kinds are milliseconds "
        "under the profiler, which slows the step; the floor is what must be multiplied (or, in "
        "writing, read) at the rates measured beside it. `before` has no compiled search and no "
        "blocks of the window.",
        profile_steps,
    ),
    "versions": (
        "Reading far into a novel, before and now",
        "SmolLM2-135M, memory in every layer, bfloat16 pages, a segment of 256 tokens.",
        versions,
    ),
    "memorizing": (
        "Against memorizing-transformers-pytorch 0.4.1",
        "The same shape and the same pairs. The peer runs in float32: under bfloat16 it fails. Its "
        "queries see the tokens before them in the segment, 256 on average; ours see a window.",
        memorizing,
    ),
    "decode": (
        "Writing, token by token",
        "A ratio of costs between different functions: GPT-2, in float32 and with a static cache, "
        "attends to every token in 8 layers, ours to a window and 32 pairs in 2 of them.",
        decode,
    ),
    "read_novel": (
        "Reading a novel",
        "SmolLM2-135M reads *Pride and Prejudice*: window 256, 4 sinks, 32 pairs a query, "
        "distances at most 6,000.",
        read_novel,
    ),
    "fork_and_save": (
        "Forking and saving",
        "8 key/value heads of 64. Files are flushed to the disk; opening checks every byte.",
        fork_and_save,
    ),
}


def tables(folder: Path) -> str:
    """All tables in Markdown; what was not measured is said."""
    parts = []
    for name, (title, about, lines) in TABLES.items():
        path = folder / f"{name}.json"
        parts += [f"### {title}", "", about, ""]
        if not path.exists():
            parts += ["Not measured yet.", ""]
            continue
        rows = json.loads(path.read_text())
        parts += [f"`benchmarks/results/{name}.json`; {_machines(rows)}.", "", *lines(rows), ""]
    return "\n".join(parts)


def rewrite(page: str, text: str) -> str:
    """The page with `text` between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must hold {BEGIN!r} and after it {END!r}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def _machines(rows: Sequence[Row]) -> str:
    seen = {
        f"{m['processor']}, threads {m['threads']}, torch {m['torch']}, "
        f"commit {_commit(m['commit'])}"
        for m in (row["machine"] for row in rows)
    }
    return "; ".join(sorted(seen))


def _commit(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    head, _, dirty = commit.partition("-")
    return f"{head[:7]}-{dirty}" if dirty else head[:7]


def _searched(name: str, way: Row) -> str:
    label = name.removeprefix("FAISS ")
    shown = "" if label in ("exact", "Flat") else f"{label} "
    return f"{shown}{way['times_fused']:.2f} ({way['recall']:.2f})"


def _head(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" * len(names)]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _code(kind: str) -> str:
    return f"`{kind}`" if kind == "exact" else kind


def _ms(each: Row) -> str:
    digits = 0 if each["median"] >= 100 else 1
    return f"{each['median']:,.{digits}f} ms"


def _ratio(each: Row) -> str:
    return f"{each['median']:.2f} [{each['from']:.2f}, {each['to']:.2f}]"


def _aim(aim: float | None) -> str:
    return "–" if aim is None else f"{aim:.2f}"


def _mib(n_byte: int) -> str:
    return f"{n_byte / 2**20:,.1f} MiB"


def _n(n: int) -> str:
    return f"{n:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    args.page.write_text(rewrite(args.page.read_text(), tables(args.results)))


if __name__ == "__main__":
    main()
