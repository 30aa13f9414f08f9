"""The three commands for a machine with a GPU, in this order: `smoke`, `train`, `measure`.

`PYTHONPATH=. python -m benchmarks.gpu.session COMMAND --help` tells the options of each. Run it in the root of the repository.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gpu.smoke import smoke
from benchmarks.gpu.training import train_session
from models.networks.upscaling_net import FACTORS, UpscalingConfig
from models.training.recipe import Recipe
from models.weights.files import load_weights

CUDA_TESTS = ("tests/models/inference/test_cuda.py", "tests/models/training/test_run.py")
PYTEST_OPTIONS = (
    *("-m", "cuda", "-rs", "--continue-on-collection-errors"),
    *("--noconftest", "-p", "no:benchmark", "-p", "no:xdist", "-p", "no:cacheprovider"),  # whatever is installed there
    *("-W", "default"),  # another version of PyTorch has warnings of its own, which are no failures
)


def main(words: list[str] | None = None) -> int:
    """Run one command, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("smoke", help="compare inference and training with the CPU; print PASS or FAIL")
    command.add_argument("--device", default="cuda")
    command.add_argument("--seconds", type=float, default=60, help="time limit (default: 60)")
    command = commands.add_parser("train", help="train a network; the same command resumes an interrupted run")
    command.add_argument("images", type=Path, nargs="+", help="packed image sets (.npz), or folders of images")
    command.add_argument("folder", type=Path, help="run folder; gets weights.safetensors every minute")
    command.add_argument("--device", default="cuda")
    command.add_argument("--minutes", type=float, default=9, help="time of the whole command (default: 9)")
    command.add_argument("--probe-seconds", type=float, default=20, help="time to choose batch and compilation (default: 20)")
    command.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64, 128], help="batches to choose from")
    command.add_argument("--from", dest="start", default="n3unet", help="weights to start from (default: n3unet)")
    command.add_argument("--crop", type=int, default=96)
    command.add_argument("--learning-rate", type=float, default=1e-3)
    command.add_argument("--sigma-range", type=float, nargs=2, default=(0.0, 75.0), metavar=("LOW", "HIGH"))
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("measure", help="run the tests for a GPU and the benchmark")
    command.add_argument("--seconds", type=float, default=280, help="time limit of each of the two (default: 280)")
    chosen = parser.parse_args(words)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    print(f"{device}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}", flush=True)
    if chosen.command == "smoke":
        return 0 if smoke(chosen.device, chosen.seconds) else 1
    if chosen.command == "measure":
        return measure(chosen.seconds)
    result = train_session(
        chosen.images,
        chosen.folder,
        start=chosen.start,
        device=chosen.device,
        minutes=chosen.minutes,
        probe_seconds=chosen.probe_seconds,
        batches=sorted(chosen.batches),
        recipe=Recipe(
            crop=chosen.crop,
            learning_rate=chosen.learning_rate,
            sigma_range=tuple(chosen.sigma_range),
            factors=FACTORS if isinstance(load_weights(chosen.start).config, UpscalingConfig) else (),
            seed=chosen.seed,
            freeze_statistics=True,  # weights that are trained already keep the statistics that inference uses
        ),
    )
    state = "finished" if result.finished else "not finished: the same command resumes"
    print(f"{result.weights}: {state}, {result.progress.step} steps, {result.gain:+.2f} dB on training crops")
    return 0


def measure(seconds: float) -> int:
    """Run the tests for a GPU and the benchmark, each for at most some seconds, and tell whether one failed."""
    failed = 0
    for words in (
        ("pytest", *PYTEST_OPTIONS, *CUDA_TESTS),
        ("benchmarks.cuda",),
    ):
        if importlib.util.find_spec(words[0]) is None:
            print(f"SKIP  {words[0]} is not installed", flush=True)
            continue
        try:
            status = subprocess.run([sys.executable, "-m", *words], timeout=seconds, check=False).returncode
        except subprocess.TimeoutExpired:
            status = -1
            print(f"out of time after {seconds:g} s")
        print(f"{'FAIL' if status else 'PASS'}  {words[0]}", flush=True)
        failed |= bool(status)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
