"""Experiment files that take a second a cell."""

from pathlib import Path

HEAD = '''
"""Does the number help?"""
from dataclasses import dataclass, field
from memformer.ablation import Metric


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int = 2
    kind: str = "plain"


@dataclass(frozen=True, kw_only=True)
class Toy:
    part: Part = field(default_factory=Part)
    slope: float = 1.0
    seed: int = 0


def make(config, folder):
    folder.mkdir(parents=True, exist_ok=True)
    if config.slope == 13:
        raise RuntimeError("the thirteenth slope breaks")
    return config


def value(config):
    wobble = config.slope * config.seed
    return {
        book: config.slope + n + config.seed / 100 + wobble * n / 1000
        for n, book in enumerate("abcd")
    }


BASE = Toy()
METRICS = (Metric(name="height", of=value, better="higher", what="metres"),)
SEEDS = range(3)
'''
VARIANTS = 'VARIANTS = {"base": {}, "steep": {"slope": 2.0}, "bigger": {"part.size": 3}}\n'


def write(folder: Path, variants: str = VARIANTS, tail: str = "", head: str = HEAD) -> Path:
    path = folder / "toy.py"
    path.write_text(head + variants + tail)
    return path
