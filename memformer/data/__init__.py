"""Texts: where they come from, how they are cleaned, split and cut into tokens."""

from memformer.data.cleaning import CLEANING, Chapter, Rules
from memformer.data.manuscripts import Manuscript, build_manuscript
from memformer.data.packages import FetchError
from memformer.data.sources import classics, smollm2

__all__ = [
    "CLEANING",
    "Chapter",
    "FetchError",
    "Manuscript",
    "Rules",
    "build_manuscript",
    "classics",
    "smollm2",
]
