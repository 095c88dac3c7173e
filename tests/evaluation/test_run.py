import json
from pathlib import Path

import numpy as np
import pytest

from memformer.evaluation import run, store
from memformer.evaluation.arms import Arm, usual_arms
from memformer.evaluation.run import evaluate, passages
from memformer.model.saved_state import weights_hash
from tests.evaluation.story import LetterGroups, backwards, make_model, manuscript

ARMS = [
    arm
    for arm in usual_arms(window=16, n_sink=2, n_retrieved=4, controls=True)
    if arm.name != "memory-4-shuffled"
]
BOOKS = [manuscript(), backwards()]
CLASSES = ["other", "first_name", "again <16", "again 16-64", "again 64-256", "again >=256"]


def go(folder, model, books=BOOKS, arms=ARMS, **options):
    options = {"n_tokens": 240, "block_len": 16, "n_draw": 50, **options}
    return evaluate(model, LetterGroups(), books, arms, folder, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("run")
    return folder, go(folder, model)


def test_result_is_written_as_it_is_returned(done):
    folder, result = done
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(result))


def test_result_says_what_it_was_made_with(done, model):
    result = done[1]
    assert result["schema"] == 1
    assert result["settings"]["weights"] == weights_hash(model)
    assert result["settings"]["tokenizer"] == "letter-groups"
    assert {"torch", "processor", "cores", "threads", "commit"} <= result["made"].keys()
    assert [arm["config"]["window"] for arm in result["arms"]] == [16] * len(ARMS)


def test_result_holds_no_text_and_no_path(done):
    folder, _ = done
    written = (folder / "result.json").read_text()
    assert "Abernathy" not in written and "ferry left" not in written
    assert str(Path.home()) not in written and str(folder) not in written


def test_levels_are_means_of_the_stored_losses(done):
    folder, result = done
    nats = [
        store.load_reading(store.reading_path(folder, book, "full")).reading.nats
        for book in ("ferry", "quay")
    ]
    level = result["metrics"]["ferry"]["arms"]["full"]
    assert level["nats_per_token"]["value"] == pytest.approx(nats[0].mean(), rel=1e-6)
    assert level["second_half"]["value"] == pytest.approx(nats[0][119:].mean(), rel=1e-6)
    both = result["metrics"]["all"]["arms"]["full"]["nats_per_token"]["value"]
    assert both == pytest.approx(np.concatenate(nats).mean(), rel=1e-6)


def test_bits_and_words_are_of_the_text_read(done):
    folder, result = done
    book = store.load_book(folder, "ferry")
    total = store.load_reading(store.reading_path(folder, "ferry", "full")).reading.nats.sum()
    rest = book.text[int(book.spans[0, 1]) :]
    level = result["metrics"]["ferry"]["arms"]["full"]
    assert level["bits_per_byte"]["value"] == pytest.approx(total / np.log(2) / len(rest), rel=1e-5)
    # the first token is "Chap": the word that it begins ends behind it
    words = np.exp(total / len(book.text.split()))
    assert level["word_perplexity"]["value"] == pytest.approx(words, rel=1e-4)


def test_gain_is_baseline_less_arm(done):
    metrics = done[1]["metrics"]["all"]
    levels = {a: metrics["arms"][a]["nats_per_token"]["value"] for a in metrics["arms"]}
    assert set(metrics["gain"]) == set(levels) - {"window-sinks"}
    for arm, gain in metrics["gain"].items():
        expected = levels["window-sinks"] - levels[arm]
        assert gain["nats_per_token"]["value"] == pytest.approx(expected, abs=1e-6)
        assert gain["nats_per_token"]["low"] <= gain["nats_per_token"]["high"]


