"""The shipped networks for photographs, on simulated photographs with fixed seeds and on clean pictures.

`python -m benchmarks.quality.photographs` measures the same on more images.
"""

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from benchmarks.quality.photographs import Models, compressed
from models.images.noise_map import channel_level
from models.inference.photo import Photo
from models.methods import load_method
from models.training.photographs.degradation import Degraded, degrade, source_side

Planes = NDArray[np.float32]
SIDE = 160


@pytest.fixture(scope="module")
def photo() -> Photo:
    method = load_method("photo", device="cpu")
    assert isinstance(method, Photo)
    return method


@lru_cache
def sources() -> tuple[Planes, ...]:
    """Return clean crops of the color photographs of scikit-image."""
    side = source_side(SIDE)
    crops: list[Planes] = []
    for picture in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(255)
        height, width = planes.shape[1:]
        top, lefts = (height - side) // 2, (0, (width - side) // 2, width - side)
        crops += [planes[:, top : top + side, left : left + side] for left in lefts]
    return tuple(crops)


def simulated(count: int) -> list[Degraded]:
    return [degrade(sources()[n % len(sources())], SIDE, np.random.default_rng(n), 0.1, "camera") for n in range(count)]


def psnr(planes: Planes, clean: Planes) -> float:
    return float(-10 * np.log10(np.square(planes.clip(0, 1) - clean).mean()))


def mean_level(cells: torch.Tensor) -> float:
    return float(channel_level(cells).square().mean().sqrt()) * 255


def test_simulated_photographs_become_better(photo: Photo) -> None:
    check_simulated(photo, simulated(12))


@pytest.mark.slow
def test_forty_simulated_photographs_become_better(photo: Photo) -> None:
    check_simulated(photo, simulated(48))


def check_simulated(photo: Photo, pictures: list[Degraded]) -> None:
    """Check the mean gain, and that the estimated level is right for nearly all pictures with visible noise."""
    gains, ratios = [], []
    for made in pictures:
        noisy = torch.from_numpy(made.noisy)
        cells = photo.estimate(noisy)
        gains.append(psnr(photo.denoise(noisy, cells).numpy(), made.clean) - psnr(made.noisy, made.clean))
        truth = float(np.sqrt(np.square(made.noise).mean())) * 255
        if truth > 3:
            ratios.append(mean_level(cells) / truth)
    assert np.mean(gains) > 1.5
    assert min(gains) > -1
    assert np.mean(np.abs(np.array(ratios) - 1) < 0.25) > 0.75


@pytest.mark.parametrize("color", [0.0, 0.6])
def test_a_frame_does_not_hide_the_noise(color: float) -> None:
    models = Models("n3unet")
    for made in simulated(8):
        truth = float(np.sqrt(np.square(made.noise).mean())) * 255
        framed = np.pad(made.noisy, ((0, 0), (35, 30), (32, 40)), constant_values=color)
        if truth > 5:
            assert models.run(framed, models.auto).sigma == pytest.approx(truth, rel=0.4)


@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (245, 20), (40, 220)])
def test_a_page_of_text_hardly_changes(paper: int, ink: int, quality: int | None) -> None:
    page = Image.new("RGB", (320, 240), (paper,) * 3)
    lines = "\n".join(["The quick brown fox jumps over the lazy dog."] * 12)
    ImageDraw.Draw(page).multiline_text((6, 4), lines, fill=(ink,) * 3, font=ImageFont.load_default(13))
    planes = np.asarray(page).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    planes = compressed(planes, quality) if quality else planes
    models = Models("n3unet")
    change = np.abs(models.run(planes, models.auto).picture.planes - planes).mean() * 255
    assert change < 0.5


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_white_noise_is_estimated_and_removed(photo: Photo, sigma: int) -> None:
    clean = sources()[1]
    noisy = torch.from_numpy(clean + np.float32(sigma / 255) * np.random.default_rng(0).standard_normal(clean.shape, np.float32))
    cells = photo.estimate(noisy)
    assert mean_level(cells) == pytest.approx(sigma, rel=0.15)
    told, estimated = (psnr(photo.denoise(noisy, each).numpy(), clean) for each in (sigma / 255, cells))
    assert told > psnr(noisy.numpy(), clean) + 2
    assert abs(estimated - told) < 0.3


def test_clean_pictures_have_no_noise(photo: Photo) -> None:
    levels = [mean_level(photo.estimate(torch.from_numpy(np.ascontiguousarray(clean)))) for clean in sources()]
    assert np.mean(levels) < 1
    assert max(levels) < 2.2, "the service would change a clean picture"


def test_clean_pictures_are_left_alone() -> None:
    """What the service does to them by default, also after JPEG: at most half a gray level on average."""
    models = Models("n3unet")
    for clean in sources():
        for planes in (clean, *(compressed(clean, quality) for quality in (75, 85, 95))):
            picture = np.ascontiguousarray(planes)
            result = models.run(picture, models.auto).picture.planes
            assert np.abs(result - picture).mean() * 255 <= 0.5


def test_stronger_noise_has_higher_levels(photo: Photo) -> None:
    clean = sources()[0]
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32) * np.float32(1 / 255)
    levels = [mean_level(photo.estimate(torch.from_numpy(clean + sigma * noise))) for sigma in (2, 5, 12, 30, 70)]
    assert levels == sorted(levels)
