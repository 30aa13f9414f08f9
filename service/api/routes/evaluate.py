"""POST /v1/evaluate: a row of the paper's table with one request."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.context import context_of
from service.api.negotiation import accepted
from service.api.openapi import ENGINE, IMAGES, image_request, image_response, problems
from service.api.options import parse
from service.api.rendering import EVALUATE_HEADERS, evaluated_image, evaluated_json
from service.api.run_job import run_job
from service.api.schemas import Evaluated, EvaluateOptions
from service.api.upload import Upload
from service.denoising.evaluation_job import EvaluationJob, EvaluationResult
from service.denoising.pipeline import DenoisingOptions
from service.imaging.picture import MEDIA_TYPES
from service.settings import DEFAULT_MODEL
from service.telemetry.request_record import current_record, stage

router = APIRouter(tags=["denoise"])


@router.post(
    "/v1/evaluate",
    response_class=Response,
    responses={**image_response(Evaluated, (MEDIA_TYPES["png"],), EVALUATE_HEADERS), **problems(*IMAGES, *ENGINE)},
    openapi_extra=image_request(EvaluateOptions),
)
async def evaluate(request: Request) -> Response:
    """Add noise to a clean image and denoise it: figures as JSON, or clean, noisy and denoised side by side as a PNG."""
    context, record = context_of(request), current_record()
    record.model = DEFAULT_MODEL
    context.engine.check()
    accept = accepted(request)
    accept.image_format("png", "png")  # refuse what is neither JSON nor PNG

    def prepare(upload: Upload) -> tuple[EvaluationJob, Callable[[EvaluationResult], Response]]:
        options = parse(EvaluateOptions, upload.fields)
        record.model = options.model
        model = context.engine.model_info(options.model)
        denoising = DenoisingOptions(options.sigma, options.color, ensemble=options.ensemble)
        timer = partial(stage, context.metrics)
        job = EvaluationJob(upload.image, model, denoising, options.seed, context.limits, timer)

        def render(result: EvaluationResult) -> Response:
            context.metrics.observe_psnr(result.before.psnr, result.after.psnr)
            return (evaluated_json if accept.json else evaluated_image)(result, job.model, options)

        return job, render

    return await run_job(request, context, prepare)
