"""Weights of a network so small that denoising takes a millisecond, for what measures or tests everything but the network."""

from pathlib import Path

import torch

from models.networks.n3net import N3Net, N3NetConfig
from models.weights.files import save_weights


def tiny_weights(folder: Path) -> Path:
    """Write a weights file with random weights into a folder, and return its path."""
    torch.manual_seed(0)
    config = N3NetConfig(k=2, window=3, features=2, depth=2, planes=1, embedding=2, blocks=1)
    path = folder / "tiny.safetensors"
    save_weights(path, config, N3Net(config).state_dict(), (0, 75), {"data": "none"})
    return path
