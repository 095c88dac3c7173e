import os
import subprocess
import sys

import pytest

from memformer import process

CODE = """
import logging, os, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(message)s")
{code}
print("policy", os.environ.get("OMP_WAIT_POLICY"), "torch" in sys.modules)
"""


def run(code: str, **env: str) -> str:
    kept = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY" and "MALLOC" not in k}
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(code=code)],
        env=kept | env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_switches_are_thrown_and_logged_at_debug_level():
    out = run("from memformer.process import tune_process; tune_process()")
    assert "threads: OMP_WAIT_POLICY=PASSIVE" in out and "policy PASSIVE False" in out
    assert "memory: " in out


def test_importing_the_library_changes_nothing():
    out = run("import memformer, memformer.cli, memformer.data, memformer.process")
    assert out == "policy None False\n"


def test_policy_of_the_environment_wins():
    code = "from memformer.process import let_idle_threads_sleep as f; print('did', f())"
    assert "did False\npolicy ACTIVE" in run(code, OMP_WAIT_POLICY="ACTIVE")


def test_after_torch_is_imported_it_is_too_late(monkeypatch, caplog):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setitem(sys.modules, "torch", object())
    with caplog.at_level("DEBUG", logger="memformer.process"):
        assert not process.let_idle_threads_sleep()
    assert "torch is imported already" in caplog.text or "faiss is imported already" in caplog.text
    assert "OMP_WAIT_POLICY" not in os.environ


def test_other_c_libraries_are_left_alone_with_a_debug_line(monkeypatch, caplog):
    monkeypatch.setattr(process.platform, "libc_ver", lambda: ("", ""))
    with caplog.at_level("DEBUG", logger="memformer.process"):
        assert not process.keep_memory()
    assert "memory: not glibc but" in caplog.text


def test_malloc_settings_of_the_environment_win(monkeypatch, caplog):
    monkeypatch.setattr(process.sys, "platform", "linux")
    monkeypatch.setattr(process.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    with caplog.at_level("DEBUG", logger="memformer.process"):
        assert not process.keep_memory()
    assert "memory: MALLOC_MMAP_MAX_ is set" in caplog.text


@pytest.mark.skipif(process.platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_stays_in_the_process():
    code = """
import ctypes
from memformer.process import keep_memory
print("did", keep_memory())
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1])
block = libc.malloc(1 << 26)
ctypes.memset(block, 1, 1 << 26)
before = resident()
libc.free(block)
print("kept", resident() > before * 0.9)
"""
    assert "did True\nkept True" in "\n".join(
        line for line in run(code).splitlines() if not line.startswith("memory")
    )
