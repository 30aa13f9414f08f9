"""Which patches N3Net averages on walls of bricks: the picture and the table of docs/neighbors.md.

`python -m benchmarks.quality.brick_wall` draws docs/neighbors.png and prints the table. This program draws one wall itself, so
that the places of its joints are known. The other one is a photograph that comes with scikit-image.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.markdown import row_of
from benchmarks.provenance import ROOT
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser
from models.neighbors.neighborhood import Neighborhood, NeighborQuery
from models.steps import run_through
from service.denoising.heat_map import heat_map
from service.imaging.picture import Picture

Floats = NDArray[np.float32]

SIGMA = 25
BRICK_WIDTH, BRICK_HEIGHT = 30, 15  # pixels from joint to joint
JOINT = 3  # pixels
SIDE = 240
MARGIN = 60  # pixels from the border to the joints that are looked at, so that no window meets the border
CROP, ENLARGED, GAP = 96, 4, 8


class Spot(NamedTuple):
    """A pixel of a noisy wall."""

    noisy: torch.Tensor
    x: int
    y: int


def drawn_wall() -> torch.Tensor:
    """Return a wall (H, W) whose rows of bricks are shifted by half a brick against each other. Each brick has its own gray."""
    row, column = np.mgrid[:SIDE, :SIDE]
    course = row // BRICK_HEIGHT
    shifted = column + course % 2 * (BRICK_WIDTH // 2)
    grays = np.random.default_rng(0).uniform(0.3, 0.55, (SIDE, SIDE))
    bricks = grays[course, shifted // BRICK_WIDTH]
    joints = (row % BRICK_HEIGHT < JOINT) | (shifted % BRICK_WIDTH < JOINT)
    return torch.from_numpy(np.where(joints, 0.75, bricks).astype(np.float32))


def junctions() -> list[tuple[int, int]]:
    """Return column and row of the places where an upright joint of the drawn wall meets the joint above it."""
    places = []
    for course in range(SIDE // BRICK_HEIGHT):
        for brick in range(SIDE // BRICK_WIDTH):
            x = brick * BRICK_WIDTH - course % 2 * (BRICK_WIDTH // 2) + JOINT // 2
            places.append((x, course * BRICK_HEIGHT + JOINT // 2))
    return [place for place in places if all(MARGIN <= each < SIDE - MARGIN for each in place)]


def repeats(found: Neighborhood) -> NDArray[np.bool_]:
    """Return which candidates show the same part of the drawn wall as the query patch, at other bricks."""
    right, down = (found.candidates - np.array(found.query)).T
    courses = down // BRICK_HEIGHT
    shift = courses % 2 * (BRICK_WIDTH // 2)
    return np.asarray((down % BRICK_HEIGHT == 0) & ((right - shift) % BRICK_WIDTH == 0))


def neighbors(denoiser: Denoiser, spot: Spot, block: int) -> Neighborhood:
    """Return the neighbors of a pixel."""
    steps = denoiser.neighbor_steps(spot.noisy, SIGMA / 255, NeighborQuery(spot.x, spot.y, block))
    return Neighborhood.parse(run_through(steps).numpy())


def measure(denoiser: Denoiser, noisy: torch.Tensor, block: int, places: list[tuple[int, int]]) -> Floats:
    """Measure how often the neighbors of junctions are repeats of them.

    Args:
        denoiser: The network.
        noisy: The drawn wall with noise.
        block: Number of the N3 block, counted from 1.
        places: Columns and rows of junctions.

    Returns:
        For each of the k neighbors (k, 3): the share of its weight that lies on repeats, the share of the candidates that are
        repeats, and how often the heaviest candidate is a repeat; averaged over the junctions.
    """
    rows = []
    for place in places:
        found = neighbors(denoiser, Spot(noisy, *place), block)
        good = repeats(found)
        rows.append([(weights[good].sum(), good.mean(), good[weights.argmax()]) for weights in found.weights])
    return np.asarray(np.mean(rows, axis=0), np.float32)


def panels(denoiser: Denoiser, spot: Spot) -> NDArray[np.uint8]:
    """Return a row of pictures: the noisy wall around the pixel, and the heat map of each N3 block over it."""
    picture = Picture(spot.noisy.numpy()[None])
    shown = [np.repeat(picture.planes.clip(0, 1), 3, axis=0)]
    for number, block in enumerate(denoiser.info.blocks, 1):
        shown.append(heat_map(picture, neighbors(denoiser, spot, number), block.patch).planes)
    top, left = spot.y - CROP // 2, spot.x - CROP // 2
    crops = [planes[:, top : top + CROP, left : left + CROP].repeat(ENLARGED, 1).repeat(ENLARGED, 2) for planes in shown]
    framed = [np.pad(crop, ((0, 0), (0, GAP), (0, GAP)), constant_values=1) for crop in crops]
    pixels: NDArray[np.uint8] = np.rint(np.concatenate(framed, axis=2) * 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def main() -> None:
    """Draw the picture and print the table."""
    from skimage import data

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "neighbors.png", help="path of the picture")
    arguments = parser.parse_args()
    denoiser = Denoiser.load("n3net", "cpu", "float32")
    photograph = torch.from_numpy(data.brick().astype(np.float32) / 255)
    drawn = add_noise(drawn_wall(), SIGMA / 255, 0)
    places = junctions()
    spots = Spot(drawn, *places[len(places) // 2]), Spot(add_noise(photograph, SIGMA / 255, 0), 256, 256)
    rows = np.concatenate([panels(denoiser, spot) for spot in spots])
    Image.fromarray(rows[:-GAP, :-GAP]).quantize(192).save(arguments.out, optimize=True)
    print(row_of("N3 block", "neighbor", "weight on repeats", "repeats among the patches", "heaviest patch is a repeat"))
    print(row_of(*["---"] * 5))
    for block in range(1, len(denoiser.info.blocks) + 1):
        for index, (weight, share, heaviest) in enumerate(measure(denoiser, drawn, block, places), 1):
            print(row_of(block, index, f"{weight:.0%}", f"{share:.1%}", f"{heaviest:.0%}"), flush=True)


if __name__ == "__main__":
    main()
