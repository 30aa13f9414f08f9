"""The neighbors of one pixel against the dense form, which computes the weights of all patches of the whole image at once."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.inference.denoiser import Denoiser
from models.inference.neighborhood import crop_axis
from models.neighbors.neighborhood import Neighborhood, NeighborQuery
from models.networks.n3net import N3Block, bounded_temperature, grid_padding
from models.steps import run_through
from models.weights.files import Weights
from tests.support.networks import random_image, random_unet, random_weights

CPU = torch.device("cpu")
SIGMA = 0.1
TOLERANCE = 1e-4  # the softmax amplifies rounding errors of the embedding


def denoiser_of(weights: Weights) -> Denoiser:
    return Denoiser(weights, CPU, torch.float32, 1 << 28)


def found(denoiser: Denoiser, noisy: Tensor, query: NeighborQuery) -> Neighborhood:
    return Neighborhood.parse(run_through(denoiser.neighbor_steps(noisy, SIGMA, query)).numpy())


class Dense:
    """The weights and temperatures of all blocks of a network, recorded while it denoises a whole image."""

    def __init__(self, weights: Weights, noisy: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.weights: list[Tensor] = []  # (K, p, q, p, q)
        self.temperatures: list[Tensor] = []  # (p, q)
        original = N3Block.neighbor_weights

        def record(block: N3Block, embedded: Tensor, log_temperature: Tensor) -> Tensor:
            result = original(block, embedded, log_temperature)
            mean = functional.avg_pool2d(log_temperature, 2 * block.config.stride, block.config.stride)
            self.weights.append(result[0])
            self.temperatures.append(bounded_temperature(mean, block.config)[0, 0])
            return result

        network = weights.network()
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(N3Block, "neighbor_weights", record)
            network(noisy[None, None], torch.tensor(SIGMA))
        denoiser = denoiser_of(weights)
        self.scale, self.stride = denoiser.footprint.scale, denoiser.footprint.block.stride
        multiple = self.scale * denoiser.footprint.multiple
        sides = [-(-max(side, denoiser.smallest_side) // multiple) * multiple for side in noisy.shape]
        self.padding = [grid_padding(side // self.scale, self.stride)[0] for side in sides]
        self.added = [max(denoiser.smallest_side - side, 0) // 2 for side in noisy.shape]  # by reflection, above and to the left

    def edge(self, index: int, axis: int) -> int:
        """First pixel of a patch in the image."""
        return self.scale * (index * self.stride - self.padding[axis]) - self.added[axis]

    def nearest(self, position: int, count: int, axis: int) -> int:
        """Index of the patch with the center nearest to the middle of a pixel; the later one if two are equally near."""
        centers = [self.edge(index, axis) + self.scale * self.stride for index in range(count)]
        return min(range(count), key=lambda index: (abs(centers[index] - position - 0.5), -index))

    def check(self, neighborhood: Neighborhood, query: NeighborQuery) -> None:
        weights, temperatures = self.weights[query.block - 1], self.temperatures[query.block - 1]
        p, q = temperatures.shape
        row, column = self.nearest(query.y, p, 0), self.nearest(query.x, q, 1)
        assert neighborhood.query == (self.edge(column, 1), self.edge(row, 0))
        assert neighborhood.temperature == pytest.approx(float(temperatures[row, column]), rel=1e-4)
        own = weights[:, row, column]  # (K, p, q)
        expected = {
            (self.edge(right, 1), self.edge(down, 0)): own[:, down, right].numpy() for down in range(p) for right in range(q)
        }
        for place, given in zip(neighborhood.candidates.tolist(), neighborhood.weights.T, strict=True):
            np.testing.assert_allclose(given, expected.pop(tuple(place)), atol=TOLERANCE, rtol=0)
        assert sum(float(rest.sum()) for rest in expected.values()) == 0  # all others have no weight in the dense form either
        np.testing.assert_allclose(neighborhood.weights.sum(1), 1, atol=1e-5)


SIZES = [(80, 80), (97, 123), (33, 200), (300, 21), (7, 5), (1, 1), (180, 190)]


def places(height: int, width: int) -> list[tuple[int, int]]:
    """Pixels at the borders of an image, near them, and inside."""
    rows, columns = sorted({0, height * 2 // 5, height - 1}), sorted({width // 9, width * 3 // 5, width - 1})
    return [(y, x) for y in rows for x in columns]


@pytest.mark.parametrize("size", SIZES)
def test_the_neighbors_are_those_of_the_dense_form(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    weights, noisy = random_weights(1), random_image(*size)
    dense = Dense(weights, noisy, monkeypatch)
    denoiser = denoiser_of(weights)
    for y, x in places(*size):
        for block in (1, 2):
            query = NeighborQuery(x, y, block)
            dense.check(found(denoiser, noisy, query), query)


@pytest.mark.parametrize("position", ["encoder", "decoder", "both"])
@pytest.mark.parametrize("size", [(80, 90), (211, 35), (9, 6)])
def test_the_neighbors_in_a_u_net_are_those_of_the_dense_form(
    size: tuple[int, int], position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, noisy = random_unet(2, position=position), random_image(*size)
    dense = Dense(weights, noisy, monkeypatch)
    denoiser = denoiser_of(weights)
    assert len(denoiser.info.blocks) == len(dense.weights) == (2 if position == "both" else 1)
    for y, x in places(*size):
        for block in range(1, len(dense.weights) + 1):
            query = NeighborQuery(x, y, block)
            dense.check(found(denoiser, noisy, query), query)


def test_the_paper_form_with_unbounded_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, noisy = random_weights(3, relaxation="paper", temperature_bound=None), random_image(61, 47)
    query = NeighborQuery(20, 50, 2)
    Dense(weights, noisy, monkeypatch).check(found(denoiser_of(weights), noisy, query), query)


@pytest.mark.parametrize("kind", ["n3net", "n3unet"])
def test_only_the_crop_around_the_pixel_counts(kind: str) -> None:
    """What lies outside the crop may be anything."""
    weights = random_weights(1) if kind == "n3net" else random_unet(1)
    denoiser, noisy = denoiser_of(weights), random_image(400, 424)
    block = len(denoiser.info.blocks)
    query = NeighborQuery(200, 210, block)
    scale = denoiser.footprint.scale
    rows, columns = (
        crop_axis(denoiser.footprint, side // scale, place, block - 1)
        for side, place in zip(noisy.shape, (query.y, query.x), strict=True)
    )
    inside = (rows.pixels(scale), columns.pixels(scale))
    assert all(0 < part.start < part.stop < 400 for part in inside)
    assert all(part.stop - part.start <= denoiser.info.blocks[-1].side for part in inside)
    other = torch.full_like(noisy, math.nan)
    other[inside] = noisy[inside]
    whole, alone = found(denoiser, noisy, query), found(denoiser, other, query)
    assert whole.query == alone.query
    np.testing.assert_array_equal(whole.weights, alone.weights)


def test_the_work_is_counted_and_bounded() -> None:
    denoiser = denoiser_of(random_weights(1))
    steps = list(denoiser.neighbor_steps(random_image(300, 300), SIGMA, NeighborQuery(150, 150, 2)))
    assert steps == sorted(steps)
    assert len(steps) > 3
    assert steps[-1] == pytest.approx(1)
    first, second = denoiser.info.blocks
    assert first.side < second.side
    assert 0 < first.share < second.share < 1
    assert first.patch == second.patch == 2 * denoiser.footprint.block.stride
    info = denoiser.info
    assert info.neighbor_pixels(5000, 4000, 2) == round(second.share * second.side**2)
    assert info.neighbor_pixels(40, 5000, 2) == round(second.share * 40 * second.side)


def test_a_network_without_blocks_has_no_neighbors() -> None:
    denoiser = denoiser_of(random_weights(1, blocks=0))
    assert denoiser.info.blocks == ()
    with pytest.raises(ValueError, match="N3 block"):
        denoiser.neighbor_steps(random_image(30, 30), SIGMA, NeighborQuery(1, 1, 1))


def test_a_pixel_outside_the_image_is_refused() -> None:
    denoiser = denoiser_of(random_weights(1))
    with pytest.raises(ValueError, match="inside"):
        denoiser.neighbor_steps(random_image(30, 40), SIGMA, NeighborQuery(40, 1, 1))


def test_a_color_network_takes_a_noise_level_map() -> None:
    denoiser = denoiser_of(random_unet(4, channels=3, noise_planes=2))
    noisy = torch.stack([random_image(90, 70, seed) for seed in range(3)])
    cells = torch.rand(2, 12, 9, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.05
    query = NeighborQuery(30, 60, 1)
    table = run_through(denoiser.neighbor_steps(noisy, cells, query))
    other = run_through(denoiser.neighbor_steps(noisy, 0.02 * torch.ones_like(cells), query))
    assert table.shape == other.shape
    assert not torch.allclose(table, other)
