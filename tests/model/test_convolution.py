"""The short convolution against torch's own, and its gradients."""

import pytest
import torch

from memformer.model.convolution import ShortConvolution


def plain(h, before, weight):
    whole = torch.cat((before, h), dim=1).mT
    return h + torch.nn.functional.conv1d(whole, weight.T[:, None], groups=h.shape[2]).mT


@pytest.mark.parametrize(("L", "width"), [(1, 1), (1, 4), (7, 4), (5, 2), (2, 6)])
def test_equal_to_a_depthwise_convolution(L, width):
    torch.manual_seed(0)
    conv = ShortConvolution(6, width).double()
    torch.nn.init.normal_(conv.weight)
    h = torch.randn(3, L, 6, dtype=torch.float64, requires_grad=True)
    before = torch.randn(3, width - 1, 6, dtype=torch.float64, requires_grad=True)
    ours, theirs = conv(h, before), plain(h, before, conv.weight)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    inputs = (h, before, conv.weight)
    for got, want in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((theirs * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


def test_gradients_of_gradients():
    torch.manual_seed(0)
    conv = ShortConvolution(3, 3).double()
    torch.nn.init.normal_(conv.weight)
    h = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    before = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(conv, (h, before))
