"""The example of docs/rivals.md is an experiment."""

import re
from pathlib import Path

from memformer.ablation.experiment import load_experiment


def test_the_example_of_the_page_is_an_experiment(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "rivals.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    path = tmp_path / "search.py"
    path.write_text(code)
    e = load_experiment(path)
    assert e.trains and [v.name for v in e.variants] == ["exact", "HNSW", "IVF"]
    assert e.config_of("IVF", 0).model.memory.nprobe == 4
    assert [m.name for m in e.metrics] == ["held-out nats", "recall of search"]