def test_share_of_gap_follows_from_the_levels(done):
    metrics = done[1]["metrics"]["all"]
    level = {a: metrics["arms"][a]["nats_per_token"]["value"] for a in metrics["arms"]}
    row = next(r for r in metrics["gap_closed"] if r["arm"] == "memory-4")
    base = level["window-sinks"]
    share = (base - level["memory-4"]) / (base - level["full"])
    assert row["rival"] == "full" and row["whole"]["value"] == pytest.approx(share, rel=1e-3)
    ahead = row["ahead_whole"]["value"]
    assert ahead == pytest.approx(level["full"] - level["memory-4"], abs=1e-6)


def test_parts_add_up_to_the_whole(done):
    metrics = done[1]["metrics"]["ferry"]
    level = metrics["arms"]["memory-4"]
    whole = level["nats_per_token"]["value"] * metrics["n_tokens"]
    assert list(metrics["classes"]) == CLASSES and sum(metrics["classes"].values()) == 239
    by_class = sum(
        metrics["classes"][name] * (each["value"] or 0) for name, each in level["by_class"].items()
    )
    assert by_class == pytest.approx(whole, rel=1e-5)
    for part in ("by_distance", "by_fraction"):
        n = [row["n"] for row in level[part]]
        assert sum(n) == 239
        total = sum(row["n"] * row["value"] for row in level[part])
        assert total == pytest.approx(whole, rel=1e-5)
    last = metrics["gain"]["memory-4"]["cumulative"][-1]
    assert last["value"] == pytest.approx(
        metrics["gain"]["memory-4"]["nats_per_token"]["value"], abs=1e-6
    )


def test_a_class_of_few_tokens_has_no_interval(done):
    metrics = done[1]["metrics"]["ferry"]
    by_class = metrics["arms"]["full"]["by_class"]
    few = [name for name, n in metrics["classes"].items() if 0 < n < 20]
    assert few and all(by_class[name]["low"] is None for name in few)
    assert by_class["other"]["low"] is not None


def test_readings_tell_time_memory_and_the_other_book(done):
    rows = {(row["book"], row["arm"]): row for row in done[1]["readings"]}
    assert rows["ferry", "memory-4-other-book"]["other_book"] == "quay"
    assert rows["quay", "memory-4-other-book"]["other_book"] == "ferry"
    assert rows["ferry", "window"]["memory_bytes"] == 0 < rows["ferry", "memory-4"]["memory_bytes"]
    assert all(row["seconds"] > 0 and row["tokens_per_second"] > 0 for row in rows.values())
    assert rows["ferry", "full"]["retrieved"] is None
    assert sum(map(sum, rows["ferry", "memory-4"]["retrieved"]["count"])) > 0


def test_passages_lie_beyond_the_window_in_the_second_half():
    assert passages(4096, 256, 4) == [range(a, a + 192) for a in (2048, 2559, 3070, 3581)]
    assert passages(40, 30, 2) == [range(31, 35), range(35, 39)]
    assert passages(4096, 256, 0) == []


def test_done_readings_are_not_made_again(done, model, monkeypatch):
    folder, result = done
    monkeypatch.setattr(run, "read", lambda *a, **k: pytest.fail("read again"))
    seen = []
    again = go(folder, model, progress=lambda *news: seen.append(news))
    assert again["metrics"] == result["metrics"]
    assert seen[0] == ("ferry", "full", 240, 240) and len(seen) == 2 * len(ARMS)


def test_interrupted_evaluation_goes_on_and_equals_an_uninterrupted_one(done, model, tmp_path):
    class Stop(Exception):
        pass

    def stop(book, arm, n_done, n):
        if (book, arm) == ("ferry", "memory-4") and n_done > 100:
            raise Stop

    with pytest.raises(Stop):
        go(tmp_path, model, progress=stop)
    assert not (tmp_path / "result.json").exists()
    left = {path.name for path in (tmp_path / "tokens").iterdir()}
    assert left == {"ferry.npz", *(f"ferry--{a}.npz" for a in ("full", "window", "window-sinks"))}
    assert go(tmp_path, model)["metrics"] == done[1]["metrics"]


