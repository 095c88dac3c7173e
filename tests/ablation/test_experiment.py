"""An experiment file says what it varies, and nothing else varies."""

import re
import sys
from pathlib import Path

import pytest

from memformer.ablation.experiment import load_experiment
from tests.ablation.toys import HEAD, write


def test_what_is_wrong_in_a_file_is_said_in_one_line(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("BASE = (\n")
    with pytest.raises(ValueError, match=r"bad.py is no Python: line 1: '\(' was never closed"):
        load_experiment(path)
    path.write_text("x = 1\nBASE = Nothing()\n")
    with pytest.raises(ValueError, match=r"bad.py line 2: NameError: name 'Nothing' is not"):
        load_experiment(path)


def test_a_file_is_read_with_the_base_first(tmp_path):
    path = write(tmp_path, 'VARIANTS = {"steep": {"slope": 2.0}, "plain": {}}\n')
    e = load_experiment(path)
    assert e.question == "Does the number help?" and not e.trains
    assert [v.name for v in e.variants] == ["plain", "steep"] and e.base.name == "plain"
    assert e.config_of("steep", 2).slope == 2.0 and e.config_of("steep", 2).seed == 2
    assert e.seeds == (0, 1, 2) and [m.name for m in e.metrics] == ["height"]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ('VARIANTS = {"a": {}, "b": {"slope": 2.0}, "c": {"slope": 2.0}}',
         "VARIANTS 'b' and 'c' are the same config: leave one out"),
        ('VARIANTS = {"a": {}, "b": {"slope": 2.0}, "c": {"slope": 2}}',
         "VARIANTS 'b' and 'c' are the same config: leave one out"),
        ('VARIANTS = {"a": {}, "b": {"slope": 1.0}}', "'b' sets slope to what the base has"),
        ('VARIANTS = {"a": {}, "b": {"slope": 2.0, "part.size": 2}}', "'b' sets part.size to what"),
        ('VARIANTS = {"a": {}, "b": {"part": Part(size=5, kind="odd")}}',
         "'b' also changes part.kind from 'plain' to 'odd' without naming it"),
        ('VARIANTS = {"a": {}, "b": {}}', "must hold one without changes, the base, and others"),
        ('VARIANTS = {"a": {}}', "the base, and others beside it; without changes are"),
        ('VARIANTS = {"a": {"slope": 2.0}}', "without changes are none of 1"),
        ('VARIANTS = {"a": {}, "b/c": {"slope": 2.0}}', "a name must be one line of text"),
        ('VARIANTS = {"a": {}, "b|c": {"slope": 2.0}}', "got 'b|c'"),
        ('VARIANTS = {"a": {}, "b\\nc": {"slope": 2.0}}', "got 'b\\nc'"),
        ('VARIANTS = {"a": {}, "b": {"seed": 4}}', "'b' sets seed, which SEEDS does: leave it out"),
        ('VARIANTS = 3', "must define VARIANTS, names to changes, got int"),
    ],
    ids=str,
)  # fmt: skip
def test_variants_that_are_not_what_they_say_are_refused(tmp_path, variants, message):
    with pytest.raises(ValueError) as error:
        load_experiment(write(tmp_path, variants + "\n"))
    assert message in str(error.value)


def test_a_change_of_no_field_names_the_variant(tmp_path):
    path = write(tmp_path, 'VARIANTS = {"a": {}, "b": {"part.colour": 3}}\n')
    with pytest.raises(TypeError, match="VARIANTS 'b': Part has no field 'colour': it has size, k"):
        load_experiment(path)
    path = write(tmp_path, 'VARIANTS = {"a": {}, "b": {"part.sise": 3}}\n')
    with pytest.raises(TypeError, match=r"Part has no field 'sise': did you mean size\?"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('{"part.size": "64"}', "VARIANTS 'b': Part.size must be int, got '64'"),
        ('{"part.size": 2.5}', "VARIANTS 'b': Part.size must be int, got 2.5"),
        ('{"slope": True}', "VARIANTS 'b': Toy.slope must be float, got True"),
        ('{"part": 7}', "VARIANTS 'b': Toy.part must be Part, got 7"),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, change, message):
    with pytest.raises(TypeError) as error:
        load_experiment(write(tmp_path, f'VARIANTS = {{"a": {{}}, "b": {change}}}\n'))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("SEEDS = (0, 0)\n", "SEEDS of .* must be different numbers"),
        ("SEEDS = ()\n", "SEEDS of .* must be different numbers"),
        ("SEEDS = 3\n", "must define SEEDS such as range"),
        ("METRICS = ()\n", "must define METRICS, a tuple of Metric"),
        ('METRICS = ("nats",)\n', r"got \('nats',\); memformer.ablation has some"),
        ("METRICS = METRICS * 2\n", "METRICS of .* must have different names"),
        ("BASE = 3\n", "must define BASE, a config with a seed, got int"),
        ("del make\n", r"must define BASE = RunConfig\(...\), got Toy; for other models define"),
    ],
)
def test_what_is_missing_is_named(tmp_path, tail, message):
    with pytest.raises(ValueError, match=message):
        load_experiment(write(tmp_path, tail=tail))


def test_settings_change_the_base_of_any_kind(tmp_path):
    e = load_experiment(write(tmp_path), ["slope=3", "part.kind=odd"])
    assert e.settings == ("slope=3", "part.kind=odd")
    assert e.config_of("base", 1).slope == 3 and e.config_of("steep", 0).slope == 2.0
    assert e.config_of("bigger", 0).part == type(e.base.config.part)(size=3, kind="odd")
    with pytest.raises(TypeError, match=r"Toy.* has no field 'slop'"):
        load_experiment(write(tmp_path), ["slop=3"])
    with pytest.raises(TypeError, match=r"Part\.size must be int"):
        load_experiment(write(tmp_path), ["part.size=many"])
    late = write(tmp_path, head="from __future__ import annotations\n" + HEAD)
    with pytest.raises(ValueError, match="remove `from __future__ import annotations`"):
        load_experiment(late, ["slope=3"])


def test_no_file_and_no_name_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no experiment"):
        load_experiment(tmp_path / "none.py")
    with pytest.raises(ValueError, match="a metric must have a name and better="):
        load_experiment(write(tmp_path, tail='Metric(name="", of=value)\n', head=HEAD))


def test_the_example_of_the_docs_is_an_experiment(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "ablations.md").read_text()
    first, own, second = re.findall(r"```python\n(.*?)```", page, re.S)
    path = tmp_path / "memory.py"
    path.write_text(first)
    e = load_experiment(path, ["novels.n_token=16384"])
    assert e.trains and [v.name for v in e.variants] == ["memory", "none", "gate"]
    assert e.config_of("none", 1).model.memory_layers == ()
    path.write_text(first + own)
    assert load_experiment(path).base.config.validation == ("my/held-out",)
    assert len([line for line in first.splitlines() if line]) <= 16
    path.write_text(f"{first}\n{second}")
    assert [m.name for m in load_experiment(path).metrics] == ["spread over books"]


def test_a_file_may_import_what_stands_beside_it(tmp_path, monkeypatch):
    (tmp_path / "slopes_of_toys.py").write_text("STEEP = 2.5\n")
    tail = 'from slopes_of_toys import STEEP\nVARIANTS = {"base": {}, "s": {"slope": STEEP}}\n'
    before = list(sys.path)
    monkeypatch.delitem(sys.modules, "slopes_of_toys", raising=False)
    assert load_experiment(write(tmp_path, tail=tail)).variants[1].config.slope == 2.5
    assert sys.path == before
