"""Compare the fused N3 block under Triton's interpreter with the blocked form.

Print the largest difference of each case as JSON.

The interpreter must be chosen before Triton is imported, so this needs a process of its own: `TRITON_INTERPRET=1 python -m
tests.support.interpreted`. `tests/models/inference/test_fused_block.py` checks the numbers.
"""

import json
from dataclasses import replace

import torch

from models.inference.cut_plan import StripLayout
from models.inference.denoiser import Denoiser
from models.inference.n3_stage import N3Stage
from models.inference.n3net_stream import fold_n3net
from models.networks.n3net import N3Net, grid_padding
from models.steps import run_through
from models.weights.files import Weights
from tests.support.networks import random_image, random_network, random_unet, random_weights

CPU = torch.device("cpu")


def differences(network: N3Net, maps: torch.Tensor, rows: int, dtype: torch.dtype, layout: StripLayout) -> torch.Tensor:
    """Return z_j - x from the first N3 block, which is fed `rows` rows at a time."""
    height, width = maps.shape[2:]
    folded = fold_n3net(network, CPU, dtype)
    stage = N3Stage(folded.blocks[0], height, width, layout)
    finished = []
    for start in range(0, height, rows):
        groups = run_through(stage.feed((maps[:, :, start : start + rows],), last=start + rows >= height))
        finished.append(groups[1].float())
    return torch.cat(finished, 2)


def block(size: tuple[int, int], rows: int, side: int, *, dtype: torch.dtype = torch.float32, **changes: object) -> float:
    """Return the largest difference between the fused and the blocked form, divided by the largest value."""
    network = random_network(3, **{"planes": 2, "k": 2, "stride": 2, **changes})
    config = network.config
    maps = torch.rand(1, config.planes, *size, generator=torch.Generator().manual_seed(0))
    padding = grid_padding(size[1], config.stride)
    blocked = differences(network, maps, size[0], dtype, StripLayout(padding, size[0]))
    fused = differences(network, maps, rows, dtype, StripLayout(padding, rows, side, fused=True))
    assert fused.shape == blocked.shape
    return float((fused - blocked).abs().max() / blocked.abs().max())


def whole(weights: Weights, noisy: torch.Tensor, rows: int) -> float:
    """Return the same for a whole network, which is fed `rows` rows of its finest level at a time."""
    denoiser = Denoiser(weights, CPU, torch.float32, 1 << 28)
    plan = replace(denoiser.plan(*noisy.shape, fused=True), rows=rows, side=max(1, rows // denoiser.footprint.block.stride))
    reference = denoiser.denoise(noisy, 0.1)
    fused = run_through(denoiser.planned_steps(noisy, 0.1, plan))
    return float((fused - reference).abs().max() / reference.abs().max())


def saturated() -> float:
    """Return the same for first neighbors whose weight rounds to 1 in float32."""
    network = random_network(3, planes=2, stride=2)
    network.load_state_dict({**network.state_dict(), "blocks.0.distance_norm.weight": torch.tensor([400.0])})
    maps = torch.rand(1, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    padding = grid_padding(10, 2)
    blocked = differences(network, maps, 12, torch.float32, StripLayout(padding, 12))
    fused = differences(network, maps, 12, torch.float32, StripLayout(padding, 12, 9, fused=True))
    return float((fused - blocked).abs().max() / blocked.abs().max())


def main() -> None:
    """Print the cases."""
    with torch.inference_mode():
        cases = {
            "odd size, three spans of rows": block((19, 16), 19, 99),
            "odd size, rows as they come": block((17, 10), 7, 2),
            "window larger than the image": block((10, 9), 10, 99, window=7),
            "even window": block((13, 9), 13, 99, window=4),
            "stride of five": block((23, 27), 23, 99, stride=5),
            "paper form": block((10, 14), 10, 99, relaxation="paper", k=3),
            "free temperature, float16": block((12, 17), 12, 99, dtype=torch.float16, temperature_bound=None),
            "block of N3UNet": block((17, 14), 7, 2, stride=3, planes=8),
            "block of N3UNet, whole window": block((52, 7), 52, 99, stride=3, planes=8, window=15),
            "block of N3UNet, float16": block((13, 14), 13, 99, dtype=torch.float16, stride=3, planes=8),
            "saturated": saturated(),
            "whole network in strips": whole(random_weights(1, blocks=1, planes=2, k=2, stride=2), random_image(16, 11), 3),
            "whole N3UNet in strips": whole(random_unet(1, planes=8, k=2), random_image(28, 16), 5),
        }
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
