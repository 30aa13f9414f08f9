"""Faults put into the computation: each ends in the documented answer and metric, and the service lives on or ends as told."""

import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from models.methods import Method
from models.neighbors.nlm import NonLocalMeans
from service.api.server import EXIT_LOST
from service.engine.backend import Backend
from service.engine.engine import LoadBackend
from service.errors import DeviceLost
from service.settings import Settings
from tests.support.faulty import Gate, Scripted, Strip, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for, wait_for


class Fault:
    """A script that a test sets; only its images of 32 columns meet it."""

    def __init__(self) -> None:
        self.act: Callable[[Strip], object] = lambda _: None
        self.everywhere = False

    def __call__(self, strip: Strip) -> None:
        if strip.noisy.shape[1] == 32 or self.everywhere:
            self.act(strip)


@pytest.fixture
def fault() -> Fault:
    return Fault()


@pytest.fixture
def service(weights: Path, fault: Fault) -> Iterator[Live]:
    with live(settings_for(weights), scripted(weights, fault)) as running:
        yield running


def fails(error: Exception) -> Callable[[Strip], object]:
    def act(_: Strip) -> None:
        raise error

    return act


def test_an_exception_is_an_internal_error_and_the_service_lives_on(service: Live, fault: Fault) -> None:
    fault.act = fails(ZeroDivisionError("secret detail"))
    answer = service.denoise(png(32, 32))
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":internal")
    assert "secret" not in answer.text
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="internal") == 1
    assert service.denoise(png(32, 40)).status_code == 200


def test_out_of_memory_is_tried_again_with_half_the_strip(service: Live, fault: Fault) -> None:
    shrinks = []

    def act(strip: Strip) -> None:
        shrinks.append(strip.shrink)
        if strip.shrink == 1 and strip.index == 1:
            raise torch.OutOfMemoryError

    fault.act = act
    assert service.denoise(png(64, 32)).status_code == 200
    assert shrinks[:3] == [1, 1, 2]
    assert service.metric("denoise_device_errors_total", kind="out_of_memory") == 1
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="ok") == 1


def test_the_memory_of_a_strip_that_ran_out_of_it_is_free_when_it_is_tried_again(service: Live, fault: Fault) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def act(strip: Strip) -> None:
        if strip.shrink > 1:
            alive.append(held[0]() is not None)
            return
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError

    fault.act = act
    assert service.denoise(png(16, 32)).status_code == 200
    assert alive == [False]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    ],
)
def test_out_of_memory_twice_is_the_answer(service: Live, fault: Fault, error: Exception) -> None:
    fault.act = fails(error)
    answer = service.denoise(png(64, 32))
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":device-out-of-memory")
    assert int(answer.headers["retry-after"]) > 0
    assert service.metric("denoise_device_errors_total", kind="out_of_memory") == 2
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="device_error") == 1
    assert service.denoise(png(32, 40)).status_code == 200


def test_a_method_without_smaller_strips_is_not_tried_again(weights: Path) -> None:
    tried = []

    class Hungry(NonLocalMeans):
        def steps(self, noisy: torch.Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, torch.Tensor]:
            tried.append((noisy.shape, shrink))
            yield 0.5
            raise MemoryError(sigma)

    def load() -> Method:
        return Scripted(weights, lambda _: None)

    def make(settings: Settings, on_error: Callable[[str], None]) -> Backend:  # noqa: ARG001
        return Backend([load(), Hungry()], load, on_error)

    with live(settings_for(weights), make) as service:
        answer = service.denoise(png(32, 32), model="nlm")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith(":device-out-of-memory")
        assert tried == [((32, 32), 1)]
        assert service.metric("denoise_device_errors_total", kind="out_of_memory") == 1
        assert service.denoise(png(32, 32)).status_code == 200


def test_a_result_that_is_not_finite_is_not_returned(service: Live, fault: Fault) -> None:
    def act(strip: Strip) -> None:
        strip.noisy[3, 3] = torch.nan

    fault.act = act
    answer = service.denoise(png(32, 32))
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":non-finite-result")
    assert service.metric("denoise_device_errors_total", kind="non_finite") == 1
    assert service.denoise(png(32, 40)).status_code == 200


def test_a_device_error_that_passes_costs_one_answer(service: Live, fault: Fault) -> None:
    fault.act = fails(RuntimeError("CUDA error: misaligned address"))
    answer = service.denoise(png(32, 32))
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":device-fault")
    assert service.metric("denoise_device_errors_total", kind="fault") == 1
    assert service.client.get("/readyz").status_code == 200
    assert service.denoise(png(32, 40)).status_code == 200


