"""The tables of a report and the sentences above them: made once, set in HTML and in Markdown."""

from typing import Any, NamedTuple

from memformer.evaluation.outcome import Outcome

_PARTS = ("whole", "second_half")


class Cell(NamedTuple):
    """A value and, in small type, what stands below it."""

    main: str
    small: str = ""


class Table(NamedTuple):
    """A table; its first `n_text` columns are words, the first names the row."""

    title: str
    caption: str
    head: list[str]
    rows: list[list[Cell]]
    strong: set[int]
    """Rows that the eye should find."""
    n_text: int = 1


def headline(outcome: Outcome) -> list[str]:
    """What came out, in one to three sentences; a difference inside the noise is called none."""
    if outcome.lead is None:
        return ["No arm of this evaluation had its memory on."]
    sentences = [_gain_sentence(outcome, outcome.lead)]
    if outcome.rival is not None:
        sentences.append(_gap_sentence(outcome, outcome.lead, outcome.rival))
    plain = next((a for a in outcome.rivals if outcome.arms[a]["attention"] == "full"), None)
    if plain is not None and plain != outcome.rival:
        sentences.append(_against_full(outcome, outcome.lead, plain))
    return sentences


def summary_table(outcome: Outcome, scope: str) -> Table:
    """Every arm: nats, second half, bits per byte, word perplexity, speed, memory."""
    rows, strong = [], set()
    for i, arm in enumerate(outcome.arms):
        level = outcome.metrics[scope]["arms"][arm]
        if arm in (outcome.lead, outcome.baseline):
            strong.add(i)
        gain = outcome.metrics[scope]["gain"].get(arm)
        rows.append(
            [
                Cell(outcome.label(arm), "the baseline" if arm == outcome.baseline else ""),
                _estimate(level["nats_per_token"], 3),
                Cell("–") if gain is None else _estimate(gain["nats_per_token"], 3, sign=True),
                _estimate(level["second_half"], 3),
                _estimate(level["bits_per_byte"], 3),
                _estimate(level["word_perplexity"], 0),
                Cell(f"{_per_second(outcome, scope, arm):,.0f}"),
                Cell(f"{_mebibytes(outcome, scope, arm):,.0f}"),
            ]
        )
    return Table(
        outcome.scope_title(scope),
        "Brackets: 95% intervals over blocks of text. Those of the levels are wide because "
        "passages differ; that cancels in the gain against the baseline, which is paired. Word "
        "perplexity is per whitespace word, so that tokenizers can be compared.",
        ["", "nats a token", "gain", "second half", "bits a byte", "word perplexity", "tokens/s",
         "memory, MiB"],
        rows,
        strong,
    )  # fmt: skip


def gap_table(outcome: Outcome) -> Table | None:
    """Share of the gap closed, per scope, remembering arm and rival; None without a rival."""
    rows: list[list[Cell]] = []
    strong = set()
    scopes = [outcome.scope, *(scope for scope in outcome.metrics if scope != outcome.scope)]
    for scope in scopes:
        for arm in outcome.remembering:
            for rival in outcome.rivals:
                row = outcome.gap(scope, arm, rival)
                if arm == outcome.lead:
                    strong.add(len(rows))
                names = [outcome.scope_title(scope), outcome.label(arm), outcome.label(rival)]
                ahead = [_estimate(row[f"ahead_{part}"], 3, sign=True) for part in _PARTS]
                rows.append([*map(Cell, names), *(_share(row[part]) for part in _PARTS), *ahead])
    if not rows:
        return None
    return Table(
        "Share of the gap closed",
        f"(b − a) / (b − f) in nats per token: b {outcome.label(outcome.baseline)}, a the arm, f "
        "full attention; 100% is level with it. Intervals are paired: all arms are resampled by "
        "the same blocks. A dash where the gap itself is not told from 0.",
        ["", "arm", "gap to", "closed", "second half", "ahead of it by", "second half"],
        rows,
        strong,
        n_text=3,
    )


