"""A line a story: how far a run is, how fast, how long until its condition is done."""

import time
from collections.abc import Callable

from memformer.plotbench.run import Progress


def story_lines(
    write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Progress:
    """The callback to give `run` as `progress`.

    Args:
        write: gets one line without its end.
        clock: seconds; the time of a story is from the line before it, the first one's from here.
    """
    last = clock()
    spent: dict[tuple[str, str, str], tuple[int, float]] = {}

    def tell(model: str, condition: str, fraction: str, n_done: int, n_all: int) -> None:
        nonlocal last
        now = clock()
        n, seconds = spent.get((model, condition, fraction), (0, 0.0))
        n, seconds = n + 1, seconds + now - last
        spent[model, condition, fraction], last = (n, seconds), now
        told = "" if fraction == "true" else f", fraction {fraction}"
        write(
            f"{model} {condition}{told}: story {n_done} of {n_all}, {seconds / n:.1f} s a story, "
            f"{_span((n_all - n_done) * seconds / n)} left"
        )

    return tell


def _span(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
