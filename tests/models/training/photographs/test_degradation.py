"""Simulated photographs: shapes, targets, and noise of every origin."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from models.images import color
from models.training.photographs.degradation import SHARES, Degraded, Origin, Variety, degrade, source_side

SIDE = 64


@pytest.fixture(scope="module")
def photographs() -> list[NDArray[np.float32]]:
    from skimage import data

    side = source_side(SIDE)
    whole = (data.astronaut().transpose(2, 0, 1) / 255).astype(np.float32)
    return [whole[:, row : row + side, column : column + side] for row in (0, 200, 390) for column in (0, 180, 390)]


def made(photographs: list[NDArray[np.float32]], origin: Origin, count: int = 40) -> list[Degraded]:
    return [
        degrade(photographs[seed % len(photographs)], SIDE, np.random.default_rng(seed), 20 / 255, origin)
        for seed in range(count)
    ]


@pytest.mark.parametrize("origin", get_args(Origin))
def test_pictures_of_every_origin(photographs: list[NDArray[np.float32]], origin: Origin) -> None:
    for each in made(photographs, origin):
        for planes in (each.noisy, each.clean, each.noise):
            assert planes.shape == (3, SIDE, SIDE)
            assert planes.dtype == np.float32
            assert np.isfinite(planes).all()
        assert each.clean.min() >= 0
        assert each.clean.max() <= 1
    assert sum(SHARES.values()) == pytest.approx(1)


def test_the_same_seed_gives_the_same_picture(photographs: list[NDArray[np.float32]]) -> None:
    first, second = (degrade(photographs[0], SIDE, np.random.default_rng(5), 0.1) for _ in range(2))
    for name in ("noisy", "clean", "noise"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_picture_without_noise_is_its_own_target(photographs: list[NDArray[np.float32]]) -> None:
    for each in made(photographs, "clean"):
        assert not each.noise.any()
        np.testing.assert_array_equal(each.noisy, each.clean)


def test_white_noise_has_the_level_that_was_asked_for(photographs: list[NDArray[np.float32]]) -> None:
    for each in made(photographs, "white"):
        gray = np.ptp(each.clean, axis=0).max() < 1e-6
        level = 20 / 255 * (np.linalg.norm(color.GRAY_WEIGHTS) if gray else 1)
        assert each.noise.std() == pytest.approx(level, rel=0.06)
        np.testing.assert_allclose(each.noisy - each.clean, each.noise, atol=1e-6)


def test_the_noise_of_a_camera_is_strong_enough_to_matter_and_not_white(photographs: list[NDArray[np.float32]]) -> None:
    taken = made(photographs, "camera", 120)
    levels = np.array([each.noise.std() for each in taken]) * 255
    assert np.quantile(levels, 0.1) < 5
    assert np.quantile(levels, 0.9) > 15
    neighbors = [np.corrcoef(each.noise[:, :, 1:].ravel(), each.noise[:, :, :-1].ravel())[0, 1] for each in taken]
    assert np.median(neighbors) > 0.2
    separate = [color.separate(each.noise) - color.separate(np.zeros((3, 1, 1), np.float32)) for each in taken]
    ratios = [np.square(planes[1:]).mean() / max(np.square(planes[0]).mean(), 1e-12) for planes in separate]
    assert np.quantile(ratios, 0.9) > 2 > 1 > np.quantile(ratios, 0.1)  # white noise has a ratio of 3


def test_varying_noise_varies(photographs: list[NDArray[np.float32]]) -> None:
    ratios = []
    for each in made(photographs, "varying"):
        quarters = [each.noise[:, row : row + 32, column : column + 32].std() for row in (0, 32) for column in (0, 32)]
        ratios.append(max(quarters) / min(quarters))
    assert np.median(ratios) > 1.3


def test_strong_noise_is_compared_with_the_picture_before_compression(photographs: list[NDArray[np.float32]]) -> None:
    differences = []
    for seed in range(20):
        weak, medium, strong = (
            degrade(photographs[0], SIDE, np.random.default_rng(seed), sigma / 255, "rounded").clean for sigma in (0, 150, 200)
        )
        np.testing.assert_allclose(medium, strong, atol=1e-6)
        differences.append(np.abs(weak - strong).mean() * 255)
    assert np.median(differences) > 1  # a gray level, which compression changed


@pytest.mark.parametrize("origin", ["camera", "white"])
def test_a_frame_has_one_color_and_no_noise(photographs: list[NDArray[np.float32]], origin: Origin) -> None:
    def edges(planes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]]

    frames = 0
    for seed in range(20):
        plain, framed = (
            degrade(photographs[0], SIDE, np.random.default_rng(seed), 0.1, origin, Variety(framed=share)) for share in (0.0, 1.0)
        )
        assert all(edge.any() for edge in edges(plain.noise))
        clear = [not edge.any() for edge in edges(framed.noise)]
        frames += any(clear)
        assert framed.noise.any()
        for edge, is_clear in zip(edges(framed.clean), clear, strict=True):
            assert not is_clear or np.ptp(edge, axis=1).max() < 0.1
    assert frames >= 12


def test_cameras_that_smooth_color_leave_coarse_and_weak_color_noise(photographs: list[NDArray[np.float32]]) -> None:
    def noise(planes: NDArray[np.float32]) -> tuple[float, float, float]:
        """Return the levels of luma and of a color difference, and the correlation of the latter over three pixels."""
        luma, difference, _ = color.separate(planes) - color.separate(np.zeros_like(planes))
        return (
            float(luma.std()),
            float(difference.std()),
            float(np.corrcoef(difference[:, 3:].flat, difference[:, :-3].flat)[0, 1]),
        )

    levels = []
    for seed in range(40):
        pair = [
            degrade(photographs[0], SIDE, np.random.default_rng(seed), 0.1, "camera", Variety(color_smoothed=share))
            for share in (0.0, 1.0)
        ]
        if np.ptp(pair[0].noise, axis=0).max() > 0.01:  # not one of the gray pictures
            levels.append([noise(each.noise) for each in pair])
    plain, smoothed = np.median(levels, axis=0)
    assert len(levels) > 30
    assert smoothed[0] == pytest.approx(plain[0], rel=0.15)
    assert smoothed[1] < 0.7 * plain[1]
    assert smoothed[2] > plain[2] + 0.2
