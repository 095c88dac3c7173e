import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_example_of_the_page_runs_and_is_short(block):
    names = {}
    exec(block, names)
    assert len([line for line in block.splitlines() if line]) <= 20
    assert names["memory"].size(0) == 96
    assert names["out"].shape == (1, 4, 32, 16) and names["out"].any()
    assert isinstance(names["out"], torch.Tensor)
