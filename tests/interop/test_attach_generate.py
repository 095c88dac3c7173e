"""`generate` of a transformers model with a memory attached; what it refuses."""

import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM, StaticCache

from memformer.config import MemoryConfig
from memformer.interop.transformers import attach_memory, detach_memory, from_transformers
from tests.interop.tiny import draw_ids, llama

MEMORY = MemoryConfig(positions="rotary", layers=(0, 2), n_retrieved=4, page_len=8)
SETTINGS = {"window": 6, "n_sink": 2}


@pytest.fixture
def attached() -> LlamaForCausalLM:
    model = attach_memory(llama(), memory=MEMORY, **SETTINGS)
    model.generation_config.pad_token_id = 0
    return model


def prompt(n_lane: int = 1, n: int = 24) -> dict:
    return {"input_ids": draw_ids(n_lane, n), "attention_mask": torch.ones(n_lane, n).long()}


@torch.no_grad()
def decode_greedily(ids: torch.Tensor, n: int) -> list[int]:
    """With our decoder."""
    ours = from_transformers(llama(), memory=MEMORY, **SETTINGS)
    state = ours.new_state(1)
    written: list[int] = []
    while len(written) < n:
        out = ours(ids, state)
        state.advance(out)
        ids = out.logits[:, -1:].argmax(-1)
        written.append(int(ids))
    return written


def test_greedy_generation_equals_greedy_decoding_with_the_decoder(attached):
    written = attached.generate(**prompt(), max_new_tokens=20, do_sample=False)[0, 24:]
    assert written.tolist() == decode_greedily(draw_ids(1, 24), 20)
    detach_memory(attached)
    plain = attached.generate(**prompt(), max_new_tokens=20, do_sample=False)[0, 24:]
    assert plain.tolist() != written.tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"use_cache": False},
        {"prefill_chunk_size": 5},
        {"num_beams": 1, "cache_implementation": "dynamic"},
    ],
    ids=str,
)
def test_greedy_generation_does_not_depend_on_how_it_is_cached(attached, options):
    expected = attached.generate(**prompt(), max_new_tokens=12, do_sample=False)
    got = attached.generate(**prompt(), max_new_tokens=12, do_sample=False, **options)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"prefill_chunk_size": 4}], ids=str)
def test_left_padded_prompt_is_continued_like_the_prompt_alone(attached, options):
    both = prompt(2)
    both["attention_mask"][0, :9] = 0
    written = attached.generate(**both, max_new_tokens=12, do_sample=False, **options)
    alone = {key: value[:1, 9:] for key, value in both.items()}
    expected = attached.generate(**alone, max_new_tokens=12, do_sample=False, **options)
    assert written[0, 24:].tolist() == expected[0, 15:].tolist()


def test_sampling_with_a_seed_is_repeatable_and_continues_each_lane_apart(attached):
    options = {"max_new_tokens": 12, "do_sample": True, "num_return_sequences": 3}
    torch.manual_seed(3)
    first = attached.generate(**prompt(), **options)
    torch.manual_seed(3)
    assert torch.equal(attached.generate(**prompt(), **options), first)
    assert len({tuple(row.tolist()) for row in first}) == 3


