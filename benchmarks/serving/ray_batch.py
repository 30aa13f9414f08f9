"""A folder of pictures through `n3denoise denoise --ray`, killed in the middle and resumed, beside the plain command.

`python -m benchmarks.serving.ray_batch` writes ray-batch.json and ray-batch.md.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.provenance import RESULTS, provenance
from benchmarks.serving.load_client import picture
from benchmarks.serving.ray_cluster import ENVIRONMENT
from benchmarks.serving.ray_report import batch_page

SIZE = (256, 256)
OPTIONS = ("--sigma", "25", "--model", "n3unet")


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="number of pictures of 256 x 256 pixels")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="cores for both commands")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "in").mkdir()
        for index in range(arguments.pictures):
            (folder / "in" / f"{index:04}.png").write_bytes(picture(SIZE))
        results = measure(folder, arguments.pictures, arguments.cores)
    (arguments.out / "ray-batch.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "ray-batch.md").write_text(batch_page(results))


def measure(folder: Path, pictures: int, cores: int) -> dict[str, Any]:
    """Run the plain command, the one on Ray, and the latter once more, killed when half of the results are there."""
    plain = timed(command(folder, "plain"), threads=cores)
    whole = timed(command(folder, "whole", "--ray", "local"))
    process = subprocess.Popen(command(folder, "resumed", "--ray", "local"), env=environment(1), start_new_session=True)
    while len(written(folder / "resumed")) < pictures // 2 and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)  # the command, and the processes of Ray that it started
    process.wait()
    before = written(folder / "resumed")
    text = subprocess.run(
        command(folder, "resumed", "--ray", "local"), env=environment(1), capture_output=True, text=True, check=True
    )
    after = written(folder / "resumed")
    found = re.search(r"(\d+) of \d+ done, (\d+) of them before", text.stderr)
    assert found, text.stderr
    return {
        "when": provenance(),
        "pictures": pictures,
        "cores": cores,
        "plain_seconds": plain,
        "plain_per_minute": per_minute(folder / "plain"),
        "ray_seconds": whole,
        "ray_per_minute": per_minute(folder / "whole"),
        "before": len(before),
        "after": len(after),
        "skipped": int(found[2]),
        "computed_twice": sum(after[path] != before[path] for path in before),
        "missing": pictures - len(after),
        "different": sum(path.read_bytes() != (folder / "plain" / path.name).read_bytes() for path in after),
    }


def command(folder: Path, out: str, *options: str) -> list[str]:
    """Return the command that denoises the pictures into a folder."""
    return [sys.executable, "-m", "service", "denoise", str(folder / "in"), "-o", str(folder / out), *OPTIONS, *options]


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a command."""
    return os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}


def timed(words: list[str], threads: int = 1) -> float:
    """Run a command, and return its duration in seconds."""
    began = time.monotonic()
    subprocess.run(words, env=environment(threads), check=True)
    return time.monotonic() - began


def per_minute(folder: Path) -> float:
    """Return the results per minute between the first and the last one, so that the start of a command does not count."""
    times = written(folder).values()
    return 60e9 * (len(times) - 1) / (max(times) - min(times))


def written(folder: Path) -> dict[Path, int]:
    """Return when each result was written, without files that are not complete."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}


if __name__ == "__main__":
    main()
