"""The methods of both clients: one for each request of the API, and those that put requests together."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias, Unpack

import httpx2

from n3denoise_client.errors import ClientError, JobStillRunning
from n3denoise_client.http import JSON, PNG, Image, body, denoised_json, file, get, send_images, upscaled_json
from n3denoise_client.image_files import Denoised, EvaluatedImage, HeatMap, Upscaled
from n3denoise_client.method import method
from n3denoise_client.options import (
    DenoiseOptions,
    EvaluateOptions,
    JobOptions,
    ListOptions,
    NeighborOptions,
    NoiseOptions,
    ResultOptions,
    UpscaleOptions,
)
from n3denoise_client.results import (
    Evaluated,
    Info,
    Job,
    Jobs,
    Models,
    Neighbors,
    NoiseByPlane,
)
from n3denoise_client.retries import Program, Request, Retries, answered, retry_after

Progress: TypeAlias = Callable[[Job], object]
"""Receives each state of a job that the service reports."""


class Calls:
    """The methods of both clients.

    Args:
        retries: How long a call goes on trying, and how it waits between attempts.
    """

    def __init__(self, retries: Retries) -> None:
        self._retries = retries

    @method
    def denoise(
        self,
        image: Image,
        *,
        reference: Image | None = None,
        mask: Image | None = None,
        figures: bool = False,
        **options: Unpack[DenoiseOptions],
    ) -> Program[Denoised]:
        """Denoise a picture.

        Args:
            image: The noisy picture: the bytes of an image file, or its path.
            reference: The clean picture to measure the quality against.
            mask: A gray picture that says where to denoise: black keeps the original, and white denoises.
            figures: Whether to ask for all figures, most of which do not fit into headers. They come as JSON with the image in
                base64, which is a third longer.
            options: As in docs/api.md. `noise_map` implies `figures`.
        """
        images, as_json = {"image": image, "reference": reference, "mask": mask}, figures or options.get("noise_map", False)
        response = yield from self._answer(send_images("POST", "/v1/denoise", images, options, JSON if as_json else None))
        return denoised_json(response) if as_json else file(Denoised, response)

    @method
    def upscale(
        self, image: Image, *, reference: Image | None = None, figures: bool = False, **options: Unpack[UpscaleOptions]
    ) -> Program[Upscaled]:
        """Enlarge a picture by 2, 3 or 4.

        Args:
            image: The picture: the bytes of an image file, or its path.
            reference: A picture of the enlarged size to measure the quality against.
            figures: Whether to ask for all figures, as for `denoise`.
            options: As in docs/api.md.
        """
        images = {"image": image, "reference": reference}
        response = yield from self._answer(send_images("POST", "/v1/upscale", images, options, JSON if figures else None))
        return upscaled_json(response) if figures else file(Upscaled, response)

    @method
    def estimate(self, image: Image, **options: Unpack[NoiseOptions]) -> Program[NoiseByPlane]:
        """Estimate the noise of a picture."""
        return body(NoiseByPlane, (yield from self._post("/v1/noise", image, options, JSON)))

    @method
    def evaluate(self, image: Image, **options: Unpack[EvaluateOptions]) -> Program[Evaluated]:
        """Add noise to a clean picture, denoise it, and measure both."""
        return body(Evaluated, (yield from self._post("/v1/evaluate", image, options, JSON)))

    @method
    def evaluate_image(self, image: Image, **options: Unpack[EvaluateOptions]) -> Program[EvaluatedImage]:
        """Do the same as `evaluate`, and return the clean, noisy and denoised picture side by side."""
        return file(EvaluatedImage, (yield from self._post("/v1/evaluate", image, options, PNG)))

    @method
    def neighbors(self, image: Image, **options: Unpack[NeighborOptions]) -> Program[Neighbors]:
        """Find the patches that the network averages for one pixel, and their weights."""
        return body(Neighbors, (yield from self._post("/v1/neighbors", image, options, JSON)))

    @method
    def heat_map(self, image: Image, **options: Unpack[NeighborOptions]) -> Program[HeatMap]:
        """Do the same as `neighbors`, and return the weights in color over the picture."""
        return file(HeatMap, (yield from self._post("/v1/neighbors", image, options, PNG)))

    @method
    def models(self) -> Program[Models]:
        """List the available models."""
        return body(Models, (yield from self._answer(get("/v1/models"))))

    @method
    def info(self) -> Program[Info]:
        """Return the versions, the device and the limits of the service."""
        return body(Info, (yield from self._answer(get("/v1/info"))))

    @method
    def create_job(
        self,
        image: Image,
        *,
        reference: Image | None = None,
        mask: Image | None = None,
        job_id: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Program[Job]:
        """Start to denoise a picture in the background, or to enlarge it, and return the state of the new job.

        Args:
            image: As for `denoise`.
            reference: As for `denoise`.
            mask: As for `denoise`.
            job_id: ID of the job: 16 to 64 letters, digits, hyphens and underscores; random by default. If the service requires
                no API keys, whoever knows the ID can read the result.
            options: As for `denoise`, or with `task="upscale"` as for `upscale`.
        """
        return (yield from self._create_job({"image": image, "reference": reference, "mask": mask}, job_id, options))

    @method
    def job(self, job_id: str) -> Program[Job]:
        """Return the state of a job."""
        return body(Job, (yield from self._answer(get(_path(job_id)))))

    @method
    def list_jobs(self, **options: Unpack[ListOptions]) -> Program[Jobs]:
        """List the jobs of the API key, the newest first. For more, pass `next` of the answer as `after`."""
        return body(Jobs, (yield from self._answer(get("/v1/jobs", options))))

    @method
    def wait(self, job_id: str, *, progress: Progress | None = None, deadline_seconds: float | None = None) -> Program[Job]:
        """Wait until a job has ended, and return its state: the job may have succeeded, failed or been canceled.

        Args:
            job_id: ID of the job.
            progress: Receives each state, which the client asks for as often as the service says.
            deadline_seconds: Longest time to wait; by default, there is only the time limit that the service has for jobs.

        Raises:
            JobStillRunning: If the job has not ended by then; it goes on.
        """
        return (yield from self._wait(job_id, progress, deadline_seconds))

    @method
    def job_result(self, job_id: str, **options: Unpack[ResultOptions]) -> Program[Denoised]:
        """Return the denoised picture of a job, in any format and any number of times. If the job failed, raise its error."""
        return file(Denoised, (yield from self._answer(get(f"{_path(job_id)}/result", options))))

    @method
    def upscaled_result(self, job_id: str, **options: Unpack[ResultOptions]) -> Program[Upscaled]:
        """Return the enlarged picture of a job with the task `upscale`; see `job_result`."""
        return file(Upscaled, (yield from self._answer(get(f"{_path(job_id)}/result", options))))

    @method
    def delete_job(self, job_id: str) -> Program[Job]:
        """Cancel a job, or forget it and its result if it has ended. Return the state in which it ended."""
        return body(Job, (yield from self._answer(Request("DELETE", _path(job_id)))))

    @method
    def denoise_in_background(
        self,
        image: Image,
        *,
        reference: Image | None = None,
        mask: Image | None = None,
        progress: Progress | None = None,
        deadline_seconds: float | None = None,
        **options: Unpack[DenoiseOptions],
    ) -> Program[Denoised]:
        """Denoise a picture as a background job, which needs no connection that stays open, and delete the job.

        Any exception cancels the job: one that `progress` raises, KeyboardInterrupt, or the cancellation of the task.

        Args:
            image: As for `denoise`.
            reference: As for `denoise`.
            mask: As for `denoise`.
            progress: As for `wait`.
            deadline_seconds: As for `wait`.
            options: As for `denoise`. With `noise_map`, the last state that `progress` receives has the map in its figures.
        """
        images = {"image": image, "reference": reference, "mask": mask}
        return file(Denoised, (yield from self._in_background(images, options, progress, deadline_seconds)))

    @method
    def upscale_in_background(
        self,
        image: Image,
        *,
        reference: Image | None = None,
        progress: Progress | None = None,
        deadline_seconds: float | None = None,
        **options: Unpack[UpscaleOptions],
    ) -> Program[Upscaled]:
        """Enlarge a picture as a background job, and delete the job; see `denoise_in_background`.

        Args:
            image: As for `upscale`.
            reference: As for `upscale`.
            progress: As for `wait`.
            deadline_seconds: As for `wait`.
            options: As for `upscale`.
        """
        images, asked = {"image": image, "reference": reference}, {"task": "upscale", **options}
        return file(Upscaled, (yield from self._in_background(images, asked, progress, deadline_seconds)))

    def _in_background(
        self,
        images: Mapping[str, Image | None],
        options: Mapping[str, object],
        progress: Progress | None,
        deadline_seconds: float | None,
    ) -> Program[httpx2.Response]:
        job = yield from self._create_job(images, None, options)
        try:
            yield from self._wait(job.id, progress, deadline_seconds)
            return (yield from self._answer(get(f"{_path(job.id)}/result")))
        finally:
            with suppress(ClientError):  # the service forgets the job in any case, only later
                yield from answered(Request("DELETE", _path(job.id)), self._retries.shortened())

    def _create_job(self, images: Mapping[str, Image | None], job_id: str | None, options: Mapping[str, object]) -> Program[Job]:
        path = _path(job_id or uuid.uuid4().hex)  # an ID of our own, so that a request that is repeated starts nothing new
        return body(Job, (yield from self._answer(send_images("PUT", path, images, options))))

    def _wait(self, job_id: str, progress: Progress | None, deadline_seconds: float | None) -> Program[Job]:
        clock, delay = self._retries.clock, 0.0
        end = None if deadline_seconds is None else clock() + deadline_seconds
        while True:
            response = yield from answered(get(_path(job_id)), self._retries, delay)
            job = body(Job, response)
            if progress:
                progress(job)
            if job.ended:
                return job
            delay = retry_after(response) or 1.0
            if end is not None and clock() + delay >= end:
                raise JobStillRunning(job)

    def _post(
        self, path: str, image: Image, options: Mapping[str, object], headers: Mapping[str, str]
    ) -> Program[httpx2.Response]:
        return (yield from self._answer(send_images("POST", path, {"image": image}, options, headers)))

    def _answer(self, request: Request) -> Program[httpx2.Response]:
        return (yield from answered(request, self._retries))


def _path(job_id: str) -> str:
    return f"/v1/jobs/{job_id}"
