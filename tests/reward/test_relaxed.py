"""Relaxed tokens: what goes forward, what comes back."""

import pytest
import torch

from memformer.reward.relaxed import (
    EmbeddingFeatures,
    gate_gradient,
    gumbel,
    gumbel_rows,
    survival,
)


def test_drawn_tokens_have_their_probabilities_at_any_temperature():
    p = torch.tensor([0.6, 0.3, 0.1])
    log_p = p.log().expand(50_000, 3)
    noise = gumbel((50_000, 3), log_p, torch.Generator().manual_seed(0))
    for temperature in (1.0, 0.3):
        ids, rows = gumbel_rows(log_p, noise, temperature, is_hard=False)
        seen = torch.bincount(ids, minlength=3) / 50_000
        assert float((seen - p).abs().max()) < 0.01
        assert torch.equal(rows.argmax(-1), ids)


def test_hard_rows_are_exactly_one_hot_and_go_back_as_soft_ones():
    log_p = torch.randn(4, 5, dtype=torch.float64).log_softmax(-1).requires_grad_()
    noise = gumbel((4, 5), log_p, torch.Generator().manual_seed(0))
    weight = torch.randn(4, 5, dtype=torch.float64)
    grads = []
    for is_hard in (True, False):
        _, rows = gumbel_rows(log_p, noise, 0.7, is_hard=is_hard)
        grads.append(torch.autograd.grad((rows * weight).sum(), log_p)[0])
        assert bool(((rows == 0) | (rows == 1)).all()) == is_hard
    torch.testing.assert_close(*grads)
    assert float(grads[0].norm()) > 0.01


def test_gate_stops_and_cuts_gradients_when_they_come_back():
    row = torch.ones(3, 2, requires_grad=True)
    keep = torch.ones(3, dtype=torch.bool)
    out = gate_gradient(row, keep, 1.0)
    keep[1] = False  # decided after the forward pass
    (out * torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4]])).sum().backward()
    torch.testing.assert_close(row.grad, torch.tensor([[0.6, 0.8], [0, 0], [0.3, 0.4]]))


def test_survival_is_a_mask_for_hard_rows_and_a_product_for_soft_ones():
    hard = torch.eye(3)[torch.tensor([[0, 1, 2, 0]])]
    assert survival(hard, 2).tolist() == [[1, 1, 0, 0]]
    soft = torch.tensor([[[0.5, 0.5], [0.8, 0.2]]])
    torch.testing.assert_close(survival(soft, 1), torch.tensor([[0.5, 0.4]]))


def test_ids_and_the_same_ids_as_rows_have_the_same_features():
    features = EmbeddingFeatures(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    ids = torch.tensor([[1, 4, 2]])
    weight = torch.tensor([[1.0, 1, 0]])
    rows = torch.nn.functional.one_hot(ids, 5).float()
    torch.testing.assert_close(features(ids, weight), features(rows, weight))
    torch.testing.assert_close(features(ids, weight)[0], features.table[[1, 4]].mean(0))


def test_a_row_between_words_is_as_long_as_its_words():
    table = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    rows, weight = torch.tensor([[[0.5, 0.5]]]), torch.ones(1, 1)
    assert float(EmbeddingFeatures(table)(rows, weight).norm()) == pytest.approx(2)
    plain = EmbeddingFeatures(table, is_rescaled=False)(rows, weight)
    torch.testing.assert_close(plain, torch.tensor([[1.5, 0.5]]))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="none of them 0"):
        EmbeddingFeatures(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="review 0 has no token"):
        EmbeddingFeatures(torch.ones(2, 2))(torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1))
