"""The rival memories from their papers' equations, one token at a time: slow and plain."""

import torch
from torch import Tensor

from memformer.model.positions import rotate


def _sigma(x):
    return torch.where(x > 0, x + 1, x.exp())


def turned(q: Tensor, k: Tensor, distances: list[int], base: float) -> Tensor:
    """Logits of one query (D,) and n keys (n, D), each at its rotary distance in tokens."""
    at = torch.tensor([distances], dtype=torch.float32)
    return (rotate(q.expand(1, 1, len(k), -1), at, base)[0, 0] * k).sum(-1)


def windowed(q, k, v, base, window, n_sink=0, sink_distance=None):
    """One head over a whole text (T, D): the softmax over window and sinks, by loops."""
    rows = []
    for t in range(len(q)):
        seen = [s for s in range(t + 1) if t - s < window or s < n_sink]
        far = sink_distance or len(q)
        gaps = [t - s if t - s < window else min(t - s, far) for s in seen]
        rows.append(turned(q[t], k[seen], gaps, base).softmax(0) @ v[seen])
    return torch.stack(rows)


def _heads(layer, x):
    """q (H, T, D) scaled to give logits, k, v (H, T, D), repeated for grouped heads."""
    T, D, r = len(x), layer.head_dim, layer.n_head // layer.n_kv_head
    q = layer.q(x).view(T, -1, D).transpose(0, 1)
    k, v = (f(x).view(T, -1, D).transpose(0, 1).repeat_interleave(r, 0) for f in (layer.k, layer.v))
    if layer.scale is None:
        return q / D**0.5, k, v
    return torch.nn.functional.normalize(q, dim=-1) * layer.scale[:, None, None], \
        torch.nn.functional.normalize(k, dim=-1), v  # fmt: skip


def window_attention(layer, x, sink_distance=None):
    """A layer of window and sinks, x (T, n_embd) -> (T, n_embd)."""
    q, k, v = _heads(layer, x)
    args = (layer.rope_base, layer.window, layer.n_sink, sink_distance)
    return layer.o(
        torch.cat([windowed(*each, *args) for each in zip(q, k, v, strict=True)], dim=-1)
    )


def compressive(layer, x):
    """arXiv:2404.07143, §2.1: x (T, n_embd) -> (T, n_embd)."""
    T, D, S = len(x), layer.head_dim, layer.compressive.config.block_len
    q, k, v = _heads(layer, x)
    if layer.scale is None:
        qs, ks = q * D**0.5, k  # σ gets what the projections gave
    else:
        qs, ks = q, k * D**0.5
    heads = []
    for h in range(layer.n_head):
        local = windowed(q[h], k[h], v[h], layer.rope_base, layer.window, layer.n_sink)
        beta = layer.compressive.gate[h].sigmoid()
        M, z, rows = torch.zeros(D, D).type_as(x), torch.zeros(D).type_as(x), []
        for first in range(0, T, S):
            block = range(first, min(first + S, T))
            for t in block:
                if first == 0:
                    rows.append(local[t])
                    continue
                f = _sigma(qs[h, t])
                rows.append(beta * (f @ M) / (f @ z) + (1 - beta) * local[t])
            if len(block) < S:
                break
            added = torch.zeros_like(M)
            for t in block:
                f = _sigma(ks[h, t])
                told = v[h, t]
                if layer.compressive.config.update == "delta" and first:
                    told = told - (f @ M) / (f @ z)
                added = added + torch.outer(f, told)
            M, z = M + added, z + sum(_sigma(ks[h, t]) for t in block)
        heads.append(torch.stack(rows))
    return layer.o(torch.cat(heads, dim=-1))


class _Seen:
    """Pairs of one layer: text by token, and the memory tokens of the block that is read."""

    def __init__(self):
        self.text, self.read, self.write, self.conv = [], [], [], []


def recurrent(model, tokens):
    """arXiv:2207.06881, §3: logits (T, V) of one manuscript's tokens (T,), token by token."""
    S, M = model.config.recurrent.block_len, model.config.recurrent.n_token
    seen, memory, logits = [_Seen() for _ in model.blocks], model.recurrent.start, []
    for first in range(0, len(tokens), S):
        for each in seen:
            each.read, each.write = [], []
        for j in range(M):
            _token(model, seen, memory[j], "read", j, first)
        for t in range(first, min(first + S, len(tokens))):
            x = _token(model, seen, model.embedding.weight[tokens[t]], "text", t, first)
            logits.append(model.norm(x) @ model.embedding.weight.T)
        memory = [model.norm(_token(model, seen, memory[j], "write", j, first)) for j in range(M)]
    return torch.stack(logits)


def _token(model, seen, x, kind, i, first):
    """One token through all blocks; what it leaves behind is noted in `seen`."""
    for block, held in zip(model.blocks, seen, strict=True):
        h = block.attention_norm(x)
        if kind == "text" and block.conv is not None:
            held.conv.append(h)
            width = len(block.conv.weight)
            h = h + sum(
                block.conv.weight[width - 1 - back] * held.conv[i - back]
                for back in range(min(width, i + 1))
            )
        x = x + _attend(block.attention, held, h, kind, i, first, model.config)
        x = x + block.mlp(block.mlp_norm(x))
    return x


def _attend(layer, held, h, kind, i, first, config):
    q, k, v = (z[:, 0] for z in _heads(layer, h[None]))  # (H, D)
    S, M, W = config.recurrent.block_len, config.recurrent.n_token, config.window
    getattr(held, kind).append((k, v))
    gaps = []  # (pair, distance)
    if kind == "read":
        gaps = [(pair, i - j) for j, pair in enumerate(held.read)]
    else:
        at = i if kind == "text" else first + S + i
        gaps = [(p, at - first + M - j) for j, p in enumerate(held.read)]
        for s, pair in enumerate(held.text):
            if at - s < W or s < config.n_sink:
                gaps.append((pair, at - s))
        gaps += [(pair, i - j) for j, pair in enumerate(held.write)]
    keys, values = (torch.stack([pair[i] for pair, _ in gaps], dim=1) for i in (0, 1))
    distances, heads = [distance for _, distance in gaps], []
    for n in range(layer.n_head):
        weights = turned(q[n], keys[n], distances, layer.rope_base).softmax(0)
        heads.append(weights @ values[n])
    return layer.o(torch.cat(heads))
