import pytest

from memformer import Decoder
from tests.evaluation.story import make_model


@pytest.fixture(scope="session")
def model() -> Decoder:
    return make_model()
