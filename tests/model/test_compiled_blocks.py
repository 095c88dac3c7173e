"""Blocks by `torch.compile` read what plain ones read, or the plain ones read."""

import copy
import shutil

import pytest
import torch
from torch._inductor import cpp_builder
from torch.nn.modules.module import register_module_forward_hook

from memformer.config import LowRankConfig
from memformer.model import block
from memformer.model.decoder import Decoder
from memformer.training.low_rank import add_low_rank

from .conftest import lively, read, small_config

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler"
)


def model_of():
    config = small_config(
        memory=dict(layers=(1,), n_retrieved=5), fraction=dict(kind="modulation"), n_sink=2
    )
    return lively(Decoder(config))


class Counted:
    """Stands for the compiled functions and counts their calls."""

    def __init__(self, monkeypatch):
        self.n = 0
        monkeypatch.setattr(block, "_compiled", lambda: (self.front, block._back))

    def front(self, *args):
        self.n += 1
        return block._front(*args)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of torch's own code, as it compiles
def test_logits_and_gradients_are_those_of_plain_blocks(tokens, u):
    model = model_of()
    twin = copy.deepcopy(model).compile_blocks()
    found = []
    for each in (model, twin):
        logits = read(each, tokens, 16, u)  # whole segments, and one of 4
        (logits.logsumexp(-1) * torch.linspace(-1, 1, 100)).sum().backward()
        found.append((logits, [w.grad for w in each.parameters()]))
    (plain, by_plain), (compiled, by_compiled) = found
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-4)
    for a, b in zip(by_compiled, by_plain, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3)


@needs_compiler
def test_only_whole_segments_are_compiled(tokens, monkeypatch):
    model, counted = model_of().compile_blocks(), Counted(monkeypatch)
    model(tokens[:, :15], model.new_state(2))
    assert counted.n == 0
    model(tokens[:, :16], model.new_state(2))
    assert counted.n == len(model.blocks)


@needs_compiler
def test_hooks_and_low_rank_changes_are_served_by_plain_blocks(tokens, monkeypatch):
    model, counted, seen = model_of().compile_blocks(), Counted(monkeypatch), []
    hook = model.blocks[1].attention.q.register_forward_hook(lambda *args: seen.append(args))
    model(tokens[:, :16], model.new_state(2))
    assert counted.n == len(model.blocks) - 1 and len(seen) == 1
    hook.remove()
    of_all = register_module_forward_hook(lambda *args: None)
    model(tokens[:, :16], model.new_state(2))
    assert counted.n == len(model.blocks) - 1
    of_all.remove()
    model(tokens[:, :16], model.new_state(2))
    assert counted.n == 2 * len(model.blocks) - 1
    add_low_rank(model, LowRankConfig(rank=2))
    model(tokens[:, :16], model.new_state(2))
    assert counted.n == 2 * len(model.blocks) - 1


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # of torch's own code, as it compiles
def test_no_shape_is_left_to_plain_blocks_after_some(monkeypatch):
    torch._dynamo.reset()
    block._compiled.cache_clear()
    n = []

    def counted(graph, inputs):
        n.append(1)
        return graph

    compile_, eager = torch.compile, dict(backend=counted, dynamic=False)
    monkeypatch.setattr(torch, "compile", lambda what, **_: compile_(what, **eager))
    try:
        model = model_of().compile_blocks()
        with torch.no_grad():
            for n_lane in range(1, 12):
                before = len(n)
                tokens = torch.zeros(n_lane, 16, dtype=torch.int64)
                model(tokens, model.new_state(n_lane))
                assert len(n) > before
    finally:
        torch._dynamo.reset()
        block._compiled.cache_clear()


def test_no_compiler_is_said_when_compiling_is_asked_for(model):
    cpp_builder.cpp_compiler_search.cache_clear()
    without = torch._inductor.config.patch({"cpp.cxx": ("no-compiler",)})
    with without, pytest.raises(ValueError, match="compile: torch.compile finds no C.. compiler"):
        model.compile_blocks()
    assert not any(part.is_compiled for part in model.blocks)


@needs_compiler
def test_reconfigured_and_copied_decoders_stay_compiled(model):
    for each in (model, copy.deepcopy(model)):
        assert not any(part.is_compiled for part in each.blocks)
    model.compile_blocks()
    for each in (copy.deepcopy(model), model.reconfigure({"memory.n_retrieved": 2})):
        assert all(part.is_compiled for part in each.blocks)
