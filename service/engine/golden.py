"""Stores the self-test's result for a weights file: `python -m service.engine.golden NAME|FILE`."""

import json
import sys
from pathlib import Path

from models.inference.denoiser import Denoiser
from service.engine import selftest
from service.engine.backend import Backend
from service.settings import DEFAULT_MODEL


def main(weights: str) -> None:
    """Run the network in float32 on the CPU and add its result to golden.json."""
    denoiser = Denoiser.load(weights, "cpu", "float32")
    backend = Backend({DEFAULT_MODEL: denoiser}, lambda: denoiser)
    results = selftest.stored_results()
    results[denoiser.weights.sha256] = selftest.encode(backend.denoise(selftest.noisy_image(), selftest.SIGMA))
    path = Path(__file__).with_name("golden.json")
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
