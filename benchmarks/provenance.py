"""Where and when a measurement was taken: date, commit, machine."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
"""The folder of the committed reports and plots."""
CPUINFO = Path("/proc/cpuinfo")


def cpu() -> dict[str, str]:
    """Return the facts about a CPU that Linux states, such as "model name" and "flags"; empty on other systems."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_name() -> str:
    """Return the name of the CPU, or its architecture if the system does not state the name."""
    return cpu().get("model name", platform.machine())


def commit(*changed: str) -> str:
    """Return the short hash of the current commit, with a remark if one of these paths was changed since."""
    name = _git("rev-parse", "--short=10", "HEAD") or "unknown"
    return f"{name}, with changes" if changed and _git("status", "--porcelain", "--", *changed) else name


def provenance() -> str:
    """Return date, commit and machine in one line."""
    count = len(os.sched_getaffinity(0))
    cores = "1 core" if count == 1 else f"{count} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {cores} of {cpu_name()}, Python {platform.python_version()}"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
