"""PlotBench as tasks of EleutherAI's lm-eval (seen at 0.4.13): one a family and distance.

    lm-eval run --model hf --model_args pretrained=... --include_path FOLDER --tasks plotbench

Its accuracies are of items, with errors that take probes for independent. Pairs, groups and
differences need `--log_samples`: each sample holds the probe's id and both log-likelihoods.
"""

import json
from pathlib import Path

from memformer.plotbench.story import Bench, Probe

_YAML = """task: {name}
tag: plotbench
custom_dataset: !function plotbench_load.load
dataset_kwargs:
  file: {file}
output_type: multiple_choice
test_split: test
doc_to_text: context
doc_to_choice: options
doc_to_target: gold
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: {version}
"""
_LOAD = '''"""Documents of PlotBench's tasks: each story's text stands in the folder once."""

import json
from pathlib import Path

import datasets

FOLDER = Path(__file__).parent


def load(file, **_):
    """The probes of one task, each with the story up to where it stands."""
    texts, docs = {}, []
    for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
        probe = json.loads(line)
        story = probe["story_id"]
        if story not in texts:
            texts[story] = (FOLDER / "text" / f"{story}.txt").read_bytes().decode("utf-8")
        context = texts[story][: probe.pop("insert_at_char")] + probe.pop("stem")
        docs.append({**probe, "context": context})
    return {"test": datasets.Dataset.from_list(docs)}
'''


def task_name(family: str, bucket: int) -> str:
    """Of a family at a distance: `plotbench_attr_static_d512`."""
    return f"plotbench_{family.replace('.', '_')}_d{bucket}"


def export_tasks(bench: Bench, folder: Path | str) -> list[str]:
    """Write tasks, documents and texts into a folder for lm-eval's `--include_path`.

    The space before an option stands in the option, and the stem ends without one, so that the
    context ends where a token does.

    Returns:
        Names of the tasks; the tag `plotbench` stands for all.

    Raises:
        FileExistsError: the folder holds something.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: choose a new folder, or remove it")
    (folder / "text").mkdir(parents=True, exist_ok=True)
    for story in bench.stories:
        (folder / "text" / f"{story.story_id}.txt").write_bytes(story.text.encode())
    buckets = {story.story_id: story.bucket for story in bench.stories}
    tasks: dict[tuple[str, int], list[Probe]] = {}
    for probe in bench.probes:
        tasks.setdefault((probe.family, buckets[probe.story_id]), []).append(probe)
    names = []
    for (family, bucket), probes in sorted(tasks.items()):
        name = task_name(family, bucket)
        lines = (json.dumps(_document(bench, each), ensure_ascii=False) for each in probes)
        (folder / f"{name}.jsonl").write_bytes("".join(f"{line}\n" for line in lines).encode())
        told = _YAML.format(
            name=name, file=f"{name}.jsonl", version=json.dumps(bench.manifest["bench_version"])
        )
        (folder / f"{name}.yaml").write_text(told, encoding="utf-8")
        names.append(name)
    (folder / "plotbench_load.py").write_text(_LOAD, encoding="utf-8")
    return names


def _document(bench: Bench, probe: Probe) -> dict[str, object]:
    return {
        "probe_id": probe.probe_id,
        "story_id": probe.story_id,
        "insert_at_char": probe.insert_at_char,
        "stem": probe.stem,
        "options": [option + probe.suffix for option in probe.options],
        "gold": probe.gold,
        "bench_sha256": bench.manifest["content_sha256"],
        "canary": bench.manifest.get("canary", ""),
    }
