"""Jobs elsewhere give the rows that jobs here give."""

import sys
from dataclasses import replace

import pytest

from memformer.ablation.experiment import load_experiment
from memformer.ablation.jobs import Ended, run_jobs
from memformer.ablation.ray_cluster import in_process, run_ray
from memformer.ablation.rows import Cell, finished
from memformer.ablation.run import ablate
from memformer.ablation.slurm import run_slurm
from tests.ablation.toys import write

VARIANTS = 'VARIANTS = {"base": {}, "bad": {"slope": 13.0}, "steep": {"slope": 2.0}}\n'


class Fake:
    """A job that ends at the n-th look."""

    def __init__(self, n, how):
        self.n, self.how, self.ended = n, how, False

    def poll(self):
        self.n -= 1
        return None if self.n > 0 else self.how

    def end(self):
        self.ended = True


def test_no_more_run_at_once_than_allowed_and_each_end_is_told(tmp_path):
    cells = [Cell("a", seed) for seed in range(5)]
    hows = dict(zip(cells, [-9, 75, 3, "the queue is full", 0], strict=True))
    jobs, most = {}, []

    def begin(ready):
        jobs.update({cell: Fake(2 + cell.seed % 2, hows[cell]) for cell in ready})
        most.append(sum(job.n > 0 for job in jobs.values()))
        return [jobs[cell] for cell in ready]

    told = {e.cell: e.error for e in run_jobs(begin, tmp_path, cells, at_once=2, wait_s=0)}
    assert max(most) == 2 and list(jobs) == cells and set(told) == set(cells)
    assert told[cells[0]].startswith("ended by SIGKILL (out of memory?); see ")
    assert "another process works at" in told[cells[1]] and "exit code 3" in told[cells[2]]
    assert told[cells[3]] == "the queue is full" and "shows no row" in told[cells[4]]


def test_whoever_stops_listening_ends_what_still_runs(tmp_path):
    jobs = [Fake(1, 3), Fake(99, 0), Fake(99, 0)]
    stream = run_jobs(
        lambda ready: jobs, tmp_path, [Cell("a", n) for n in range(3)], at_once=3, wait_s=0
    )
    assert isinstance(next(stream), Ended)
    stream.close()
    assert [job.ended for job in jobs] == [False, True, True]


def test_a_machine_that_does_not_see_the_file_says_so(tmp_path):
    e = load_experiment(write(tmp_path))
    from memformer.ablation.jobs import order_of

    order = order_of(e, tmp_path, Cell("base", 0))._replace(file="/nowhere/toy.py")
    assert "does not see /nowhere/toy.py: put it into a shared folder" in in_process(order, 1)


@pytest.mark.parametrize(("run", "name"), [(run_ray, "ray"), (run_slurm, "submitit")])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, run, name):
    monkeypatch.setitem(sys.modules, name, None)
    e = load_experiment(write(tmp_path))
    more = {"address": None} if run is run_ray else {}
    with pytest.raises(ImportError, match=r"pip install 'memformer-lm\[(ray|slurm)\]'"):
        list(run(e, tmp_path, [Cell("base", 0)], n_jobs=1, n_thread=1, **more))


def numbers(rows):
    """What cannot differ between machines."""
    return [replace(row, wall_s=0.0, machine={}) for row in rows]


@pytest.mark.slow
def test_two_nodes_of_ray_give_the_rows_of_this_machine(tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    e = load_experiment(write(tmp_path, VARIANTS))
    here = ablate(e, tmp_path / "here", n_jobs=2)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        with pytest.raises(ValueError, match="a cell takes 2 CPUs and 0 GPUs of one machine"):
            list(
                run_ray(e, tmp_path, [Cell("base", 0)], address=cluster.address, n_jobs=1,
                        n_thread=2)
            )  # fmt: skip
        out = tmp_path / "there"
        there = ablate(
            e, out,
            lambda cells: run_ray(
                e, out, cells, address=cluster.address, n_jobs=2, n_thread=1
            ),
        )  # fmt: skip
        assert len({node["NodeID"] for node in ray.nodes() if node["Alive"]}) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert numbers(there.rows) == numbers(here.rows) and len(there.rows) == 6
    assert [each.cell for each in there.failed] == [Cell("bad", seed) for seed in range(3)]
    assert all("thirteenth slope" in each.error for each in there.failed)


@pytest.mark.slow
def test_an_array_of_jobs_gives_the_rows_of_this_machine(tmp_path):
    pytest.importorskip("submitit")
    e, out = load_experiment(write(tmp_path, VARIANTS, "SEEDS = (0,)\n")), tmp_path / "there"
    here = ablate(e, tmp_path / "here")
    there = ablate(
        e, out,
        lambda cells: run_slurm(e, out, cells, n_jobs=2, n_thread=1, minutes=5, cluster="local"),
    )  # fmt: skip
    assert numbers(there.rows) == numbers(here.rows) and len(there.rows) == 2
    assert [each.cell for each in there.failed] == [Cell("bad", 0)]
    assert numbers(finished(e, out).values()) == numbers(here.rows)
