"""A checkpoint in the layout of the N3Net authors, with their key names written down independently of the import."""

from typing import Any

import torch

from models.networks.n3net import N3Net, N3NetConfig

THEIRS = [
    *((f"blocks.{b}.conv1", f"dncnns.{b}.0") for b in range(3)),
    *((f"blocks.{b}.layer1.{n}", f"dncnns.{b}.{n + 2}") for b in range(3) for n in (0, 1, 3, 4, 6, 7, 9, 10)),
    *((f"blocks.{b}.conv2", f"dncnns.{b}.14") for b in range(3)),
    *((f"nls.{b}.embedcnn.{n}", f"blocks.{b}.embed.{n}") for b in range(2) for n in (0, 1, 3, 4, 6)),
    *((f"nls.{b}.tempcnn.{n}", f"blocks.{b}.temperature.{n}") for b in range(2) for n in (0, 1, 3, 4, 6)),
    *((f"nls.{b}.n3aggregation.aggregation.nnn.bn", f"blocks.{b}.distance_norm") for b in range(2)),
]
"""Prefixes of parameter names: the authors' and ours."""


def checkpoint() -> dict[str, Any]:
    """Return a synthetic checkpoint of the published geometry."""
    torch.manual_seed(0)
    state = N3Net(N3NetConfig(sigma_plane=False)).state_dict()
    net = {}
    for theirs, ours in THEIRS:
        for key, tensor in state.items():
            if key.startswith(f"{ours}.") and not key.endswith("num_batches_tracked"):
                net[theirs + key[len(ours) :]] = tensor.clone()
    for b in range(3):  # the authors' files contain these, but their network does not use them
        net |= {f"blocks.{b}.bn1.{name}": torch.ones(64) for name in ("weight", "bias", "running_mean", "running_var")}
    net["blocks.0.layer1.0.weight"][0, 0, 0, 0] = 1e-40
    return {"net": net, "epoch": 51}
