"""Weights files of half the size, for weights that are shipped.

`python -m models.weights.compact SOURCE TARGET` rewrites a weights file. Matrices and convolutions are stored as float16, and all
else (biases, normalization and its statistics, which need the range) stays float32. Loaded weights are float32 in either case.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.weights.files import load_weights, save_weights


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with its matrices and convolutions rounded to float16, by at most 1/2048 of each value."""
    return {
        key: value.to(torch.float16) if value.is_floating_point() and value.ndim > 1 else value for key, value in state.items()
    }


def compact(source: str | Path, target: Path) -> str:
    """Rewrite a weights file, and return the SHA-256 digest that the new one states.

    Args:
        source: The name or path of the weights.
        target: The file to write.
    """
    weights = load_weights(source)
    return save_weights(target, weights.config, halved(weights.state), weights.sigma_range, weights.facts)


def main() -> None:
    """Rewrite a file as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="name or path of the weights")
    parser.add_argument("target", type=Path, help="the file to write")
    chosen = parser.parse_args()
    sys.stdout.write(f"{compact(chosen.source, chosen.target)}\n")


if __name__ == "__main__":
    main()
