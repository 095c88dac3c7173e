from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache; nothing of the user's own is read."""
    return tmp_path / "cache"
