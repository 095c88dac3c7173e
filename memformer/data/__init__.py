"""Texts: where they come from, how they are cleaned, split and cut into tokens."""

from memformer.data.cleaning import CLEANING, Chapter, Rules
from memformer.data.folder import load_manuscripts, save_manuscripts
from memformer.data.gutenberg import read_gutenberg
from memformer.data.manuscripts import Manuscript, build_manuscript
from memformer.data.own import read_folder, read_jsonl, read_texts
from memformer.data.packages import FetchError
from memformer.data.pg19 import read_pg19
from memformer.data.sources import austen, classics, moby_dick, smollm2
from memformer.data.splits import (
    Split,
    classics_1,
    distinct,
    split_by_author,
    split_by_manuscript,
    without,
)

__all__ = [
    "CLEANING",
    "Chapter",
    "FetchError",
    "Manuscript",
    "Rules",
    "Split",
    "austen",
    "build_manuscript",
    "classics",
    "classics_1",
    "distinct",
    "load_manuscripts",
    "moby_dick",
    "read_folder",
    "read_gutenberg",
    "read_jsonl",
    "read_pg19",
    "read_texts",
    "save_manuscripts",
    "smollm2",
    "split_by_author",
    "split_by_manuscript",
    "without",
]
