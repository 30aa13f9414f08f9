"""POST /v1/evaluate: a clean image in; noise added, denoised and measured: a row of the paper's table with one request."""

import base64
from dataclasses import dataclass, replace

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from models.images.noise import noisy_planes
from service.api.cancellation import attend
from service.api.context import State, state_of
from service.api.negotiation import wants_json
from service.api.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.api.routes.denoise import figures_of, headers_of_facts, observe
from service.api.schemas import Evaluated, EvaluateOptions, parse
from service.api.treated import run_treatment
from service.api.upload import Upload, read_upload
from service.denoising.pipeline import Options, runs
from service.denoising.quality import Figures, figures, gain
from service.engine.backend import MODEL, Facts
from service.errors import SigmaOutOfRange
from service.imaging import codec
from service.imaging.picture import MEDIA_TYPES, Metadata, Picture
from service.telemetry.request_record import current_record

router = APIRouter(tags=["denoise"])

HEADERS = (
    *("X-Sigma", "X-Seed", "X-Model", "X-Weights-SHA256", "X-Device", "X-Device-Fallback"),
    *("X-PSNR-Noisy", "X-PSNR-Denoised", "X-SSIM-Noisy", "X-SSIM-Denoised", "Server-Timing"),
)


@dataclass(frozen=True)
class Result:
    """Three pictures of one size, and their figures against the clean one, neither clipped nor rounded."""

    clean: Picture
    noisy: Picture
    denoised: Picture
    before: Figures
    after: Figures
    facts: Facts


@router.post(
    "/v1/evaluate",
    response_class=Response,
    responses={**image_response(Evaluated, *HEADERS), **problems(*IMAGES, *ENGINE)},
    openapi_extra=image_request(EvaluateOptions, "image"),
)
async def evaluate(request: Request) -> Response:
    """Add noise to a clean image and denoise it: figures as JSON, or clean, noisy and denoised side by side as a PNG."""
    state = state_of(request)
    current_record().model = MODEL
    state.engine.check()
    as_json = wants_json(request)
    upload = await read_upload(request, state)
    options = parse(EvaluateOptions, upload.fields)
    current_record().model = options.model
    return await attend(request, state, work(state, upload, options, as_json))


async def work(state: State, upload: Upload, options: EvaluateOptions, as_json: bool) -> Response:
    """All between the bytes that came and the bytes that go."""
    facts = state.engine.loaded_facts(options.model)
    least, most = facts.sigma_range
    if not least <= options.sigma <= most:
        raise SigmaOutOfRange(f"Sigma must be from {least:g} to {most:g}.", sigma_min=least, sigma_max=most)
    wanted = Options(options.sigma, options.color, ensemble=options.ensemble)
    header = await state.codec("decode", codec.probe, upload.image, state.limits)
    held = 3 * header.pixels  # clean, noisy, denoised
    with state.engine.admit(header.pixels * runs(header, wanted), current_record().arrived, held=held) as ticket:
        clean = await state.codec("decode", _clean, upload.image, state, options)
        noisy = await state.codec("treat", _noisy, clean, options)
        treated = await run_treatment(state, ticket, noisy, wanted, facts)
        before = await state.codec("metric", figures, noisy.planes, clean.planes)
        after = await state.codec("metric", figures, treated.picture.planes, clean.planes)
        observe(state, before, after)
        result = Result(clean, noisy, treated.picture, before, after, facts)
        return await state.codec("encode", render_json if as_json else render_image, result, options)


def _clean(data: bytes, state: State, options: EvaluateOptions) -> Picture:
    picture = codec.decode(data, state.limits)
    picture = codec.to_gray(picture) if options.color == "gray" else picture
    # What is returned is a picture of pictures, to which alpha and metadata do not belong.
    picture = replace(picture, alpha=None, metadata=Metadata(), format="png")
    codec.form_of(picture, "png", "8")
    return picture


def _noisy(clean: Picture, options: EvaluateOptions) -> Picture:
    return replace(clean, planes=noisy_planes(clean.planes, options.sigma / 255, options.seed))


def render_image(result: Result, options: EvaluateOptions) -> Response:
    """Clean, noisy and denoised side by side, 8-bit, with the figures as headers."""
    side_by_side = np.concatenate([result.clean.planes, result.noisy.planes, result.denoised.planes], axis=2)
    file = codec.encode(replace(result.clean, planes=side_by_side), "png", "8")
    return Response(file, 200, headers_of(result, options), MEDIA_TYPES["png"])


def render_json(result: Result, options: EvaluateOptions) -> JSONResponse:
    """The figures, and the noisy and the denoised image in base64."""
    images = (base64.b64encode(codec.encode(picture, "png", "8")).decode() for picture in (result.noisy, result.denoised))
    body = Evaluated(
        sigma=options.sigma,
        seed=options.seed,
        width=result.clean.width,
        height=result.clean.height,
        model=result.facts.model,
        weights_sha256=result.facts.weights_sha256,
        device=result.facts.device,
        noisy=figures_of(result.before),
        denoised=figures_of(result.after),
        gain=figures_of(gain(result.before, result.after)),
        noisy_image=next(images),
        denoised_image=next(images),
    )
    return JSONResponse(body.model_dump(), headers=headers_of(result, options))


def headers_of(result: Result, options: EvaluateOptions) -> dict[str, str]:
    """The figures as headers."""
    headers = {
        "x-sigma": f"{options.sigma:.4g}",
        "x-seed": str(options.seed),
        **headers_of_facts(result.facts),
        "x-psnr-noisy": f"{result.before.psnr:.3f}",
        "x-psnr-denoised": f"{result.after.psnr:.3f}",
    }
    if result.before.ssim is not None and result.after.ssim is not None:
        headers |= {"x-ssim-noisy": f"{result.before.ssim:.4f}", "x-ssim-denoised": f"{result.after.ssim:.4f}"}
    return headers
