"""Enlarged pictures as responses: an image file with figures in headers, or JSON with the image in base64."""

import base64

from starlette.responses import JSONResponse, Response

from service.api.rendering import MODEL_HEADERS, estimated_noise, figure_pair, in_words, model_headers, plane_levels
from service.api.upscale_schemas import Upscaled, UpscaledFigures
from service.denoising.upscaling_job import UpscalingResult
from service.imaging.picture import MEDIA_TYPES

_PSNR = "PSNR in dB of the {} against the reference, on luma and without a border as wide as the factor; inf if identical."
_SSIM = "SSIM of the {} against the reference, on the same pixels; absent if they have a side below 11 pixels."
UPSCALE_HEADERS = {
    "X-Factor": "Factor by which the image was enlarged.",
    "X-Sigma": "Noise level of a channel on the 0-255 scale: the sigma given, or the estimate.",
    "X-Sigma-Confidence": "Confidence in the estimate, from 0 to 1; absent if there was nothing to estimate.",
    "X-Warnings": "Codes of conversions and of reasons to doubt the estimate or the result, separated by commas; may be absent.",
    "X-PSNR-Bicubic": _PSNR.format("bicubic enlargement"),
    "X-PSNR-Upscaled": _PSNR.format("returned pixels"),
    "X-PSNR-Gain": "X-PSNR-Upscaled minus X-PSNR-Bicubic.",
    "X-SSIM-Bicubic": _SSIM.format("bicubic enlargement"),
    "X-SSIM-Upscaled": _SSIM.format("returned pixels"),
    **MODEL_HEADERS,
}


def upscaled_image(result: UpscalingResult) -> Response:
    """Return the image file with the figures as headers."""
    return Response(result.file, 200, upscale_headers(result), MEDIA_TYPES[result.file_format])


def upscaled_json(result: UpscalingResult) -> Response:
    """Return the figures as JSON, with the image file in base64."""
    body = Upscaled(
        **dict(upscaled_figures(result)),
        image=base64.b64encode(result.file).decode(),
        media_type=MEDIA_TYPES[result.file_format],
    )
    return JSONResponse(body.model_dump(), headers=upscale_headers(result))


def upscaled_figures(result: UpscalingResult) -> UpscaledFigures:
    """Return the figures."""
    upscaled, quality, model = result.upscaled, result.quality, result.model
    return UpscaledFigures(
        width=result.picture.width,
        height=result.picture.height,
        factor=upscaled.factor,
        sigma=upscaled.sigma,
        sigmas=plane_levels(upscaled.sigmas),
        noise=estimated_noise(upscaled.estimate) if upscaled.estimate else None,
        warnings=in_words(upscaled.warnings),
        model=model.name,
        weights_sha256=model.weights_sha256,
        device=model.device,
        bicubic=figure_pair(quality.noisy) if quality else None,
        upscaled=figure_pair(quality.denoised) if quality else None,
        upscaled_floats=figure_pair(quality.floats) if quality else None,
        gain=figure_pair(quality.gain) if quality else None,
    )


def upscale_headers(result: UpscalingResult) -> dict[str, str]:
    """Return the figures as headers."""
    upscaled, quality = result.upscaled, result.quality
    headers = {"x-factor": str(upscaled.factor), "x-sigma": f"{upscaled.sigma:.4g}", **model_headers(result.model)}
    if upscaled.estimate:
        headers["x-sigma-confidence"] = f"{upscaled.estimate.confidence:.2f}"
    if upscaled.warnings:
        headers["x-warnings"] = ", ".join(upscaled.warnings)
    if quality:
        for kind, figures in (("bicubic", quality.noisy), ("upscaled", quality.denoised)):
            headers[f"x-psnr-{kind}"] = f"{figures.psnr:.3f}"
            if figures.ssim is not None:
                headers[f"x-ssim-{kind}"] = f"{figures.ssim:.4f}"
        headers["x-psnr-gain"] = f"{quality.gain.psnr:.3f}"
    return headers
