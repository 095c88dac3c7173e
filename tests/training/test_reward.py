"""The loop: both losses in one update, reasons to stop, what is refused, and resuming."""

import copy
import csv
import json
from dataclasses import replace

import pytest
import torch

from memformer.config import DecoderConfig, FractionConfig, MemoryConfig, OptimiserConfig
from memformer.config.reward_training import TuneConfig
from memformer.data.lanes import Segment
from memformer.model.decoder import Decoder
from memformer.reward.chain import TooManyUnscorable
from memformer.training.optimiser import build_optimiser
from memformer.training.predictive import TrainingDiverged
from memformer.training.reward import TuneData, reward_update, tune
from memformer.training.reward_losses import RewardLoss, build_loss, rloo_loss
from memformer.training.tune_checkpoint import save_tuning

MODEL = DecoderConfig(
    vocab_size=6, n_layer=2, n_head=2, n_kv_head=1, n_embd=16, head_dim=8, mlp_dim=24, window=4,
    segment_len=8, memory=MemoryConfig(layers=(1,), n_retrieved=2, page_len=8),
    fraction=FractionConfig(kind="fourier", n_frequency=4, p_unknown=0.5),
)  # fmt: skip
FAST = OptimiserConfig(
    learning_rate=1e-2, gate_learning_rate=1e-2, warmup_steps=1, schedule="constant",
    weight_decay=0.0, ema_decay=0.5,
)  # fmt: skip
CONFIG = TuneConfig(
    n_prompt=3, n_branch=4, n_new=6, length=8, n_update=6, gold_every=2, checkpoint_every=2,
    optimiser=FAST, gold_patience=9, kl_weight=0.01,
)  # fmt: skip


def decoder():
    torch.manual_seed(0)
    return Decoder(MODEL)


def drawn(seed, *shape):
    return torch.randint(6, shape, generator=torch.Generator().manual_seed(seed))


def passage(n):
    tokens = drawn(100 + n, 2, 9)
    u = ((torch.arange(8) + 0.5) / 8).expand(2, -1)
    ones = torch.ones(2, 8)
    return [Segment(tokens[:, :-1], tokens[:, 1:], ones.bool(), ones, u, [], [])]


DATA = TuneData(
    prompts=lambda n: drawn(n, 3, 2), passages=passage, held=drawn(999, 8, 2)
)  # fmt: skip


def likes_two(text):
    """Share of the token 2, of ids or rows."""
    return text[..., 2].mean(1) if text.dim() == 3 else (text == 2).float().mean(1)


def run(out=None, model=None, config=CONFIG, **changes):
    model = model or decoder()
    done = tune(model, decoder(), DATA, changes.pop("reward", likes_two), config,
                gold=changes.pop("gold", likes_two), out=out, **changes)  # fmt: skip
    return model, done


def weights(model):
    return [w.detach().clone() for w in model.parameters()]


@pytest.mark.parametrize("method", ["raft", "rloo", "direct"])
def test_each_rung_raises_the_reward(method):
    config = replace(CONFIG, method=method, n_update=25, gold_every=25, n_prompt=6, n_branch=8,
                     predictive_weight=0.1)  # fmt: skip
    data = DATA._replace(prompts=lambda n: drawn(n, 6, 2), held=drawn(999, 32, 2))
    done = tune(decoder(), decoder(), data, likes_two, config, gold=likes_two)
    assert done.looks[-1].mean > done.looks[0].mean + 0.1
    assert done.best == 25


def test_both_losses_move_the_weights_in_one_update():
    got = {}
    for name, weight, reward in (
        ("both", 0.5, likes_two),
        ("predictive", 0.5, lambda text: torch.zeros(len(text))),
        ("reward", 0.0, likes_two),
    ):
        model = decoder()
        optimiser = torch.optim.SGD([{"params": list(model.parameters()), "peak": 0.0}], lr=0.0)
        config = replace(CONFIG, predictive_weight=weight, kl_weight=0.0,
                         optimiser=replace(FAST, clip_norm=1e9))  # fmt: skip
        made = reward_update(
            model, decoder(), optimiser, DATA, reward, config, 0, build_loss(config)
        )
        got[name] = torch.cat(
            [(torch.zeros_like(w) if w.grad is None else w.grad).flatten()
             for w in model.parameters()]
        )  # fmt: skip
        assert (made.nats == made.nats) == (weight > 0)
    torch.testing.assert_close(got["both"], got["predictive"] + got["reward"])
    assert got["predictive"].norm() > 0 and got["reward"].norm() > 0


