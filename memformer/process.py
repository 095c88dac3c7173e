"""Two switches of the process that cost nothing, for programs that own their process.

They must be thrown before torch is imported, and change the whole process: so the command line
throws them, and importing the library never does. In a program of your own, call `tune_process()`
before `import torch`. What they bring is measured in `benchmarks/`.
"""

import ctypes
import logging
import os
import platform
import sys

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_MAX = -4
_KEEP_ALL = 2**31 - 1
_log = logging.getLogger(__name__)


def tune_process() -> None:
    """Keep freed memory in the process, and let idle OpenMP threads sleep.

    What is not possible here, or was decided by the environment, is left alone; each switch says
    at debug level what it did.
    """
    keep_memory()
    let_idle_threads_sleep()


def keep_memory() -> bool:
    """Keep glibc from returning big blocks to the kernel (`mallopt`, malloc.h).

    Without it each training step faults the same pages in again. False on other C libraries.
    """
    library, version = platform.libc_ver()
    if not sys.platform.startswith("linux") or library != "glibc":
        _log.debug("memory: not glibc but %s, left as it is", library or sys.platform)
        return False
    if named := sorted(n for n in os.environ if n.startswith("MALLOC_")):
        _log.debug("memory: %s is set, left as it is", named[0])
        return False
    mallopt = ctypes.CDLL(None).mallopt
    done = bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _KEEP_ALL))
    _log.debug("memory: glibc %s keeps big blocks: %s", version, done)
    return done


def let_idle_threads_sleep() -> bool:
    """Set `OMP_WAIT_POLICY=PASSIVE`, for torch and FAISS each bring an OpenMP runtime, and threads
    that wait by spinning fight over the cores. False if the environment names a policy, or torch
    or FAISS is imported already, whose runtime reads it only once."""
    if policy := os.environ.get("OMP_WAIT_POLICY"):
        _log.debug("threads: OMP_WAIT_POLICY=%s is set, left as it is", policy)
        return False
    if loaded := sorted({"torch", "faiss"} & set(sys.modules)):
        _log.debug("threads: %s is imported already, left as they are", loaded[0])
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    _log.debug("threads: OMP_WAIT_POLICY=PASSIVE")
    return True
