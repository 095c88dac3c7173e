"""Files of Debian packages, fetched with `apt-get download` and read without installing them."""

import io
import logging
import lzma
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from memformer.data.manuscripts import sha256
from memformer.data.packages import Fetched, FetchError, cache_folder, keep

_MAGIC = b"!<arch>\n"
_HEADER = 60
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DebPin:
    """One Debian package. A mirror may serve another revision: then the file's hash differs, and
    the hashes of the texts in it decide whether they are still the same."""

    package: str
    version: str
    sha256: str


def fetch_deb(pin: DebPin, *, cache: Path | None = None, deb: Path | None = None) -> Fetched:
    """A .deb in the cache: found there, copied from `deb`, or downloaded with apt-get.

    A file with another hash than the pinned one is used and logged as a warning; its reader
    verifies the texts.

    Raises:
        FetchError: there is no apt-get, it is offline, or its package lists are missing.
        FileNotFoundError: there is no file at `deb`.
        OSError: the cache cannot be written; nothing half-written is left in it.
    """
    folder = cache_folder(cache)
    kept = sorted(folder.glob(f"{pin.package}_*.deb"))
    if deb is None and kept:
        _log.info("%s is in the cache at %s, nothing to fetch", pin.package, kept[-1])
        return Fetched(_compare(kept[-1], pin), is_new=False)
    if deb is not None:
        name = f"{pin.package}_{pin.version}.deb"
        return Fetched(keep(_compare(deb, pin), folder / name), is_new=True)
    with tempfile.TemporaryDirectory(prefix="memformer-") as temp:
        found = _apt_download(pin, Path(temp), folder)
        return Fetched(keep(_compare(found, pin), folder / found.name), is_new=True)


def read_deb(deb: Path, members: tuple[str, ...]) -> list[bytes]:
    """Files of a .deb by their paths without a leading `./`.

    Raises:
        ValueError: it is truncated or no .deb, or lacks a member.
    """
    try:
        packed = next(
            (data for name, data in _ar(deb).items() if name.startswith("data.tar")), None
        )
        if packed is None:
            raise ValueError(f"{deb.name} must be a .deb, it has no data.tar")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            held = {member.name.removeprefix("./"): member for member in archive}
            return [_extract(archive, held, member, deb) for member in members]
    except (EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise ValueError(f"{deb} is truncated or no .deb: {error}") from None


def _extract(
    archive: tarfile.TarFile, held: dict[str, tarfile.TarInfo], member: str, deb: Path
) -> bytes:
    file = archive.extractfile(held[member]) if member in held else None
    if file is None:
        raise ValueError(f"{deb.name} has no member {member!r}")
    return file.read()


def _ar(path: Path) -> dict[str, bytes]:
    """Members of an ar archive: 60-byte headers (name 16, size at 48), data padded to even."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError(f"{path} must be a .deb, which begins with {_MAGIC!r}")
    members, at = {}, len(_MAGIC)
    while at + _HEADER <= len(data):
        name = data[at : at + 16].decode("latin-1").strip().removesuffix("/")
        size = int(data[at + 48 : at + 58].strip() or b"0")
        start = at + _HEADER
        if start + size > len(data):
            raise ValueError(f"{path} is truncated in {name!r}")
        members[name] = data[start : start + size]
        at = start + size + size % 2
    return members


def _compare(deb: Path, pin: DebPin) -> Path:
    if (got := sha256(deb.read_bytes())) != pin.sha256:
        message = "%s is another revision than %s: sha256 %s, expected %s; its texts are verified"
        _log.warning(message, deb, pin.version, got, pin.sha256)
    return deb


def _apt_download(pin: DebPin, folder: Path, cache: Path) -> Path:
    by_hand = f"apt-get download {pin.package}"
    way_out = (
        f"on Debian run `apt-get update` and try again, or download it elsewhere with "
        f"`{by_hand}`, then pass it with --wheel PATH or put it into {cache}"
    )
    if shutil.which("apt-get") is None:
        raise FetchError(f"cannot fetch {pin.package}: there is no apt-get here; {way_out}")
    _log.info("fetching %s with apt-get", pin.package)
    done = subprocess.run(by_hand.split(), cwd=folder, capture_output=True, text=True)
    found = sorted(folder.glob(f"{pin.package}_*.deb"))
    if done.returncode or not found:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise FetchError(f"cannot fetch {pin.package}: apt-get says {reason[0]!r}; {way_out}")
    return found[0]
