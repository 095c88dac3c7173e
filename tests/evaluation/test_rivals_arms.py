"""Arms of decoders with a rival memory: on, off, and the controls that are defined."""

import pytest

from memformer import DecoderConfig
from memformer.config import CompressiveConfig, RecurrentConfig
from memformer.evaluation.arms import Arm, config_of, trained_arms

SIZES = dict(
    vocab_size=50, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16, window=8,
)  # fmt: skip
RIVALS = [
    dict(compressive=CompressiveConfig(layers="all", block_len=4)),
    dict(recurrent=RecurrentConfig(n_token=2, block_len=4)),
]


@pytest.mark.parametrize("rival", RIVALS, ids=["compressive", "recurrent"])
def test_a_rival_is_switched_off_and_replaced_but_not_shuffled(rival):
    config = DecoderConfig(**SIZES, **rival)
    arms = trained_arms(config, controls=True)
    assert [arm.name for arm in arms] == ["memory-off", "memory", "memory-other-book"]
    assert [config_of(arm, config, 100).has_memory for arm in arms] == [False, True, True]
    full = config_of(Arm(name="full", attention="full"), config, 100)
    assert full.memory_layers == (0, 1) and not full.compressive_layers
    assert full.recurrent.n_token == 0
    with pytest.raises(ValueError, match="memory='shuffled' needs a memory of pairs"):
        config_of(Arm(name="s", attention="window", memory="shuffled"), config, 100)
    with pytest.raises(ValueError, match="memory='on' with memory.layers=.* recurrent.n_token=0"):
        config_of(Arm(name="on", attention="window", memory="on"), DecoderConfig(**SIZES), 100)
