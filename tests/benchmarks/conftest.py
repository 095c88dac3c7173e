import sys
from pathlib import Path

import pytest

# benchmarks are scripts, not a package: they import their neighbours by name
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]


@pytest.fixture(autouse=True, scope="session")
def _process_as_it_is():
    """Scripts tune their process when imported; the tests' own process stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memformer.process.tune_process", lambda: None)
        yield
