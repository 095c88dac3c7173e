"""How much of what exact search finds the configured search finds.

B lanes, H query heads, L queries per head, D head_dim
"""

import torch
from torch import Tensor

from memformer.memory.exact import ExactSearch
from memformer.memory.pages import PagedMemory


def recall_at_k(memory: PagedMemory, queries: Tensor, k: int) -> float:
    """Share of each query's k best pairs that `memory.search` returns, over all queries.

    A pair counts as found if its score reaches the k-th best: of equal keys any will do.

    Args:
        memory: with the search that is measured; it is not changed.
        queries: (B, H, L, D), as `PagedMemory.search` takes them.
        k: pairs wanted, at least 1.

    Returns:
        In [0, 1]; 1 where no lane holds a pair.
    """
    exact = memory.select(range(memory.n_lane))
    exact.backend = ExactSearch()
    best, found = exact.search(queries, k), memory.search(queries, k)
    n_best = best.mask.sum(-1)  # (B, H, L)
    if not n_best.any():
        return 1.0
    worst = best.scores.masked_fill(~best.mask, torch.inf).amin(-1, keepdim=True)
    # the same product in another order of summing differs in the last bits
    reached = found.scores >= worst - 1e-5 * (1 + worst.abs())
    hits = (reached & found.mask).sum(-1).minimum(n_best)
    return float(hits.sum() / n_best.sum())
