"""Results as responses: an image file with figures in headers, or JSON with the image in base64."""

import base64
import math
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

from models.images.noise_level import NoiseEstimate
from models.model_info import ModelInfo
from service.api.schemas import (
    Denoised,
    DenoisedFigures,
    Evaluated,
    EvaluateOptions,
    FigurePair,
    Noise,
    NoiseByPlane,
    PhotonNoiseUsed,
    PlaneLevel,
    Warned,
)
from service.denoising.denoising_job import DenoisingResult
from service.denoising.estimation import WARNINGS, PlaneSigma
from service.denoising.evaluation_job import EvaluationResult
from service.denoising.noise_job import NoiseResult
from service.denoising.photographs import channel_levels
from service.denoising.quality import Figures, gain
from service.imaging.codec import encode
from service.imaging.picture import MEDIA_TYPES, Picture

MODEL_HEADERS = {
    "X-Model": "Name of the model.",
    "X-Weights-SHA256": "SHA-256 of its weights; absent for a method without weights.",
    "X-Device": "Device that computed the result.",
    "X-Device-Fallback": "Why the CPU was used although a GPU was allowed; absent otherwise.",
    "Server-Timing": "Milliseconds by stage.",
}
_PSNR = "PSNR in dB of the {} against the {} picture, with white as 1; inf if they are identical."
_SSIM = "SSIM of the {} against the {} picture; absent if a side is below 11 pixels."
DENOISE_HEADERS = {
    "X-Sigma": (
        "Noise level of a channel on the 0-255 scale: the sigma given, or the estimate, as the root of the mean variance over "
        "the channels and the picture."
    ),
    "X-Sigma-Confidence": "Confidence in the estimate, from 0 to 1; absent if there was nothing to estimate.",
    "X-Gain": "For noise=poisson: samples per photo-electron on the 0-255 scale, as given or estimated.",
    "X-Read-Noise": "For noise=poisson: standard deviation of the noise without light on the 0-255 scale, as given or estimated.",
    "X-Offset": "For noise=poisson: level of a sample without light on the 0-255 scale; 0 unless it was estimated.",
    "X-Warnings": "Codes of conversions and of reasons to doubt the estimate or the result, separated by commas; may be absent.",
    "X-PSNR-Noisy": _PSNR.format("input", "reference"),
    "X-PSNR-Denoised": _PSNR.format("returned pixels", "reference"),
    "X-PSNR-Gain": "X-PSNR-Denoised minus X-PSNR-Noisy.",
    "X-SSIM-Noisy": _SSIM.format("input", "reference"),
    "X-SSIM-Denoised": _SSIM.format("returned pixels", "reference"),
    **MODEL_HEADERS,
}
EVALUATE_HEADERS = {
    "X-Sigma": "Standard deviation of the added noise on the 0-255 scale.",
    "X-Seed": "Seed of the added noise.",
    "X-PSNR-Noisy": _PSNR.format("noisy picture", "clean"),
    "X-PSNR-Denoised": _PSNR.format("denoised picture", "clean"),
    "X-SSIM-Noisy": _SSIM.format("noisy picture", "clean"),
    "X-SSIM-Denoised": _SSIM.format("denoised picture", "clean"),
    **MODEL_HEADERS,
}


def denoised_image(result: DenoisingResult) -> Response:
    """Return the image file with the figures as headers."""
    return Response(result.file, 200, denoise_headers(result), MEDIA_TYPES[result.file_format])


def denoised_json(result: DenoisingResult, *, noise_map: bool) -> Response:
    """Return the figures as JSON, with the image file in base64, and with the noise level map if it is wanted."""
    body = Denoised(
        **dict(figures_of(result, noise_map=noise_map)),
        image=base64.b64encode(result.file).decode(),
        media_type=MEDIA_TYPES[result.file_format],
    )
    return JSONResponse(body.model_dump(), headers=denoise_headers(result))


def figures_of(result: DenoisingResult, *, noise_map: bool) -> DenoisedFigures:
    """Return the figures, with the noise level map if it is wanted."""
    estimate, quality, picture, model = result.denoised.estimate, result.quality, result.denoised.picture, result.model
    photons = result.denoised.photon_noise
    return DenoisedFigures(
        width=picture.width,
        height=picture.height,
        sigma=result.denoised.sigma,
        sigmas=plane_levels(result.denoised.sigmas),
        noise_map=_noise_map(result.denoised.cells, picture.rgb) if noise_map else None,
        noise=estimated_noise(estimate) if estimate else None,
        photon_noise=PhotonNoiseUsed(**asdict(photons)) if photons else None,
        warnings=in_words(result.denoised.warnings),
        model=model.name,
        weights_sha256=model.weights_sha256,
        device=model.device,
        noisy=figure_pair(quality.noisy) if quality else None,
        denoised=figure_pair(quality.denoised) if quality else None,
        denoised_floats=figure_pair(quality.floats) if quality else None,
        gain=figure_pair(quality.gain) if quality else None,
    )


