"""The report of the load benchmark: a page with tables, and two plots."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import paragraph, row_of
from benchmarks.plots import svg_figure


def write_report(results: dict[str, Any], out: Path) -> None:
    """Write load.md, load-goodput.svg and load-latency.svg."""
    plot(results, out)
    (out / "load.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """Return load.md."""
    capacity, limit = results["capacity"], results["timeout_seconds"]
    lines = [
        "# Load",
        "",
        f"Measured by `make load`: {results['when']}.",
        "",
        paragraph(
            f"Requests arrive at random times, whether or not the server keeps up, for {results['seconds']:g} s at each level",
            "of load, with images from 128 x 128 to 2 megapixels. Client and server share the cores. The timeout of a request is",
            f"{limit} s. The model is `{results['model']}`. A load of 1 is the capacity, {capacity / 1e6:.2f} MP/s, measured",
            "with three clients that each wait for an answer before the next request. Goodput is the number of pixels in",
            "answers within the timeout, divided by the time until the last of these answers. The plain server is a FastAPI",
            "endpoint that runs the same `Denoiser` in a thread pool.",
        ),
        "",
        "![Goodput](load-goodput.svg) ![Latency](load-latency.svg)",
        "",
        *levels(results),
        *latencies(results["service"]),
        *retries(results["service"]),
        *single_figures(results),
    ]
    return "\n".join(lines) + "\n"


def levels(results: dict[str, Any]) -> list[str]:
    """Return answers, refusals and goodput of both servers at each level of load."""
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
        f"The peak is the highest goodput of n3denoise. At the highest load, its goodput is {share:.1%} of the capacity.",
    ]


def latencies(rows: list[dict[str, Any]]) -> list[str]:
    """Return the latencies by level of load and image size."""
    sizes = sorted({size for row in rows for size in row["latency"]}, key=lambda size: math.prod(map(int, size.split("x"))))
    lines = [
        "",
        "Latency of n3denoise in seconds by image size, p50 / p95 / p99 (number of answers):",
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
    """Return how accurate Retry-After was."""
    ratios = np.array([ratio for row in rows for ratio in row["retry_after"]])
    if not len(ratios):
        return []
    within = np.mean((ratios >= 0.5) & (ratios <= 2))
    refused = sum(row["statuses"].get("429", 0) for row in rows)
    low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    return [
        "",
        paragraph(
            f"`Retry-After` divided by the time that the work ahead took, for {len(ratios)} of {refused} refusals (for the",
            f"others, the work ahead was not finished when the measurement ended): median {middle:.2f}, 5% to 95% quantiles",
            f"{low:.2f} to {high:.2f}; {within:.1%} are right within a factor of two.",
        ),
    ]


def single_figures(results: dict[str, Any]) -> list[str]:
    """Return the table of single figures."""
    bound = 3 * results["fairness"]["strip"] + results["fairness"]["alone_p95"]
    fair, plain, gone = results["fairness"], results["plain_fairness"], results["disconnects"]
    outside = results["overhead"]["share_outside_inference"]
    return [
        "",
        "| | |",
        "|---|---|",
        row_of("event-loop lag at the highest load, p99", f"at most {1000 * results['service'][-1]['loop_lag_p99']:.0f} ms"),
        row_of("share of the duration outside inference, 512 x 512 PNG", f"{outside:.1%}"),
        row_of("latency of a 256 x 256 image alone, p95", f"{fair['alone_p95']:.3f} s"),
        row_of(
            "the same with three images of 20 MP in the queue, p95",
            f"{fair['behind_large_p95']:.3f} s (a strip takes {fair['strip']:.3f} s; "
            f"three strips and the image alone: {bound:.3f} s)",
        ),
        row_of("the same on the plain server, p95", f"{plain['behind_large_p95']:.3f} s (alone {plain['alone_p95']:.3f} s)"),
        row_of(
            "latency of a 256 x 256 image after 50 clients disconnected",
            f"{gone['after']:.3f} s (alone {gone['alone']:.3f} s); {gone['begun']:.0f} of the abandoned images had been begun; "
            f"{gone['strips_computed']:.0f} strips were computed until the answer, its own included; "
            f"images left in the queue: {gone['left']:.0f}",
        ),
    ]


def plot(results: dict[str, Any], out: Path) -> None:
    """Draw goodput, and the latency of small images, over the load."""
    for name, label in (("goodput", "goodput, MP/s"), ("latency", "p95 of 256², s")):
        with svg_figure(out / f"load-{name}.svg", 5, 3.2) as figure:
            axes = figure.subplots()
            for server, title in (("service", "n3denoise"), ("plain", "plain FastAPI")):
                rows = [row for row in results[server] if name == "goodput" or "256x256" in row["latency"]]
                loads = [row["load"] for row in rows]
                values = [row["goodput"] / 1e6 if name == "goodput" else row["latency"]["256x256"][1] for row in rows]
                axes.plot(loads, values, marker="o", label=title)
            axes.set(xlabel="load, share of the capacity", ylabel=label, yscale="linear" if name == "goodput" else "log")
            if name == "goodput":
                axes.set_ylim(bottom=0)
            axes.legend()
