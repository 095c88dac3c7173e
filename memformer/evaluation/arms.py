"""Arms: the ways in which one model reads the same manuscript, told apart by name.

An arm never has weights of its own. It says what each token may attend to, and whether the pairs
that left the window can be retrieved, cannot, or are falsified (the controls).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from memformer.config import NO_MEMORY, DecoderConfig, override

Attention = Literal["full", "full_clamped", "window", "window_sinks"]
Memory = Literal["on", "off", "shuffled", "other_book"]
Fraction = Literal["true", "shuffled", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to read: what is attended to, and what the memory holds."""

    name: str
    """Unique within a run; also part of a file name."""
    attention: Attention
    """`full`: every earlier token at its true distance. `full_clamped`: the same with distances
    clamped to `memory.max_distance` (needs that override). `window`: no sinks. `window_sinks`: the
    first `n_sink` tokens stay visible."""
    memory: Memory = "off"
    """`on`; `off`; `shuffled`: what is found by one key gives the value of another pair;
    `other_book`: the memory is that of another manuscript read in step. Not with `full`."""
    fraction: Fraction = "true"
    """Of the novel, as the model is told it: `true`; `shuffled`: stretches of 256 tokens have
    traded places; `unknown`: never told."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Dotted changes to the model's config, applied last."""

    def __post_init__(self) -> None:
        for name, known in (
            ("attention", get_args(Attention)),
            ("memory", get_args(Memory)),
            ("fraction", get_args(Fraction)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not self.name or not all(c.isalnum() or c in "-_.+" for c in self.name):
            raise ValueError(
                f"name of an arm must be letters, digits and -_.+ (it names a file), "
                f"got {self.name!r}"
            )
        if self.is_full and self.memory != "off":
            raise ValueError(
                f"attention={self.attention!r} sees every token and has no memory to switch: "
                f"memory must be 'off', got {self.memory!r}"
            )

    @property
    def is_full(self) -> bool:
        """Whether every earlier token is attended to."""
        return self.attention in ("full", "full_clamped")


def changes_of(arm: Arm, n_tokens: int) -> dict[str, Any]:
    """The dotted changes that turn a model's config into the arm's, for `Decoder.reconfigure`.

    Full attention is read through the memory's dense path: every layer a memory layer, every pair
    attended to, no search, at rotary distances (architecture: "the limit that pins it down").

    Args:
        arm: the arm.
        n_tokens: length of what will be read.
    """
    changes: dict[str, Any]
    match arm.attention:
        case "full" | "full_clamped":
            changes = {
                **NO_MEMORY,
                "n_sink": 0,
                "memory.layers": "all",
                "memory.combine": "joint",
                "memory.positions": "rotary",
                "memory.max_distance": None,
                "memory.n_retrieved": n_tokens,
                "memory.capacity": None,
                "memory.search": "auto",
                "memory.nprobe": None,
                "memory.efSearch": None,
                "memory.dtype": "float32",
            }
        case "window":
            changes = {"n_sink": 0}
        case "window_sinks":
            changes = {}
    if arm.memory == "off" and not arm.is_full:
        changes |= NO_MEMORY
    return {**changes, **arm.overrides}


def config_of(arm: Arm, base: DecoderConfig, n_tokens: int) -> DecoderConfig:
    """The config under which the arm reads `n_tokens` tokens with a model of config `base`.

    Raises:
        TypeError: an override names no field.
        ValueError: the overrides contradict the arm's attention or memory, or the config's rules.
    """
    config = override(base, changes_of(arm, n_tokens))
    if arm.attention == "full_clamped" and config.memory.max_distance is None:
        raise ValueError(
            f"arm {arm.name!r}: attention='full_clamped' needs the override memory.max_distance"
        )
    if arm.is_full and (config.memory.n_retrieved < n_tokens or config.memory.layers != "all"):
        raise ValueError(
            f"arm {arm.name!r}: full attention needs memory.layers='all' and memory.n_retrieved >= "
            f"{n_tokens} tokens, got {config.memory.layers!r} and {config.memory.n_retrieved}"
        )
    if arm.fraction != "true" and not config.uses_fraction:
        raise ValueError(
            f"arm {arm.name!r}: fraction={arm.fraction!r} needs a model that is told the fraction "
            "of the novel, this one has fraction.kind='none' and memory.positions other than "
            "'fraction'"
        )
    if arm.attention == "window_sinks" and config.n_sink == 0:
        raise ValueError(
            f"arm {arm.name!r}: attention='window_sinks' needs n_sink of at least 1, got 0: "
            "override n_sink, or take attention='window'"
        )
    if arm.attention == "window" and config.n_sink:
        raise ValueError(f"arm {arm.name!r}: attention='window' has no sinks, got {config.n_sink}")
    if not arm.is_full and (arm.memory == "off") == config.has_memory:
        raise ValueError(
            f"arm {arm.name!r}: memory={arm.memory!r} with memory.layers={config.memory.layers!r}, "
            f"compressive.layers={config.compressive.layers!r} and "
            f"recurrent.n_token={config.recurrent.n_token}"
        )
    if arm.memory == "shuffled" and not config.memory_layers:
        raise ValueError(
            f"arm {arm.name!r}: memory='shuffled' needs a memory of pairs (memory.layers); a "
            "compressive or recurrent one has none: take memory='other_book'"
        )
    return config


def usual_arms(
    *,
    window: int = 256,
    n_sink: int = 4,
    n_retrieved: int | Sequence[int] = 32,
    max_distance: int | None = None,
    layers: tuple[int, ...] | Literal["all"] = "all",
    controls: bool = False,
) -> list[Arm]:
    """The usual set for an imported model: full attention, a window, sinks, memory, its controls.

    `max_distance` is the clamp of distances to sinks and retrieved pairs, in tokens; with one, full
    attention under the same clamp joins as the fair rival. The controls repeat the arm of the
    largest `n_retrieved`. A model trained from scratch without positions in memory needs arms of
    its own.

    Returns:
        In the order full, (full-clamped-N,) window, window-sinks, memory-K ...
        (, memory-K-shuffled, memory-K-other-book).
    """
    sizes = [n_retrieved] if isinstance(n_retrieved, int) else sorted(n_retrieved)
    if not sizes:
        raise ValueError("n_retrieved must name at least one size, got none")
    local = {"window": window}
    # sinks lie beyond the trained length too: the clamp holds for them, with and without memory
    sinks = {**local, "n_sink": n_sink, "sink_distance": max_distance}
    clamp = {"memory.max_distance": max_distance}

    def remembering(k: int, memory: Memory, suffix: str = "") -> Arm:
        found = {"memory.layers": layers, "memory.n_retrieved": k, "memory.positions": "rotary"}
        return Arm(
            name=f"memory-{k}{suffix}",
            attention="window_sinks" if n_sink else "window",
            memory=memory,
            overrides={**sinks, **found, **clamp},
        )

    arms = [Arm(name="full", attention="full", overrides=local)]
    if max_distance is not None:
        name = f"full-clamped-{max_distance}"
        arms.append(Arm(name=name, attention="full_clamped", overrides={**local, **clamp}))
    arms.append(Arm(name="window", attention="window", overrides=local))
    if n_sink:
        arms.append(Arm(name="window-sinks", attention="window_sinks", overrides=sinks))
    arms += [remembering(k, "on") for k in sizes]
    if controls:
        arms.append(remembering(sizes[-1], "shuffled", "-shuffled"))
        arms.append(remembering(sizes[-1], "other_book", "-other-book"))
    return arms


def trained_arms(config: DecoderConfig, *, controls: bool = False) -> list[Arm]:
    """The set for a decoder that was trained here: as trained, memory off, and its controls.

    Nothing but the memory, or the fraction of the novel, changes from arm to arm. The first is the
    baseline.

    Returns:
        In the order memory-off, memory (, memory-shuffled, memory-other-book), without memory
        layers only the first; with a fraction and controls also fraction-shuffled and, if
        `p_unknown` taught it, fraction-unknown, read with the memory if there is one: compare
        those with the arm `memory`.
    """
    attention: Attention = "window_sinks" if config.n_sink else "window"
    arms = [Arm(name="memory-off", attention=attention)]
    if config.has_memory:
        arms.append(Arm(name="memory", attention=attention, memory="on"))
    if config.memory_layers and controls:  # a rival has no pairs to shuffle
        arms.append(Arm(name="memory-shuffled", attention=attention, memory="shuffled"))
    if config.has_memory and controls:
        arms.append(Arm(name="memory-other-book", attention=attention, memory="other_book"))
    if config.fraction.kind != "none" and controls:
        memory: Memory = "on" if config.has_memory else "off"
        # without p_unknown, training never saw "unknown": it would be an untrained vector
        told: tuple[Fraction, ...] = (
            ("shuffled", "unknown") if config.fraction.p_unknown else ("shuffled",)
        )
        arms += [
            Arm(name=f"fraction-{each}", attention=attention, memory=memory, fraction=each)
            for each in told
        ]
    return arms
