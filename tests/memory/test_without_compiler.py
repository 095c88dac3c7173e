"""Everything works where no C++ compiler was: slower, with the same results."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import memformer
from memformer.config import DecoderConfig, MemoryConfig
from memformer.memory import PagedMemory, compiled, search
from memformer.memory.blocked import BlockedSearch
from memformer.memory.exact import ExactSearch
from memformer.memory.faiss_search import FaissSearch
from memformer.memory.rotary import Rotary
from memformer.model.decoder import Decoder
from tests.memory.conftest import DTYPES, D, fill, make, whole

PACKAGE = Path(memformer.__file__).parent


def forget():
    """Whether there is a library is found out once a process."""
    for cached in (compiled.library_or_none, compiled.is_built, search._say_choice):
        cached.cache_clear()


@pytest.fixture
def no_library(monkeypatch):
    """As after an installation in which the compiler failed: no file of that name."""
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "EXTENSION_SUFFIXES", [".none"])
        forget()
        yield
    forget()


@pytest.mark.usefixtures("no_library")
def test_auto_searches_exactly_and_says_why(caplog):
    with caplog.at_level("INFO", "memformer.memory.search"):
        memory = make("auto")
    assert isinstance(memory.backend, ExactSearch) and not memory.searches_by_distance
    assert caplog.messages == [
        "search 'auto' uses 'exact': the compiled part of 'fused' was not built (no C++ compiler)"
    ]


@pytest.mark.usefixtures("no_library")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", ExactSearch), ("exact", ExactSearch), ("blocked", BlockedSearch),
     ("Flat", FaissSearch)],
)  # fmt: skip
def test_every_other_search_can_be_built(name, kind):
    assert isinstance(search.build_search(MemoryConfig(search=name), D, torch.device("cpu")), kind)


@pytest.mark.usefixtures("no_library")
def test_fused_by_name_is_an_error_with_the_way_out():
    with pytest.raises(ValueError, match="install a C\\+\\+ compiler and the package again, or ta"):
        make("fused")


def products(memory, queries):
    """What a search finds, and inner products, sums and gradients over it."""
    found = memory.search(queries, 5)
    L = queries.shape[2]
    a = queries.clone().requires_grad_()
    weights = (torch.arange(L * 5).view(L, 5) / 10 - 1).expand(*found.slots.shape).clone()
    weights.requires_grad_()
    rotary = Rotary(100.0, torch.arange(90, 90 + L).expand(memory.n_lane, L), 0)
    inner, turned = found.inner(a), found.inner(a, rotary)
    total = found.weighted_sum(weights)
    (inner.square().sum() + turned.sin().sum() + total.square().sum()).backward()
    return found.scores, found.slots, inner, turned, total, a.grad, weights.grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_searches_products_and_gradients_are_those_of_the_library(request, dtype):
    if not compiled.is_built():
        pytest.skip("the compiled part was not built: there is nothing to compare with")
    memory = make("auto", 2, dtype=dtype, capacity=70)
    fill(memory, 80)
    queries = torch.randn(2, 4, 3, D)
    with_library = products(memory, queries)
    request.getfixturevalue("no_library")
    twin = make("auto", 2, dtype=dtype, capacity=70)
    twin.books = memory.books
    assert compiled.library_or_none() is None and isinstance(twin.backend, ExactSearch)
    for plain, ours in zip(products(twin, queries), with_library, strict=True):
        torch.testing.assert_close(plain, ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mmap", [False, True])
def test_what_was_saved_with_the_library_is_opened_without_it_and_back(request, tmp_path, mmap):
    memory = make("auto", 2)
    fill(memory, 50)
    queries = whole(2, 4, 3, D)
    found = memory.search(queries, 5)
    memory.save(tmp_path / "with")
    request.getfixturevalue("no_library")
    opened = PagedMemory.load(tmp_path / "with", mmap=mmap)
    assert isinstance(opened.backend, ExactSearch)
    assert opened.search(queries, 5).scores.equal(found.scores)
    fill(opened, 20)
    expected = opened.search(queries, 5)
    opened.save(tmp_path / "without")
    forget()
    again = PagedMemory.load(tmp_path / "without", mmap=mmap)
    assert again.size(0) == 70 and again.search(queries, 5).scores.equal(expected.scores)


@pytest.mark.parametrize("positions", ["none", "rotary", "fraction"])
@pytest.mark.parametrize("combine", ["joint", "gate"])
def test_a_decoder_reads_and_learns_the_same(request, positions, combine):
    memory = MemoryConfig(
        layers=(1,), n_retrieved=3, page_len=4, positions=positions, combine=combine
    )
    config = DecoderConfig(
        vocab_size=30, n_layer=2, n_head=4, n_kv_head=2, n_embd=32, head_dim=8, mlp_dim=32,
        window=8, memory=memory,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Decoder(config)
    ids = torch.randint(30, (2, 60))

    def read():
        model.zero_grad()
        state, logits = model.new_state(2), []
        for part in ids.split(12, dim=1):
            out = model(part, state)
            out.logits.logsumexp(-1).sum().backward()
            logits.append(out.logits.detach())
            state.advance(out)
        return torch.cat(logits, dim=1), {n: p.grad for n, p in model.named_parameters()}

    logits, gradients = read()
    request.getfixturevalue("no_library")
    assert not compiled.is_built()
    plain_logits, plain_gradients = read()
    torch.testing.assert_close(plain_logits, logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain_gradients, gradients, atol=1e-3, rtol=1e-3)


CODE = """
import logging, sys, torch
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
import memformer
from memformer import MemoryConfig, PagedMemory
memory = PagedMemory(MemoryConfig(page_len=4), n_lane=1, n_kv_head=2, head_dim=8)
pairs = torch.randn(1, 2, 90, 8)
memory.append(pairs, pairs, token_index=torch.arange(90)[None])
memory.save(sys.argv[1])
found = PagedMemory.load(sys.argv[1]).search(pairs[:, :, :5], 90)
sums = found.weighted_sum(found.inner(pairs[:, :, :5]))
torch.testing.assert_close(sums, pairs[:, :, :5] @ pairs.mT @ pairs, atol=1e-3, rtol=1e-3)
print(memformer.__file__)
"""


def test_a_copy_of_the_package_without_the_library_works(tmp_path):
    """A process of its own, in which the library is nowhere."""
    shutil.copytree(
        PACKAGE,
        tmp_path / "memformer",
        ignore=shutil.ignore_patterns("_fused*", "_token*", "__pycache__"),
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "saved")], capture_output=True, text=True,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, where = done.stdout.splitlines()
    assert said.startswith("search 'auto' uses 'exact': the compiled part of 'fused' was not")
    assert Path(where) == tmp_path / "memformer" / "__init__.py"


@pytest.mark.slow
def test_an_installation_whose_compiler_fails_goes_on(tmp_path):
    """Needs setuptools from the index of packages, as any installation from source does."""
    sources, wheels = tmp_path / "sources", tmp_path / "wheels"
    ignored = shutil.ignore_patterns("_fused*.so", "__pycache__")
    shutil.copytree(PACKAGE, sources / "memformer", ignore=ignored)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PACKAGE.parent / name, sources)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", str(wheels), str(sources)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "CC": "/bin/false", "CXX": "/bin/false", "PIP_NO_INPUT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert 'building extension "memformer.memory._fused" failed' in done.stdout
    (wheel,) = wheels.glob("memformer_lm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "memformer/memory/fused.py" in names
    assert not [name for name in names if name.startswith("memformer/memory/_fused")]
