"""The curve of a run as a chapter of a report."""

import numpy as np
import pytest

from memformer.evaluation.markdown import markdown_page
from memformer.evaluation.words import Words
from memformer.training import validation
from memformer.training.callbacks import METRICS
from memformer.training.curve import _means, _smooth, training_chapter
from memformer.training.table import Table


@pytest.fixture
def folder(tmp_path):
    metrics = Table(tmp_path / "metrics.csv", METRICS)
    held = Table(tmp_path / "validation.csv", validation.COLUMNS)
    for step in range(1, 31):
        metrics.append({"step": step, "tokens": 1000 * step, "seconds": step, "loss": 9 - step / 9})
    for book, n, nats in (("a", 100, 4.0), ("b", 300, 5.0)):
        held.append({"step": 30, "book": book, "memory": "on", "n_token": n, "nats": nats})
    return tmp_path


def test_chapter_shows_curve_and_text(folder):
    chapter = training_chapter(folder, ["It wrote <this>."])
    assert b"<svg" in chapter.plot.wide and b"<svg" in chapter.plot.narrow
    assert "0.03 million tokens in 0.5 minutes" in chapter.plot.caption
    page = markdown_page(Words("T", "S", [], [], [], []), [], [chapter])
    assert "plots/training.svg" in page and "> It wrote <this>." in page


def test_held_out_mean_is_over_tokens(folder):
    assert _means(Table(folder / "validation.csv", ()).rows(), "on") == ([30], [4.75])


def test_smoothing_is_the_mean_of_what_came_before():
    values = np.arange(50.0)
    assert _smooth(values, 20)[[0, 3, 30]].tolist() == [0.0, 1.5, np.arange(11, 31).mean()]


def test_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold the metrics.csv of a run"):
        training_chapter(tmp_path, [])
