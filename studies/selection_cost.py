"""Run time and peak memory of the selection and of hard k-nearest neighbors over the number of points.

This is figure 7 of the replicated report.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from models.neighbors.selection import neighbor_weights, select_neighbors
from studies.points import K, draw
from studies.report import Options, Report

TEMPERATURE = 1e-3
WINDOW = 225  # candidates in the network's search window of 15 x 15
ROWS = 2048  # number of queries computed at a time, with a window


def run(options: Options) -> None:
    report = Report(options, "selection.md")
    full = (100, 300) if options.quick else (100, 300, 1000, 3000, 10_000)
    windowed = (300, 1000) if options.quick else (*full[1:], 30_000, 100_000)
    tasks = {
        "relaxed, all points": (all_points, full),
        f"relaxed, window of {WINDOW}": (within_window, windowed),
        "hard kNN, scikit-learn": (hard, sorted({*full, *windowed})),
    }
    measured = {name: in_fresh_process(work, numbers) for name, (work, numbers) in tasks.items()}
    with report.figure("selection-cost") as figure:
        axes = figure.subplots(1, 2)
        for name, costs in measured.items():
            numbers = [number for number, _, _ in costs]
            axes[0].loglog(numbers, [seconds for _, seconds, _ in costs], "o-", ms=3, label=name)
            axes[1].loglog(numbers, [max(memory, 0.1) for _, _, memory in costs], "o-", ms=3, label=name)
        axes[0].set(xlabel="points N", ylabel="seconds")
        axes[1].set(xlabel="points N", ylabel="MiB above the process before")
        axes[1].axhline(500, color="k", ls=":", lw=1)
        axes[0].legend()
    rows = []
    for name, costs in measured.items():
        rows += [[name, f"{number:,}", f"{seconds:.3f}", f"{memory:.0f}"] for number, seconds, memory in costs]
    report.table("cost", ("selection", "N", "seconds", "peak memory, MiB"), rows)


def all_points(number: int) -> None:
    points = draw("normal", number)[:, None]
    select_neighbors(points, points, points, TEMPERATURE, K)


def within_window(number: int) -> Tensor:
    """Select among the points around each query, as the network does on an image."""
    points = draw("normal", number)
    starts = (torch.arange(number) - WINDOW // 2).clamp(0, number - WINDOW)
    selected = []
    for some in torch.arange(number).split(ROWS):
        candidates = points.unfold(0, WINDOW, 1)[starts[some]]  # (rows, O)
        apart = (points[some, None] - candidates).square()
        weights = neighbor_weights(apart[None], TEMPERATURE, K)[0]
        selected.append(torch.einsum("mok,mo->mk", weights, candidates))
    return torch.cat(selected)


def hard(number: int) -> None:
    points = draw("normal", number).numpy().astype(np.float64)[:, None]
    NearestNeighbors(n_neighbors=K).fit(points).kneighbors(points)


def in_fresh_process(work: Callable[[int], object], numbers: Sequence[int]) -> list[tuple[int, float, float]]:
    """Measure `work` for rising N in a new process, which holds no memory freed by something else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(costs, work, numbers).result()


def costs(work: Callable[[int], object], numbers: Sequence[int]) -> list[tuple[int, float, float]]:
    """Return N, the seconds, and the growth of the peak resident memory in MiB (nan if the system does not report it)."""
    work(numbers[0])  # the first call loads libraries
    before = memory("VmRSS")
    found = []
    for number in numbers:
        start = time.perf_counter()
        work(number)
        found.append((number, time.perf_counter() - start, max(0.0, memory("VmHWM") - before)))
    return found


def memory(field: str) -> float:
    """Return a field of the process status of Linux in MiB, or nan on other systems."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024
