"""What the caller did wrong, told apart from what failed."""

from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(ValueError):
    """What was given cannot be used: one line and exit code 2."""


@contextmanager
def bad_input() -> Iterator[None]:
    """Errors of values, files and missing extras in this block are the caller's."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, IsADirectoryError, ImportError) as error:
        raise BadInput(str(error)) from error
