"""The machine that this process runs on: usable cores and memory, CPU, denormal numbers, and how freed memory is kept."""

import ctypes
import os
import platform
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
CPUINFO = Path("/proc/cpuinfo")
GLIBC_KEEP = (
    (-4, 0),  # M_MMAP_MAX: allocate no block as a mapping of its own
    (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: do not shrink the heap
    (-2, 1 << 28),  # M_TOP_PAD: grow the heap in large steps
    (-8, 1),  # M_ARENA_MAX: use one heap only, because the size of further ones is limited
)
"""Parameters of glibc's `mallopt` and the values that make it keep freed memory."""


def usable_cores() -> int:
    """Return how many cores the process may use, according to its CPU affinity and the quota of its cgroup, if any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def free_memory() -> int:
    """Return how many bytes of memory the process can still allocate without swapping, 1 GiB if the system does not say."""
    available = 1 << 30
    for line in _read(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit, used = _read(CGROUP / "memory.max").strip(), _read(CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used)))
    return available


def cpu_name() -> str:
    """Return the name of the processor as the system reports it, or "CPU" if it does not."""
    return platform.processor() or "CPU"


def has_fast_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 numbers faster than float32, which takes AMX or AVX512-BF16."""
    flags = next((line for line in _read(CPUINFO).splitlines() if line.startswith("flags")), "").split()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def flush_denormals() -> bool:
    """Make the calling thread and torch's intra-op workers treat denormal numbers as zero, and tell whether they all do.

    Multiplying denormal numbers is slow; a network that produces many of them is several times slower. The setting is per thread,
    and workers inherit it from the thread that starts them. Therefore call this before the first operation that runs in parallel.
    """
    torch.set_flush_denormal(True)
    denormal = torch.finfo(torch.float32).tiny / 4
    share = 1 << 16  # large enough for torch to divide an element-wise operation among the workers
    return not torch.full((share * torch.get_num_threads(),), denormal).mul_(1.5).any().item()


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for later allocations, and tell whether it does. Only glibc can.

    By default, large blocks go back to the kernel at once, and the kernel clears every page that it hands out again: in training
    120 MB per step. The setting is for processes that do only one thing until they end. Call this before anything else.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(parameter, value) for parameter, value in GLIBC_KEEP)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
