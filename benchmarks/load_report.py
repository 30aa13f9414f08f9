"""Writes what the load benchmark measured: a page with tables, and two plots."""

import math
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

CPUS = Path("/proc/cpuinfo")


def provenance() -> str:
    """Date, commit and machine of a measurement, in a line."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    models = [line.split(":", 1)[1].strip() for line in CPUS.read_text().splitlines() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    cpu = models[0] if models else platform.processor()
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {cores} cores of {cpu}, Python {platform.python_version()}"


def write_report(results: dict[str, Any], out: Path) -> None:
    """Write LOAD.md, load-goodput.svg and load-latency.svg."""
    plot(results, out)
    capacity, limit = results["capacity"], results["timeout_seconds"]
    lines = [
        "# Load",
        "",
        f"`make load`: {provenance()}.",
        "",
        f"Open-loop arrivals, {results['seconds']:g} s a level, seed {results['seed']}, 128² to 2 MP, client and server on",
        f"the same cores. A request may take {limit} s. Capacity, three clients in a closed loop: {capacity / 1e6:.2f} MP/s.",
        "Goodput: pixels of answers within that time, over the time until the last of them. The plain server is a FastAPI",
        "endpoint around the same `Denoiser` in a thread pool.",
        "",
        "![Goodput](load-goodput.svg) ![Latency](load-latency.svg)",
        "",
        *levels(results),
        *latencies(results["service"]),
        *retries(results["service"]),
        *single_figures(results),
    ]
    (out / "LOAD.md").write_text("\n".join(lines) + "\n")


def row_of(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def levels(results: dict[str, Any]) -> list[str]:
    """Answers, refusals and goodput of both servers at each level."""
    peak = max(row["goodput"] for row in results["service"])
    columns = ("load", "server", "requests", "answered", "refused", "late", "longest s", "goodput MP/s", "of the peak")
    lines = [row_of(*columns, "/livez p99 ms"), "|---" * (len(columns) + 1) + "|"]
    for pair in zip(results["service"], results["plain"], strict=True):
        for name, row in zip(("n3denoise", "plain"), pair, strict=True):
            answered, refused = row["statuses"].get("200", 0), row["statuses"].get("429", 0)
            counts = (row["requests"], answered, refused, row["late"], f"{row['longest']:.1f}")
            goodput = (f"{row['goodput'] / 1e6:.2f}", f"{row['goodput'] / peak:.1%}")
            lines.append(row_of(f"{row['load']:g}", name, *counts, *goodput, f"{1000 * row['livez_p99']:.0f}"))
    share = results["service"][-1]["goodput"] / results["capacity"]
    return [
        *lines,
        "",
        f"The peak is n3denoise's best of these; under the strongest load it has {share:.1%} of the closed loop's.",
    ]


def latencies(rows: list[dict[str, Any]]) -> list[str]:
    """Quantiles by size and level."""
    sizes = sorted({size for row in rows for size in row["latency"]}, key=lambda size: math.prod(map(int, size.split("x"))))
    lines = [
        "",
        "Latency of n3denoise, seconds, p50 / p95 / p99 (answers):",
        "",
        row_of("load", *sizes),
        "|---" * (len(sizes) + 1) + "|",
    ]
    for row in rows:
        cells = [
            " / ".join(f"{value:.2f}" for value in row["latency"][size][:3]) + f" ({row['latency'][size][3]})"
            if size in row["latency"]
            else ""
            for size in sizes
        ]
        lines.append(row_of(f"{row['load']:g}", *cells))
    return lines


def retries(rows: list[dict[str, Any]]) -> list[str]:
    """How right Retry-After was."""
    ratios = np.array([ratio for row in rows for ratio in row["retry_after"]])
    if not len(ratios):
        return []
    within = np.mean((ratios >= 0.5) & (ratios <= 2))
    refused = sum(row["statuses"].get("429", 0) for row in rows)
    low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    return [
        "",
        f"`Retry-After` over the time that the work ahead really took, {len(ratios)} of {refused} refusals (the work ahead of",
        f"the others was not done when the level ended): median {middle:.2f}, 5% to 95% {low:.2f} to {high:.2f};",
        f"{within:.1%} within a factor of two.",
    ]


def single_figures(results: dict[str, Any]) -> list[str]:
    """What is one number each."""
    bound = 3 * results["fairness"]["strip"] + results["fairness"]["alone_p95"]
    fair, plain, gone = results["fairness"], results["plain_fairness"], results["hang_ups"]
    outside = results["overhead"]["share_outside_inference"]
    return [
        "",
        "| | |",
        "|---|---|",
        row_of("event-loop lag at the strongest load, p99", f"at most {1000 * results['service'][-1]['loop_lag_p99']:.0f} ms"),
        row_of("share of a 512² PNG's wall time outside inference", f"{outside:.1%}"),
        row_of("256² alone, p95", f"{fair['alone_p95']:.3f} s"),
        row_of(
            "256² with three 20 MP images queued, p95",
            f"{fair['behind_large_p95']:.3f} s; a strip takes {fair['strip']:.3f} s, three and its own {bound:.3f} s",
        ),
        row_of("the same with the plain server", f"{plain['behind_large_p95']:.3f} s; alone {plain['alone_p95']:.3f} s"),
        row_of(
            "256² after 50 clients hung up",
            f"{gone['after']:.3f} s; alone {gone['alone']:.3f} s; strips computed until then, its own among them: "
            f"{gone['strips_computed']:.0f} of {gone['begun']:.0f} images begun; left: {gone['left']:.0f}",
        ),
    ]


def plot(results: dict[str, Any], out: Path) -> None:
    """Goodput and the latency of small images over load."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "n3denoise"
    from matplotlib import pyplot as plt

    for name, label in (("goodput", "goodput, MP/s"), ("latency", "p95 of 256², s")):
        figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
        for server, title in (("service", "n3denoise"), ("plain", "plain FastAPI")):
            rows = [row for row in results[server] if name == "goodput" or "256x256" in row["latency"]]
            loads = [row["load"] for row in rows]
            values = [row["goodput"] / 1e6 if name == "goodput" else row["latency"]["256x256"][1] for row in rows]
            axes.plot(loads, values, marker="o", label=title)
        axes.set(xlabel="load, share of the capacity", ylabel=label, yscale="linear" if name == "goodput" else "log")
        if name == "goodput":
            axes.set_ylim(bottom=0)
        axes.legend()
        figure.savefig(out / f"load-{name}.svg", metadata={"Date": None})
        plt.close(figure)
