"""Background jobs while they run and when they end: progress, cancellation, deadlines, events, shutdown."""

import gc
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.api.job_clock import COMPUTING_SHARE
from service.denoising.denoising_job import DenoisingJob
from service.jobs.result import JobResult
from tests.support.faulty import Gate, scripted
from tests.support.jobs import create, ended, read_events, state_of
from tests.support.live import PATIENCE, live, png, settings_for, wait_for


def test_progress_is_told_until_the_job_ends(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        state = state_of(service, job["id"])
        assert (state["progress"], state["figures"]) == (0, None)
        unfinished = service.client.get(job["links"]["result"])
        assert unfinished.status_code == 409
        assert unfinished.json()["type"].endswith("job-not-finished")
        assert int(unfinished.headers["retry-after"]) >= 1
        gate.open(2)
        wait_for(lambda: state_of(service, job["id"])["progress"] == 0.5 * COMPUTING_SHARE)
        state = state_of(service, job["id"])
        assert state["status"] == "running"
        assert state["eta_seconds"] >= 0
        assert service.metric("denoise_background_jobs") == 1
        gate.open(2)
        assert ended(service, job["id"])["status"] == "succeeded"
        wait_for(lambda: service.metric("denoise_background_jobs") == 0)


def test_a_canceled_job_ends_within_a_strip_and_frees_everything(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(160, 32)).json()
        gate.wait()
        assert service.client.delete(job["links"]["self"]).json()["status"] == "canceled"
        assert not service.engine.tickets
        assert state_of(service, job["id"])["status"] == "canceled"
        gone = service.client.get(job["links"]["result"])
        assert gone.status_code == 410
        gate.open(1)
        other = create(service, png(16, 32)).json()
        gate.open(1)
        assert ended(service, other["id"])["status"] == "succeeded"
        assert gate.strips == [160, 16], "the canceled job went on"
        assert service.metric("denoise_jobs_total", model="n3unet", outcome="cancelled") == 1
        assert service.client.delete(job["links"]["self"]).status_code == 200
        assert service.client.get(job["links"]["self"]).status_code == 404


def test_a_canceled_job_leaves_no_picture_in_memory(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(160, 32)).json()
        gate.wait()
        gc.collect()
        gc.disable()  # nothing may wait for it
        try:
            before = jobs_in_memory()
            service.client.delete(job["links"]["self"])
            gate.open()
            wait_for(lambda: jobs_in_memory() == before - 1)
        finally:
            gc.enable()


def jobs_in_memory() -> int:
    return sum(type(each) is DenoisingJob for each in gc.get_objects())


def test_a_job_counts_in_admission_and_lets_small_requests_pass(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, queue_requests=2), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        job = create(service, png(160, 32)).json()
        gate.wait()
        small = clients.submit(service.denoise, png(16, 40))  # whose width the gate does not stop
        wait_for(lambda: len(service.engine.tickets) == 2)
        for refused in (create(service), service.denoise()):
            assert refused.status_code == 429
            assert refused.json()["type"].endswith("queue-full")
        gate.open(1)
        assert small.result(PATIENCE).status_code == 200
        wait_for(lambda: state_of(service, job["id"])["status"] == "running")
        gate.open(9)
        assert ended(service, job["id"])["status"] == "succeeded"


def test_the_time_that_is_left_includes_the_queue(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        service.engine.throughput.start_again(1e6, 1e3)  # 1000 pixels per second
        first, second = (create(service, png(160, 32)).json() for _ in range(2))
        assert first["eta_seconds"] == pytest.approx(160 * 32 / 1000, rel=0.1)
        assert second["eta_seconds"] == pytest.approx(2 * 160 * 32 / 1000, rel=0.1)
        gate.open(99)


def test_events_tell_every_state_and_resume(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        events = []
        with service.client.stream("GET", job["links"]["events"]) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for event in read_events(stream):
                events.append(event)
                gate.open(1)
        states = [json.loads(event["data"]) for event in events]
        assert {event["event"] for event in events} == {"state"}
        assert states[-1]["status"] == "succeeded"
        progress = [state["progress"] for state in states]
        assert progress == sorted(progress)
        assert len(states) > 2
        headers = {"last-event-id": events[-2]["id"]}
        with service.client.stream("GET", job["links"]["events"], headers=headers) as stream:
            assert [event["id"] for event in read_events(stream)] == [events[-1]["id"]]
        headers = {"last-event-id": events[-1]["id"]}
        with service.client.stream("GET", job["links"]["events"], headers=headers) as stream:
            assert not list(read_events(stream)), "nothing has changed since"
        assert service.client.get("/v1/jobs/none-of-that-name/events").status_code == 404


def test_a_job_has_a_deadline_of_its_own(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, job_timeout_seconds=0.5), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        state = ended(service, job["id"])
        assert state["status"] == "failed"
        assert state["error"]["type"].endswith("deadline-exceeded")
        assert not service.engine.tickets
        gate.open(9)


def test_a_job_may_take_longer_than_a_request(weights: Path) -> None:
    gate = Gate()
    settings = settings_for(weights, timeout_seconds=0.3, queue_timeout_seconds=0.2)
    with live(settings, scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        time.sleep(0.4)
        assert state_of(service, job["id"])["status"] == "running"
        gate.open(4)
        assert ended(service, job["id"])["status"] == "succeeded"


def test_a_job_is_finished_and_fetched_before_the_process_ends(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, grace_seconds=PATIENCE), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        service.server.handle_exit(15, None)
        assert create(service).status_code == 503
        gate.open(4)
        assert ended(service, job["id"])["status"] == "succeeded"
        assert service.thread.is_alive(), "the result would be lost"
        assert service.client.get(job["links"]["result"]).status_code == 200
        service.thread.join(PATIENCE)
        assert not service.thread.is_alive()
        assert service.server.exit_code == 0


def test_a_caller_that_asks_while_a_job_is_encoded_has_not_received_its_result(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, encoding, proceed = Gate(), threading.Event(), threading.Event()
    original = JobResult.of

    def slowly(*args: Any, **options: Any) -> JobResult:
        encoding.set()
        assert proceed.wait(PATIENCE)
        return original(*args, **options)

    monkeypatch.setattr(JobResult, "of", slowly)
    with live(settings_for(weights, grace_seconds=PATIENCE), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        service.server.handle_exit(15, None)
        gate.open(4)
        assert encoding.wait(PATIENCE)
        assert state_of(service, job["id"])["status"] != "succeeded"
        proceed.set()
        assert ended(service, job["id"])["status"] == "succeeded"
        assert service.server.jobs.busy, "the process would end and lose the result"


def test_a_job_that_cannot_be_finished_is_canceled_by_the_shutdown(weights: Path) -> None:
    gate = Gate()
    with live(settings_for(weights, grace_seconds=4), scripted(weights, gate)) as service:
        job = create(service, png(64, 32)).json()
        gate.wait()
        service.server.handle_exit(15, None)
        wait_for(lambda: state_of(service, job["id"])["status"] == "canceled")
        state = state_of(service, job["id"])
        assert state["error"]["type"].endswith("draining")
        gate.open(9)
