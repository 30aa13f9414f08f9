"""The Prometheus metrics of the service."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SHORT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PIXELS = tuple(float(side * side) for side in (64, 128, 256, 512, 1024, 2048, 4096, 6400))
DECIBELS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0)
SIGMAS = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0, 75.0)
HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """All metrics of one application; labels come from closed sets, never from a request's content."""

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
            "Time from the first byte of a request's headers to the last byte of its answer.",
            *("http_request_method", "http_route", "http_response_status_code"),
        )
        self.http_active = gauge("http_server_active_requests", "Requests in progress.")
        self.build = gauge("denoise_build_info", "Versions, as labels of a constant 1.", "version", "torch", "python")
        self.model = gauge("denoise_model_info", "Models served.", "model", "weights_sha256", "dtype")
        self.device = gauge("denoise_device_info", "Device in use and why.", "device", "name", "fallback_reason")
        self.ready = gauge("denoise_ready", "1 while new work is accepted.")
        self.draining = gauge("denoise_draining", "1 after SIGTERM.")
        self.jobs = counter("denoise_jobs", "Requests for denoising by how they ended.", "model", "outcome")
        self.rejections = counter("denoise_rejections", "Requests refused for the moment, by error code.", "reason")
        self.input_rejections = counter(
            "denoise_input_rejections", "Requests refused for what they hold, by error code.", "reason"
        )
        self.stage_seconds = histogram("denoise_stage_duration_seconds", "Time in each stage of a request.", "stage")
        self.in_progress = gauge("denoise_jobs_in_progress", "Images with at least one strip done and one to do.")
        self.queue_jobs = gauge("denoise_queue_jobs", "Requests admitted and not finished.")
        self.queue_pixels = gauge("denoise_queue_pixels", "Network pixels admitted and not computed.")
        self.pixels = counter("denoise_pixels", "Network pixels computed.", "model", "device")
        self.rate = gauge("denoise_pixels_per_second", "Measured rate of the device, which Retry-After comes from.")
        self.input_pixels = histogram("denoise_input_pixels", "Pixels of the images admitted.", buckets=PIXELS)
        self.psnr = histogram("denoise_psnr_decibels", "PSNR against references sent.", "kind", buckets=DECIBELS)
        self.gain = histogram("denoise_psnr_gain_decibels", "Denoised minus noisy PSNR.", buckets=DECIBELS)
        self.estimated_sigma = histogram("denoise_estimated_sigma", "Sigma estimated for auto.", buckets=SIGMAS)
        self.gpu_allocated = gauge("denoise_gpu_memory_allocated_bytes", "Device memory in use by tensors; 0 on a CPU.")
        self.gpu_reserved = gauge("denoise_gpu_memory_reserved_bytes", "Device memory held by torch; 0 on a CPU.")
        self.device_errors = counter("denoise_device_errors", "Failures of the device.", "kind")
        self.selftest = gauge("denoise_selftest_success", "1 when the last self-test gave the stored result.")
        self.strip_seconds = histogram("denoise_strip_duration_seconds", "Time of one strip on the device.", buckets=SHORT)
        self.loop_lag = histogram("denoise_event_loop_lag_seconds", "How late the event loop runs its timers.", buckets=SHORT)

    def observe_psnr(self, noisy: float, denoised: float) -> None:
        """Count the PSNR of a noisy and a denoised picture in dB, unless one is infinite: that would spoil every sum."""
        if math.isfinite(noisy) and math.isfinite(denoised):
            self.psnr.labels("noisy").observe(noisy)
            self.psnr.labels("denoised").observe(denoised)
            self.gain.observe(denoised - noisy)
