"""Ablations: one file, one question, an answer with an interval."""

from memformer.ablation.metric import Metric
from memformer.ablation.trained import Trained, held_out_nats, memory_gain, recall_of_search

__all__ = ["Metric", "Trained", "held_out_nats", "memory_gain", "recall_of_search"]
