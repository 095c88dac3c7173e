"""Texts in R's lazy-load data: character vectors in `Rdata.rdx` and `Rdata.rdb`, without R.

The formats are R's own (R Internals, "Serialization Formats"; lazy-load databases): the rdx is an
index, serialised and compressed, of where in the rdb each object's compressed chunk lies.
"""

import bz2
import lzma
import struct
import zlib
from typing import Any

_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 6}]

# Bits of an item's flags; its type is the lowest byte (R Internals, table "SEXPTYPEs").
_HAS_ATTRIBUTES, _HAS_TAG, _LATIN_1 = 1 << 9, 1 << 10, 1 << 14


def texts(rdx: bytes, rdb: bytes) -> dict[str, str]:
    """Every object of a lazy-load database, its lines joined by newlines.

    Raises:
        ValueError: the data is truncated or corrupt, or an object is no character vector.
    """
    try:
        places = _Reader(zlib.decompress(rdx, wbits=47)).item()["variables"]
        return {name: _text(name, rdb[at : at + size]) for name, (at, size) in places.items()}
    except (zlib.error, lzma.LZMAError, OSError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"R data must be an index and its chunks: {error!r}") from None


def _text(name: str, chunk: bytes) -> str:
    lines = _Reader(_inflate(chunk)).item()
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ValueError(f"R object {name!r} must be a character vector without missing values")
    return "\n".join(lines)


def _inflate(chunk: bytes) -> bytes:
    """A chunk is its length unpacked, then zlib data, or a letter that names the compression."""
    size, kind, packed = int.from_bytes(chunk[:4], "big"), chunk[4:5], chunk[5:]
    match kind:
        case b"0":
            data = packed
        case b"1":
            data = zlib.decompress(packed)
        case b"2":
            data = bz2.decompress(packed)
        case b"Z":
            data = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA).decompress(packed)
        case _:
            data = zlib.decompress(chunk[4:])
    if len(data) != size:
        raise ValueError(f"an R chunk must unpack to {size} bytes, got {len(data)}")
    return data


class _Reader:
    """R's XDR serialisation, versions 2 and 3: the few types that texts and indexes are made of."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._symbols: list[str] = []
        if (magic := self._take(2)) != b"X\n":
            raise ValueError(f"R data must be serialised as XDR, 'X\\n', got {magic!r}")
        version, _, _ = self._int(), self._int(), self._int()
        if version == 3:
            self._take(self._int())  # the native encoding's name; strings carry their own

    def item(self) -> Any:
        """The next item: str, None, list of int, str or items, or dict of a named list."""
        flags = self._int()
        match flags & 0xFF:
            case 254:  # null, also the end of a pairlist
                return None
            case 255:  # reference
                return self._symbols[(flags >> 8 or self._int()) - 1]
            case 1:  # symbol
                self._symbols.append(self.item())
                return self._symbols[-1]
            case 2:  # pairlist
                return self._pairs(flags)
            case 9:  # string
                return self._string(flags)
            case kind:
                return self._vector(kind, flags)

    def _pairs(self, flags: int) -> list[tuple[Any, Any]]:
        if flags & _HAS_ATTRIBUTES:
            self.item()
        tag = self.item() if flags & _HAS_TAG else None
        value = self.item()
        return [(tag, value), *(self.item() or [])]

    def _string(self, flags: int) -> str | None:
        if (size := self._int()) < 0:
            return None  # R's missing value
        return self._take(size).decode("latin-1" if flags & _LATIN_1 else "utf-8")

    def _vector(self, kind: int, flags: int) -> Any:
        size = self._int()
        values: list[Any]
        match kind:
            case 10 | 13:  # logical, integer
                values = list(struct.unpack(f">{size}i", self._take(4 * size)))
            case 16 | 19:  # strings, list
                values = [self.item() for _ in range(size)]
            case _:
                raise ValueError(f"R data must hold texts, got an item of type {kind}")
        names = dict(self.item() or []).get("names") if flags & _HAS_ATTRIBUTES else None
        return dict(zip(names, values, strict=True)) if names and kind == 19 else values

    def _int(self) -> int:
        return int.from_bytes(self._take(4), "big", signed=True)

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError(f"R data is truncated: {size} bytes wanted at {self._at}")
        self._at += size
        return taken
