"""The Prometheus metrics of the service."""

import math
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

# Upper bounds of the histograms' buckets.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PIXELS = tuple(float(side * side) for side in (64, 128, 256, 512, 1024, 2048, 4096, 6400))
DECIBELS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0)
SIGMAS = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0, 75.0)
OUTCOMES = ("ok", "client_error", "rejected", "timeout", "cancelled", "device_error", "internal")
DEVICE_ERRORS = ("out_of_memory", "fault", "non_finite")
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """All metrics of one application. Label values come from closed sets, never from the content of a request."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=buckets)

        self.http_seconds = histogram(
            "http_server_request_duration_seconds",
            "Duration of requests, from the end of the headers to the last byte of the response, by method, route and status.",
            *("http_request_method", "http_route", "http_response_status_code"),
        )
        self.http_active = gauge("http_server_active_requests", "Number of requests in progress.")
        self.build = gauge(
            "denoise_build_info",
            "Versions of the service, PyTorch and Python, as labels of the constant 1.",
            "version",
            "torch",
            "python",
        )
        self.model = gauge(
            "denoise_model_info",
            "Models, the SHA-256 of their weights and their data types, as labels of the constant 1.",
            "model",
            "weights_sha256",
            "dtype",
        )
        self.device = gauge(
            "denoise_device_info",
            "Compute device, its name, and why it is the CPU although a GPU was allowed, as labels of the constant 1.",
            "device",
            "name",
            "fallback_reason",
        )
        self.ready = gauge("denoise_ready", "1 while the service accepts new work, otherwise 0.")
        self.draining = gauge("denoise_draining", "1 while the service is shutting down, otherwise 0.")
        self.jobs = counter(
            "denoise_jobs",
            f"Denoising requests by model and outcome: {', '.join(OUTCOMES)}.",
            "model",
            "outcome",
        )
        self.rejections = counter(
            "denoise_rejections", "Requests refused because the service could not take them at the time, by error code.", "reason"
        )
        self.input_rejections = counter(
            "denoise_input_rejections", "Requests refused because of what they contain, by error code.", "reason"
        )
        self.stage_seconds = histogram(
            "denoise_stage_duration_seconds",
            "Time that requests spend in each stage: read, decode, treat, queue, infer, metric, encode.",
            "stage",
        )
        self.in_progress = gauge("denoise_jobs_in_progress", "Number of admitted requests whose computation has begun.")
        self.queue_jobs = gauge("denoise_queue_jobs", "Number of admitted requests that are not finished.")
        self.queue_pixels = gauge("denoise_queue_pixels", "Network pixels admitted and not yet computed.")
        self.pixels = counter("denoise_pixels", "Network pixels computed, by model and device.", "model", "device")
        self.rate = gauge(
            "denoise_pixels_per_second", "Measured speed of the default model, on which admission and Retry-After are based."
        )
        self.input_pixels = histogram(
            "denoise_input_pixels",
            "Number of pixels that each admitted request holds in memory, as the limits count them.",
            buckets=PIXELS,
        )
        self.psnr = histogram(
            "denoise_psnr_decibels", "PSNR of images against the clean image, by kind: noisy, denoised.", "kind", buckets=DECIBELS
        )
        self.gain = histogram(
            "denoise_psnr_gain_decibels", "PSNR of the denoised image minus that of the noisy image.", buckets=DECIBELS
        )
        self.estimated_sigma = histogram("denoise_estimated_sigma", "Estimated noise levels, on the 0-255 scale.", buckets=SIGMAS)
        self.gpu_allocated = gauge("denoise_gpu_memory_allocated_bytes", "GPU memory in use by tensors; 0 on a CPU.")
        self.gpu_reserved = gauge("denoise_gpu_memory_reserved_bytes", "GPU memory reserved by PyTorch; 0 on a CPU.")
        self.device_errors = counter(
            "denoise_device_errors", f"Failures of the compute device by kind: {', '.join(DEVICE_ERRORS)}.", "kind"
        )
        self.selftest = gauge("denoise_selftest_success", "1 if the last self-test of the device passed, otherwise 0.")
        self.strip_seconds = histogram(
            "denoise_strip_duration_seconds",
            "Time that the device takes for one strip, which is how long a small image or a cancellation has to wait.",
            buckets=SHORT,
        )
        self.stuck_threads = gauge(
            "denoise_stuck_threads",
            "Number of threads that read, decode or encode one image for longer than `N3DENOISE_HANG_SECONDS`.",
        )
        self.background_jobs = gauge(
            "denoise_background_jobs", "Number of background jobs of this process that are not finished."
        )
        self.job_bytes = gauge(
            "denoise_job_store_bytes",
            "Size of the results of background jobs, and of the space set aside for those that are not finished.",
        )
        self.loop_lag = histogram(
            "denoise_event_loop_lag_seconds", "Delay with which the event loop runs its timers.", buckets=SHORT
        )

    def start_counters(self, models: Iterable[str]) -> None:
        """Export 0 for what has not happened yet: to Prometheus, a counter that appears with 1 did not increase."""
        for kind in DEVICE_ERRORS:
            self.device_errors.labels(kind)
        for model in models:
            for outcome in OUTCOMES:
                self.jobs.labels(model, outcome)

    def observe_psnr(self, noisy: float, denoised: float) -> None:
        """Count the PSNR of a noisy and a denoised picture in dB, unless one is infinite: that would spoil every sum."""
        if math.isfinite(noisy) and math.isfinite(denoised):
            self.psnr.labels("noisy").observe(noisy)
            self.psnr.labels("denoised").observe(denoised)
            self.gain.observe(denoised - noisy)