def test_resumed_tuning_equals_uninterrupted(tmp_path):
    whole, done = run(tmp_path / "whole")

    def broken(policy, reference, prompts, reward, config, n):
        if n == 5:
            raise KeyboardInterrupt
        return rloo_loss(policy, reference, prompts, reward, config, n)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", loss_of=broken)
    torch.manual_seed(12345)  # whatever else was drawn meanwhile
    again, parts = run(tmp_path / "parts")
    assert parts == done
    for a, b in zip(weights(whole), weights(again), strict=True):
        assert torch.equal(a, b)
    for name in ("metrics.csv", "gold.csv"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "parts" / name).read_text()


def test_a_run_that_died_before_its_first_checkpoint_doubles_no_look(tmp_path):
    def broken(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, loss_of=broken)
    run(tmp_path)
    steps = [row.split(",")[0] for row in (tmp_path / "gold.csv").read_text().split()]
    assert steps == ["step", "0", "2", "4", "6"]


def test_a_resumed_run_spends_no_more_than_an_uninterrupted_one(tmp_path, monkeypatch):
    config = replace(CONFIG, max_tokens=3000, n_update=50, checkpoint_every=1)
    _, whole = run(tmp_path / "whole", config=config, gold=None)
    n_saved = []

    def dies_after(*parts):
        save_tuning(*parts)
        n_saved.append(1)
        if len(n_saved) == len(whole.rows):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("memformer.training.reward.save_tuning", dies_after)
        run(tmp_path / "parts", config=config, gold=None)
    _, parts = run(tmp_path / "parts", config=config, gold=None)
    assert parts == whole


def test_checkpoint_of_other_inputs_or_without_its_gold_is_refused(tmp_path):
    run(tmp_path, inputs="these")
    with pytest.raises(ValueError, match="was made with other texts, another reward"):
        run(tmp_path, inputs="those")
    with pytest.raises(ValueError, match="was made with held-out gold"):
        run(tmp_path, inputs="these", gold=None)


def test_finished_tuning_is_not_run_again(tmp_path):
    _, done = run(tmp_path)

    def never(*_):
        raise AssertionError("an update was made")

    model, again = run(tmp_path, loss_of=never)
    assert again == done


def test_checkpoint_of_another_config_or_reference_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match="was made with kl_weight=0.01, this tuning has 0.5"):
        run(tmp_path, config=replace(CONFIG, kl_weight=0.5))
    other = decoder()
    with torch.no_grad():
        other.norm.weight.add_(0.1)
    with pytest.raises(ValueError, match="KL would be to another model"):
        tune(decoder(), other, DATA, likes_two, CONFIG, gold=likes_two, out=tmp_path)


def test_folder_tells_how_it_was_made(tmp_path):
    _, done = run(tmp_path)
    made = json.loads((tmp_path / "tune.json").read_text())
    assert made["config"]["method"] == "rloo" and "commit" in made["made_with"]
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["tokens"]) <= done.spent
    assert done.reason == "all 6 updates are made"


def test_reference_is_frozen_and_not_moved():
    reference = decoder()
    before = weights(reference)
    tune(decoder(), reference, DATA, likes_two, CONFIG, gold=likes_two)
    assert all(torch.equal(a, b) for a, b in zip(before, reference.parameters(), strict=True))
    assert all(w.requires_grad and w.grad is None for w in reference.parameters())  # as it came
    model = decoder()
    with pytest.raises(ValueError, match="reference must be a frozen copy"):
        tune(model, model, DATA, likes_two, CONFIG)


def test_unscorable_texts_are_counted_and_left_out():
    def some(text):
        score = likes_two(text)
        score[0] = torch.nan
        return score

    _, done = run(reward=some)
    assert {row["n_unscorable"] for row in done.rows} == {1}
    assert all(row["score"] == row["score"] and row["grad_norm"] > 0 for row in done.rows)


