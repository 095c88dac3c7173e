"""One group of each family as somebody has read it: what is told, asked, and consistent with it.

Recipes and traces could be wrong together; these sentences were read. If a change of frames makes
the test fail, read the new ones before `golden.json` is written anew.
"""

import json
from pathlib import Path

import pytest

from memformer.plotbench.make import make_base
from memformer.plotbench.story import FAMILIES

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


def read_out(family, seed):
    base = make_base(seed, bucket=128, length=1024, families=(family,))
    texts = {story.story_id: story.text for story in base.stories}
    group = base.probes[0].group_id
    return {
        "".join(p.cell): {
            "told": [texts[p.story_id][slice(*s.span)] for s in p.support if s.of == "gold"],
            "asked": p.stem.strip(),
            "options": list(p.options),
            "consistent": p.options[p.gold].strip(),
        }
        for p in base.probes
        if p.group_id == group
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_told_licenses_what_is_called_consistent(family):
    told = GOLDEN[family]
    assert read_out(family, told["seed"]) == told["cells"]
