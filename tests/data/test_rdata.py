import bz2
import lzma
import zlib

import pytest
from archives import r_chunk, r_database, r_int, r_object, r_string, r_strings

from memformer.data.rdata import texts

LINES = ["Rain fell.", "", "It stopped \u2014 caf\u00e9."]
LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


def pack(kind: bytes):
    return lambda data: (
        kind
        + {
            b"0": lambda d: d,
            b"1": zlib.compress,
            b"2": bz2.compress,
            b"Z": lambda d: lzma.compress(d, lzma.FORMAT_RAW, filters=LZMA),
        }[kind](data)
    )


@pytest.mark.parametrize(
    "packed", [zlib.compress, *map(pack, (b"0", b"1", b"2", b"Z"))], ids=["zlib", *"012Z"]
)
def test_lines_are_read_under_every_compression(packed):
    chunk = r_chunk(r_strings(LINES), packed)
    assert texts(*r_database({"a": chunk, "b": r_chunk(r_strings(["Sun."]))})) == {
        "a": "\n".join(LINES),
        "b": "Sun.",
    }


def test_strings_marked_latin_1_are_decoded_so():
    assert texts(*r_database({"a": r_chunk(r_strings(["caf\u00e9"], latin_1=True))})) == {
        "a": "caf\u00e9"
    }


def test_both_versions_of_the_serialisation_are_read():
    for version in (2, 3):
        data = r_object(r_strings(["Rain."]), version)
        chunk = len(data).to_bytes(4, "big") + zlib.compress(data)
        assert texts(*r_database({"a": chunk})) == {"a": "Rain."}


def test_pairlists_skip_their_own_attributes():
    cell = r_int(2 | 1 << 9 | 1 << 10) + r_int(254) + r_int(1) + r_string("x") + r_strings(["y"])
    attributed = r_int(16 | 1 << 9) + r_int(1) + r_string("Rain.") + cell + r_int(254)
    assert texts(*r_database({"a": r_chunk(attributed)})) == {"a": "Rain."}


@pytest.mark.parametrize("item", [r_int(14) + r_int(0), r_int(6)])
def test_other_types_are_an_error(item):
    with pytest.raises(ValueError, match="R data .*(got an item of type 14|truncated)"):
        texts(*r_database({"a": r_chunk(item)}))


@pytest.mark.parametrize("item", [r_int(16) + r_int(1) + r_int(9) + r_int(-1), r_int(254)])
def test_missing_values_and_null_are_an_error(item):
    with pytest.raises(ValueError, match="R object 'a' must be a character vector without missing"):
        texts(*r_database({"a": r_chunk(item)}))


def test_truncated_database_is_an_error():
    rdx, rdb = r_database({"a": r_chunk(r_strings(LINES))})
    with pytest.raises(ValueError, match="R data must be an index and its chunks"):
        texts(rdx, rdb[:-9])
    with pytest.raises(ValueError, match="R data must be an index and its chunks"):
        texts(rdx[:-9], rdb)


def test_chunk_of_another_length_is_an_error():
    data = r_object(r_strings(["Rain."]))
    chunk = (len(data) + 1).to_bytes(4, "big") + zlib.compress(data)
    with pytest.raises(ValueError, match=f"must unpack to {len(data) + 1} bytes, got {len(data)}"):
        texts(*r_database({"a": chunk}))


def test_other_serialisations_are_an_error():
    with pytest.raises(ValueError, match="R data must be serialised as XDR"):
        texts(zlib.compress(b"A\n1\n"), b"")
