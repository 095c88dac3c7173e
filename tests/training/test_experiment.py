"""Settings from a file and from the command line."""

from pathlib import Path

import pytest

from memformer.config import RunConfig
from memformer.training.experiment import read_base, set_fields
from memformer.training.table import Table

ROOT = Path(__file__).parents[2]


def test_fields_are_set_by_path_and_read_as_json(config):
    changed = set_fields(config, [
        "seed=4", "model.memory.layers=[0, 1]", "optimiser.schedule=trapezoid",
        "optimiser.ema_decay=null", "loggers=[]",
    ])  # fmt: skip
    assert (changed.seed, changed.model.memory.layers) == (4, (0, 1))
    assert (changed.optimiser.schedule, changed.optimiser.ema_decay) == ("trapezoid", None)


@pytest.mark.parametrize(("change", "error", "message"), [
    ("seed", ValueError, "a setting must be field.path=value, got 'seed'"),
    ("sede=1", TypeError, "RunConfig has no field 'sede'"),
    ("n_lane=many", TypeError, "RunConfig.n_lane must be .*int.*, got 'many'"),
    ("n_lane=0", ValueError, "n_lane must be an integer of at least 1, got 0"),
    ("optimiser.name=lion", TypeError, "OptimiserConfig.name must be .*adamw.*, got 'lion'"),
    ("optimiser.schedule=step", TypeError, "OptimiserConfig.schedule must be .*trapezoid.*step"),
    ("optimiser=null", TypeError, "RunConfig.optimiser must be a OptimiserConfig with fields"),
    ("seed.x=1", TypeError, "RunConfig has no field 'seed.x'"),
    ("novels.weights=1", TypeError, "StageConfig.weights must be .*tuple.*, got 1"),
    ("validation_tokens=9", ValueError, "validation_tokens must be at least model.window . 2 = 10"),
    ("optimiser.beta1=1", ValueError, "beta1 must be in"),
    ("optimiser.ema_decay=1", ValueError, "ema_decay must be in"),
    ("optimiser.clip_norm=0", ValueError, "clip_norm must be in"),
    ("loggers=[\"mlflow\"]", ValueError, "loggers must be of tensorboard, wandb, got 'mlflow'"),
    ("novels.n_token=5", ValueError, "novels.n_token must be at least the tokens of a step, 48"),
    ("novels.n_token=0", ValueError, "one of general.n_token and novels.n_token must be above 0"),
    ("novels.weights=[1,2]", ValueError, r"weights must be one number a corpus \(1\)"),
    ("novels.weights=[0]", ValueError, "weights must be above 0"),
])  # fmt: skip
def test_bad_settings_are_named(config, change, error, message):
    with pytest.raises(error, match=message):
        set_fields(config, [change])


def test_base_of_a_file_is_read_and_anything_else_refused(tmp_path):
    assert isinstance(read_base(ROOT / "experiments" / "novels.py"), RunConfig)
    (tmp_path / "x.py").write_text("BASE = 3")
    with pytest.raises(ValueError, match=r"must define BASE = RunConfig\(\.\.\.\), got int"):
        read_base(tmp_path / "x.py")
    with pytest.raises(FileNotFoundError, match="no experiment"):
        read_base(tmp_path / "y.py")


def test_table_forgets_later_rows_and_a_torn_one(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b"))
    table.cut(3)  # nothing there yet
    for step in range(1, 6):
        table.append({"step": step, "a": 0.1 * step, "b": None})
    with table.path.open("a") as file:
        file.write("2,0.")
    table.cut(3)
    assert [(row["step"], row["a"]) for row in table.rows()] == [
        ("1", "0.1"), ("2", "0.2"), ("3", "0.30000000000000004"),
    ]  # fmt: skip
