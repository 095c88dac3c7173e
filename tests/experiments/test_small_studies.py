"""Studies can be run, and read what they say: size, gate, fraction, recall, plot, beyond."""

from pathlib import Path

import pytest
import recall
import small_novels
import torch
from reading import arm_of

from memformer import Decoder, DecoderConfig, MemoryConfig
from memformer.ablation import Trained
from memformer.ablation.experiment import load_experiment
from memformer.ablation.trained import train_run
from memformer.config import override
from memformer.config.plotbench import MakeConfig
from memformer.evaluation.arms import Arm
from memformer.evaluation.encoded import EncodedManuscript
from memformer.evaluation.read import read
from memformer.plotbench.make import make, make_base
from tests.plotbench.made_rows import rows_on

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.mark.parametrize("name", ["gate", "memory_size", "fraction"])
def test_studies_that_train_have_three_seeds_and_units_for_intervals(name):
    study = load_experiment(FOLDER / f"{name}.py")
    assert study.trains and len(study.seeds) == 3 and study.metrics[0].name == "nats"


def test_recall_reads_four_books_and_trains_nothing():
    study = load_experiment(FOLDER / "recall.py")
    assert not study.trains and study.min_seed == 1 and len(study.base.config.books) == 4
    changes = [recall.changes_of(v.config) for v in study.variants]
    assert changes[0]["memory.search"] == "exact" and changes[1]["memory.nprobe"] == 1
    assert changes[-1]["memory.layers"] == ()


def test_recall_scores_the_last_tokens_as_an_evaluation_does():
    torch.manual_seed(0)
    model = Decoder(
        DecoderConfig(
            vocab_size=50, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=16,
            window=8, segment_len=16, memory=MemoryConfig(layers=(1,), n_retrieved=4),
        )
    ).eval()  # fmt: skip
    ids = torch.randint(50, (1, 101))
    found = recall.read(model, ids, 40)
    book = EncodedManuscript(
        id="a", author="", title="", text="", chapters=(), ids=ids[0].numpy(),
        spans=torch.zeros(101, 2).long().numpy(), n_total=101,
    )  # fmt: skip
    whole = read(model, book, Arm(name="a", attention="window", memory="on")).nats
    assert found["nats"] == pytest.approx(float(whole[-40:].mean()), abs=1e-5)
    assert found["recall"] == {"layer 1": 1.0}


def test_passages_of_a_small_run_are_read_in_every_way(tmp_path):
    for folder, seed, split in (("texts", 0, "train"), ("held", 2, "dev")):
        (tmp_path / folder).mkdir()
        text = make_base(seed, bucket=128, length=4096, split=split).stories[0].text
        (tmp_path / folder / f"{folder}.txt").write_text(text)
    config = override(
        small_novels.BASE,
        {
            "model.vocab_size": 400, "model.n_embd": 16, "model.head_dim": 8, "model.mlp_dim": 16,
            "model.fraction.kind": "fourier", "novels.n_token": 2048,
            "novels.corpora": (str(tmp_path / "texts"),), "validation": (str(tmp_path / "held"),),
            "split_by": "manuscript",
        },
    )  # fmt: skip
    run: Trained = train_run(config, tmp_path / "run")
    nats = small_novels.nats(run)
    units = [f"held, from {start}" for start in range(0, 2048 * len(nats), 2048)]
    assert list(nats) == units and len(nats) >= 2
    gain = small_novels.gain(small_novels.without_memory)(run)
    assert list(gain) == units and any(gain.values())
    assert small_novels.nats(run, changes={"memory.capacity": 128}) != nats
    assert small_novels.nats(run, length_factor=1.25).keys() == nats.keys()


def test_plot_counts_groups_and_differences_by_world_in_every_way_it_was_asked():
    study = load_experiment(FOLDER / "plot.py")
    assert len(study.seeds) == 3 and study.base.config.memory.layers == ()
    bench = make(
        MakeConfig(
            seeds=(0, 3), buckets=(256,), lengths=(1024,), families=("attr.static", "attr.update")
        )
    )
    n = len(bench.probes)
    right = [2.0 if p.group_id.startswith("s000000") else -1.0 for p in bench.probes]
    rows = [
        *rows_on(bench, right, condition="on"), *rows_on(bench, [0.5] * n, condition="off"),
        *rows_on(bench, [0.0] * n, condition="shuffled"),
    ]  # fmt: skip
    found = {metric.name: metric.of(rows) for metric in study.metrics if "at 256" in metric.name}
    worlds = {f"world {story.seed}" for story in bench.stories}
    assert len(worlds) == 3 and all(each.keys() == worlds for each in found.values())
    assert found["DiD at 256"]["world 0"] == pytest.approx(2)
    assert found["DiD at 256"]["world 1"] == pytest.approx(-1)
    assert found["groups at 256"] == {"world 0": 1.0, "world 1": 0.0, "world 2": 0.0}
    assert list(found["DiD at 256, memory off"].values()) == pytest.approx([0.5] * 3)
    assert found["DiD at 256, shuffled values"]["world 2"] == 0
    alone = rows_on(bench, [0.5] * n, condition="off")
    alone_found = {m.name: m.of(alone) for m in study.metrics if "at 256" in m.name}
    assert alone_found["groups at 256"]["world 1"] == 1.0
    assert alone_found["DiD at 256, memory off"] == {}


def test_beyond_reads_twice_the_trained_length_and_clamps_what_is_no_full_attention():
    study = load_experiment(FOLDER / "beyond.py")
    configs = {v.name: v.config for v in study.variants}
    assert {c.n_token for c in configs.values()} == {16_384}
    plain = [name for name, c in configs.items() if c.max_distance is None]
    assert plain == ["full attention", "full, rescaled base"]
    assert arm_of(configs["full, rescaled base"]).overrides["rope_base"] > 200_000
    assert arm_of(configs["full, clamped"]).overrides["memory.max_distance"] == 6000
    assert arm_of(configs["memory, upper half"]).overrides["sink_distance"] == 6000
