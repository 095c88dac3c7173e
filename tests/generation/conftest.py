import pytest
import torch

from memformer import Decoder
from tests.model.conftest import lively, small_config


@pytest.fixture
def model():
    torch.manual_seed(0)
    memory = dict(layers=(1, 2), n_retrieved=5)
    return lively(Decoder(small_config(memory=memory, fraction=dict(kind="fourier")))).eval()
