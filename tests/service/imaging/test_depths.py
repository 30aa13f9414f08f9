"""With the real weights: depth costs no quality, color is worth more than its channels, and auto finds what was put there."""

import io

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage import data

from models.images.metrics import psnr
from models.inference.denoiser import Denoiser
from service.cli.denoiser import FileDenoiser, pass_runner
from service.denoising.job import OutputOptions
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, denoise_picture
from service.imaging.codec import decode, encode
from service.imaging.picture import DecodeLimits, Depth, Format, Picture, Planes
from tests.support.passes import denoise_with

SIGMA = 15.0


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load(device="cpu", dtype="float32")


def clean_gray(size: int = 80) -> NDArray[np.float32]:
    """A photograph pressed into the middle of the range, so that noise clips nowhere."""
    return np.asarray(0.3 + 0.4 * data.camera()[60 : 60 + size, 160 : 160 + size] / 255.0, np.float32)


def noisy(clean: Planes, sigma: float = SIGMA) -> Planes:
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    return (clean + noise * sigma / 255).astype(np.float32)


def file_denoiser(denoiser: Denoiser) -> FileDenoiser:
    return FileDenoiser(denoiser.info, pass_runner(denoiser), DenoisingOptions(SIGMA), OutputOptions(), DecodeLimits())


def denoised(denoiser: Denoiser, picture: Picture, options: DenoisingOptions) -> DenoisedPicture:
    run_pass = pass_runner(denoiser)
    return denoise_with(denoise_picture(picture, options, denoiser.info.sigma_range), lambda each: run_pass(each, lambda _: None))


def test_every_depth_gains_the_same_and_uses_its_levels(denoiser: Denoiser) -> None:
    clean = clean_gray()[None]
    gains = {}
    twins: list[tuple[Format, Depth]] = [("png", "8"), ("png", "16"), ("tiff", "16"), ("tiff", "float")]
    for kind, depth in twins:
        sent = encode(Picture(noisy(clean), format=kind, depth=depth))
        files = file_denoiser(denoiser)
        back = decode(files.run(files.open(sent)).file, DecodeLimits())
        assert (back.format, back.depth) == (kind, depth)
        gains[kind, depth] = psnr(back.planes, clean) - psnr(decode(sent, DecodeLimits()).planes, clean)
        if depth == "16":
            levels = np.rint(back.planes * 65535).astype(int)
            assert np.count_nonzero(levels % 257) > 0.9 * levels.size, "levels between those of 8 bits"
    assert min(gains.values()) > 5
    assert max(gains.values()) - min(gains.values()) < 0.1


def test_values_outside_are_neither_clipped_nor_rescaled(denoiser: Denoiser) -> None:
    clean = clean_gray() * 4 - 1.5  # -0.3 to 1.3
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noisy(clean))
    files = file_denoiser(denoiser)
    back = tifffile.imread(io.BytesIO(files.run(files.open(buffer.getvalue())).file))
    assert back.dtype == np.float32
    assert abs(float(back.min() - clean.min())) < 0.05
    assert back.min() < -0.1
    assert abs(float(back.mean() - clean.mean())) < 0.002
    assert psnr(back, clean) - psnr(noisy(clean), clean) > 3


def test_a_scale_of_thousands_is_denoised_as_well(denoiser: Denoiser) -> None:
    clean = clean_gray() * 4000
    sent = (noisy(clean_gray()) * 4000).astype(np.float32)
    result = denoised(denoiser, Picture(sent[None], format="tiff", depth="float"), DenoisingOptions(None))
    assert result.sigma == pytest.approx(SIGMA * 4000, rel=0.1)
    error, before = result.picture.planes[0] - clean, sent - clean
    assert 20 * np.log10(np.std(before) / np.std(error)) > 4


def test_color_is_worth_more_than_its_channels(denoiser: Denoiser) -> None:
    clean = (data.astronaut()[20:84, 190:254] / 255).astype(np.float32).transpose(2, 0, 1).copy()
    sent = noisy(clean, 25)

    def run(*, rgb: bool) -> float:
        picture = Picture(sent, rgb=rgb, format="tiff", depth="float")
        return psnr(denoised(denoiser, picture, DenoisingOptions(25, "rgb")).picture.planes, clean)

    assert run(rgb=True) > run(rgb=False) + 1


@pytest.mark.parametrize("sigma", [10, 40])
def test_auto_costs_next_to_nothing(denoiser: Denoiser, sigma: float) -> None:
    clean = clean_gray()[None]
    picture = Picture(noisy(clean, sigma), format="tiff", depth="float")
    told, found = (psnr(denoised(denoiser, picture, DenoisingOptions(given)).picture.planes, clean) for given in (sigma, None))
    assert found > told - 0.1