def denoise_headers(result: DenoisingResult) -> dict[str, str]:
    """Return the figures as headers."""
    estimate, quality = result.denoised.estimate, result.quality
    headers = {"x-sigma": f"{result.denoised.sigma:.4g}", **model_headers(result.model)}
    if estimate:
        headers["x-sigma-confidence"] = f"{estimate.confidence:.2f}"
    if photons := result.denoised.photon_noise:
        values = {"x-gain": photons.gain, "x-read-noise": photons.read_noise, "x-offset": photons.offset}
        headers |= {name: f"{value:.4g}" for name, value in values.items()}
    if result.denoised.warnings:
        headers["x-warnings"] = ", ".join(result.denoised.warnings)
    if quality:
        headers |= _quality_headers(quality.noisy, quality.denoised) | {"x-psnr-gain": f"{quality.gain.psnr:.3f}"}
    return headers


def evaluated_image(result: EvaluationResult, model: ModelInfo, options: EvaluateOptions) -> Response:
    """Return the clean, noisy and denoised picture side by side as an 8-bit PNG, with the figures as headers."""
    pictures = (result.clean, result.noisy, result.denoised)
    file = _png(result.clean, np.concatenate([picture.planes for picture in pictures], axis=2))
    return Response(file, 200, _evaluate_headers(result, model, options), MEDIA_TYPES["png"])


def evaluated_json(result: EvaluationResult, model: ModelInfo, options: EvaluateOptions) -> Response:
    """Return the figures as JSON, with the noisy and the denoised picture as PNG files in base64."""
    noisy, denoised = (
        base64.b64encode(_png(result.clean, picture.planes)).decode() for picture in (result.noisy, result.denoised)
    )
    body = Evaluated(
        sigma=options.sigma,
        seed=options.seed,
        width=result.clean.width,
        height=result.clean.height,
        model=model.name,
        weights_sha256=model.weights_sha256,
        device=model.device,
        noisy=figure_pair(result.before),
        denoised=figure_pair(result.after),
        gain=figure_pair(gain(result.before, result.after)),
        noisy_image=noisy,
        denoised_image=denoised,
    )
    return JSONResponse(body.model_dump(), headers=_evaluate_headers(result, model, options))


def noise_json(result: NoiseResult, *, noise_map: bool) -> Response:
    """Return the estimates as JSON, with the warnings in words, and with the noise level map if it is wanted."""
    body = NoiseByPlane(
        **estimated_noise(result.estimate).model_dump(),
        sigmas=plane_levels(result.sigmas),
        noise_map=_noise_map(result.cells, len(result.sigmas) == 3) if noise_map else None,
    )
    return JSONResponse(body.model_dump())


def estimated_noise(estimate: NoiseEstimate) -> Noise:
    """Return an estimate with its warnings in words."""
    return Noise(sigma=estimate.sigma, confidence=estimate.confidence, warnings=in_words(estimate.warnings))


def _noise_map(cells: NDArray[np.float64] | None, rgb: bool) -> str | None:
    """Return the noise level of a channel in each cell as a 16-bit PNG in base64."""
    if cells is None:
        return None
    values = (channel_levels(cells, rgb=rgb) * 256 / 65535).clip(0, 1)
    return base64.b64encode(encode(Picture(values[None].astype(np.float32)), "png", "16")).decode()


def plane_levels(sigmas: tuple[PlaneSigma, ...]) -> list[PlaneLevel]:
    """Return the noise level of each plane."""
    return [PlaneLevel(plane=each.plane, sigma=each.sigma) for each in sigmas]


def in_words(codes: tuple[str, ...]) -> list[Warned]:
    """Return warnings in words."""
    return [Warned(code=code, detail=WARNINGS[code]) for code in codes]


def _png(like: Picture, planes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    return encode(Picture(planes, like.rgb), "png", "8")


def figure_pair(figures: Figures) -> FigurePair:
    """Return figures with an infinite PSNR, which JSON cannot hold, as null."""
    return FigurePair(psnr=figures.psnr if math.isfinite(figures.psnr) else None, ssim=figures.ssim)


def model_headers(model: ModelInfo) -> dict[str, str]:
    """Return the headers about the model of a result."""
    headers = {
        "x-model": model.name,
        "x-device": model.device,
        "x-weights-sha256": model.weights_sha256,
        "x-device-fallback": model.fallback_reason,
    }
    return {name: value for name, value in headers.items() if value}


def _evaluate_headers(result: EvaluationResult, model: ModelInfo, options: EvaluateOptions) -> dict[str, str]:
    headers = {"x-sigma": f"{options.sigma:.4g}", "x-seed": str(options.seed), **model_headers(model)}
    return headers | _quality_headers(result.before, result.after)


def _quality_headers(noisy: Figures, denoised: Figures) -> dict[str, str]:
    headers = {"x-psnr-noisy": f"{noisy.psnr:.3f}", "x-psnr-denoised": f"{denoised.psnr:.3f}"}
    if noisy.ssim is not None and denoised.ssim is not None:
        headers |= {"x-ssim-noisy": f"{noisy.ssim:.4f}", "x-ssim-denoised": f"{denoised.ssim:.4f}"}
    return headers
