import shutil
import subprocess
from pathlib import Path

import pytest
from archives import deb

from memformer.data import debian
from memformer.data.debian import DebPin, fetch_deb, read_deb
from memformer.data.manuscripts import sha256
from memformer.data.packages import FetchError

MEMBERS = {"usr/a.txt": b"Rain fell. " * 99, "usr/b.txt": b"Sun."}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "r-cran-tiny_1.0-1_all.deb"
    data = deb(path, MEMBERS)
    return path, DebPin(package="r-cran-tiny", version="1.0-1", sha256=sha256(data))


def apt_that(monkeypatch, act):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda command, cwd, **_: act(command, Path(cwd)))


def test_members_are_read_in_the_order_asked_for(tiny):
    assert read_deb(tiny[0], ("usr/b.txt", "usr/a.txt")) == [b"Sun.", MEMBERS["usr/a.txt"]]


def test_missing_member_is_an_error(tiny):
    with pytest.raises(ValueError, match="r-cran-tiny_1.0-1_all.deb has no member 'usr/c.txt'"):
        read_deb(tiny[0], ("usr/c.txt",))


@pytest.mark.parametrize("size", [90, 200, 300])
def test_truncated_deb_is_an_error(tiny, size):
    path, _ = tiny
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="truncated|has no data.tar"):
        read_deb(path, ("usr/a.txt",))


def test_damaged_deb_is_an_error(tiny):
    path, _ = tiny
    data = bytearray(path.read_bytes())
    data[220:240] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="truncated or no .deb"):
        read_deb(path, ("usr/a.txt",))


def test_file_that_is_no_archive_is_an_error(tmp_path):
    (tmp_path / "a.deb").write_bytes(b"PK")
    with pytest.raises(ValueError, match="a.deb must be a .deb, which begins with"):
        read_deb(tmp_path / "a.deb", ())


def test_download_runs_apt_get_once(tiny, cache, monkeypatch):
    path, pin = tiny
    commands = []

    def act(command, folder):
        commands.append(command)
        shutil.copy(path, folder)
        return subprocess.CompletedProcess(command, 0, "", "")

    apt_that(monkeypatch, act)
    assert fetch_deb(pin, cache=cache) == (cache / path.name, True)
    assert fetch_deb(pin, cache=cache) == (cache / path.name, False)
    assert commands == [["apt-get", "download", "r-cran-tiny"]]


def test_other_revision_is_used_and_warned_about(tiny, cache, caplog):
    path, pin = tiny
    path.write_bytes(path.read_bytes() + b"\n")
    fetched = fetch_deb(pin, cache=cache, deb=path)
    assert fetched.path.read_bytes() == path.read_bytes()
    assert f"is another revision than 1.0-1: sha256 {sha256(path.read_bytes())}" in caplog.text


def test_no_apt_get_is_an_error_with_the_way_out(tiny, cache, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="no apt-get here; .*`apt-get download r-cran-tiny`"):
        fetch_deb(tiny[1], cache=cache)


def test_no_package_lists_is_an_error_that_says_update(tiny, cache, monkeypatch):
    answer = "E: Unable to locate package r-cran-tiny"
    apt_that(monkeypatch, lambda c, _: subprocess.CompletedProcess(c, 100, "", answer))
    with pytest.raises(FetchError, match="apt-get says 'E: Unable to locate .*`apt-get update`"):
        fetch_deb(tiny[1], cache=cache)
    assert not cache.exists()


def test_deb_that_is_not_there_is_an_error(tiny, cache, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.deb"):
        fetch_deb(tiny[1], cache=cache, deb=tmp_path / "missing.deb")
