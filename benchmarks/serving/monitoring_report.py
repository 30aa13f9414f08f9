"""The report of the monitoring benchmark: a page with figures, and a plot over time."""

from pathlib import Path
from typing import Any

from benchmarks.markdown import paragraph, row_of
from benchmarks.plots import svg_figure


def write_report(results: dict[str, Any], out: Path) -> None:
    """Write monitoring.md and monitoring.svg."""
    plot(results, out)
    (out / "monitoring.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """Return monitoring.md."""
    series = results["series"]
    pending, firing = times(series["pending"]), times(series["firing"])
    refused, requests = (dict(map(tuple, series[name])) for name in ("refused", "requests"))
    loaded = [at for at in requests if 60 <= at <= results["stopped"] and at in refused]
    shares = [refused[at] / requests[at] for at in loaded if requests[at]]
    queue = [value for at, value in series["queue_seconds"] if at <= results["stopped"]]
    empty = [query for query, count in results["panels"].items() if not count]
    lines = [
        "# Monitoring",
        "",
        f"Measured by `python -m benchmarks.serving.monitoring`: {results['when']}.",
        "",
        paragraph(
            f"A real Prometheus {results['version']}, with the configuration and the alerts in `docker/`, scrapes the service",
            f"every 15 s. Requests arrive at {results['load']:g} times the capacity ({results['capacity'] / 1e6:.2g} MP/s), as",
            "in [load.md](load.md), until the alert fires. Then they stop. Times are in minutes from the first request, to",
            f"within 15 s. The model is `{results['model']}`. {results['remark']}",
        ),
        "",
        "![Overload](monitoring.svg)",
        "",
        "| | |",
        "|---|---|",
        row_of("answers by status", ", ".join(f"{code}: {count}" for code, count in sorted(results["statuses"].items()))),
        row_of("share of refused requests, over one minute", f"{min(shares):.0%} to {max(shares):.0%}"),
        row_of("most seconds of work in the queue", f"{max(queue):.1f} s"),
        row_of(f"`{results['alert']}` pending", minutes(pending[:1])),
        row_of(f"`{results['alert']}` firing", minutes(firing[:1])),
        row_of("requests stopped, and all answers were there", minutes([results["stopped"]])),
        row_of(f"`{results['alert']}` ended", minutes(firing[-1:])),
        row_of("queries of the dashboard that Prometheus answered", len(results["panels"])),
        row_of("of these with a result under this load", len(results["panels"]) - len(empty)),
        "",
    ]
    if empty:
        lines += ["Without a result, because nothing of the kind happened:", "", *(f"- `{query}`" for query in empty), ""]
    return "\n".join(lines)


def times(series: list[list[float]]) -> list[float]:
    """Return when an alert was in a state, in seconds."""
    return [at for at, value in series if value]


def minutes(seconds: list[float]) -> str:
    """Return a time in minutes, or "never"."""
    return f"{seconds[0] / 60:.1f} min" if seconds else "never"


def plot(results: dict[str, Any], out: Path) -> None:
    """Draw requests, refusals and the queue over time, with the state of the alert behind them."""
    series = results["series"]
    with svg_figure(out / "monitoring.svg", 7, 4) as figure:
        rates, queue = figure.subplots(2, 1, sharex=True)
        for name, label in (("requests", "requests"), ("refused", "of these refused")):
            rates.plot([at / 60 for at, _ in series[name]], [value for _, value in series[name]], label=label)
        queue.plot([at / 60 for at, _ in series["queue_seconds"]], [value for _, value in series["queue_seconds"]], color="C2")
        pending, firing = times(series["pending"]), times(series["firing"])
        for name, color, edges in (("pending", "gold", pending[:1] + firing[:1]), ("firing", "tomato", firing[:1] + firing[-1:])):
            for axes in (rates, queue):
                axes.axvspan(edges[0] / 60, edges[-1] / 60, color=color, alpha=0.3, lw=0, label=f"alert {name}")
        rates.set(ylabel="per second", ylim=(0, None))
        rates.legend(loc="upper right", fontsize="small")
        queue.set(xlabel="minutes", ylabel="seconds of work waiting", ylim=(0, None))
