"""Every benchmark runs on tiny sizes, checks included; nothing is said about times."""

import importlib
import json

import pytest
import torch


def script(name):
    return importlib.import_module(name)


def assert_is_a_ratio(each):
    assert 0 < each["from"] <= each["median"] <= each["to"]


def test_training_with_memory_is_measured_against_the_same_weights_without():
    filled, train_step = script("filled"), script("train_step")
    rows = train_step.measure(filled.peer_shaped(**filled.TINY), (40, 90), "float32", 2)
    assert [row["pairs"] for row in rows] == [40, 90]
    for row in rows:
        assert row["recall"] >= 0.999
        assert_is_a_ratio(row["train"]["ratio"])
        assert_is_a_ratio(row["evaluate"]["ratio"])


def test_decoding_is_measured_at_every_length_beside_gpt2():
    decode = script("decode")
    rows = decode.measure(decode.decoding(8, is_tiny=True), (64, 128), 1)
    assert rows[0]["times_shortest"]["median"] == 1
    for row in rows:
        assert row["kv_heads"] == 4 and row["memory_layers"] == 2
        assert_is_a_ratio(row["gpt2"]["times_ours"])


def test_gpt2_attends_to_the_pairs_written_into_its_cache():
    filled, decode = script("filled"), script("decode")
    model = decode.gpt2_like(filled.peer_shaped(**filled.TINY), 48)
    cache, ids = decode.full_cache(model, 40, 8), torch.zeros(1, 1, dtype=torch.int64)
    with torch.no_grad():
        seen = model(ids, past_key_values=cache, use_cache=True).logits
        for layer in cache.layers:
            layer.values[:, :, :40] = 0
            layer.cumulative_length.fill_(40)
        assert not torch.allclose(seen, model(ids, past_key_values=cache, use_cache=True).logits)


def test_a_state_filled_by_appending_is_one_that_has_read_as_far():
    filled = script("filled")
    config = filled.peer_shaped(**filled.TINY)
    model = script("train_step").Decoder(config)
    state = filled.filled_state(model, 100, 2)
    assert state.n_read == [115, 115]
    memory = state.layers[3].memory
    assert [memory.size(lane) for lane in range(2)] == [100, 100]
    norms = memory.pairs(0).keys.norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)
    state.advance(model(filled.segment_of(config, 2, seed=3).tokens, state))
    assert int(memory.pairs(1).token_index[-1]) == 115


def test_reading_writes_its_row_after_every_stretch():
    filled, read_novel = script("filled"), script("read_novel")
    memory = {"memory.layers": "all", "memory.positions": "rotary", "memory.max_distance": 48}
    config = filled.peer_shaped(**filled.TINY | memory | {"n_sink": 2, "conv_width": 0})
    model, rows = script("train_step").Decoder(config).eval(), []
    ids = filled.zipf_tokens(1, 150, config.vocab_size, seed=1)
    read_novel.measure(model, ids, {"precision": "float32"}, rows.append, stretch=64, n_check=100)
    assert [row["tokens"] for row in rows] == [64, 128, 149]
    assert [s["tokens"] for s in rows[-1]["stretches"]] == [64, 64, 21]
    assert rows[-1]["page_bytes_a_token_by_arithmetic"] == 4 * (2 * 1 * 8 * 4 + 20)
    assert rows[-1]["page_bytes_a_token"] >= 4 * (2 * 1 * 8 * 4 + 20)


def test_fork_and_save_check_what_they_measure(tmp_path):
    fork_and_save = script("fork_and_save")
    fork = fork_and_save.measure_fork(3072, "bfloat16", 2, 1)
    assert fork["fork_bytes"] <= 8 * 1024 * (2 * 2 * 64 * 2 + 20) + 8 * 64
    saved = fork_and_save.measure_save(4096, "bfloat16", 2, 1, tmp_path)
    assert saved["bytes_written"]["save again"] < saved["bytes_written"]["first save"]
    assert list(tmp_path.iterdir()) == []


def test_the_check_of_a_save_notices_one_number():
    fork_and_save = script("fork_and_save")
    memory = fork_and_save.filled(1024, "float32", 1)
    got = {name: column.clone() for name, column in fork_and_save.tensors_of(memory).items()}
    fork_and_save.check_same("opened", got, fork_and_save.tensors_of(memory))
    got["values"][0, 7, 3] += 1
    with pytest.raises(AssertionError, match="opened: values must be"):
        fork_and_save.check_same("opened", got, fork_and_save.tensors_of(memory))


def test_a_profile_names_every_kind_of_work():
    filled, profile_steps = script("filled"), script("profile_steps")
    rows = profile_steps.measure(filled.peer_shaped(**filled.TINY), 40)
    assert [row["step"] for row in rows] == ["training", "reading", "writing"]
    for row in rows:
        assert row["kinds"]["search"] > 0
        products = row["kinds"]["linear layers"] + row["kinds"]["compiled blocks"]
        assert products > 0
        assert row["floor"] >= 0 and row["milliseconds"] > 0


def test_peer_takes_turns_with_ours():
    if not script("install").python().exists():
        pytest.skip("the peer is not installed: benchmarks/peers/install.py")
    filled, memorizing = script("filled"), script("memorizing")
    row = memorizing.measure(filled.peer_shaped(**filled.TINY), 64, 1)
    assert 0 < row["peer_recall"] <= 1 and row["recall"] >= 0.999
    for kind in ("train", "evaluate"):
        assert_is_a_ratio(row[kind]["peer_times_float32"])


def test_a_row_replaces_the_one_with_the_same_settings(tmp_path):
    path = tmp_path / "rows.json"
    for pairs, value in ((1, "a"), (2, "b"), (1, "c")):
        script("measuring").put_row(path, {"pairs": pairs, "value": value}, ["pairs"])
    assert json.loads(path.read_text()) == [
        {"pairs": 2, "value": "b"},
        {"pairs": 1, "value": "c"},
    ]


def test_tables_say_what_the_committed_results_say():
    table = script("table")
    page = table.PAGE.read_text()
    assert table.rewrite(page, table.tables(table.RESULTS)) == page
    with pytest.raises(ValueError, match="must hold"):
        table.rewrite("no marker", "")


def test_auto_takes_the_quicker_of_its_two_searches():
    rows = json.loads((script("table").RESULTS / "search.json").read_text())
    assert {row["queries"] for row in rows} >= {1, 512}
    for row in rows:
        ways = row["ways"]
        assert ways["fused"]["recall"] == ways["exact"]["recall"] == 1
        assert ways["fused"]["milliseconds"] < ways["exact"]["milliseconds"], row["pairs"]


def test_plotbench_is_made_judged_asked_and_reported(tmp_path):
    found = script("plotbench_smoke").smoke(tmp_path)
    assert found["n_story"] == 32 and found["n_shortcut"] > 20
    assert list(found["seconds"]) == ["make", "check", "run", "report"]
