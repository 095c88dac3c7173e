import json
import re
from functools import cache
from pathlib import Path

import pytest

from memformer.config.plotbench import MakeConfig
from memformer.data.packages import cache_folder
from memformer.data.sources import SMOLLM2, SMOLLM2_FILE, smollm2
from memformer.interop.gguf_file import open_gguf
from memformer.interop.tokenizer import HFTokenizer
from memformer.plotbench.make import make
from memformer.plotbench.names import NAMES, REFERENCE_TOKENIZERS, VALUES
from memformer.plotbench.tokens_check import (
    class_faults,
    first_misaligned,
    twin_ends_faults,
    word_classes,
    words_sha256,
)
from memformer.plotbench.twin_check import token_faults

SMALL = make(MakeConfig(seeds=(0, 3), buckets=(128,), lengths=(1024,), families=("all",)))
NAMES_OF_DEV = {n for classes in NAMES["dev"].values() for c in classes for n in c.split()}
RESULT = json.loads(
    (Path(__file__).parents[2] / "experiments/results/plotbench_tokenizers.json").read_text()
)


def words(text, odd="(?!)"):
    """Ends of tokens: a word with the space before it, any other character; what is odd before."""
    return [found.end() for found in re.finditer(rf"{odd}| ?\w+|.", text, re.DOTALL)]


def test_reference_tokenizers_are_those_under_which_nothing_differed():
    rows = RESULT["tokenizers"]
    assert {row["name"]: row["sha256"] for row in rows if row["reference"]} == REFERENCE_TOKENIZERS
    assert len(REFERENCE_TOKENIZERS) >= 3
    for row in rows:
        faults = row["n_class_faults"] + row["n_twin_faults"] + row["n_count_faults"]
        assert row["reference"] == (faults == 0)


def test_the_committed_result_is_about_these_words():
    """If not: run experiments/plotbench_tokenizers.py again."""
    assert RESULT["words_sha256"] == words_sha256()


def test_manifest_names_the_reference_tokenizers_with_hashes():
    told = SMALL.manifest["ref_tokenizers"]
    assert told == REFERENCE_TOKENIZERS
    assert all(len(bytes.fromhex(digest)) == 32 for digest in told.values())


def test_every_name_value_and_option_is_in_a_class():
    words = {word for each in word_classes() for word in each.words}
    assert words >= {
        n for s in NAMES.values() for cs in s.values() for c in cs for n in c.split()
    } | {v for classes in VALUES.values() for c in classes for v in c.split()}
    asked = {option.strip() for probe in SMALL.probes for option in probe.options}
    assert asked and asked <= words


def test_words_unequal_in_tokens_are_found():
    assert not list(class_faults(words))
    (fault,) = class_faults(lambda text: words(text, " zi(?=ther)"))
    assert fault.startswith("plays, ' {}': ") and "'cornet'" in fault
    # equally many tokens, but one of them crosses the end of the name
    (fault,) = class_faults(lambda text: words(text, " A(?=nna's)|nna'"))
    assert fault.startswith('train f, " {}\'s": ') and "'Jane'" in fault


def test_twins_with_equal_counts_that_do_not_align_are_found():
    assert not list(twin_ends_faults(SMALL, words))
    story, name = next(
        (s, s.text[slice(*swap)])
        for s in SMALL.stories
        for swap in s.swaps
        if s.text[slice(*swap)] in NAMES_OF_DEV
    )

    def ends(text):
        return words(text, rf" ?{name[:2]}(?={name[2:]}\b)")

    twins = [s for s in SMALL.stories if s.base == story.base]
    assert len({len(ends(s.text)) for s in twins}) == 1 != len({s.text for s in twins})
    assert not [m for m in token_faults(SMALL, lambda text: len(ends(text))) if "twins have" in m]
    found = list(twin_ends_faults(SMALL, ends))
    assert any(m.startswith(f"{story.base}: ") and name in m for m in found)


def test_ends_may_differ_within_a_swap_alone():
    swaps = [(4, 8)]
    assert first_misaligned([2, 4, 6, 8, 9], [2, 4, 5, 8, 9], swaps) is None
    assert first_misaligned([2, 4, 6, 8, 9], [2, 4, 8, 9], swaps) == 8  # one token fewer
    assert first_misaligned([2, 4, 8, 9], [2, 4, 9], swaps) == 8
    assert first_misaligned([2, 4, 8, 9], [3, 4, 8, 9], swaps) == 2


@pytest.mark.real
def test_words_and_twins_align_token_by_token_in_smollm2():
    if not (cache_folder() / SMOLLM2.file).exists():
        pytest.skip(f"{SMOLLM2.requirement} is not in the cache: data.smollm2() fetches it")
    tokenizer = HFTokenizer(open_gguf(smollm2() / SMOLLM2_FILE).tokenizer)

    @cache
    def ends(text):
        return [stop for _, stop in tokenizer.encode(text).spans]

    assert not list(class_faults(ends))
    for split in ("train", "dev", "test"):
        bench = make(
            MakeConfig(
                seeds=(0, 8), buckets=(512,), lengths=(2048, 4096), families=("all",), split=split
            )
        )
        assert len(bench.stories) == 16
        assert not list(twin_ends_faults(bench, ends))
        assert not list(token_faults(bench, lambda text: len(ends(text))))
