"""Imports point downwards, and each heavy library has one home."""

import ast
from pathlib import Path

import pytest

import memformer

PACKAGE = Path(memformer.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
LAYERS = [  # bottom to top; drawers on one line do not import each other
    {"config", "process"}, {"memory", "data"}, {"model"}, {"generation"}, {"evaluation"},
    {"reward", "plotbench"}, {"training"}, {"rating"}, {"interop"}, {"ablation"}, {"cli"},
    {"__main__"},
]  # fmt: skip
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
HOME = {
    "faiss": "memory",
    "triton": "memory",
    "sentencepiece": "data",
    "lightning": "training",
    "transformers": "interop",
    "lm_eval": "interop",
    "krippendorff": "rating",
    "pyarrow": "data",
    "typer": "cli",
    "ray": "ablation",
    "submitit": "ablation",
}
# the memory's interface and its files, never a way of searching
SEEN_BY_MODEL = {
    "memory.compiled", "memory.pages", "memory.rotary", "memory.saved_memory", "memory.search",
    "memory.storage",
}  # fmt: skip


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):  # also finds imports inside functions
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full, not relative"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in RANK, f"{own} has no layer"
    for name in imports(path):
        top, *rest = name.split(".")
        assert HOME.get(top, own) == own, f"{own} may not import {top}"
        if top == "memformer" and rest and rest[0] in RANK and rest[0] != own:
            assert RANK[rest[0]] < RANK[own], f"{own} may not import {name}"
            if own == "model" and rest[0] == "memory":
                assert ".".join(rest[:2]) in SEEN_BY_MODEL, f"model may not import {name}"
        if top == "faiss":
            assert path.name == "faiss_search.py", f"{path.name} may not import faiss"


def test_bottom_layer_needs_only_the_standard_library():
    for path in (*(PACKAGE / "config").glob("*.py"), PACKAGE / "process.py"):
        for imported in imports(path):
            assert imported.startswith("memformer.config") or imported.split(".")[0] in {
                "collections", "contextlib", "ctypes", "dataclasses", "difflib", "logging", "math",
                "os", "sys", "types", "typing", "platform",
            }, f"{path.name} may not import {imported}"  # fmt: skip


def test_no_file_is_longer_than_400_lines():
    long = {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long
