"""POST /v1/denoise: a noisy picture in, a clean one out."""

import base64
import math
from dataclasses import dataclass, replace

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service import codec
from service.compute import MODEL, Facts
from service.errors import ReferenceMismatch, SigmaOutOfRange
from service.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.picture import MEDIA_TYPES, Picture
from service.routes.accept import wants_json
from service.routes.attend import attend
from service.routes.body import Upload, read_upload
from service.schemas import Denoised, DenoiseOptions, parse
from service.state import State, state_of
from service.telemetry import current_record, stage

router = APIRouter(tags=["denoise"])

HEADERS = ("X-Sigma", "X-Model", "X-Weights-SHA256", "X-Device", "X-PSNR-Noisy", "X-PSNR-Denoised", "Server-Timing")


@dataclass(frozen=True)
class Result:
    """What is rendered as an image or as JSON."""

    file: bytes
    picture: Picture
    sigma: float
    facts: Facts
    psnr_noisy: float | None = None
    psnr_denoised: float | None = None


@router.post(
    "/v1/denoise",
    response_class=Response,
    responses={**image_response(*HEADERS), **problems(*IMAGES, *ENGINE)},
    openapi_extra=image_request(DenoiseOptions, "image", "reference"),
)
async def denoise(request: Request) -> Response:
    """Denoise an image, sent as the body or as the field `image` of a multipart form."""
    state = state_of(request)
    current_record().model = MODEL
    state.engine.check()
    as_json = wants_json(request)
    upload = await read_upload(request, state)
    options = parse(DenoiseOptions, upload.fields)
    current_record().model = options.model
    result = await attend(request, state, work(state, upload, options))
    return render_json(result) if as_json else render_image(result)


async def work(state: State, upload: Upload, options: DenoiseOptions) -> Result:
    """All between the bytes that came and the bytes that go."""
    facts = state.engine.loaded_facts()
    low, high = facts.sigma_range
    if not low <= options.sigma <= high:
        raise SigmaOutOfRange(f"Sigma must be from {low:g} to {high:g}.", sigma_min=low, sigma_max=high)
    header = await state.codec("decode", codec.probe, upload.image, state.limits)
    with state.engine.admit(header.pixels, current_record().arrived) as ticket:
        noisy = await state.codec("decode", lambda: codec.to_gray(codec.decode(upload.image, state.limits)))
        reference = await _reference(state, upload, noisy)
        plane = await state.engine.denoise(ticket, noisy.planes[0], options.sigma / 255)
    denoised = replace(noisy, planes=plane[None])
    file = await state.codec("encode", codec.encode, denoised, options.format)
    result = Result(file, replace(denoised, format=options.format or noisy.format), options.sigma, facts)
    if reference is None:
        return result
    with stage(state.metrics, "metric"):
        before, after = _psnr(noisy, reference), _psnr(denoised, reference)
    state.metrics.psnr.labels("noisy").observe(before)
    state.metrics.psnr.labels("denoised").observe(after)
    state.metrics.gain.observe(after - before if math.isfinite(before) else 0.0)
    return replace(result, psnr_noisy=before, psnr_denoised=after)


async def _reference(state: State, upload: Upload, noisy: Picture) -> Picture | None:
    if upload.reference is None:
        return None
    data = upload.reference
    reference = await state.codec("decode", lambda: codec.to_gray(codec.decode(data, state.limits)))
    if reference.planes.shape != noisy.planes.shape:
        raise ReferenceMismatch("The reference must be as wide and as high as the image.")
    return reference


def _psnr(image: Picture, reference: Picture) -> float:
    """PSNR in dB on the levels that a file of 8 bits holds."""
    levels = np.rint(np.clip(image.planes, 0, 1) * 255) / 255
    mse = float(np.mean((levels.astype(np.float64) - reference.planes) ** 2))
    return -10 * math.log10(mse) if mse else math.inf


def headers_of(result: Result) -> dict[str, str]:
    """The figures as headers."""
    headers = {
        "x-sigma": f"{result.sigma:g}",
        "x-model": result.facts.model,
        "x-weights-sha256": result.facts.weights_sha256,
        "x-device": result.facts.device,
    }
    if result.facts.fallback_reason:
        headers["x-device-fallback"] = result.facts.fallback_reason
    if result.psnr_noisy is not None and result.psnr_denoised is not None:
        headers |= {"x-psnr-noisy": f"{result.psnr_noisy:.3f}", "x-psnr-denoised": f"{result.psnr_denoised:.3f}"}
    return headers


def render_image(result: Result) -> Response:
    """The image file with the figures as headers."""
    return Response(result.file, 200, headers_of(result), MEDIA_TYPES[result.picture.format])


def render_json(result: Result) -> JSONResponse:
    """The image file in base64 beside the figures."""

    def finite(value: float | None) -> float | None:
        return value if value is None or math.isfinite(value) else None

    body = Denoised(
        image=base64.b64encode(result.file).decode(),
        media_type=MEDIA_TYPES[result.picture.format],
        width=result.picture.width,
        height=result.picture.height,
        sigma=result.sigma,
        model=result.facts.model,
        weights_sha256=result.facts.weights_sha256,
        device=result.facts.device,
        psnr_noisy=finite(result.psnr_noisy),
        psnr_denoised=finite(result.psnr_denoised),
    )
    return JSONResponse(body.model_dump(), headers=headers_of(result))
