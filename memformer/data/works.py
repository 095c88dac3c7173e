"""The texts inside the packages that memformer can fetch: hash, author and how each is read."""

from dataclasses import dataclass

from memformer.data.cleaning import Rules


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

_VOLUME_OR_CHAPTER = "VOLUME [IVX]+|CHAPTER [IVXL]+"

AUSTEN_WORKS = (
    Work(
        id="austen-emma",
        author="Jane Austen",
        title="Emma",
        member="emma",
        sha256="dd08b340a56ad4a0a00718d5682528a5a5886ae0aef91c9e0fa528074fa64b75",
        rules=Rules(heading=_VOLUME_OR_CHAPTER, start="VOLUME I"),
        year=1815,
    ),
    Work(
        id="austen-mansfield",
        author="Jane Austen",
        title="Mansfield Park",
        member="mansfieldpark",
        sha256="e0e9ef3863ea77f51f6070062ee0dd50ad9b933223880617629e4e4963ea40ff",
        rules=Rules(
            heading="CHAPTER [IVXL]+",
            start="CHAPTER I",
            drop=r"\[End volume one of this edition\..*",
        ),
        year=1814,
    ),
    Work(
        id="austen-northanger",
        author="Jane Austen",
        title="Northanger Abbey",
        member="northangerabbey",
        sha256="8618a5acf5be50cc6e9b7680c7469fb6012649ab08c709dfc63c6367989fd31d",
        # A footnote and an editor's note follow the last words.
        rules=Rules(
            heading=r"(?i)chapter \d+",
            start="CHAPTER 1",
            end=r"\*Vide a letter .*",
            erase=r"(?<=declared,)\*",
        ),
        year=1817,
    ),
    Work(
        id="austen-persuasion",
        author="Jane Austen",
        title="Persuasion",
        member="persuasion",
        sha256="726513a6c18bb678427bcbcf7c72d0d20816a67c25b0471b26ddcabf3ebac140",
        rules=Rules(heading=r"Chapter \d+", start="Chapter 1"),
        year=1817,
    ),
    Work(
        id="austen-sense",
        author="Jane Austen",
        title="Sense and Sensibility",
        member="sensesensibility",
        sha256="0996d90842bbe8093f3b8142c1e77d1b20cff52d1d0615f3ed67733653e74e26",
        rules=Rules(
            heading=r"(?i)chapter \d+",
            start="CHAPTER 1",
            drop=r"\[At this point in the first and second editions, .*",
        ),
        year=1811,
    ),
)
"""The package's sixth text, Pride and Prejudice, is left out: the classics have it."""

MOBY_DICK_WORK = Work(
    id="melville-moby",
    author="Herman Melville",
    title="Moby-Dick",
    member="mobydick",
    sha256="829d6f1f7012a031a3dfaf50ce66532eb3ae7e62ee69b25cbfb78f92ceaca569",
    # The heading of the last part tells that the novel is over, and is no chapter's: dropped.
    rules=Rules(heading=r"CHAPTER \d+\. .+", start=r"CHAPTER 1\. Loomings\.", drop="Epilogue"),
    year=1851,
)
