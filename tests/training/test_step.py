"""The step: right loss and gradients, however passages are cut and whatever is kept."""

import pytest
import torch
from torch import nn

from memformer.config import DecoderConfig, MemoryConfig, OptimiserConfig
from memformer.data.lanes import Corpus, Lanes
from memformer.data.token_files import TokenLists
from memformer.model.decoder import Decoder
from memformer.training.optimiser import build_optimiser, parameter_groups, rate_share, set_rate
from memformer.training.step import read_passage, token_loss, train_step

CONFIG = DecoderConfig(
    vocab_size=40, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=24, window=8,
    memory=MemoryConfig(layers=(0, 1), n_retrieved=3, page_len=8),
)  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Decoder(CONFIG)


def segments(n, segment_len=6, n_lane=3):
    arrays = [torch.randint(0, 40, (n,)).numpy() for n in (9, 25, 40, 61)]
    books = TokenLists(["a", "b", "c", "d"], arrays)
    lanes = Lanes([Corpus("x", books, 1.0)], n_lane=n_lane, segment_len=segment_len, seed=0)
    return [next(lanes) for _ in range(n)]


def gradients(model):
    return [w.grad.clone() for w in model.parameters() if w.grad is not None]


def test_loss_is_the_weighted_mean_over_targets(model):
    (segment,) = segments(1)
    state = model.new_state(3)
    out = read_passage(model, state, [segment])
    logits = model(segment.tokens, model.new_state(3), fraction=segment.fraction, mask=segment.mask)
    nats = nn.functional.cross_entropy(
        logits.logits.flatten(0, 1), segment.targets.flatten(), reduction="none"
    )
    expected = (nats * segment.weight.flatten()).sum()
    torch.testing.assert_close(out.loss, expected)
    assert out.weight == segment.weight.sum()


def test_nan_under_padding_does_no_harm(model):
    segment = segments(8)[-1]
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    hidden = torch.zeros(1, 4, 5, requires_grad=True)
    logits = hidden * torch.tensor([1.0, 1.0, torch.nan, torch.nan])[:, None]
    only = segment._replace(targets=tokens, weight=torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    loss = token_loss(logits, only)
    loss.backward()
    assert hidden.grad[:, :2].isfinite().all()
    assert loss.item() == pytest.approx(2 * torch.log(torch.tensor(5.0)).item())


@pytest.mark.parametrize("grad_segments", [1, 3])
def test_recomputed_activations_give_the_same_gradients(model, grad_segments):
    parts = segments(9)
    found = []
    for recompute in (False, True):
        state = model.new_state(3, grad_segments=grad_segments)
        model.zero_grad()
        for i in range(0, 9, 3):
            read_passage(model, state, parts[i : i + 3], recompute=recompute).loss.backward()
            state.detach()
        found.append(gradients(model))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_accumulated_passages_equal_the_sum_of_their_losses(model):
    parts = segments(2)
    weight = sum(float(s.weight.sum()) for s in parts)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    out = train_step(model, model.new_state(3), optimiser, [[s] for s in parts], clip_norm=1e9)
    got = gradients(model)
    state, total = model.new_state(3), 0.0
    model.zero_grad()
    for s in parts:
        loss = read_passage(model, state, [s]).loss / weight
        loss.backward()
        total += loss.item()
    assert out.loss == pytest.approx(total)
    for a, b in zip(got, gradients(model), strict=True):
        torch.testing.assert_close(a, b)


def test_loss_that_is_not_finite_moves_no_weight(model):
    optimiser = build_optimiser(model, OptimiserConfig())
    before = [w.detach().clone() for w in model.parameters()]
    with torch.no_grad():
        model.norm.weight[0] = torch.inf
    before[[n for n, _ in model.named_parameters()].index("norm.weight")] = (
        model.norm.weight.detach().clone()
    )
    out = train_step(model, model.new_state(3), optimiser, [segments(1)], clip_norm=1.0)
    assert out.loss != out.loss
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_bfloat16_reads_nearly_the_same(model):
    parts = segments(6)
    nats = [
        read_passage(model, model.new_state(3), parts, precision=p).loss.item()
        for p in ("float32", "bfloat16")
    ]
    assert nats[0] == pytest.approx(nats[1], rel=0.01) and nats[0] != nats[1]


def test_no_target_and_no_segment_are_named(model):
    (segment,) = segments(1)
    empty = segment._replace(weight=torch.zeros_like(segment.weight))
    with pytest.raises(ValueError, match="a target of weight above 0, got none"):
        train_step(model, model.new_state(3), build_optimiser(model, OptimiserConfig()),
                   [[empty]], clip_norm=1.0)  # fmt: skip
    with pytest.raises(ValueError, match="at least one segment, got none"):
        read_passage(model, model.new_state(3), [])


def test_groups_hold_every_parameter_once_and_only_matrices_decay():
    gated = DecoderConfig(**{**vars(CONFIG), "memory": MemoryConfig(layers=(1,), combine="gate")})
    model = Decoder(gated)
    groups = parameter_groups(model, OptimiserConfig(weight_decay=0.3, gate_learning_rate=0.5))
    every = [id(w) for group in groups for w in group["params"]]
    assert sorted(every) == sorted(id(w) for w in model.parameters())
    by_name = {group["name"]: group for group in groups}
    assert {n: g["weight_decay"] for n, g in by_name.items()} == {
        "matrices": 0.3, "gates and scales": 0.0, "others": 0.0,
    }  # fmt: skip
    apart = {id(w) for w in by_name["gates and scales"]["params"]}
    named = {n for n, w in model.named_parameters() if id(w) in apart}
    assert named == {"blocks.0.attention.scale", "blocks.1.attention.scale",
                     "blocks.1.attention.gate"}  # fmt: skip
    assert by_name["gates and scales"]["peak"] == 0.5
    assert all(w.dim() == 2 for w in by_name["matrices"]["params"])


def test_frozen_parameters_are_left_out(model):
    for weight in model.parameters():
        weight.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter to train"):
        build_optimiser(model, OptimiserConfig())


@pytest.mark.parametrize(("schedule", "expected"), [
    ("cosine", {0: 0.1, 9: 1.0, 10: 1.0, 99: 0.2}), ("constant", {0: 0.1, 50: 1.0, 99: 1.0}),
    ("trapezoid", {10: 1.0, 79: 1.0, 89: 0.6, 99: 0.2}),
])  # fmt: skip
def test_schedules_pass_through_their_corners(schedule, expected):
    config = OptimiserConfig(schedule=schedule, warmup_steps=10, final_share=0.2)
    assert {s: rate_share(s, 100, config) for s in expected} == pytest.approx(expected)


def test_rates_are_shares_of_each_group(model):
    optimiser = build_optimiser(model, OptimiserConfig(learning_rate=1.0, gate_learning_rate=4.0))
    set_rate(optimiser, 0.25)
    assert {g["name"]: g["lr"] for g in optimiser.param_groups} == {
        "matrices": 0.25, "gates and scales": 1.0, "others": 0.25,
    }  # fmt: skip
