"""Tiny archives of the same forms as the real ones."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from memformer.data.manuscripts import sha256
from memformer.data.packages import Pin


def wheel(path: Path, members: Mapping[str, bytes]) -> Pin:
    """Write a wheel; its pin."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return Pin(package="tiny", version="1.0", file=path.name, sha256=sha256(path.read_bytes()))


def deb(path: Path, members: Mapping[str, bytes]) -> bytes:
    """Write a .deb with a data.tar.xz; its bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    out = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n\n"), ("data.tar.xz", packed.getvalue())):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    path.write_bytes(out)
    return out


def r_int(value: int) -> bytes:
    return struct.pack(">i", value)


def r_string(text: str, latin_1: bool = False) -> bytes:
    data = text.encode("latin-1" if latin_1 else "utf-8")
    return r_int(9 | (4 << 12 if latin_1 else 8 << 12)) + r_int(len(data)) + data


def r_strings(lines: list[str], latin_1: bool = False) -> bytes:
    return r_int(16) + r_int(len(lines)) + b"".join(r_string(line, latin_1) for line in lines)


def r_object(item: bytes, version: int = 3) -> bytes:
    head = b"X\n" + r_int(version) + r_int(0) + r_int(0)
    return head + (r_int(5) + b"UTF-8" if version == 3 else b"") + item


def r_chunk(item: bytes, pack: Callable[[bytes], bytes] = zlib.compress) -> bytes:
    data = r_object(item)
    return len(data).to_bytes(4, "big") + pack(data)


def r_named_list(values: Mapping[str, bytes], names_symbol: bytes) -> bytes:
    """A list with its names in a pairlist of attributes."""
    names = r_int(2 | 1 << 10) + names_symbol + r_strings(list(values)) + r_int(254)
    return r_int(19 | 1 << 9) + r_int(len(values)) + b"".join(values.values()) + names


def r_database(chunks: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """An rdx and an rdb. The second use of the symbol `names` is a reference, as R writes it."""
    at, places = 0, {}
    for name, chunk in chunks.items():
        places[name] = r_int(13) + r_int(2) + r_int(at) + r_int(len(chunk))
        at += len(chunk)
    variables = r_named_list(places, r_int(1) + r_string("names"))
    empty = r_int(19) + r_int(0)
    index = r_named_list({"variables": variables, "references": empty}, r_int(1 << 8 | 255))
    return zlib.compress(r_object(index)), b"".join(chunks.values())