def test_a_device_error_that_stays_ends_the_process(service: Live, fault: Fault) -> None:
    gate = Gate()
    fault.act = gate
    with ThreadPoolExecutor(3) as clients:
        first = clients.submit(service.denoise, png(32, 32))
        gate.wait()
        others = [clients.submit(service.denoise, png(48, 32)) for _ in range(2)]
        wait_for(lambda: sum(ticket.runnable for ticket in service.engine.tickets) == 3)
        fault.act, fault.everywhere = fails(RuntimeError("CUDA error: unspecified launch failure")), True
        gate.open()
        answers = [client.result(PATIENCE) for client in (first, *others)]
    assert answers[0].status_code in (200, 500)
    assert {answer.json()["type"] for answer in answers[1:]} <= {
        "urn:n3denoise:error:device-lost",
        "urn:n3denoise:error:device-fault",
    }
    assert service.metric("denoise_ready") == 0
    assert service.metric("denoise_selftest_success") == 0
    service.thread.join(PATIENCE)
    assert not service.thread.is_alive()
    assert service.server.exit_code == EXIT_LOST


def test_an_idle_device_that_fails_its_self_test_ends_the_process(weights: Path, fault: Fault) -> None:
    with live(settings_for(weights, idle_selftest_seconds=0.02), scripted(weights, fault)) as service:
        assert service.metric("denoise_ready") == 1
        fault.act, fault.everywhere = fails(RuntimeError("CUDA error: unspecified launch failure")), True
        service.thread.join(PATIENCE)
        assert not service.thread.is_alive()
        assert service.server.exit_code == EXIT_LOST
        assert isinstance(service.engine.trouble, DeviceLost)
        assert service.metric("denoise_ready") == 0
        assert service.metric("denoise_selftest_success") == 0


def test_a_hang_turns_liveness_off_and_is_answered_at_the_deadline(weights: Path) -> None:
    gate = Gate()
    settings = settings_for(weights, hang_seconds=0.1, timeout_seconds=2)
    with live(settings, scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        hanging = clients.submit(service.denoise, png(16, 32))
        gate.wait()
        wait_for(lambda: service.client.get("/livez").status_code == 503)
        assert service.client.get("/readyz").status_code == 503
        refused = service.denoise(png(16, 32))
        assert refused.status_code == 503
        answer = hanging.result(PATIENCE)
        assert answer.status_code == 504
        assert service.metric("denoise_jobs_total", model="n3unet", outcome="timeout") == 1
        gate.open(10)
        wait_for(lambda: service.client.get("/livez").status_code == 200)
        assert service.denoise(png(16, 40)).status_code == 200


@pytest.mark.parametrize("width", [88, 256], ids=["self-test", "warm-up"])
def test_a_hang_while_starting_turns_liveness_off(weights: Path, width: int) -> None:
    gate = Gate(width)
    try:
        with live(settings_for(weights, hang_seconds=0.1), scripted(weights, gate), ready=False) as service:
            gate.wait()
            wait_for(lambda: service.client.get("/livez").status_code == 503)
            assert service.client.get("/readyz").status_code == 503
            gate.open(1000)
            wait_for(lambda: service.client.get("/readyz").status_code == 200)
            assert service.client.get("/livez").status_code == 200
    finally:
        gate.open(1000)


def test_weights_that_do_not_load_end_the_process(weights: Path) -> None:
    broken = weights.with_name("broken.safetensors")
    broken.write_bytes(weights.read_bytes()[:-10])
    with live(settings_for(broken), ready=False) as service:
        service.thread.join(PATIENCE)
        assert not service.thread.is_alive()
        assert service.server.exit_code == EXIT_LOST


def test_a_memory_budget_that_is_too_small_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with live(settings_for("default", memory_budget_mib=64), ready=False) as service:
        service.thread.join(PATIENCE)
        assert service.server.exit_code == EXIT_LOST
    output = capsys.readouterr()
    assert "the memory budget must be at least" in output.out + output.err


def test_a_denoiser_that_computes_nonsense_never_becomes_ready(weights: Path) -> None:
    def script(strip: Strip) -> None:
        strip.noisy.add_(0.1)

    with live(settings_for(weights), scripted(weights, script), ready=False) as service:
        service.thread.join(PATIENCE)
        assert service.server.exit_code == EXIT_LOST
        assert service.metric("denoise_ready") == 0
        assert service.metric("denoise_selftest_success") == 0


def test_a_gpu_that_is_required_and_not_there_ends_the_process(weights: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with live(settings_for(weights, device="auto", require_gpu=True), ready=False) as service:
        service.thread.join(PATIENCE)
        assert service.server.exit_code == EXIT_LOST


def test_the_fallback_to_the_cpu_is_in_every_place(weights: Path) -> None:
    class Fallen(Scripted):
        fallback_reason: str | None = "torch sees no CUDA device"

    def load() -> Method:
        return Fallen(weights, lambda _: None)

    load_backend: LoadBackend = lambda settings, on_error: Backend([load()], load, on_error)  # noqa: ARG005, E731
    with capture_logs() as lines, live(settings_for(weights), load_backend) as service:
        assert service.denoise().headers["x-device-fallback"] == "torch sees no CUDA device"
        assert service.client.get("/v1/info").json()["fallback_reason"] == "torch sees no CUDA device"
        labels = {"device": "cpu", "fallback_reason": "torch sees no CUDA device"}
        assert any(
            labels.items() <= sample.labels.items()
            for metric in service.engine.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "denoise_device_info"
        )
    (line,) = [line for line in lines if line["event"] == "device"]
    assert (line["log_level"], line["fallback_reason"]) == ("warning", "torch sees no CUDA device")
