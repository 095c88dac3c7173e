"""SmolLM2-135M: the checkpoint that the demo reads novels with."""

import pytest
import torch
from transformers import LlamaForCausalLM

from memformer.config import MemoryConfig
from memformer.data.packages import FetchError
from memformer.data.sources import SMOLLM2_FILE, smollm2
from memformer.interop.transformers import (
    attach_memory,
    detach_memory,
    from_transformers,
    load_llama,
)
from tests.interop.tiny import read, read_cached

pytestmark = [pytest.mark.real, pytest.mark.slow]

TEXT = (
    "The harbour master kept two ledgers. In the first he wrote the name of every ship that came "
    "in, the hour, the weather, and what she carried. In the second, which he locked away each "
    "evening, he wrote the names of the people who had waited on the quay and gone home alone. "
    "Nobody had asked him to. When the storm took the schooner Adelaide, he opened the second "
    "ledger for the first time in daylight, and began to read it aloud to the widow Tamsin, who "
    "had stood on that quay for eleven winters and whose name was on every page. She listened "
    "until the lamps were lit. Then she asked him for the pen, and under the last entry she wrote "
    "his own name, the harbour master's, because he too had waited every day and gone home alone."
)


@pytest.fixture(scope="module")
def folder():
    try:
        return smollm2()
    except FetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def theirs(folder) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(
        folder, gguf_file=SMOLLM2_FILE, dtype=torch.float32, local_files_only=True
    ).eval()


def test_loaded_weights_equal_those_that_transformers_reads(folder, theirs):
    ours, _ = load_llama(folder / SMOLLM2_FILE)
    expected = from_transformers(theirs, window=256, n_sink=4, segment_len=256)
    assert ours.config == expected.config
    assert sum(weight.numel() for weight in ours.parameters()) == 134_515_008
    for mine, other in zip(ours.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, other)


@torch.no_grad()
def test_logits_equal_transformers(folder, theirs):
    """The tolerance is what float32 leaves of rotary angles; it grows with the position."""
    memory = MemoryConfig(layers="all", positions="rotary", n_retrieved=512)
    ours, tokenizer = load_llama(folder / SMOLLM2_FILE, window=32, memory=memory)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])
    assert ids.shape[1] > 128
    expected = theirs(ids).logits
    got = read(ours, ids, [*range(0, ids.shape[1], 32), ids.shape[1]])
    torch.testing.assert_close(got, expected, atol=5e-4, rtol=0)


@torch.no_grad()
def test_attached_memory_equals_load_llama_and_generates(folder, theirs):
    memory = MemoryConfig(layers="all", positions="rotary", max_distance=96, n_retrieved=8)
    ours, tokenizer = load_llama(folder / SMOLLM2_FILE, window=32, memory=memory)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])
    attach_memory(theirs, window=32, memory=memory)
    cuts = [0, 100, 101, 102, ids.shape[1]]
    expected = read(ours, ids, [*range(0, ids.shape[1], 32), ids.shape[1]])
    torch.testing.assert_close(read_cached(theirs, ids, cuts), expected, atol=5e-4, rtol=0)
    written = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        repetition_penalty=1.0,
    )[0, ids.shape[1] :]
    state, rows, last = ours.new_state(1), [], ids
    for _ in range(len(written)):
        out = ours(last, state)
        state.advance(out)
        last = out.logits[:, -1:].argmax(-1)
        rows.append(int(last))
    assert rows == written.tolist()
    detach_memory(theirs)


@torch.no_grad()
def test_memory_closes_most_of_what_a_window_loses(folder):
    memory = MemoryConfig(layers="all", positions="rotary", n_retrieved=16)
    full, tokenizer = load_llama(folder / SMOLLM2_FILE, window=512, n_sink=0)
    ids = torch.tensor([tokenizer.encode(TEXT).ids])

    def nats(changes: dict) -> float:
        logits = read(full.reconfigure(changes), ids, [0, ids.shape[1]])[:, :-1]
        return torch.nn.functional.cross_entropy(logits[0, 32:], ids[0, 33:]).item()

    small = {"window": 16, "n_sink": 4}
    lost = nats(small) - nats({})
    assert lost > 0.1
    assert nats(small | {"memory": memory}) - nats({}) < 0.5 * lost
