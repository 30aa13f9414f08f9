"""Every metric changes when what it measures happens, and has the labels that the manual lists."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.api.context import AppContext
from service.engine.backend import Backend
from service.telemetry.metrics import Metrics
from tests.support.faulty import Gate, Strip, scripted
from tests.support.live import live, png, png_of, settings_for, wait_for
from tests.support.manual import rows

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]
DOCUMENTED = {name: cells[0] for name, cells in rows("Metrics").items()}
STAGES = ("read", "decode", "treat", "queue", "infer", "metric", "encode")


def read(text: str) -> dict[str, Samples]:
    """Return the samples by documented name, from the Prometheus text format."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: {
            (sample.name, frozenset(sample.labels.items())): sample.value for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")  # creation times, which the library adds
    }


class Seen:
    """The metrics of one service: while an image is half done, and after all requests."""

    def __init__(self, half_done: dict[str, Samples], over: dict[str, Samples]) -> None:
        self.half_done = half_done
        self.over = over

    def value(self, name: str, **labels: str) -> float:
        return self.over[name.removesuffix("_count").removesuffix("_sum")][name, frozenset(labels.items())]


@pytest.fixture(scope="module")
def seen(weights: Path) -> Iterator[Seen]:
    gate = Gate()

    def script(strip: Strip) -> None:
        gate(strip)
        if strip.noisy.shape[1] == 24:
            raise torch.OutOfMemoryError
        if strip.noisy.shape[1] == 40:
            strip.noisy.fill_(0.45)

    clean = png_of(np.full((48, 40), 120, np.uint8))
    with (
        live(settings_for(weights, queue_requests=1), scripted(weights, script)) as service,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(Backend, "memory", lambda _: (7, 11))
        measured = service.client.post("/v1/denoise", files={"image": png(), "reference": clean}, data={"sigma": "auto"})
        assert measured.status_code == 200
        assert service.denoise(b"no image").status_code == 415
        assert service.denoise(png(16, 24)).status_code == 503
        job = service.client.post("/v1/jobs", content=png(32, 32), params={"sigma": 25})
        assert job.status_code == 202
        gate.wait()
        gate.open()
        gate.wait()
        assert service.denoise().status_code == 429
        wait_for(lambda: service.metric("denoise_job_store_bytes"))
        with service.client.stream("GET", job.json()["links"]["events"]):
            half_done = read(service.client.get("/metrics").text)
        wait_for(lambda: not service.metric("http_server_active_requests"))  # until the end of the stream is noticed
        patch.setattr(AppContext, "stuck_threads", 1)
        gate.open()
        wait_for(lambda: service.metric("denoise_event_loop_lag_seconds_count"))
        service.engine.drain()
        wait_for(lambda: service.metric("denoise_jobs_total", model="n3unet", outcome="ok") == 2)
        yield Seen(half_done, read(service.client.get("/metrics").text))


@pytest.fixture(scope="module")
def untouched() -> dict[str, Samples]:
    return read(generate_latest(Metrics().registry).decode())


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if not name.startswith("process_")])
def test_it_changes(seen: Seen, untouched: dict[str, Samples], name: str) -> None:
    before = untouched[name]
    changed = {sample for now in (seen.half_done, seen.over) for sample in now[name].items()} - set(before.items())
    assert any(value for (series, _), value in changed if not series.endswith("_bucket"))


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name.startswith("process_")])
def test_the_process_is_measured(seen: Seen, name: str) -> None:
    assert all(value > 0 for value in seen.over[name].values())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_its_labels_are_those_of_the_manual(seen: Seen, name: str) -> None:
    documented = {label.strip("` ") for label in DOCUMENTED[name].split(",")} - {""}
    for _, labels in seen.over[name]:
        assert {label for label, _ in labels} - {"le"} == documented


def test_there_are_no_undocumented_metrics(seen: Seen) -> None:
    assert seen.over.keys() == DOCUMENTED.keys()


def test_the_queue_is_measured_while_it_exists(seen: Seen) -> None:
    nothing: Labels = frozenset()
    for name, half, over in (
        ("denoise_queue_jobs", 1, 0),
        ("denoise_queue_pixels", 512, 0),  # of 32 x 32, one of two strips is done
        ("denoise_jobs_in_progress", 1, 0),
        ("http_server_active_requests", 2, 1),  # the request for the metrics is one
        ("denoise_ready", 1, 0),  # in the end, the service drains
        ("denoise_draining", 0, 1),
    ):
        assert seen.half_done[name][name, nothing] == half, name
        assert seen.over[name][name, nothing] == over, name


def test_every_request_is_counted_under_its_labels(seen: Seen) -> None:
    for outcome, jobs in (("ok", 2), ("client_error", 1), ("device_error", 1), ("rejected", 1)):
        assert seen.value("denoise_jobs_total", model="n3unet", outcome=outcome) == jobs
    assert seen.value("denoise_rejections_total", reason="queue-full") == 1
    assert seen.value("denoise_input_rejections_total", reason="unsupported-format") == 1
    assert seen.value("denoise_device_errors_total", kind="out_of_memory") == 2
    assert seen.value("denoise_pixels_total", model="n3unet", device="cpu") == 48 * 40 + 32 * 32
    small = 32 * 32  # 16 x 24 pixels, whose sides the limits count as 32
    assert seen.value("denoise_input_pixels_sum") == 2 * 48 * 40 + 32 * 32 + small
    noisy, denoised = (seen.value("denoise_psnr_decibels_sum", kind=kind) for kind in ("noisy", "denoised"))
    assert seen.value("denoise_psnr_gain_decibels_sum") == pytest.approx(denoised - noisy)
    assert denoised > noisy + 5


def test_every_stage_is_timed(seen: Seen) -> None:
    names = {dict(labels)["stage"] for _, labels in seen.over["denoise_stage_duration_seconds"]}
    assert names == set(STAGES)
    for stage in STAGES:
        assert seen.value("denoise_stage_duration_seconds_count", stage=stage) > 0
    assert f"stage: {', '.join(STAGES)}." in rows("Metrics")["denoise_stage_duration_seconds"][1]


@pytest.mark.parametrize("name", ["http_server_request_duration_seconds", "denoise_stage_duration_seconds"])
def test_latency_buckets_reach_from_5_ms_to_300_s(seen: Seen, name: str) -> None:
    bounds = sorted({float(dict(labels)["le"]) for series, labels in seen.over[name] if series.endswith("_bucket")})
    assert bounds[0] == 0.005
    assert bounds[-2:] == [300.0, float("inf")]


def test_counters_of_alerts_are_zero_before_anything_happens(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        found = read(service.client.get("/metrics").text)
        models = {dict(labels)["model"] for _, labels in found["denoise_model_info"]}
    for outcome in ("internal", "timeout"):
        for model in models:
            assert found["denoise_jobs_total"]["denoise_jobs_total", frozenset({("model", model), ("outcome", outcome)})] == 0
    errors = found["denoise_device_errors_total"]
    assert {dict(labels)["kind"]: value for (name, labels), value in errors.items() if name == "denoise_device_errors_total"} == {
        "out_of_memory": 0,
        "fault": 0,
        "non_finite": 0,
    }
