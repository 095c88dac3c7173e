"""Rules about the tensors that callers hand to a memory, with errors that name the place."""

from collections.abc import Sequence

import torch
from torch import Tensor

from memformer.memory.rotary import Rotary


def bound(
    name: str,
    given: Tensor | None,
    n_lane: int,
    L: int,
    lane: int,
    default: int,
    device: torch.device,
) -> Tensor:
    """One lane's bound for each of L queries, (L,), from bounds (B,) or (B, L), or the default."""
    if given is None:
        return torch.full((L,), default, dtype=torch.int64, device=device)
    if tuple(given.shape) not in {(n_lane,), (n_lane, L)}:
        raise ValueError(
            f"search: {name} must have shape ({n_lane},) or ({n_lane}, {L}), "
            f"got {tuple(given.shape)}"
        )
    if given.is_floating_point() or given.dtype == torch.bool:
        raise TypeError(f"search: {name} must hold integers, got {given.dtype}")
    return given[lane].to(device, torch.int64).expand(L)


def check_distances(lane: int, rotary: Rotary, start: Tensor, stop: Tensor) -> None:
    """Raises ValueError where a query's slots [start, stop), (L,) and held, reach beyond
    `max_distance` or after the query: a search compares them all at their true distance."""
    slots = rotary.positions[lane] - rotary.shift  # where each query itself would stand
    is_asked = start < stop
    late = is_asked & (stop - 1 > slots)
    if late.any():
        i = int(late.nonzero()[0])
        raise ValueError(
            f"search: rotary: query {i} of lane {lane} may see slot {int(stop[i]) - 1}, which "
            f"stands after it: give stop of at most {int(slots[i]) + 1}"
        )
    if rotary.max_distance is None:
        return
    far = is_asked & (slots - start > rotary.max_distance)
    if far.any():
        i = int(far.nonzero()[0])
        raise ValueError(
            f"search: rotary: query {i} of lane {lane} may see slot {int(start[i])}, which is "
            f"farther than max_distance={rotary.max_distance}: give start of at least "
            f"{int(slots[i]) - rotary.max_distance}, and search older slots by a query turned once"
        )


def check_shape(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raises ValueError naming `what`, the shape it must have and the one it has."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{what} must have shape {shape}, got {tuple(tensor.shape)}")


def check_finite(
    what: str, tensor: Tensor, lanes: Sequence[int], token_index: Tensor | None
) -> None:
    """Names the first place in a (rows, heads, n, D) tensor that is NaN or infinite."""
    # a sum is finite only if every term is; an overflow of finite terms is told apart below
    if tensor.numel() == 0 or bool(tensor.detach().sum().isfinite()):
        return
    bad = (~tensor.detach().isfinite()).any(-1).nonzero()
    if len(bad) == 0:
        return
    row, head, column = bad[0].tolist()
    value = tensor[row, head, column]
    kind = "NaN" if value.isnan().any() else "infinite"
    token = column if token_index is None else int(token_index[row, column])
    raise ValueError(f"{what} is {kind} at lane {lanes[row]}, head {head}, token {token}")
