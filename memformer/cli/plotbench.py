"""The verbs of `memformer plotbench`. Heavy imports happen inside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from memformer.plotbench.story import Bench

plotbench = typer.Typer(no_args_is_help=True, help="Does a model keep the plot straight?")


@plotbench.command("make")
def make_data(
    out: Annotated[Path, typer.Option(help="A new folder.")],
    seeds: Annotated[
        str | None, typer.Option(help="First seed and the one after the last: 1000:1200.")
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Tokens of a story; each seed draws one that is long enough.")
    ] = "4k",
    distances: Annotated[
        str, typer.Option(help="Tokens between facts and questions: one story a seed and distance.")
    ] = "512",
    families: Annotated[
        str, typer.Option(help="core, extended, all, or names of families, by commas.")
    ] = "core",
    split: Annotated[
        Literal["train", "dev", "test"],
        typer.Option(help="Names, sentences and plots of one occur in no other."),
    ] = "dev",
    novels: Annotated[
        str | None,
        typer.Option(help="Real novels instead of seeds: all, or ids of books by commas."),
    ] = None,
    context_chars: Annotated[
        int | None,
        typer.Option(help="Of novels: a line's story begins so far before it; all by default."),
    ] = None,
    renamed: Annotated[
        bool, typer.Option("--renamed", help="Of novels: with other names of people and places.")
    ] = False,
    lm_eval: Annotated[
        Path | None,
        typer.Option("--lm-eval", help="Also write tasks for lm-eval into this new folder."),
    ] = None,
) -> None:
    """Write stories in twins and what is asked of them."""
    from memformer.config.plotbench import MakeConfig
    from memformer.config.plotbench_novels import NovelConfig
    from memformer.plotbench.files import save
    from memformer.plotbench.make import make
    from memformer.plotbench.novels.corrupt import make_novels

    if (seeds is None) == (novels is None):
        raise ValueError(f"give either --seeds or --novels, got {seeds} and {novels}")
    if novels is not None:
        books = () if novels == "all" else tuple(novels.split(","))
        bench = make_novels(NovelConfig(books=books, context_chars=context_chars, renamed=renamed))
    else:
        if renamed or context_chars is not None:
            raise ValueError("--renamed and --context-chars are of --novels")
        bench = make(
            MakeConfig(
                seeds=_range(str(seeds)),
                lengths=_sizes("lengths", lengths),
                buckets=_sizes("distances", distances),
                families=tuple(families.split(",")),
                split=split,
            )
        )
    if lm_eval is not None:  # first, as it may be refused
        from memformer.interop.lm_eval_tasks import export_tasks

        names = export_tasks(bench, lm_eval)
        typer.echo(f"{len(names)} tasks of lm-eval, tag plotbench: --include_path {lm_eval}")
    save(out, bench)
    typer.echo(f"{len(bench.stories)} texts, {len(bench.probes)} probes: {out}")


@plotbench.command("check")
def check_data(
    folder: Annotated[Path, typer.Argument(help="A folder that make wrote.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Also compare where tokens end in both twins: smollm2, a .gguf file, a "
            "tokenizer.json, or a folder of transformers."
        ),
    ] = None,
) -> None:
    """Judge data before anything is claimed with them; exit code 1 if a rule does not hold."""
    from memformer.interop.plotbench_models import token_ends
    from memformer.plotbench.check import check
    from memformer.plotbench.files import load

    gate = check(load(folder), ends=token_ends(tokenizer) if tokenizer else None)
    for line in gate.lines():
        typer.echo(line)
    typer.echo("passed" if gate.passed else "not passed")
    if not gate.passed:
        raise typer.Exit(1)


@plotbench.command("run")
def run_models(
    folder: Annotated[Path, typer.Argument(help="A folder that make wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder of `train`, a .gguf file, smollm2, hf:NAME, lm-eval:MODEL,ARGUMENTS or "
            "baseline:NAME; NAME=MODEL names it in the results. Repeat for several.",
            show_default=False,
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also every shortcut, and the oracle.")
    ] = False,
    condition: Annotated[
        str,
        typer.Option(
            help="By commas: on, off, window, shuffled, other_book, full, truncated, K<n>, local. "
            "Models that know none are run as they are."
        ),
    ] = "on",
    fraction: Annotated[
        str,
        typer.Option(
            help="By commas, how the place in the story is told: true, shuffled, header, unknown, "
            "estimated; to each model those that it can take."
        ),
    ] = "true",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds, or add to it.")
    ] = False,
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate",
            help="Cut the beginning of contexts that are too long, in rows of their own.",
        ),
    ] = False,
    last: Annotated[
        int | None, typer.Option(help="Show no more than this many tokens before what is scored.")
    ] = None,
    track: Annotated[
        Literal["probes", "generated"],
        typer.Option(help="Ask questions, or have models go on with the stories and judge that."),
    ] = "probes",
    words: Annotated[int, typer.Option(help="Of generated texts: words of each.")] = 200,
    places: Annotated[
        str, typer.Option(help="Of generated texts: fractions of a story at which they begin.")
    ] = "0.25,0.5,0.75",
    labels: Annotated[
        Path | None,
        typer.Option(help="Of generated texts: JSON with sentences of such models, as read."),
    ] = None,
    position: Annotated[
        bool,
        typer.Option(
            "--position",
            help="Also score the stories' own text, told the fraction in those ways, and next "
            "scenes told an early act or the last.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Of the models' products.")
    ] = "float32",
    window: Annotated[
        int, typer.Option(help="Of .gguf files and smollm2: keys a query sees locally.")
    ] = 256,
    sinks: Annotated[int, typer.Option(help="Of the same: first tokens that stay visible.")] = 4,
    retrieved: Annotated[int, typer.Option(help="Of the same: pairs retrieved per query.")] = 32,
) -> None:
    """Ask models and shortcuts; finished stories are kept, and --resume goes on from them."""
    from memformer.config.plotbench import ScoreConfig
    from memformer.config.plotbench_models import ImportedConfig
    from memformer.interop.plotbench_models import build_scorer
    from memformer.plotbench.files import load
    from memformer.plotbench.position import run_position
    from memformer.plotbench.progress import story_lines
    from memformer.plotbench.run import run
    from memformer.plotbench.run_folder import RESULTS
    from memformer.plotbench.shortcuts import shortcuts_for

    if not model and not baselines:
        raise ValueError("--model or --baselines must say who is asked, got neither")
    bench = load(folder)
    config = ScoreConfig(truncate=truncate, last=last, precision=precision)
    imported = ImportedConfig(window=window, n_sink=sinks, n_retrieved=retrieved)
    scorers: list[Any] = [
        build_scorer(each, config=config, imported=imported, device=device) for each in model or ()
    ]
    if baselines:
        named = {scorer.name for scorer in scorers}
        scorers += [s for s in shortcuts_for(bench) if s.name not in named]
    asked: dict[str, Any] = {
        "out": out,
        "conditions": condition.split(","),
        "fractions": fraction.split(","),
        "progress": story_lines(lambda line: typer.echo(line, err=True)),
    }
    try:
        if track == "generated":
            typer.echo(_generate(bench, scorers, asked, resume, words, places, labels))
            return
        rows = run(bench, scorers, resume=resume, **asked)
        typer.echo(f"{len(rows)} rows: {out / RESULTS}")
        if position:
            found = run_position(bench, scorers, resume=True, **asked)
            typer.echo(f"{len(found.passages)} stretches of text, {len(found.arcs)} arcs: {out}")
    except KeyboardInterrupt:
        typer.echo(
            f"stopped: finished stories are kept in {out}; the same command with --resume goes on",
            err=True,
        )
        raise typer.Exit(130) from None


@plotbench.command("report")
def report(
    results: Annotated[Path, typer.Argument(help="A folder that run filled.")],
    data: Annotated[Path, typer.Option(help="The data that the results are of.")],
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two runs as the tables name them: the first minus the second."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Where the Markdown goes, instead of report.md.")
    ] = None,
) -> None:
    """Write report.html, report.md and plots beside results."""
    from memformer.plotbench.files import load
    from memformer.plotbench.position import load_position
    from memformer.plotbench.report import write_report
    from memformer.plotbench.rows import load_results

    bench = load(data)
    rows = load_results(results / "results.jsonl", bench)
    paths = write_report(
        results, bench, rows, compared=compare, markdown=markdown,
        position=load_position(results, bench),
    )  # fmt: skip
    typer.echo(f"report: {paths.html} and {paths.markdown}")


def _generate(
    bench: "Bench", scorers: list[Any], asked: dict[str, Any], resume: bool, words: int,
    places: str, labels: Path | None,
) -> str:  # fmt: skip
    from memformer.config.plotbench_generated import GenerateConfig
    from memformer.plotbench.generated.extraction import load_read
    from memformer.plotbench.generated.page import judged, measured, write_page
    from memformer.plotbench.generated.texts import write

    read = [] if labels is None else load_read(labels)
    try:
        fractions = tuple(float(each) for each in places.split(","))
    except ValueError:
        raise ValueError(f"--places must be fractions such as 0.25,0.5, got {places!r}") from None
    config = GenerateConfig(places=fractions, n_words=words)
    texts = write(bench, scorers, config=config, resume=resume, **asked)
    found = judged(bench, texts, config, measured(read))
    html, markdown = write_page(Path(asked["out"]), bench, found)
    return f"{len(texts)} texts: {html} and {markdown}"


def _range(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal()):
        raise ValueError(f"--seeds must be FIRST:END, such as 1000:1200, got {text!r}")
    return int(first), int(end)


def _sizes(name: str, text: str) -> tuple[int, ...]:
    """Numbers by commas; `k` stands for 1,024."""
    found = []
    for each in text.lower().split(","):
        number = each.removesuffix("k")
        if not number.isdecimal():
            raise ValueError(f"--{name} must be numbers such as 512,4k, got {text!r}")
        found.append(int(number) * (1024 if each.endswith("k") else 1))
    return tuple(found)