@torch.no_grad()
def test_sampled_tokens_have_the_scores_of_reading_them_at_once(attached):
    torch.manual_seed(4)
    out = attached.generate(
        **prompt(), max_new_tokens=12, do_sample=True, num_return_sequences=2, top_k=0,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    stepwise = torch.stack(out.logits, dim=1)
    at_once = attached(out.sequences, use_cache=False).logits[:, 23:-1]
    torch.testing.assert_close(stepwise, at_once, atol=1e-4, rtol=0)


@torch.no_grad()
def test_beam_search_carries_each_beams_memory(attached):
    out = attached.generate(
        **prompt(), max_new_tokens=12, num_beams=4, length_penalty=0.0,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    logits = attached(out.sequences, use_cache=False).logits[:, 23:-1].log_softmax(-1)
    expected = logits.gather(-1, out.sequences[:, 24:, None]).sum()
    torch.testing.assert_close(out.sequences_scores[0], expected, atol=1e-4, rtol=0)


def test_generation_goes_on_from_the_cache_it_returned(attached):
    expected = attached.generate(**prompt(), max_new_tokens=16, do_sample=False)
    first = attached.generate(
        **prompt(), max_new_tokens=6, do_sample=False, return_dict_in_generate=True
    )
    rest = attached.generate(
        first.sequences,
        attention_mask=torch.ones_like(first.sequences),
        past_key_values=first.past_key_values,
        max_new_tokens=10,
        do_sample=False,
    )
    assert torch.equal(rest, expected)


@torch.no_grad()
def test_an_empty_cache_of_the_callers_is_filled(attached):
    ids = draw_ids(1, 20)
    expected = attached(ids, use_cache=False).logits[:, 10:]
    for cache in (DynamicCache(), DynamicCache(config=attached.config)):
        attached(ids[:, :10], past_key_values=cache)
        got = attached(ids[:, 10:], past_key_values=cache).logits
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
        cache.reset()
        assert cache.get_seq_length() == 0
        again = attached(ids[:, :10], past_key_values=cache).logits
        torch.testing.assert_close(again, attached(ids[:, :10]).logits)


@torch.no_grad()
def test_cache_can_be_repeated_and_selected(attached):
    ids = draw_ids(2, 20)
    cache = attached(ids, use_cache=True).past_key_values
    after = draw_ids(2, 5, seed=9)
    expected = attached(torch.cat((ids, after), dim=1)).logits[:, 20:]
    cache.batch_repeat_interleave(2)
    cache.batch_select_indices(torch.tensor([3, 0]))
    got = attached(after.flip(0), past_key_values=cache).logits
    torch.testing.assert_close(got, expected.flip(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_implementation": "static"}, "must be a DynamicCache, got StaticCache"),
        ({"cache_implementation": "offloaded"}, "must not be offloaded"),
        ({"prompt_lookup_num_tokens": 3}, "crop: a memory cannot unread 3 tokens"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions is not"),
    ],
    ids=str,
)
def test_kind_of_generation_that_is_not_supported_is_an_error(attached, options, message):
    with pytest.raises(ValueError, match=message):
        attached.generate(**prompt(), max_new_tokens=8, do_sample=False, **options)


@torch.no_grad()
def test_cache_filled_otherwise_is_an_error(attached):
    ids = draw_ids(1, 9)
    plain = llama()
    with pytest.raises(ValueError, match="was filled without this memory"):
        attached(ids, past_key_values=plain(ids, use_cache=True).past_key_values)
    cache = attached(ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="filled by a model with a memory attached"):
        plain(ids, past_key_values=cache)
    with pytest.raises(ValueError, match="holds 1 lanes, the input has 2"):
        attached(draw_ids(2, 9), past_key_values=cache)
    detach_memory(attached)
    attach_memory(attached, memory=MEMORY, window=7)
    with pytest.raises(ValueError, match="other settings of the memory"):
        attached(ids, past_key_values=cache)


@torch.no_grad()
def test_cache_of_fixed_length_is_an_error(attached):
    cache = StaticCache(config=attached.config, max_cache_len=16)
    with pytest.raises(ValueError, match="must be a DynamicCache, got StaticCache"):
        attached(draw_ids(1, 9), past_key_values=cache)


@torch.no_grad()
def test_positions_or_masks_of_ones_own_are_errors(attached):
    ids = draw_ids(1, 9)
    packed = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]])
    with pytest.raises(ValueError, match="position_ids must rise by 1"):
        attached(ids, position_ids=packed, use_cache=False)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1]])
    with pytest.raises(ValueError, match="position_ids must rise by 1"):
        attached(ids, position_ids=packed, attention_mask=mask)
    with pytest.raises(ValueError, match="masks of queries by keys are not supported"):
        attached(ids, attention_mask=torch.ones(1, 1, 9, 9, dtype=torch.bool))
    cache = attached(ids, use_cache=True).past_key_values
    with pytest.raises(ValueError, match="must cover the 18 columns read so far, .* got 9"):
        attached(ids, attention_mask=mask, past_key_values=cache)


def test_training_with_attention_dropout_is_an_error():
    model = attach_memory(llama(attention_dropout=0.1), memory=MEMORY, **SETTINGS)
    model(draw_ids(1, 9))
    with pytest.raises(ValueError, match=r"attention_dropout must be 0 .* got 0\.1"):
        model.train()(draw_ids(1, 9))


def test_model_that_shares_its_config_is_told_so():
    model = llama()
    sibling = LlamaForCausalLM(model.config)
    attach_memory(model, memory=MEMORY, **SETTINGS)
    with pytest.raises(ValueError, match="shares its config with one that has"):
        sibling(draw_ids(1, 9))


def test_attaching_twice_or_detaching_nothing_is_an_error(attached):
    with pytest.raises(ValueError, match="attached already: call detach_memory first"):
        attach_memory(attached, memory=MEMORY)
    with pytest.raises(ValueError, match="no memory is attached"):
        detach_memory(llama())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": MemoryConfig(positions="fraction")}, "not told the fraction of the novel"),
        ({"memory": MEMORY, "layers": "all"}, r"layers='all' and memory.layers=\(0, 2\) differ"),
        ({"memory": MEMORY, "window": 0}, "window must be an integer of at least 1, got 0"),
        (
            {"memory": MemoryConfig(positions="rotary"), "layers": (3,)},
            r"memory.layers must be below n_layer=3, got \(3,\)",
        ),
    ],
)
def test_settings_that_clash_are_errors(settings, message):
    model = llama()
    with pytest.raises(ValueError, match=message):
        attach_memory(model, **settings)
    assert model.config._attn_implementation != "memformer"


def test_only_llama_family_models_are_attached_to():
    from transformers import GPT2Config, GPT2LMHeadModel

    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11))
    with pytest.raises(ValueError, match="model_type must be one of llama, mistral, got 'gpt2'"):
        attach_memory(other, memory=MEMORY)
    with pytest.raises(TypeError, match="hf_model must be a transformers model, got Linear"):
        attach_memory(torch.nn.Linear(2, 2), memory=MEMORY)
