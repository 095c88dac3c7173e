"""What importing and installing the package brings along."""

import importlib
import os
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import memformer

ROOT = Path(memformer.__file__).parents[1]
EXTRAS = ("lightning", "transformers", "fastapi", "sqlalchemy", "matplotlib", "typer")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_module_imports():
    for module in pkgutil.walk_packages(memformer.__path__, "memformer."):
        if not module.name.endswith("._fused"):  # a library of C, opened with ctypes
            importlib.import_module(module.name)


def test_every_public_name_is_there():
    for name in memformer.__all__:
        assert getattr(memformer, name).__name__ == name
        assert name in dir(memformer)
    with pytest.raises(AttributeError, match="module 'memformer' has no attribute 'Decodr'"):
        _ = memformer.Decodr


@pytest.mark.parametrize("statement", [
    "import memformer",
    "from memformer import Decoder, DecoderConfig, DecoderState, FractionConfig, MemoryConfig",
    "from memformer import MemoryAttention, PagedMemory",
    "from memformer.memory import PagedMemory",
    "from memformer.model.memory_attention import MemoryAttention",
])  # fmt: skip
def test_import_loads_no_extra(statement):
    loaded = python(f"{statement}; import sys; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & set(EXTRAS)


def test_import_alone_does_not_even_load_torch():
    assert "torch" not in python("import memformer, sys; print(*sys.modules)").split()


def test_planning_and_reporting_an_ablation_does_not_load_lightning():
    """Nor does a cell that trains nothing: it costs seconds at each start."""
    modules = ", ".join(f"memformer.ablation.{n}" for n in ("cell", "dry", "local", "report"))
    loaded = python(f"import {modules}, sys; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & {"lightning", "transformers", "typer"}


def test_import_changes_no_setting_of_the_process():
    code = "import os; before = dict(os.environ); import memformer.model.decoder; "
    assert python(code + "print(before == dict(os.environ))") == "True"


@pytest.mark.slow
def test_wheel_names_its_dependencies_and_ships_its_types(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "-q",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    (wheel,) = tmp_path.glob("memformer_lm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (path,) = [name for name in names if name.endswith("METADATA")]
        metadata = archive.read(path).decode()
    assert "memformer/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "experiments/"))]
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert len([line for line in needed if "extra" not in line]) == 10
    assert "Requires-Dist: torch>=2.11" in needed
