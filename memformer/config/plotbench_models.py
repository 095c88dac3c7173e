"""Settings of the checkpoints that PlotBench's command line imports."""

from dataclasses import dataclass

from memformer.config.changes import check_at_least


@dataclass(frozen=True, kw_only=True)
class ImportedConfig:
    """How a Llama-family checkpoint reads as a decoder of ours, untrained: a window, sinks, and a
    memory of its own keys in every layer at true distances."""

    window: int = 256
    """Keys a query sees locally, itself included."""
    n_sink: int = 4
    """First tokens that stay visible."""
    n_retrieved: int = 32
    """Pairs retrieved per query under the condition `on`."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "window", "n_retrieved")
        check_at_least(self, 0, "n_sink")