def machine_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """What the numbers were made with."""
    made, settings = outcome.result["made"], outcome.result["settings"]
    seconds = sum(row["seconds"] for row in outcome.result["readings"])
    model = settings["model"]
    return [
        ("made", made["when"]),
        ("memformer", f"{made['memformer']}, commit {made['commit'] or 'unknown'}"),
        ("machine", f"{made['processor']}, {made['cores']} cores, {made['threads']} threads"
                    + (f", {made['accelerator']}" if made["accelerator"] else "")),
        ("software", f"torch {made['torch']}, Python {made['python']}, {made['system']}"),
        ("model", f"{model['n_layer']} layers, width {model['n_embd']}, {model['n_head']} heads, "
                  f"{model['n_kv_head']} key/value heads, vocabulary {model['vocab_size']:,}"),
        ("weights", settings["weights"][:16]),
        ("bootstrap", f"{settings['n_draw']:,} draws, blocks of {settings['block_len']} tokens, "
                      f"seed {settings['seed']}"),
        ("reading", f"{seconds / 60:.1f} minutes in all"),
    ]  # fmt: skip


def _gain_sentence(outcome: Outcome, lead: str) -> str:
    memory, config = outcome.config(lead)["memory"], outcome.config(lead)
    layers = memory["layers"]
    where = "every layer" if layers == "all" else f"{len(layers)} of {config['n_layer']} layers"
    each = outcome.metrics[outcome.scope]["gain"][lead]["nats_per_token"]
    found = (
        f"With a memory from which each head of {where} retrieves {memory['n_retrieved']} pairs, "
        f"a window of {config['window']} tokens"
    )
    base = outcome.label(outcome.baseline)
    if not _is_told_from_zero(each):
        return f"{found} makes no difference outside the noise against {base} alone."
    verb = "gains" if each["value"] > 0 else "loses"
    return (
        f"{found} {verb} {abs(each['value']):.3f} nats a token {_range(each, 3)} against {base} "
        f"alone."
    )


def _gap_sentence(outcome: Outcome, lead: str, rival: str) -> str:
    row = outcome.gap(outcome.scope, lead, rival)["whole"]
    name, base = outcome.label(rival), outcome.label(outcome.baseline)
    gap = outcome.metrics[outcome.scope]["gain"][rival]["nats_per_token"]
    if not (_is_told_from_zero(gap) and gap["value"] > 0) or row["value"] is None:
        return f"{_capital(name)} itself is not reliably better than {base}: there is no gap."
    return (
        f"It closes {100 * row['value']:.0f}% {_range(row, 0, 100)} of the gap between {base} and "
        f"{name}."
    )


def _against_full(outcome: Outcome, lead: str, plain: str) -> str:
    ahead = outcome.gap(outcome.scope, lead, plain)["ahead_whole"]
    if not _is_told_from_zero(ahead):
        return "Plain full attention and memory are not told apart."
    word = "ahead of" if ahead["value"] > 0 else "behind"
    return (
        f"It is {abs(ahead['value']):.3f} nats {_range(ahead, 3)} {word} plain full attention at "
        "true distances."
    )


def _is_told_from_zero(each: dict[str, Any]) -> bool:
    return each["low"] is not None and (each["low"] > 0 or each["high"] < 0)


def _range(each: dict[str, Any], digits: int, scale: float = 1) -> str:
    if each["low"] is None:
        return "[no interval]"
    low, high = each["low"], each["high"]
    if high < 0:  # the sentence says which way
        low, high = -high, -low
    return f"[{low * scale:.{digits}f}, {high * scale:.{digits}f}]"


def _estimate(each: dict[str, Any], digits: int, sign: bool = False) -> Cell:
    if each["value"] is None:
        return Cell("–")
    form = f"{'+' if sign else ''},.{digits}f"
    value, low, high = (
        "" if each[name] is None else format(each[name], form).replace("-", "−")
        for name in ("value", "low", "high")
    )
    return Cell(value, f"[{low}, {high}]" if low else "")


def _share(each: dict[str, Any]) -> Cell:
    if each["low"] is None:
        return Cell("–")
    value, low, high = (100 * each[name] for name in ("value", "low", "high"))
    return Cell(f"{value:.0f}%".replace("-", "−"), f"[{low:.0f}, {high:.0f}]".replace("-", "−"))


def _per_second(outcome: Outcome, scope: str, arm: str) -> float:
    rows = _readings(outcome, scope, arm)
    n = sum(row["seconds"] * row["tokens_per_second"] for row in rows)
    return float(n / sum(row["seconds"] for row in rows))


def _mebibytes(outcome: Outcome, scope: str, arm: str) -> float:
    return float(max(row["memory_bytes"] for row in _readings(outcome, scope, arm)) / 2**20)


def _readings(outcome: Outcome, scope: str, arm: str) -> list[dict[str, Any]]:
    return [
        row
        for row in outcome.result["readings"]
        if row["arm"] == arm and row["book"] in outcome.ids(scope)
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
