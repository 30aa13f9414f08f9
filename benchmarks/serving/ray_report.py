"""The reports of the benchmarks on Ray: pages with figures, and a plot of the autoscaling."""

from pathlib import Path
from typing import Any

from benchmarks.markdown import paragraph, row_of
from benchmarks.plots import svg_figure


def write_report(results: dict[str, Any], out: Path) -> None:
    """Write ray.md and ray.svg."""
    plot(results["scaled"], out)
    (out / "ray.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """Return ray.md."""
    killed, updated, scaled = (results[name] for name in ("killed", "updated", "scaled"))
    rows: list[tuple[str, str]] = [
        ("answers by status", "statuses"),
        ("refusals without `Retry-After`", "without_retry_after"),
        ("answers other than 200, 429 and 503", "unexpected"),
        ("longest answer", "longest"),
        ("all replicas ready again after", "settled_after"),
        ("goodput before", "goodput_before"),
        ("goodput until all replicas were ready again", "goodput_during"),
        ("goodput after", "goodput_after"),
    ]
    lines = [
        "# Ray Serve",
        "",
        f"Measured by `python -m benchmarks.serving.ray_serve`: {results['when']}.",
        "",
        paragraph(
            f"{results['replicas']} replicas with one thread each, together {results['capacity'] / 1e6:.2g} MP/s, with the model",
            f"`{results['model']}`. Images of mixed sizes arrive for {results['seconds']:g} s at {results['load']:g} times this",
            "rate. After a third of the time, one replica is killed (SIGKILL), or the deployment is replaced by one with another",
            "setting. The replicas share the cores with each other and with the client. Goodput is the number of pixels in the",
            "answers that arrive in a period, divided by its length. The largest images take most of a minute, so it varies much",
            "over a few seconds.",
        ),
        "",
        "| | killed | updated |",
        "|---|---|---|",
        *(row_of(label, shown(name, killed[name]), shown(name, updated[name])) for label, name in rows),
        "",
        "## Autoscaling",
        "",
        paragraph(
            f"The same images arrive for {results['seconds']:g} s at 0.9 times the rate of all replicas, beginning with one",
            f"replica. The dashed line marks the last answer, after {scaled['stopped'] / 60:.1f} minutes. Answers by status:",
            f"{counts(scaled['statuses'])}.",
            "The waiting work is that of all replicas as Ray exports it, about every 10 s.",
        ),
        "",
        "![Replicas and waiting work over time](ray.svg)",
        "",
    ]
    return "\n".join(lines)


def shown(name: str, value: Any) -> str:
    """Return a figure with its unit."""
    if name == "statuses":
        return counts(value)
    if name.startswith("goodput"):
        return "-" if value is None else f"{value / 1e6:.2g} MP/s"
    return f"{value:.1f} s" if name in ("longest", "settled_after") else str(value)


def counts(statuses: dict[str, int]) -> str:
    """Return the number of answers by status."""
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))


def batch_page(results: dict[str, Any]) -> str:
    """Return ray-batch.md."""
    pictures, cores = results["pictures"], results["cores"]

    def speed(command: str) -> str:
        return f"{results[f'{command}_seconds']:.0f} s; {results[f'{command}_per_minute']:.0f} pictures per minute"

    lines = [
        "# Many files on Ray",
        "",
        f"Measured by `python -m benchmarks.serving.ray_batch`: {results['when']}.",
        "",
        paragraph(
            f"`n3denoise denoise --model n3unet` with {pictures} pictures of 256 x 256 pixels; number of cores: {cores}.",
            "The plain command has as many threads, and `--ray local` as many workers of one thread. Times include the start;",
            "the rates are those from the first result to the last one.",
        ),
        "",
        "| | |",
        "|---|---|",
        row_of("plain command", speed("plain")),
        row_of("`--ray local`", speed("ray")),
        row_of("results when Ray was killed", results["before"]),
        row_of("skipped by the second run (a worker can finish one more picture after the kill)", results["skipped"]),
        row_of("computed twice", results["computed_twice"]),
        row_of("missing", results["missing"]),
        row_of("different from the plain command", results["different"]),
        "",
    ]
    return "\n".join(lines)


def plot(scaled: dict[str, Any], out: Path) -> None:
    """Draw the number of replicas and the seconds of waiting work over time."""
    minutes = [at / 60 for at, _, _ in scaled["series"]]
    with svg_figure(out / "ray.svg", 7, 4) as figure:
        replicas, waiting = figure.subplots(2, 1, sharex=True)
        replicas.step(minutes, [count for _, count, _ in scaled["series"]], where="post")
        replicas.set(ylabel="replicas", ylim=(0, None), yticks=range(max(count for _, count, _ in scaled["series"]) + 1))
        waiting.plot(minutes, [seconds for _, _, seconds in scaled["series"]], color="C2")
        waiting.set(ylabel="seconds of work", xlabel="minutes", ylim=(0, None))
        for axes in (replicas, waiting):
            axes.axvline(scaled["stopped"] / 60, color="gray", lw=1, ls="--")
