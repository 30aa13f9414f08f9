"""What this process may use: cores, memory and number formats of the CPU, as cgroups and the machine grant them."""

import ctypes
import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
CPUINFO = Path("/proc/cpuinfo")
GLIBC_KEEP = (
    (-4, 0),  # M_MMAP_MAX: no block is a mapping of its own
    (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: the heap does not shrink
    (-2, 1 << 28),  # M_TOP_PAD: it grows in large steps
    (-8, 1),  # M_ARENA_MAX: and it is the only one, for the others' size is bounded
)


def usable_cores() -> int:
    """Return how many cores the process may keep busy: its affinity, and the cgroup's quota where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def free_memory() -> int:
    """Return the bytes of memory that the process could still take without swapping."""
    available = 1 << 30  # what to assume where nothing tells
    for line in _read(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit, used = _read(CGROUP / "memory.max").strip(), _read(CGROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used)))
    return available


def has_fast_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16 numbers faster than float32: AMX or AVX512-BF16."""
    flags = next((line for line in _read(CPUINFO).splitlines() if line.startswith("flags")), "").split()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def flush_denormals() -> bool:
    """Have the calling thread and the intra-op workers treat denormal numbers as zero, and tell whether they all do.

    Denormal numbers take the slow path of every multiplication: a network that meets many is several times slower. The setting
    belongs to a thread, and workers take it over from the thread that starts them: so this comes before the first operation
    that runs in parallel.
    """
    torch.set_flush_denormal(True)
    denormal = torch.finfo(torch.float32).tiny / 4
    share = 1 << 16  # above the size from which an element-wise operation is shared among the workers
    return not torch.full((share * torch.get_num_threads(),), denormal).mul_(1.5).any().item()


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed for what is allocated next, and tell whether it does (glibc does).

    Otherwise large blocks go back to the kernel at once and come back as pages to be cleared: in training 120 MB at each step.
    For processes that do one thing to their end; call it first of all.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(parameter, value) for parameter, value in GLIBC_KEEP)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
