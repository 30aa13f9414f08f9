"""POST /v1/denoise: a noisy picture in, a clean one out."""

import base64
import math
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from models.images.noise_level import WARNINGS, NoiseEstimate
from service import version
from service.api.cancellation import attend
from service.api.context import State, state_of
from service.api.negotiation import wants_json
from service.api.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.api.schemas import Denoised, DenoiseOptions, FigurePair, Noise, Warned, parse
from service.api.treated import run_treatment, treatment_options
from service.api.upload import Upload, read_upload
from service.denoising.pipeline import Treated, runs
from service.denoising.quality import Figures, Quality, compare, fitting
from service.engine.backend import MODEL, Facts
from service.imaging import codec, metadata
from service.imaging.picture import MEDIA_TYPES, Picture
from service.telemetry.request_record import current_record

router = APIRouter(tags=["denoise"])

HEADERS = (
    *("X-Sigma", "X-Sigma-Confidence", "X-Warnings", "X-Model", "X-Weights-SHA256", "X-Device", "X-Device-Fallback"),
    *("X-PSNR-Noisy", "X-PSNR-Denoised", "X-PSNR-Gain", "X-SSIM-Noisy", "X-SSIM-Denoised", "Server-Timing"),
)


@dataclass(frozen=True)
class Result:
    """What is rendered as an image or as JSON."""

    file: bytes
    returned: Picture
    treated: Treated
    facts: Facts
    quality: Quality | None = None


@router.post(
    "/v1/denoise",
    response_class=Response,
    responses={**image_response(Denoised, *HEADERS), **problems(*IMAGES, *ENGINE)},
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
    return await attend(request, state, work(state, upload, options, as_json))


async def work(state: State, upload: Upload, options: DenoiseOptions, as_json: bool) -> Response:
    """All between the bytes that came and the bytes that go."""
    facts, wanted = state.engine.loaded_facts(options.model), treatment_options(options)
    headers = [await state.codec("decode", codec.probe, file, state.limits) for file in upload.files]
    held = sum(header.pixels for header in headers)
    with state.engine.admit(headers[0].pixels * runs(headers[0], wanted), current_record().arrived, held=held) as ticket:
        picture = await state.codec("decode", _decode, upload.image, state, options)
        reference = await state.codec("decode", _reference, upload.reference, state, picture) if upload.reference else None
        treated = await run_treatment(state, ticket, picture, wanted, facts)
        software = metadata.software_text(version(), facts.model, treated.sigma, facts.weights_sha256)
        kept = metadata.prepared(treated.picture.metadata, options.metadata, software)
        ready = replace(treated.picture, metadata=kept)
        file = await state.codec("encode", codec.encode, ready, options.format, options.depth)
        quality = await state.codec("metric", _measure, state, file, treated, reference) if reference else None
        if quality:
            observe(state, quality.noisy, quality.denoised)
        result = Result(file, replace(treated.picture, format=options.format or treated.picture.format), treated, facts, quality)
        return await state.codec("encode", render_json if as_json else render_image, result)


def _decode(data: bytes, state: State, options: DenoiseOptions) -> Picture:
    picture = codec.decode(data, state.limits)
    picture = codec.to_gray(picture) if options.color == "gray" else picture
    codec.form_of(picture, options.format, options.depth)  # refuses now what could not be encoded afterwards
    return picture


def _reference(data: bytes, state: State, picture: Picture) -> Picture:
    return fitting(codec.decode(data, state.limits), picture)


def _measure(state: State, file: bytes, treated: Treated, reference: Picture) -> Quality:
    return compare(treated, codec.decode(file, state.limits), reference)


def observe(state: State, noisy: Figures, denoised: Figures) -> None:
    """Count the PSNR of two pictures, unless one is identical to its reference: one infinite value spoils every sum."""
    if math.isfinite(noisy.psnr) and math.isfinite(denoised.psnr):
        state.metrics.psnr.labels("noisy").observe(noisy.psnr)
        state.metrics.psnr.labels("denoised").observe(denoised.psnr)
        state.metrics.gain.observe(denoised.psnr - noisy.psnr)


def headers_of_facts(facts: Facts) -> dict[str, str]:
    """What computed a result, and why not on a GPU."""
    headers = {
        "x-model": facts.model,
        "x-device": facts.device,
        "x-weights-sha256": facts.weights_sha256,
        "x-device-fallback": facts.fallback_reason,
    }
    return {name: value for name, value in headers.items() if value}


def headers_of(result: Result) -> dict[str, str]:
    """The figures as headers."""
    estimate, quality = result.treated.estimate, result.quality
    headers = {"x-sigma": f"{result.treated.sigma:.4g}", **headers_of_facts(result.facts)}
    if estimate:
        headers["x-sigma-confidence"] = f"{estimate.confidence:.2f}"
        if estimate.warnings:
            headers["x-warnings"] = ", ".join(estimate.warnings)
    if quality:
        headers |= {"x-psnr-noisy": f"{quality.noisy.psnr:.3f}", "x-psnr-denoised": f"{quality.denoised.psnr:.3f}"}
        headers["x-psnr-gain"] = f"{quality.gain.psnr:.3f}"
    if quality and quality.noisy.ssim is not None and quality.denoised.ssim is not None:
        headers |= {"x-ssim-noisy": f"{quality.noisy.ssim:.4f}", "x-ssim-denoised": f"{quality.denoised.ssim:.4f}"}
    return headers


def render_image(result: Result) -> Response:
    """The image file with the figures as headers."""
    return Response(result.file, 200, headers_of(result), MEDIA_TYPES[result.returned.format])


def noise_of(estimate: NoiseEstimate) -> Noise:
    """An estimate with its warnings in words."""
    warnings = [Warned(code=code, detail=WARNINGS[code]) for code in estimate.warnings]
    return Noise(sigma=estimate.sigma, confidence=estimate.confidence, warnings=warnings)


def figures_of(figures: Figures) -> FigurePair:
    """Figures as JSON can hold them."""
    return FigurePair(psnr=figures.psnr if math.isfinite(figures.psnr) else None, ssim=figures.ssim)


def render_json(result: Result) -> JSONResponse:
    """The image file in base64 beside the figures."""
    estimate, quality = result.treated.estimate, result.quality
    body = Denoised(
        image=base64.b64encode(result.file).decode(),
        media_type=MEDIA_TYPES[result.returned.format],
        width=result.returned.width,
        height=result.returned.height,
        sigma=result.treated.sigma,
        noise=noise_of(estimate) if estimate else None,
        model=result.facts.model,
        weights_sha256=result.facts.weights_sha256,
        device=result.facts.device,
        noisy=figures_of(quality.noisy) if quality else None,
        denoised=figures_of(quality.denoised) if quality else None,
        denoised_floats=figures_of(quality.floats) if quality else None,
        gain=figures_of(quality.gain) if quality else None,
    )
    return JSONResponse(body.model_dump(), headers=headers_of(result))
