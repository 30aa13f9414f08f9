"""Jobs that enlarge pictures, with stand-ins for the network; Pillow's bicubic enlargement is the oracle."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.images import color
from models.images.metrics import psnr
from models.images.resize import enlarge_planes
from models.model_info import ModelInfo
from service.denoising.job import OutputOptions, run
from service.denoising.pipeline import Pass
from service.denoising.upscaling import UpscalingOptions
from service.denoising.upscaling_job import UpscalingJob
from service.errors import InvalidParameter, ReferenceMismatch, SigmaOutOfRange, TooManyPixels
from service.imaging.codec import decode, encode
from service.imaging.picture import DecodeLimits, Depth, Metadata, Picture, Plane, Planes

MODEL = ModelInfo("upscale", "upscale", "ab" * 32, {}, (0.0, 25.0), "cpu", "CPU", "float32", None)
LIMITS = DecodeLimits()
HEIGHT, WIDTH = 14, 17


def picture(channels: int = 1, depth: Depth = "8") -> Picture:
    planes = (np.random.default_rng(0).integers(60, 190, (channels, HEIGHT, WIDTH)) / 255).astype(np.float32)
    return Picture(planes, rgb=channels == 3, depth=depth, format="tiff" if depth == "float" else "png")


def job(
    image: Picture,
    factor: int = 2,
    sigma: float | None = 0.0,
    reference: Picture | None = None,
    output: OutputOptions | None = None,
    limits: DecodeLimits = LIMITS,
    ensemble: bool = False,
) -> UpscalingJob:
    files = encode(image), encode(reference) if reference else None
    return UpscalingJob(*files, MODEL, UpscalingOptions(factor, sigma, ensemble), output or OutputOptions(), limits)


def bicubic(each: Pass) -> Plane:
    enlarged: Plane = enlarge_planes(each.plane[None], each.factor)[0]
    return enlarged


def repeated(planes: Planes, factor: int) -> Planes:
    return np.asarray(planes.repeat(factor, -2).repeat(factor, -1))


def nearest(each: Pass) -> Plane:
    return repeated(each.plane, each.factor)


def by_pillow(plane: Plane, factor: int) -> Plane:
    size = (factor * plane.shape[1], factor * plane.shape[0])
    enlarged: Plane = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    return enlarged


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_enlarges_bicubically_returns_the_bicubic_enlargement(channels: int, factor: int) -> None:
    image = picture(channels, depth="float")
    result = run(job(image, factor), bicubic)
    expected = np.stack([by_pillow(plane, factor) for plane in image.planes])
    assert result.picture.planes.shape == (channels, factor * HEIGHT, factor * WIDTH)
    assert np.allclose(decode(result.file, LIMITS).planes, expected, atol=1e-5)


def test_the_network_enlarges_luma_and_the_color_differences_are_bicubic() -> None:
    image = picture(3, depth="float")
    seen: list[Pass] = []

    def network(each: Pass) -> Plane:
        seen.append(each)
        return nearest(each)

    result = run(job(image), network)
    luma, *differences = color.separate(result.picture.planes)
    assert [(each.index, each.count, each.sigma, each.factor) for each in seen] == [(0, 1, 0.0, 2)]
    assert np.allclose(seen[0].plane, image.planes.mean(0), atol=1e-6)
    assert np.allclose(luma, repeated(image.planes.mean(0), 2), atol=1e-5)
    assert np.allclose(differences, enlarge_planes(color.separate(image.planes)[1:], 2), atol=1e-5)
    assert [each.sigma for each in result.upscaled.sigmas] == [0.0, None, None]


def test_noisy_color_differences_pass_through_the_network() -> None:
    sigmas: list[float] = []

    def network(each: Pass) -> Plane:
        assert isinstance(each.sigma, float)
        sigmas.append(255 * each.sigma)
        return nearest(each)

    waiting = job(picture(3), sigma=12)
    result = run(waiting, network)
    assert waiting.passes == 3
    assert np.allclose(sigmas, 12 * color.NOISE)
    assert np.allclose(result.picture.planes, repeated(picture(3).planes, 2), atol=1e-5)


def test_the_ensemble_is_the_mean_over_eight_views() -> None:
    seen: list[Pass] = []

    def darker_on_the_left(each: Pass) -> Plane:
        """Darken the left half: in half of the views, that is where a pixel is."""
        seen.append(each)
        enlarged = nearest(each)
        enlarged[:, : enlarged.shape[1] // 2] -= np.float32(0.1)
        return enlarged

    image = picture(3, depth="float")
    waiting = job(image, 2, sigma=12, ensemble=True)
    result = run(waiting, darker_on_the_left)
    assert [(each.index, each.count) for each in seen] == [(index, 24) for index in range(24)]
    assert waiting.passes == 24
    luma = color.separate(result.picture.planes)[0]
    assert np.allclose(luma, repeated(color.separate(image.planes)[0], 2) - 0.05, atol=1e-5)
    assert job(image, ensemble=True).passes == 8


def test_each_of_several_unrelated_channels_passes_through_the_network() -> None:
    image = replace(picture(5), format="tiff")
    result = run(job(image, 3), nearest)
    assert np.allclose(decode(result.file, LIMITS).planes, repeated(image.planes, 3), atol=1e-6)


def test_alpha_is_bicubic_and_hidden_colors_do_not_spread() -> None:
    image = picture()
    planes, alpha = np.full((1, HEIGHT, WIDTH), 0.8, np.float32), np.ones((HEIGHT, WIDTH), np.float32)
    planes[:, :, 9:], alpha[:, 9:] = 0, 0
    result = run(job(replace(image, planes=planes, alpha=alpha)), bicubic)
    returned = decode(result.file, LIMITS)
    assert returned.alpha is not None
    assert np.allclose(returned.alpha, by_pillow(alpha, 2).clip(0, 1), atol=0.51 / 255)
    assert np.allclose(returned.planes, 0.8, atol=0.51 / 255)


def test_float_pictures_keep_their_range() -> None:
    image = picture(depth="float")
    image = replace(image, planes=40 * image.planes - 3)
    seen: list[Plane] = []

    def network(each: Pass) -> Plane:
        seen.append(each.plane)
        return nearest(each)

    result = run(job(image), network)
    assert seen[0].min() >= 0
    assert seen[0].max() <= 1
    assert np.allclose(decode(result.file, LIMITS).planes, repeated(image.planes, 2), atol=1e-4)


def test_sixteen_bits_stay_sixteen_bits() -> None:
    returned = decode(run(job(picture(depth="16")), nearest).file, LIMITS)
    assert returned.depth == "16"
    assert np.allclose(returned.planes, repeated(picture().planes, 2), atol=1 / 65535)


def test_exif_states_the_new_size() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA002: WIDTH, 0xA003: HEIGHT})
    exif[0x010F] = "Camera"
    metadata = Metadata(exif=bytes(exif.tobytes()).removeprefix(b"Exif\0\0"))
    result = run(job(replace(picture(), metadata=metadata), 3), nearest)
    written = Image.open(io.BytesIO(result.file)).getexif()
    inner = written.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003], written[0x010F]) == (3 * WIDTH, 3 * HEIGHT, "Camera")
    assert "model=upscale factor=3 sigma=0 " in written[0x0131]


def luma_inside(planes: Planes, border: int) -> Plane:
    gray = np.tensordot(color.GRAY_WEIGHTS, planes.astype(np.float64), axes=1).astype(np.float32)
    return np.asarray(gray[border:-border, border:-border])


@pytest.mark.parametrize("factor", [2, 3])
def test_quality_is_that_of_luma_without_a_border(factor: int) -> None:
    image = picture(3, depth="16")
    noise = np.random.default_rng(1).normal(0, 0.02, (3, factor * HEIGHT, factor * WIDTH)).astype(np.float32)
    clean = Picture((repeated(image.planes, factor) + noise).clip(0, 1), rgb=True, depth="float", format="tiff")
    result = run(job(image, factor, reference=clean), nearest)
    assert result.quality
    reference = luma_inside(clean.planes, factor)
    returned = luma_inside(decode(result.file, LIMITS).planes, factor)
    pillow = luma_inside(np.stack([by_pillow(plane, factor) for plane in image.planes]), factor)
    assert result.quality.denoised.psnr == pytest.approx(psnr(returned, reference), abs=1e-3)
    assert result.quality.noisy.psnr == pytest.approx(psnr(pillow, reference), abs=1e-3)
    assert result.quality.gain.psnr > 3
    border = clean.planes.copy()
    border[:, :factor], border[..., -factor:] = 1, 0
    same = run(job(image, factor, reference=replace(clean, planes=border)), nearest)
    assert same.quality == result.quality


def test_a_reference_must_have_the_size_of_the_result() -> None:
    with pytest.raises(ReferenceMismatch, match="17 x 14 pixels, and the enlarged image will have 34 x 28"):
        job(picture(), reference=picture()).start()


def test_a_picture_without_anything_inside_the_border_has_no_quality() -> None:
    tiny = Picture(np.full((1, 2, 9), 0.5, np.float32))
    with pytest.raises(ReferenceMismatch, match="at least 3 pixels"):
        job(tiny, reference=Picture(enlarge_planes(tiny.planes, 2))).start()
    assert run(job(tiny), nearest).picture.planes.shape == (1, 4, 18)


def test_a_color_reference_measures_a_gray_picture() -> None:
    reference = Picture(np.repeat(repeated(picture().planes, 2), 3, 0), rgb=True)
    result = run(job(picture(), reference=reference), nearest)
    assert result.quality
    assert result.quality.denoised.psnr > 60


def test_sigma_out_of_range_is_refused() -> None:
    with pytest.raises(SigmaOutOfRange, match="from 0 to 25"):
        job(picture(), sigma=26).start()


def test_an_estimate_out_of_range_is_clipped_and_said() -> None:
    noise = np.random.default_rng(0).normal(0, 40 / 255, (1, 96, 96)).astype(np.float32)
    told: list[Pass] = []

    def network(each: Pass) -> Plane:
        told.append(each)
        return nearest(each)

    result = run(job(Picture(0.5 + noise, depth="float", format="tiff"), sigma=None), network)
    assert told[0].sigma == pytest.approx(25 / 255)
    assert result.upscaled.estimate
    assert result.upscaled.sigma == pytest.approx(40, rel=0.1)
    assert "out-of-range" in result.upscaled.warnings


def test_a_clean_picture_is_enlarged_without_denoising() -> None:
    rows, columns = np.mgrid[0:96, 0:96].astype(np.float32)
    told: list[Pass] = []

    def network(each: Pass) -> Plane:
        told.append(each)
        return nearest(each)

    result = run(job(Picture(((rows + columns) / 400)[None]), sigma=None), network)
    assert told[0].sigma == 0
    assert "looks-clean" in result.upscaled.warnings


def test_the_limit_applies_to_the_enlarged_picture() -> None:
    image = Picture(np.zeros((1, 100, 200), np.float32))
    assert job(image, 2, limits=DecodeLimits(80_000)).held_pixels == 5 * 20_000
    with pytest.raises(TooManyPixels, match="600 x 300 pixels, which count as 180000; the limit is 80000 pixels") as refused:
        job(image, 3, limits=DecodeLimits(80_000))
    assert refused.value.members["limit_pixels"] == 80_000


def test_the_headers_alone_say_what_a_job_will_cost() -> None:
    image = Picture(np.zeros((3, 40, 50), np.float32), rgb=True)
    assert (job(image).network_pixels, job(image).held_pixels) == (2000, 5 * 2000)
    assert job(image, 4, 5).network_pixels == 3 * 2000
    assert job(image, 4, reference=replace(image, planes=np.zeros((3, 160, 200), np.float32))).held_pixels == (1 + 16 + 16) * 2000


def test_a_format_that_cannot_hold_the_result_is_refused_before_the_computation() -> None:
    wide = Picture(np.zeros((1, 1, 5000), np.float32))
    with pytest.raises(InvalidParameter, match="webp supports sides of up to 16383"):
        job(wide, 4, output=OutputOptions("webp")).start()
    assert job(wide, 3, output=OutputOptions("webp")).start()


def test_hidden_colors_do_not_change_how_the_bicubic_enlargement_compares() -> None:
    visible = np.ones((HEIGHT, WIDTH), np.float32)
    visible[:, : WIDTH // 2] = 0
    image = replace(picture(3, depth="float"), alpha=visible)
    reference = Picture(repeated(image.planes, 2), rgb=True, format="tiff", depth="float")
    quality = run(job(image, 2, reference=reference), bicubic).quality
    assert quality is not None
    assert quality.noisy.psnr == pytest.approx(quality.floats.psnr, abs=1e-3)
