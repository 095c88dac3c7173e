"""Random sequences of everything a memory can do, against twenty lines of plain Python."""

import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from memformer.memory import PagedMemory
from tests.memory.conftest import (
    BACKENDS,
    EXACT,
    ON_PAGES,
    PlainLane,
    assert_found,
    fill,
    make,
    whole,
)

H = 4


class Sequences(RuleBasedStateMachine):
    search = "exact"

    @initialize(
        n_lane=st.integers(1, 3),
        page_len=st.sampled_from([1, 3, 1024]),
        spare=st.none() | st.integers(0, 40),
        data=st.data(),
        seed=st.integers(0, 1000),
    )
    def start(self, n_lane, page_len, spare, data, seed):
        torch.manual_seed(seed)
        dtype = data.draw(st.sampled_from([d for s, d in ON_PAGES if s == self.search]))
        capacity = None if spare is None else page_len + spare
        self.folder = Path(tempfile.mkdtemp())
        self.memory = make(self.search, n_lane, page_len=page_len, capacity=capacity, dtype=dtype)
        self.plain = [PlainLane(page_len, capacity) for _ in range(n_lane)]
        self.saved = None
        self.earlier = []

    def lanes(self, data):
        return data.draw(st.sets(st.integers(0, self.memory.n_lane - 1), min_size=1).map(sorted))

    @rule(data=st.data(), n=st.integers(0, 45), long=st.booleans())
    def append(self, data, n, long):
        n += 1000 if long and self.memory.config.page_len == 1024 else 0
        for lane in self.lanes(data):  # ragged: each of its own length
            keys, values = fill(self.memory, n, [lane])
            tokens = list(range(self.plain[lane].n, self.plain[lane].n + n))
            fractions = (torch.tensor(tokens) / 1000).tolist()
            self.plain[lane].append(keys[0], values[0], tokens, fractions)
            n += 1

    @rule(k=st.sampled_from([1, 3, 40]), bounded=st.booleans(), data=st.data())
    def search_all(self, k, bounded, data):
        queries = whole(self.memory.n_lane, H, 2, 8)
        bounds = start = stop = None
        if bounded:
            high = max(lane.n for lane in self.plain) + 2
            pair = st.tuples(st.integers(0, high), st.integers(0, high))
            bounds = [[data.draw(pair) for _ in range(2)] for _ in self.plain]
            start, stop = torch.tensor(bounds).unbind(-1)
        found = self.memory.search(queries, k, start=start, stop=stop)
        assert_found(found, self.plain, queries, k, self.strictness(), bounds)

    @rule(k=st.sampled_from([1, 4]))
    def search_and_read_later(self, k):
        queries = whole(self.memory.n_lane, H, 1, 8)
        plain = [lane.twin() for lane in self.plain]
        self.earlier.append((self.memory.search(queries, k), plain, queries, k))

    @precondition(lambda self: self.earlier)
    @rule()
    def read_earlier(self):
        found, plain, queries, k = self.earlier.pop()
        assert_found(found, plain, queries, k, self.strictness())

    @rule(data=st.data())
    def reset(self, data):
        lanes = self.lanes(data)
        self.memory.reset(lanes)
        for lane in lanes:
            self.plain[lane] = PlainLane(self.plain[lane].page_len, self.plain[lane].capacity)

    @rule(data=st.data(), share=st.floats(0, 1))
    def rewind(self, data, share):
        for lane in self.lanes(data):
            pairs = self.plain[lane].pairs
            oldest = pairs[0][3] if pairs else self.plain[lane].n
            to = oldest + int(share * (self.plain[lane].n - oldest))
            self.memory.rewind(lane=lane, to=to)
            self.plain[lane].rewind(to)

    @rule(data=st.data())
    def go_on_with_a_fork(self, data):
        n = data.draw(st.integers(1, 2))
        branches = self.memory.fork(n)
        fill(self.memory, 5)  # the original goes on elsewhere and must not be seen
        keep = data.draw(st.integers(0, n - 1))
        fill(branches, 3, [i for i in range(branches.n_lane) if i % n != keep]) if n > 1 else None
        self.memory = branches.select([i * n + keep for i in range(len(self.plain))])

    @rule()
    def save(self):
        self.memory.save(self.folder)
        self.saved = [lane.twin() for lane in self.plain]

    @precondition(lambda self: self.saved is not None)
    @rule(mmap=st.booleans())
    def load(self, mmap):
        self.memory = PagedMemory.load(self.folder, mmap=mmap)
        self.plain = [lane.twin() for lane in self.saved]

    @rule()
    def sizes_agree(self):
        for lane, plain in enumerate(self.plain):
            assert self.memory.size(lane) == len(plain.pairs)
            run = self.memory.pairs(lane)
            assert run.token_index.tolist() == [pair[3] for pair in plain.pairs]
            assert run.values.shape[1] == len(plain.pairs)

    def strictness(self):
        return "with ties" if self.search == "exact" else self.search in EXACT

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("search", BACKENDS)
def test_any_sequence_agrees_with_plain_lists(search):
    machine = type("Case", (Sequences,), {"search": search})
    machine.TestCase.settings = settings(
        max_examples=12,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()