def test_too_many_unscorable_texts_stop_the_run_before_a_weight_moves():
    def most(text):
        score = likes_two(text)
        score[: len(text) // 4] = torch.nan
        return score

    model = decoder()
    before = weights(model)
    with pytest.raises(TooManyUnscorable, match="3 of 12 continuations have no score"):
        run(model=model, reward=most)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_loss_that_is_not_finite_moves_no_weight():
    def broken(policy, reference, prompts, reward, config, n):
        out = rloo_loss(policy, reference, prompts, reward, config, n)
        return out._replace(loss=out.loss * torch.inf)

    model = decoder()
    before = weights(model)
    with pytest.raises(TrainingDiverged, match="the weights were not moved"):
        run(model=model, loss_of=broken)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_kl_budget_stops():
    config = replace(CONFIG, kl_budget=0.0, kl_smoothing=1, kl_weight=0.0, n_update=50)
    _, done = run(config=config)
    assert done.reason.startswith("KL budget: ") and len(done.rows) < 50


def test_compute_stops_before_it_is_exceeded():
    config = replace(CONFIG, max_tokens=3000, n_update=50)
    _, done = run(config=config, gold=None)
    assert done.reason.startswith("compute: ") and 2000 < done.spent <= 3000


def test_falling_gold_stops_and_the_best_weights_are_kept():
    seen = []

    def turns(text):
        """Rises for two looks, then falls, whatever is written."""
        seen.append(len(seen))
        height = {0: 0.0, 1: 1.0}.get(len(seen) - 1, -float(len(seen)))
        return torch.full((len(text),), height) + torch.linspace(0, 1e-3, len(text))

    config = replace(CONFIG, gold_patience=2, n_update=50)
    model, done = run(config=config, gold=turns)
    assert done.reason.startswith("held-out gold: lower bound")
    assert done.best == 2 and len(done.rows) == 6  # best at look 1, two looks below it
    short, _ = run(config=replace(CONFIG, n_update=2, gold_patience=2))
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(short), strict=True))


def test_gold_that_misses_texts_counts_them():
    def some(text):
        value = likes_two(text)
        value[:3] = torch.nan
        return value

    _, done = run(gold=some)
    assert {each.n_missing for each in done.looks} == {3}
    with pytest.raises(ValueError, match="gold judged 0 of 8"):
        run(gold=lambda text: torch.full((len(text),), torch.nan))


def test_without_gold_the_average_is_kept_and_said():
    lines = []
    _, done = run(gold=None, told=lines.append)
    assert "nothing watches for hacking" in lines[-1] and done.best == 6 and not done.looks


def test_loss_of_a_rung_may_be_replaced():
    calls = []

    def mine(policy, reference, prompts, reward, config, n) -> RewardLoss:
        calls.append(n)
        return rloo_loss(policy, reference, prompts, reward, config, n)

    run(loss_of=mine)
    assert calls == [0, 1, 2, 3, 4, 5]


def test_prompts_are_read_again_after_each_update():
    """A prompt's keys depend on weights: branches after an update differ from those before."""
    model, first = decoder(), []
    same = DATA._replace(prompts=lambda n: drawn(0, 3, 2))

    def watch(policy, reference, prompts, reward, config, n):
        out = rloo_loss(policy, reference, prompts, reward, config, 0)  # the same draws
        first.append((out.k1, out.text.clone()))
        return out

    tune(model, decoder(), same, likes_two, replace(CONFIG, n_update=4), loss_of=watch)
    assert first[0][0] == pytest.approx(0, abs=1e-6)  # policy and reference are still alike
    assert first[3][0] != pytest.approx(0, abs=1e-4)


def test_the_average_is_what_is_judged():
    model, done = run()
    raw = copy.deepcopy(decoder())
    optimiser = build_optimiser(raw, CONFIG.optimiser)
    for n in range(CONFIG.n_update):
        reward_update(raw, decoder(), optimiser, DATA, likes_two, CONFIG, n, rloo_loss)
    assert any(not torch.equal(a, b) for a, b in zip(weights(raw), weights(model), strict=True))
