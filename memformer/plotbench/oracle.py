"""The symbolic oracle: what follows from the trace, without reading the text."""

from memformer.plotbench.probes import answer
from memformer.plotbench.rules import Ranks
from memformer.plotbench.story import Bench


def by_trace(bench: Bench) -> dict[str, Ranks]:
    """1 for the option that follows from the story's trace, 0 for the other, by probe_id.

    Raises:
        ValueError: a story without a trace, or a trace that does not decide.
    """
    traces = {trace.story_id: trace for trace in bench.traces}
    found: dict[str, Ranks] = {}
    for probe in bench.probes:
        if probe.story_id not in traces:
            raise ValueError(f"{probe.probe_id}: its story has no trace, so no oracle")
        right = answer(traces[probe.story_id], probe)
        found[probe.probe_id] = (float(right == 0), float(right == 1))
    return found
