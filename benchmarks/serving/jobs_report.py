"""The report of the measurement of background jobs."""

from typing import Any

from benchmarks.markdown import paragraph

CLIENTS, JOBS_EACH, ROUNDS = 20, 10, 3
LAST_SECONDS = 2
"""The last seconds of a job, in which an error of the estimated time says more than a ratio."""


def page(results: dict[str, Any]) -> str:
    """Return jobs.md."""
    large = results["large"]
    least, most = large["eta_ratios"]
    memory = {name: f"{kib / 1024:.0f} MiB" for name, kib in large["memory_kib"].items()}
    last = f"; then it was wrong by at most {large['last_eta_error']} s" if "last_eta_error" in large else ""
    repeated = any(len(row["memory_kib"]["after each round"]) > 1 for row in results["clients"])
    again = " In later rounds, as many clients do the same with the same processes, and none is terminated." if repeated else ""
    lines = [
        "# Background jobs",
        "",
        "Measured by `python -m benchmarks.serving.jobs`.",
        "",
        "## A picture of 24 megapixels",
        "",
        f"{large['when']}.",
        "",
        paragraph(
            f"The job took {large['seconds']:.0f} s with `n3unet`. Its progress never stood still for more than",
            f"{large['longest_pause']} s. From 20% of the progress on, until {LAST_SECONDS} seconds before the end, the",
            f"estimated time that was left was {least} to {most} times the true one{last}. A second job was canceled at 30%:",
            f"{large['canceled_seconds']} s later the queue was empty. Resident memory was {memory['before']} before it,",
            f"{memory['during']} when it was canceled, and {memory['after']} two seconds later.",
        ),
        "",
        "## Many clients",
        "",
        paragraph(
            f"{CLIENTS} clients send {JOBS_EACH} jobs each, cancel a fifth of them and hang up on another fifth. After",
            "15 seconds, one instance gets SIGTERM, and another one starts in its place. Every client asks for the state of each",
            f"of its jobs until it has ended.{again}",
        ),
        "",
    ]
    for row in results["clients"]:
        states = ", ".join(f"{amount} {name}" for name, amount in sorted(row["states"].items()))
        refusals = ", ".join(f"{amount} with {status}" for status, amount in sorted(row["refusals"].items())) or "none"
        memory = row["memory_kib"]
        rounds = [" and ".join(f"{kib / 1024:.0f} MiB" for kib in each) for each in memory["after each round"]]
        lines += [
            f"### {row['store'][0].upper()}{row['store'][1:]}",
            "",
            f"{row['when']}.",
            "",
            paragraph(
                f"{row['jobs']} jobs in {row['seconds']:.0f} s: {states}. {row['results']} results were received;",
                f"{row['canceled_too_late']} jobs had succeeded just before their clients canceled them.",
                f"Refused attempts, all of which were repeated: {refusals}. Exit code of the terminated instance:",
                f"{row['exits'][0]}. After the results had expired, the store held {row['left_bytes']:.0f} bytes.",
                f"Resident memory was {memory['warm'] / 1024:.0f} MiB in a warm process before the first job,",
                f"and after each round: {'; '.join(rounds)}.",
            ),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"
