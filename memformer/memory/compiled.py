"""The compiled part, which the package works without: `_fused.cpp`, `_token.cpp` and `_window.cpp`.

It is called through plain pointers, so that no header of torch or Python is needed.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_ABI = 5  # of the calls, as in _fused.cpp


@cache
def is_built() -> bool:
    """Whether the compiled part is here."""
    return library_or_none() is not None


@cache
def library_or_none() -> Any:
    """The compiled part; None where it was not built."""
    here = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = here / f"_fused{suffix}"
        if path.is_file():
            library = ctypes.CDLL(str(path))
            break
    else:
        return None
    if library.memformer_abi() != _ABI:
        raise ImportError(
            f"{path} was built from another version of the sources: install the package again"
        )
    long, pointer, integer = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
    library.memformer_pack.restype = None
    library.memformer_pack.argtypes = [pointer, integer, long, long, pointer, pointer, pointer]
    library.memformer_search.restype = None
    library.memformer_search.argtypes = [
        integer, integer, long, long, long, long,
        pointer, pointer, pointer,
        long, pointer, pointer, pointer,
        long, pointer, pointer,
        long, pointer, pointer, pointer, pointer,
        integer, ctypes.c_float, ctypes.c_float, pointer, long, long, pointer,
        pointer, pointer, pointer,
    ]  # fmt: skip
    library.memformer_take.restype = None
    library.memformer_take.argtypes = [
        integer, integer, integer, long, long, long, long,
        pointer, pointer, long, pointer, pointer, pointer, pointer, integer,
        pointer, long, long, pointer, pointer,
    ]  # fmt: skip
    real = ctypes.c_float
    library.memformer_token_read.restype = None
    library.memformer_token_read.argtypes = [
        integer, integer, *[long] * 9, pointer, pointer, real, *[pointer] * 14,
    ]  # fmt: skip
    library.memformer_token_back.restype = None
    library.memformer_token_back.argtypes = [
        integer, integer, *[long] * 4, *[pointer] * 4, real, *[pointer] * 5,
    ]  # fmt: skip
    if hasattr(library, "memformer_window_read"):  # compilers that know no tiles leave it out
        library.memformer_window_read.restype = None
        library.memformer_window_read.argtypes = [integer, *[pointer] * 8]
        library.memformer_window_back.restype = None
        library.memformer_window_back.argtypes = [integer, *[pointer] * 13]
    return library


def address(tensor: Tensor, dtype: torch.dtype) -> int:
    """Where C finds a tensor: it reads what it is told to expect, so that is checked here."""
    if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise TypeError(
            f"a contiguous {dtype} tensor on the CPU is wanted, got {tensor.dtype} on "
            f"{tensor.device} with strides {tensor.stride()}"
        )
    return tensor.data_ptr()


def longs(values: Sequence[int]) -> Any:
    """An array of int64 for C."""
    return (ctypes.c_int64 * len(values))(*values)


def pointers(tensors: Sequence[Tensor]) -> Any:
    """An array of where tensors begin."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