def test_a_book_can_be_added(model, tmp_path):
    go(tmp_path, model, books=BOOKS[:1], arms=ARMS[:2])
    result = go(tmp_path, model, arms=ARMS[:2])
    assert set(result["metrics"]) == {"ferry", "quay", "all"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_tokens": 230}, "n_tokens=240, this evaluation has 230"),
        ({"arms": usual_arms(window=12, n_sink=2)[1:2]}, "config.window=16, .* has 12"),
        ({"books": [manuscript(text="Other words, " * 200)]}, "made with n_total="),
    ],
)
def test_a_folder_of_other_settings_is_refused(done, model, change, message):
    with pytest.raises(ValueError, match=message):
        go(done[0], model, **{"books": BOOKS[:1], "arms": ARMS[1:2], **change})


def test_a_folder_of_other_weights_is_refused(done):
    other = make_model(n_layer=3)
    with pytest.raises(ValueError, match="choose another folder, another name for the arm"):
        go(done[0], other, books=BOOKS[:1], arms=ARMS[1:2])


def test_digest_of_weights_sees_one_changed_number(model):
    other = make_model()
    assert weights_hash(other) == weights_hash(model)
    other.norm.weight.data[3] += 1e-3
    assert weights_hash(other) != weights_hash(model)


def test_damaged_reading_is_named(model, tmp_path):
    go(tmp_path, model, books=BOOKS[:1], arms=ARMS[:2])
    path = store.reading_path(tmp_path, "ferry", "full")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"ferry--full.npz is damaged .*: delete it and evaluate"):
        go(tmp_path, model, books=BOOKS[:1], arms=ARMS[:2])


def test_failed_write_leaves_what_stood_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(path, {"a": float("nan")})
    full = OSError(28, "No space left on device")

    def no_space(_):
        raise full

    monkeypatch.setattr(store.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        store.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_names_must_differ(model, tmp_path):
    with pytest.raises(ValueError, match="manuscripts must have different names, got 'ferry'"):
        go(tmp_path, model, books=[BOOKS[0], BOOKS[0]])
    with pytest.raises(ValueError, match="arms must have different names, got 'full' twice"):
        go(tmp_path, model, arms=[ARMS[0], ARMS[0]])
    with pytest.raises(ValueError, match="manuscripts must hold at least one, got none"):
        go(tmp_path, model, books=[])
    with pytest.raises(ValueError, match="must not be 'all'"):
        go(tmp_path, model, books=[manuscript("all")])


def test_one_book_has_no_other(model, tmp_path):
    with pytest.raises(ValueError, match="'other_book' needs at least two manuscripts"):
        go(tmp_path, model, books=BOOKS[:1])


def test_baseline_must_be_an_arm(model, tmp_path):
    with pytest.raises(ValueError, match="baseline must name one of the arms .* got 'bare'"):
        go(tmp_path, model, baseline="bare")


def test_baseline_can_be_chosen(model, tmp_path):
    result = go(tmp_path, model, books=BOOKS[:1], arms=ARMS[:3], baseline="window")
    assert set(result["metrics"]["ferry"]["gain"]) == {"full", "window-sinks"}


def test_a_clash_of_settings_shows_before_anything_is_read(model, tmp_path):
    arms = [ARMS[0], Arm(name="c", attention="full_clamped")]
    with pytest.raises(ValueError, match="needs the override memory.max_distance"):
        go(tmp_path, model, arms=arms)
    assert list(tmp_path.iterdir()) == []


def test_five_books_carry_an_interval_over_books(model, tmp_path):
    books = [manuscript(f"book-{i}", manuscript().text[60 * i :]) for i in range(5)]
    result = go(tmp_path, model, books=books, arms=ARMS[1:3], n_tokens=120)
    gain = result["metrics"]["all"]["gain"]["window"]["nats_per_token"]
    assert gain["low_books"] <= gain["value"] <= gain["high_books"]
    assert "low_books" not in result["metrics"]["book-0"]["gain"]["window"]["nats_per_token"]
