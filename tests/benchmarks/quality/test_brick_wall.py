"""On a wall of bricks, the shipped network averages other bricks."""

import pytest

from benchmarks.quality.brick_wall import SIGMA, drawn_wall, junctions, measure
from models.images.noise import add_noise
from models.inference.denoiser import Denoiser


def test_the_neighbors_of_a_junction_are_other_junctions() -> None:
    places = junctions()[::12]
    assert len(places) >= 3
    denoiser = Denoiser.load("n3net", "cpu", "float32")
    measured = measure(denoiser, add_noise(drawn_wall(), SIGMA / 255, 0), 1, places)
    assert measured.shape == (7, 3)
    for weight, share, heaviest in measured:
        assert weight > 10 * share
        assert heaviest == pytest.approx(1)
