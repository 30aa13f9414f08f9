"""Tests of cores, memory and the CPU, with files like those of the kernel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models import machine


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CGROUP", "MEMINFO", "CPUINFO"):
        monkeypatch.setattr(machine, name, tmp_path if name == "CGROUP" else tmp_path / name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("", 8)]
)
def test_usable_cores_respect_the_cgroup_quota(host: Path, quota: str, cores: int) -> None:
    (host / "cpu.max").write_text(quota)
    assert machine.usable_cores() == cores


def test_free_memory_is_the_smaller_of_machine_and_cgroup(host: Path) -> None:
    assert machine.free_memory() == 1 << 30
    (host / "MEMINFO").write_text("MemTotal: 9000000 kB\nMemAvailable:    4000000 kB\n")
    assert machine.free_memory() == 4_000_000 * 1024
    (host / "memory.max").write_text("1000000\n")
    (host / "memory.current").write_text("400000\n")
    assert machine.free_memory() == 600_000
    (host / "memory.max").write_text("max\n")
    assert machine.free_memory() == 4_000_000 * 1024


@pytest.mark.parametrize(("flags", "fast"), [("avx512_bf16 x", True), ("a amx_bf16", True), ("avx2 avx512f", False), ("", False)])
def test_fast_bfloat16_follows_from_the_cpu_flags(host: Path, flags: str, fast: bool) -> None:
    (host / "CPUINFO").write_text(f"processor: 0\nflags\t\t: fpu {flags}\n")
    assert machine.has_fast_bfloat16() is fast


def test_freed_memory_is_reused_without_page_faults() -> None:
    """Measure page faults in a separate process, because the setting cannot be undone."""
    code = """
import resource, torch
from models.machine import keep_freed_memory
assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(1 << 24).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(30)][-1])  # after some repetitions a free hole is large enough for a block and its alignment
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000  # of 16,384 pages
