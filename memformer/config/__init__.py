"""Every setting: frozen, keyword-only dataclasses that hold only what JSON holds.

A rule between fields is checked when a config is made, before a long job starts.
"""

from memformer.config.changes import completed, differences, from_json, override, to_json
from memformer.config.model import NO_MEMORY, DecoderConfig, FractionConfig, MemoryConfig
from memformer.config.reward import RaterConfig, RaterRunConfig
from memformer.config.rivals import CompressiveConfig, RecurrentConfig
from memformer.config.sampling import SamplingConfig
from memformer.config.training import LowRankConfig, OptimiserConfig, RunConfig, StageConfig

__all__ = [
    "NO_MEMORY",
    "CompressiveConfig",
    "DecoderConfig",
    "FractionConfig",
    "LowRankConfig",
    "MemoryConfig",
    "OptimiserConfig",
    "RaterConfig",
    "RaterRunConfig",
    "RecurrentConfig",
    "RunConfig",
    "SamplingConfig",
    "StageConfig",
    "completed",
    "differences",
    "from_json",
    "override",
    "to_json",
]
