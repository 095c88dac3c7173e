"""The definition of the attention layer, one token at a time, by sets: slow and plain.

local(t)  = {s : 0 <= t - s < W}
sink(t)   = {s : s < n_sink, t - s >= W}
memory(t) = {s >= n_sink : t - s >= W}
found(t)  = the K of memory(t) with the largest logits, ties to the older token
"""

import torch
from torch import Tensor

from memformer.model.memory_attention import MemoryAttention
from memformer.model.positions import rotate, rotate_by_fraction


def attention(layer: MemoryAttention, x: Tensor, u: Tensor) -> Tensor:
    """x (T, n_embd), u (T,) of one manuscript -> (T, n_embd)."""
    T = len(x)
    q, k, v = (part[0] for part in layer.project(x[None]))  # (H, T, D), (G, T, D) twice
    n_rep = layer.n_head // layer.n_kv_head
    k, v = k.repeat_interleave(n_rep, 0), v.repeat_interleave(n_rep, 0)  # (H, T, D)
    rows = []
    for t in range(T):
        heads = [_one(layer, q[h, t], k[h], v[h], t, u, h) for h in range(layer.n_head)]
        rows.append(torch.cat(heads))
    return layer.o(torch.stack(rows))


def _one(layer, q, k, v, t, u, h):  # one token of one head
    local = [s for s in range(t + 1) if t - s < layer.window]
    sink = [s for s in range(t + 1) if t - s >= layer.window and s < layer.n_sink]
    memory = [s for s in range(t + 1) if t - s >= layer.window and s >= layer.n_sink]
    near = [_local_logit(layer, q, k[s], t, s, u) for s in local]
    near += [_rotary(layer, q, k[s], t - s, layer.sink_distance) for s in sink]
    near_values = v[local + sink]
    config = layer.memory_config
    if config is None or not memory:
        return torch.stack(near).softmax(0) @ near_values
    logits = torch.stack([_memory_logit(layer, q, k[s], t, s) for s in memory])
    order = sorted(range(len(memory)), key=lambda i: (-float(logits[i].detach()), memory[i]))
    best = order[: config.n_retrieved]
    far = logits[best]
    if layer.fraction_bias is not None:
        difference = torch.stack([u[t] - u[memory[i]] for i in best])
        far = far + layer.fraction_bias(difference[None, None, None])[0, h, 0]
    far_values = v[[memory[i] for i in best]]
    if config.combine == "joint":
        weights = torch.cat((torch.stack(near), far)).softmax(0)
        return weights @ torch.cat((near_values, far_values))
    o, mem = torch.stack(near).softmax(0) @ near_values, far.softmax(0) @ far_values
    if config.combine == "gate":
        g = layer.gate[h].sigmoid()
        return g * mem + (1 - g) * o
    return o + layer.tanh_gate[h].tanh() * mem


def _rotary(layer, q, k, distance, limit=None):
    distance = distance if limit is None else min(distance, limit)
    at = torch.tensor([[float(distance)]])
    return rotate(q[None, None, None], at, layer.rope_base)[0, 0, 0] @ k


def _local_logit(layer, q, k, t, s, u):
    r = layer.fraction_dim
    logit = 0
    if r:
        turned = [rotate_by_fraction(z[None, None, None, :r], w[None, None])[0, 0, 0]
                  for z, w in ((q, u[t]), (k, u[s]))]  # fmt: skip
        logit = turned[0] @ turned[1]
    return logit + (_rotary(layer, q[r:], k[r:], t - s) if r < len(q) else 0)


def _memory_logit(layer, q, k, t, s):
    if layer.memory_config.positions == "rotary":
        return _rotary(layer, q, k, t - s, layer.memory_config.max_distance)
    return q @ k
