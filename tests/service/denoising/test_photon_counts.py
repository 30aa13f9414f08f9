"""Pictures that count photons, seen with stand-ins for the network, and denoised by a shipped one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from models.images.metrics import psnr
from models.inference.denoiser import Denoiser
from service.denoising.blending import Blend
from service.denoising.photon_counts import PhotonOptions, denoise_photon_counts
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass
from service.errors import InvalidParameter
from service.imaging.picture import Picture, Plane
from tests.support.passes import advance, denoise_with

RANGE = (0.0, 75.0)
OPTIONS = DenoisingOptions(None)
PEAK = 60


def light(size: int = 200) -> NDArray[np.float64]:
    """Return a photograph in [0, 1], taken as the light of a scene."""
    return np.asarray(data.coins()[:size, :size] / 255.0)


def counted(clean: NDArray[np.float64], peak: float = PEAK, read: float = 0.0, seed: int = 0) -> Picture:
    """Return a picture with so many photo-electrons at 1.0, and so many electrons of read noise."""
    generator = np.random.default_rng(seed)
    electrons = generator.poisson(clean * peak) + read * generator.standard_normal(clean.shape)
    return Picture((electrons / peak).astype(np.float32)[None], format="tiff", depth="float")


def known(peak: float = PEAK, read: float = 0.0) -> PhotonOptions:
    return PhotonOptions(255 / peak, 255 * read / peak)


def same(each: Pass) -> Plane:
    return each.plane


class Seen(list[Pass]):
    """Keeps every pass, and changes nothing."""

    def __call__(self, each: Pass) -> Plane:
        self.append(each)
        return each.plane


def denoised(picture: Picture, photons: PhotonOptions, options: DenoisingOptions = OPTIONS) -> tuple[DenoisedPicture, Seen]:
    seen = Seen()
    return denoise_with(denoise_photon_counts(picture, options, photons, RANGE), seen), seen


@pytest.mark.parametrize(("peak", "read"), [(5, 0.0), (10, 3.0), (60, 0.0), (1000, 3.0)])
def test_the_network_sees_white_noise_of_the_sigma_that_it_is_told(peak: float, read: float) -> None:
    ramp = np.tile(np.linspace(0.2, 1, 8).repeat(40), (320, 1))
    _, (seen,) = denoised(counted(ramp, peak, read), known(peak, read))
    assert isinstance(seen.sigma, float)
    assert seen.plane.min() >= -1
    assert seen.plane.max() <= 2
    least = 0.7 if ramp.min() * peak < 3 else 0.95  # so few electrons are a limit of the transform
    for column in range(0, 320, 40):
        assert least < seen.plane[:, column : column + 40].std() / seen.sigma < 1.08


@pytest.mark.parametrize("peak", [60, 1000, 20_000])
def test_the_content_fills_the_range_from_black_to_white(peak: float) -> None:
    _, (seen,) = denoised(counted(light(), peak), known(peak))
    low, high = np.quantile(seen.plane, (0.02, 0.98))
    assert -0.1 < low < 0.3
    assert 0.7 < high < 1.1


@pytest.mark.parametrize("factor", [4000.0, 0.02, 1e-3])
def test_the_scale_of_the_samples_does_not_matter(factor: float) -> None:
    picture = counted(light())
    scaled = replace(picture, planes=picture.planes * np.float32(factor))
    reference, (first,) = denoised(picture, known())
    result, (second,) = denoised(scaled, PhotonOptions(factor * 255 / PEAK, 0.0))
    assert np.allclose(first.plane, second.plane, atol=1e-4)
    assert result.sigma == pytest.approx(factor * reference.sigma, rel=1e-4)
    assert np.allclose(result.picture.planes, factor * reference.picture.planes, rtol=1e-3, atol=1e-4 * factor)


def test_one_plane_takes_one_pass_or_eight() -> None:
    assert len(denoised(counted(light(40)), known())[1]) == 1
    assert [each.index for each in denoised(counted(light(40)), known(), replace(OPTIONS, ensemble=True))[1]] == [*range(8)]


def test_the_mean_of_the_light_is_kept() -> None:
    """A network that averages well finds the mean of the transform, and the inverse must not be biased."""
    for peak, read in ((2, 0.0), (5, 1.0), (50, 3.0)):
        picture = counted(np.full((200, 200), 0.5), peak, read)
        passes = denoise_photon_counts(picture, OPTIONS, known(peak, read), RANGE)
        result = denoise_with(passes, lambda each: np.full_like(each.plane, each.plane.mean(dtype=np.float64)))
        assert float(result.picture.planes.mean()) == pytest.approx(0.5, abs=0.01)


def test_sigma_is_the_root_of_the_mean_variance() -> None:
    result, _ = denoised(counted(light(), PEAK, 2.0), known(PEAK, 2.0))
    assert result.sigma == pytest.approx(255 * np.sqrt(light().mean() / PEAK + (2.0 / PEAK) ** 2), rel=0.01)
    assert [(each.plane, each.sigma) for each in result.sigmas] == [("gray", result.sigma)]
    assert result.estimate is None


@pytest.mark.parametrize("factor", [1.0, 4000.0])
def test_gain_and_read_noise_are_found_out(factor: float) -> None:
    picture = counted(light(), PEAK, 2.0)
    result, _ = denoised(replace(picture, planes=picture.planes * np.float32(factor)), PhotonOptions())
    assert result.photon_noise is not None
    assert result.photon_noise.gain == pytest.approx(factor * 255 / PEAK, rel=0.1)
    assert result.photon_noise.read_noise == pytest.approx(factor * 2 * 255 / PEAK, rel=0.3)
    assert result.estimate is not None
    assert result.estimate.sigma == result.sigma == pytest.approx(factor * 255 * np.sqrt(light().mean() / 60 + 1 / 900), rel=0.05)
    assert result.estimate.confidence > 0.9


def test_samples_of_one_are_nothing_special_if_others_are_brighter() -> None:
    """Five photo-electrons give exactly 1.0 here, which is white in pictures that end there."""
    result, _ = denoised(counted(light(), 5), PhotonOptions())
    assert result.photon_noise is not None
    assert result.photon_noise.gain == pytest.approx(255 / 5, rel=0.1)


@pytest.mark.parametrize(("size", "code"), [(20, "too-small"), (200, "looks-clean")])
def test_without_an_estimate_the_picture_is_left_as_it_is(size: int, code: str) -> None:
    picture = Picture(np.full((1, size, size), 0.5, np.float32))
    step = advance(denoise_photon_counts(picture, OPTIONS, PhotonOptions(), RANGE), None)
    assert isinstance(step, DenoisedPicture)
    assert step.picture is picture
    assert step.warnings == (code,)
    assert step.photon_noise is None
    assert step.sigmas[0].sigma is None


def test_strength_mask_and_alpha_count_in_the_unit_of_the_samples() -> None:
    picture = counted(light(64))
    mask = (np.arange(64 * 64).reshape(64, 64) % 3 / 2).astype(np.float32)
    whole = denoise_with(denoise_photon_counts(picture, OPTIONS, known(), RANGE), lambda each: each.plane * 0).picture.planes
    assert abs(whole - picture.planes).max() > 0.1
    options = replace(OPTIONS, blend=Blend(0.5, mask=mask))
    half = denoise_with(denoise_photon_counts(picture, options, known(), RANGE), lambda each: each.plane * 0).picture.planes
    assert np.allclose(half, picture.planes + 0.5 * mask * (whole - picture.planes), atol=1e-6)
    alpha = replace(picture, alpha=mask)
    seen = denoise_with(denoise_photon_counts(alpha, OPTIONS, known(), RANGE), lambda each: each.plane * 0).picture
    assert np.array_equal(seen.planes[0][mask == 0], picture.planes[0][mask == 0])
    assert np.allclose(seen.planes[0][mask > 0], whole[0][mask > 0], atol=1e-6)


def test_at_strength_zero_the_network_does_not_run() -> None:
    picture = counted(light(40))
    step = advance(denoise_photon_counts(picture, replace(OPTIONS, blend=Blend(0.0)), known(), RANGE), None)
    assert isinstance(step, DenoisedPicture)
    assert step.picture.planes is picture.planes


def test_a_few_samples_that_set_the_range_are_told() -> None:
    picture = counted(0.05 * light())
    assert denoised(picture, known())[0].warnings == ()
    picture.planes[0, 3, 4] = 1000.0
    assert denoised(picture, known())[0].warnings == ("outliers",)
    few = int(0.0009 * picture.planes.size)  # nearly one in a thousand
    picture.planes[0].flat[:few] = 1000.0
    assert denoised(picture, known())[0].warnings == ("outliers",)


def test_stars_keep_their_light() -> None:
    """They are a few hundred times as bright as the sky, and fewer than one sample in a thousand."""
    sky = np.full((128, 128), 10 / 4000)
    sky[30, 40] = sky[90, 17] = 1.0
    result, (seen,) = denoised(counted(sky, 4000), known(4000))
    assert result.picture.planes[0, 30, 40] == pytest.approx(1.0, abs=5 / 4000**0.5)
    assert seen.plane.max() < 1.2


@pytest.mark.parametrize(
    "picture", [Picture(np.zeros((3, 8, 8), np.float32), rgb=True), Picture(np.zeros((2, 8, 8), np.float32))]
)
def test_several_channels_are_refused(picture: Picture) -> None:
    with pytest.raises(InvalidParameter, match="requires a gray picture"):
        denoised(picture, known(), replace(OPTIONS, color="rgb"))


def test_color_can_be_converted_to_gray() -> None:
    planes = counted(light(64)).planes.repeat(3, axis=0)
    result, _ = denoised(Picture(planes, rgb=True, depth="float"), known())
    assert result.picture.channels == 1


def test_read_noise_that_hides_all_photons_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="hardly any photon noise"):
        denoised(counted(light(40)), PhotonOptions(1e-12, 25.0))


def test_read_noise_from_which_no_plausible_gain_follows_is_refused() -> None:
    dark = Picture(-np.random.default_rng(3).poisson(100, (1, 64, 64)).astype(np.float32), depth="float")
    with pytest.raises(InvalidParameter, match="The estimated gain is beyond 1e\\+30"):
        denoised(dark, PhotonOptions(None, 1e30))


def test_it_beats_the_best_single_sigma() -> None:
    """The light of a photograph, which is its tone curve undone, at a peak of 30 photo-electrons."""
    clean = (data.camera()[40:200, 160:320] / 255.0) ** 2.2
    picture = counted(clean, 30)
    denoiser = Denoiser.load("n3unet", device="cpu")

    def run(plane: Plane, sigma: float) -> Plane:
        result: Plane = denoiser.denoise(torch.from_numpy(plane), sigma).numpy()
        return result

    def run_pass(each: Pass) -> Plane:
        assert isinstance(each.sigma, float)
        return run(each.plane, each.sigma)

    passes = denoise_photon_counts(picture, OPTIONS, PhotonOptions(), denoiser.info.sigma_range)
    found = denoise_with(passes, run_pass).picture.planes[0]
    best = max(psnr(run(picture.planes[0], sigma / 255), clean) for sigma in range(20, 60, 4))
    assert psnr(found, clean) > best + 1
