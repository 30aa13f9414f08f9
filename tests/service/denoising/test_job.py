"""Jobs from bytes to bytes, with stand-ins for the network that show what they were given."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from models.model_info import ModelInfo
from service.denoising.blending import Blend
from service.denoising.denoising_job import DenoisingJob
from service.denoising.evaluation_job import EvaluationJob
from service.denoising.job import OutputOptions, run
from service.denoising.noise_job import NoiseJob
from service.denoising.pipeline import DenoisingOptions, Pass
from service.errors import InvalidParameter, MaskMismatch, ReferenceMismatch, SigmaOutOfRange, TooManyPixels, UnsupportedMode
from service.imaging.codec import decode, encode
from service.imaging.picture import DecodeLimits, Picture, Plane

MODEL = ModelInfo("n3net", "n3net", "ab" * 32, {}, (0.0, 75.0), "cpu", "CPU", "float32", None)
LIMITS = DecodeLimits()


def picture(channels: int = 1, seed: int = 0, alpha: bool = False) -> Picture:
    planes = (np.random.default_rng(seed).integers(60, 190, (channels, 14, 17)) / 255).astype(np.float32)
    return Picture(planes, rgb=channels == 3, alpha=np.full((14, 17), 0.5, np.float32) if alpha else None)


def unchanged(each: Pass) -> Plane:
    return each.plane


def perfect(_: Pass) -> Plane:
    plane: Plane = picture().planes[0]
    return plane


def job(
    image: Picture,
    reference: Picture | None = None,
    denoising: DenoisingOptions | None = None,
    output: OutputOptions | None = None,
) -> DenoisingJob:
    files = encode(image), encode(reference) if reference else None
    return DenoisingJob(*files, MODEL, denoising or DenoisingOptions(25), output or OutputOptions(), LIMITS)


def test_a_network_that_changes_nothing_returns_the_picture() -> None:
    result = run(job(picture(3), denoising=DenoisingOptions(25, "rgb")), unchanged)
    assert result.file_format == "png"
    assert np.allclose(decode(result.file, LIMITS).planes, picture(3).planes, atol=1e-6)
    assert result.quality is None


def test_the_result_is_measured_against_the_reference_on_the_returned_pixels() -> None:
    result = run(job(picture(seed=1), picture()), perfect)
    assert result.quality
    assert result.quality.denoised.psnr == float("inf")
    assert result.quality.noisy.psnr < 20


def test_the_headers_alone_say_what_a_job_will_cost() -> None:
    pixels, held = 14 * 17, 32 * 32
    assert (job(picture(3)).network_pixels, job(picture(3)).held_pixels) == (pixels, held)
    color = job(picture(3), picture(3, 1), DenoisingOptions(25, "rgb", ensemble=True))
    assert (color.network_pixels, color.held_pixels) == (24 * pixels, 2 * held)
    evaluation = EvaluationJob(encode(picture()), MODEL, DenoisingOptions(25), 0, LIMITS)
    assert (evaluation.network_pixels, evaluation.held_pixels) == (pixels, 3 * held)
    noise = NoiseJob(encode(picture()), "gray", MODEL, LIMITS)
    assert (noise.network_pixels, noise.held_pixels) == (0, held)


def test_every_further_four_channels_count_as_another_picture() -> None:
    many, reference = picture(9), picture(4, alpha=True)
    many, reference = replace(many, format="tiff"), replace(reference, format="tiff")
    waiting = job(many, reference, DenoisingOptions(25, "rgb"))
    assert waiting.held_pixels == (3 + 2) * 32 * 32
    assert NoiseJob(encode(many), "gray", MODEL, LIMITS).held_pixels == 3 * 32 * 32
    assert EvaluationJob(encode(many), MODEL, DenoisingOptions(25), 0, LIMITS).held_pixels == 3 * 3 * 32 * 32


def test_channels_are_limited_in_the_image_and_the_reference() -> None:
    most, many = (replace(picture(channels), format="tiff") for channels in (16, 17))
    assert job(most).header.channels == 16
    for files in ((many, None), (most, many)):
        with pytest.raises(UnsupportedMode, match="16 channels"):
            job(*files)


def test_three_pictures_side_by_side_must_fit_into_one_png() -> None:
    wide = Picture(np.full((1, 1, 340_000), 0.5, np.float32))
    with pytest.raises(InvalidParameter, match="tiff"):
        EvaluationJob(encode(wide), MODEL, DenoisingOptions(25), 0, LIMITS).start()


def test_what_cannot_be_encoded_is_refused_before_the_network_runs() -> None:
    refused = job(picture(3, alpha=True), output=OutputOptions("jpeg"))
    with pytest.raises(InvalidParameter, match="alpha"):
        refused.start()
    wide = job(Picture(np.full((1, 1, 70_000), 0.5, np.float32)), output=OutputOptions("jpeg"))
    with pytest.raises(InvalidParameter, match="65500"):
        wide.start()


def test_a_reference_of_another_kind_is_refused_before_the_network_runs() -> None:
    with pytest.raises(ReferenceMismatch):
        job(picture(3), picture(1), DenoisingOptions(25, "rgb")).start()


@pytest.mark.parametrize("name", ["reference", "mask"])
def test_limits_hold_for_the_reference_and_the_mask_too(name: str) -> None:
    large = encode(replace(picture(), planes=np.tile(picture().planes, (1, 3, 3))))
    reference, mask = (large if name == each else None for each in ("reference", "mask"))
    limits = DecodeLimits(pixels=1100)
    with pytest.raises(TooManyPixels):
        DenoisingJob(encode(picture()), reference, MODEL, DenoisingOptions(25), OutputOptions(), limits, mask=mask)


def test_a_mask_counts_as_a_picture_that_is_held() -> None:
    files = encode(picture()), encode(picture()), MODEL, DenoisingOptions(25), OutputOptions(), LIMITS
    assert DenoisingJob(*files, mask=encode(picture(alpha=True))).held_pixels == 3 * 32 * 32


def test_a_mask_of_another_size_is_refused_before_the_network_runs() -> None:
    mask = encode(replace(picture(), planes=picture().planes[:, :-1]))
    with pytest.raises(MaskMismatch):
        DenoisingJob(encode(picture()), None, MODEL, DenoisingOptions(25), OutputOptions(), LIMITS, mask=mask).start()


def test_a_picture_that_needs_no_pass_is_finished_without_one() -> None:
    clean = job(picture(), denoising=DenoisingOptions(25, blend=Blend(0)))
    assert clean.start() is None
    assert np.allclose(decode(clean.finish(None).file, LIMITS).planes, picture().planes, atol=1e-6)


def test_the_stages_inside_are_timed() -> None:
    seen: list[str] = []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        seen.append(name)
        yield

    files = encode(picture(seed=1)), encode(picture())
    run(DenoisingJob(*files, MODEL, DenoisingOptions(25), OutputOptions(), LIMITS, stage), unchanged)
    assert seen == ["treat", "treat", "metric"]


def test_an_evaluation_adds_the_noise_of_its_seed() -> None:
    def evaluate(seed: int) -> Plane:
        file = encode(picture())
        result = run(EvaluationJob(file, MODEL, DenoisingOptions(25), seed, LIMITS), perfect)
        assert result.after.psnr > 100
        assert result.before.psnr == pytest.approx(20.2, abs=1)
        noisy: Plane = result.noisy.planes[0]
        return noisy

    assert np.array_equal(evaluate(1), evaluate(1))
    assert not np.array_equal(evaluate(1), evaluate(2))


def test_an_evaluation_refuses_a_sigma_that_the_model_does_not_know() -> None:
    with pytest.raises(SigmaOutOfRange, match="from 0 to 75"):
        EvaluationJob(encode(picture()), MODEL, DenoisingOptions(80), 0, LIMITS)


def test_a_noise_job_estimates_without_a_pass() -> None:
    noise = np.random.default_rng(0).normal(0.5, 20 / 255, (1, 128, 128)).astype(np.float32)
    waiting = NoiseJob(encode(Picture(noise)), "gray", MODEL, LIMITS)
    waiting.start()
    assert waiting.finish(None).estimate.sigma == pytest.approx(20, rel=0.1)
