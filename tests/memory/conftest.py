"""Backends, small memories, and the memory as twenty lines of plain Python."""

import pytest
import torch

from memformer.config import MemoryConfig
from memformer.memory import PagedMemory, blocked, compiled, faiss_search, fused

G, D = 2, 8
EXACT = {"exact": {}, "blocked": {}, "Flat": {}, **({"fused": {}} if compiled.is_built() else {})}
APPROXIMATE = {
    "HNSW32": {"efSearch": 64},
    "IVF16,Flat": {"nprobe": 8},
    "SQfp16": {},
    "IVF16,PQ8x4fs,RFlat": {"nprobe": 16},
    "PQ8x4fs,RFlat": {},
}
BACKENDS = {**EXACT, **APPROXIMATE}
DTYPES = ("float32", "bfloat16", "int8")
ON_PAGES = [(s, d) for s in BACKENDS for d in DTYPES]
"""Ways of searching, and the dtypes of pages that each reads."""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Groups of a few pairs, so that small memories have several."""
    monkeypatch.setattr(blocked, "GROUP_LEN", 16)
    monkeypatch.setattr(blocked, "BLOCK_LEN", 2)
    monkeypatch.setattr(faiss_search, "GROUP_LEN", 16)
    monkeypatch.setattr(fused, "GROUP_LEN", 16)
    monkeypatch.setattr(faiss_search, "POINTS_PER_CENTROID", 1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(search="exact", n_lane=1, device="cpu", **settings):
    """A memory of 2 heads of 8 on pages of 4."""
    settings = {"page_len": 4, "n_retrieved": 1, **BACKENDS.get(search, {}), **settings}
    config = MemoryConfig(search=search, **settings)
    return PagedMemory(config, n_lane=n_lane, n_kv_head=G, head_dim=D, device=device)


def whole(*shape, low=-2, high=3):
    """Small integers as floats: sums of their products are exact in any order and in bfloat16."""
    return torch.randint(low, high, shape).float()


def kept_by_int8(x):
    """Rows like these that int8 keeps as they are: multiples of 1/64, the largest 127/64 or 0."""
    x = (x * 64).round().clamp(-64, 64) / 64
    x[..., 0] = torch.where(x[..., 0] < 0, -127 / 64, 127 / 64)
    return x * (x[..., 1:2] != 0)


def fill(memory, n, lanes=None):
    """Append n random pairs to lanes, tokens numbered like slots; returns keys and values."""
    lanes = list(range(memory.n_lane)) if lanes is None else lanes
    keys, values = whole(len(lanes), G, n, D), torch.rand(len(lanes), G, n, D).bfloat16().float()
    if memory.config.dtype == "int8":
        keys, values = kept_by_int8(keys), kept_by_int8(values)
    index = torch.stack([memory.books[lane].stop + torch.arange(n) for lane in lanes])
    device = memory.device
    memory.append(
        keys.to(device),
        values.to(device),
        token_index=index.to(device),
        fraction=(index / 1000).to(device),
        lanes=lanes,
    )
    return keys, values


class PlainLane:
    """What one lane holds: a list of (slot, key (G, D), value (G, D), token, fraction)."""

    def __init__(self, page_len, capacity):
        self.page_len, self.capacity, self.pairs, self.n = page_len, capacity, [], 0

    def append(self, keys, values, tokens, fractions):
        for i, token in enumerate(tokens):
            if self.capacity is not None and len(self.pairs) == self.capacity:
                self.pairs = self.pairs[self.page_len :]
            self.pairs.append((self.n, keys[:, i], values[:, i], token, fractions[i]))
            self.n += 1

    def rewind(self, to):
        self.n -= sum(pair[3] >= to for pair in self.pairs)
        self.pairs = [pair for pair in self.pairs if pair[3] < to]

    def search(self, query, head, k, start, stop):
        """The k best of slots [start, stop): (score, slot), best first, ties to the lower slot."""
        inside = [(p[0], p[1][head]) for p in self.pairs if start <= p[0] < stop]
        scored = [(float(query @ key), slot) for slot, key in inside]
        return sorted(scored, key=lambda each: (-each[0], each[1]))[:k]

    def twin(self):
        other = PlainLane(self.page_len, self.capacity)
        other.pairs, other.n = list(self.pairs), self.n
        return other


def assert_found(found, plain, queries, k, is_exact, lanes_bounds=None):
    """Every hit is a pair that was stored, and exact searches return what brute force returns."""
    B, H, L, _ = queries.shape
    for lane in range(B):
        pairs = {pair[0]: pair for pair in plain[lane].pairs}
        for h in range(H):
            g = h * G // H
            for i in range(L):
                start, stop = lanes_bounds[lane][i] if lanes_bounds else (0, 1 << 40)
                expected = plain[lane].search(queries[lane, h, i], g, k, start, stop)
                at = (lane, h, i)
                n = len(expected)
                scores, slots = found.scores[at].tolist(), found.slots[at].tolist()
                assert found.mask[at].tolist() == [True] * n + [False] * (k - n)
                assert scores[n:] == [-torch.inf] * (k - n) and slots[n:] == [-1] * (k - n)
                assert len(set(slots[:n])) == n
                assert sorted(scores, reverse=True) == scores
                for j, slot in enumerate(slots[:n]):
                    _, key, value, token, fraction = pairs[slot]
                    assert start <= slot < stop
                    assert scores[j] == float(queries[lane, h, i] @ key[g])
                    assert torch.equal(found.keys[at][j], key[g])
                    assert torch.equal(found.values[at][j], value[g])
                    assert found.token_index[at][j] == token
                    assert found.fraction[at][j] == fraction
                assert not found.keys[at][n:].any() and not found.values[at][n:].any()
                assert (found.token_index[at][n:] == -1).all()
                assert found.fraction[at][n:].isnan().all()
                if is_exact:
                    assert scores[:n] == [score for score, _ in expected]
                if is_exact == "with ties":
                    assert slots[:n] == [slot for _, slot in expected]
