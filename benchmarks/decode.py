"""What a token costs while writing, by how much has been read: our decoder and a static cache.

Both models have width 512, 8 layers, 8 heads, 8,192 words and random weights, and write greedily,
one token at a time, one manuscript. Ours attends to a window of 512 tokens and, in two layers, to
32 retrieved pairs. Beside it stands GPT-2 of `transformers` with a static cache, which attends to
all tokens in all layers: another function, so that the figure is a ratio of costs and says nothing
about what is written. Memory and cache are filled by writing pairs, not by reading.

Two measurements: ours at all lengths in turn (how its cost grows), then at each length ours and
GPT-2 in turn. Before that, tokens read one by one must give the logits of the whole segment, in
both models, and the search must find what `exact` finds (recall at least .999).

    python benchmarks/decode.py benchmarks/results/decode.json
    python benchmarks/decode.py benchmarks/results/decode.json --kv-heads 1
    python benchmarks/decode.py tiny.json --tiny --context 64 256 --rounds 2
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memformer.process import tune_process

tune_process()

import torch
from filled import TINY, filled_state, peer_shaped, recall_of, zipf_tokens
from measuring import Way, milliseconds, put_row, ratio, take_turns
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, StaticCache

from memformer.config import DecoderConfig
from memformer.evaluation.machine import describe
from memformer.model.decoder import Decoder
from memformer.model.state import DecoderState

CONTEXTS = (4096, 16_384, 65_536, 131_072)
N_TOKEN = 8
"""Tokens written in a round."""
LEAST_RECALL = 0.999
TOLERANCE = 1e-3


def ours_writes(model: Decoder, state: DecoderState, n_token: int) -> Way:
    """Seconds a token; every round begins in this state, and forking it does not count."""

    def way() -> float:
        return _seconds_a_token(lambda ids, at: _read_on(model, ids, at), state.fork(1), n_token)

    return way


def gpt2_writes(model: GPT2LMHeadModel, cache: StaticCache, n_token: int) -> Way:
    """Seconds a token; every round begins with the same tokens in the cache."""
    n_read = int(cache.get_seq_length())

    def way() -> float:
        for layer in cache.layers:
            layer.cumulative_length.fill_(n_read)
        return _seconds_a_token(lambda ids, at: _gpt2_on(model, ids, at), cache, n_token)

    return way


def _seconds_a_token(read: Any, state: Any, n_token: int) -> float:
    ids = torch.zeros(1, 1, dtype=torch.int64)
    started = time.perf_counter()
    with torch.inference_mode():
        for _ in range(n_token):
            ids = read(ids, state)[:, -1:].argmax(-1)
    return (time.perf_counter() - started) / n_token


def _read_on(model: Decoder, ids: Tensor, state: DecoderState) -> Tensor:
    out = model(ids, state)
    state.advance(out)
    logits: Tensor = out.logits
    return logits


def _gpt2_on(model: GPT2LMHeadModel, ids: Tensor, cache: StaticCache) -> Tensor:
    logits: Tensor = model(ids, past_key_values=cache, use_cache=True).logits
    return logits


def gpt2_like(config: DecoderConfig, n_position: int) -> GPT2LMHeadModel:
    """GPT-2 of the same width, depth, heads and words."""
    shape = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=n_position,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_embd // config.head_dim,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(shape).eval()


def full_cache(model: GPT2LMHeadModel, n_read: int, n_more: int) -> StaticCache:
    """A cache that holds random keys and values of n_read tokens, with room for n_more."""
    cache = StaticCache(config=model.config, max_cache_len=n_read + n_more)
    like = torch.zeros(1, model.config.n_head, 1, model.config.n_embd // model.config.n_head)
    for layer in cache.layers:
        layer.lazy_initialization(like, like)
        layer.keys[:, :, :n_read].normal_()
        layer.values[:, :, :n_read].normal_()
        layer.cumulative_length.fill_(n_read)
    return cache


@torch.no_grad()
def check_ours(model: Decoder, state: DecoderState) -> float:
    """One by one as in one piece, and the recall of the search.

    Raises:
        AssertionError: it is not so.
    """
    tokens = zipf_tokens(1, model.config.window // 2, model.config.vocab_size, seed=9)
    whole, at = model(tokens, state).logits, state.fork(1)
    few = tokens[:, :N_TOKEN].split(1, dim=1)
    _agree("ours", torch.cat([_read_on(model, each, at) for each in few], dim=1), whole)
    recall = recall_of(model, state, tokens)
    if recall < LEAST_RECALL:
        raise AssertionError(f"the search must find what exact finds, recall {recall}")
    return recall


@torch.no_grad()
def check_gpt2(model: GPT2LMHeadModel) -> None:
    """One by one with a static cache as in one piece without.

    Raises:
        AssertionError: it is not so.
    """
    tokens = zipf_tokens(1, 4 * N_TOKEN, model.config.vocab_size, seed=9)
    cache = full_cache(model, 0, tokens.shape[1])
    each = [_gpt2_on(model, part, cache) for part in tokens.split(1, dim=1)]
    _agree("GPT-2", torch.cat(each, dim=1), model(tokens, use_cache=False).logits)


def _agree(who: str, each: Tensor, whole: Tensor) -> None:
    worst = float((each - whole[:, : each.shape[1]]).abs().max())
    if not worst < TOLERANCE:
        raise AssertionError(f"{who}: logits of single tokens differ by {worst}")


def measure(
    config: DecoderConfig, contexts: Sequence[int], n_round: int, *, has_gpt2: bool = True
) -> list[dict[str, Any]]:
    """Checks, ours at all lengths in turn, then both at each length: a row a length."""
    torch.manual_seed(0)
    ours = Decoder(config).eval()
    n_out = config.window - 1  # of the tokens read, so many are in the window
    states = {n: filled_state(ours, n - n_out, 1) for n in contexts}
    recalls = {n: check_ours(ours, state) for n, state in states.items()}
    growth = take_turns(
        {str(n): ours_writes(ours, state, N_TOKEN) for n, state in states.items()}, n_round
    )
    shortest = growth[str(min(contexts))]
    gpt2 = gpt2_like(config, max(contexts) + N_TOKEN) if has_gpt2 else None
    if gpt2 is not None:
        check_gpt2(gpt2)
    rows = []
    for n in contexts:
        row = {
            "context": n,
            "kv_heads": config.n_kv_head,
            "memory_layers": len(config.memory_layers),
            "rounds": n_round,
            "tokens_a_round": N_TOKEN,
            "recall": round(recalls[n], 5),
            "milliseconds": milliseconds(growth[str(n)]),
            "times_shortest": ratio(growth[str(n)], shortest),
            "memory_mib": round(states[n].memory_bytes() / 2**20, 1),
            "gpt2": None,
            "machine": describe(),
        }
        state = states.pop(n)  # what was measured makes room for the next cache
        if gpt2 is not None:
            cache = full_cache(gpt2, n, N_TOKEN)
            each = {
                "ours": ours_writes(ours, state, N_TOKEN),
                "gpt2": gpt2_writes(gpt2, cache, N_TOKEN),
            }
            both = take_turns(each, n_round)
            row["gpt2"] = {
                "milliseconds": milliseconds(both["gpt2"]),
                "ours": milliseconds(both["ours"]),
                "times_ours": ratio(both["gpt2"], both["ours"]),
                "cache_mib": round(_cache_bytes(cache) / 2**20, 1),
            }
            del cache, each
        del state
        rows.append(row)
    return rows


def _cache_bytes(cache: StaticCache) -> int:
    tensors = [t for layer in cache.layers for t in (layer.keys, layer.values)]
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--context", type=int, nargs="+", default=CONTEXTS)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ours-only", action="store_true", help="without GPT-2")
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand weights")
    args = parser.parse_args()
    config = decoding(args.kv_heads, is_tiny=args.tiny)
    for row in measure(config, args.context, args.rounds, has_gpt2=not args.ours_only):
        print(row["context"], row["milliseconds"], row["times_shortest"], row["gpt2"], flush=True)
        put_row(args.out, row, ("context", "kv_heads"))


def decoding(n_kv_head: int, *, is_tiny: bool) -> DecoderConfig:
    """The decoder that is measured: memory in the layers at three and five eighths of the depth."""
    config = peer_shaped(**(TINY if is_tiny else {}))
    layers = (3 * config.n_layer // 8, 5 * config.n_layer // 8)
    n_kv_head = min(n_kv_head, config.n_head)
    changes: dict[str, Any] = {"n_kv_head": n_kv_head, "memory.layers": layers}
    return peer_shaped(**((TINY if is_tiny else {}) | changes))


if __name__ == "__main__":
    main()
