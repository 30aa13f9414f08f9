"""When the client sends a request again, how long it waits before, and when it gives up."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from n3denoise_client import Busy, Client, ConnectionFailed, ProblemError, Retries, ServiceError, TimeLimit, UnexpectedResponse

from tests.support.clients import Clock, Connect
from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, Live, live, png, settings_for

LOST = [httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError]


def test_a_request_that_a_full_queue_refused_is_sent_again_after_the_time_told(weights: Path, connect: Connect) -> None:
    gate, told, slept = Gate(), list[int](), list[float]()
    first: Future[httpx2.Response]

    def arrived(response: httpx2.Response) -> None:
        if response.status_code == 429:
            told.append(int(response.headers["retry-after"]))

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        gate.open(2)
        assert first.result(PATIENCE).status_code == 200

    with live(settings_for(weights, queue_requests=1), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as others:
        first = others.submit(service.denoise, png(32, 32))
        gate.wait()
        retries = Retries(jitter=0.5, chance=lambda: 0.8)
        denoised = connect(service, sleep=sleep, arrived=arrived, retries=retries).denoise(png(16, 16), sigma=25)
        assert denoised.sigma == 25
        assert slept == [pytest.approx(told[0] * 1.4)]
        assert len(told) == 1


def refusing(status: int = 429, retry_after: str | None = "20", times: int = 100) -> tuple[httpx2.MockTransport, list[Any]]:
    """Return a server that refuses a number of requests, and the list of all requests."""
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if len(asked) > times:
            return httpx2.Response(200, json={"models": []})
        problem = {"type": "urn:n3denoise:error:queue-full", "title": "t", "status": status, "detail": "d", "instance": "i"}
        return httpx2.Response(status, json=problem, headers={"retry-after": retry_after} if retry_after else {})

    return httpx2.MockTransport(answer), asked


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_that_passes_is_waited_for(connect: Connect, status: int) -> None:
    clock, (transport, asked) = Clock(), refusing(status, times=3)
    client = connect(None, transport=transport, sleep=clock.sleep, retries=Retries(clock=clock))
    assert client.models().models == ()
    assert len(asked) == 4
    assert all(20 <= seconds <= 25 for seconds in clock.slept)
    assert len(set(clock.slept)) == 3, "the waits are not random"


def test_the_client_gives_up_rather_than_wait_beyond_its_deadline(connect: Connect) -> None:
    clock, (transport, asked) = Clock(), refusing()
    client = connect(None, transport=transport, sleep=clock.sleep, retries=Retries(90, clock=clock, chance=lambda: 0))
    with pytest.raises(Busy) as caught:
        client.models()
    assert caught.value.retry_after == 20
    assert clock.slept == [20] * 4
    timeouts = [request.extensions["timeout"]["read"] for request in asked]
    assert timeouts == [90, 70, 50, 30, 10], "an attempt may last until the deadline"


@pytest.mark.parametrize(("status", "retry_after"), [(503, None), (503, "soon"), (500, "1"), (504, "1"), (409, "1"), (302, "1")])
def test_other_answers_are_final(connect: Connect, status: int, retry_after: str | None) -> None:
    transport, asked = refusing(status, retry_after)
    with pytest.raises(ProblemError):
        connect(None, transport=transport).models()
    assert len(asked) == 1


def losing(failure: type[httpx2.TransportError], times: int = 1) -> tuple[Callable[[httpx2.Response], None], list[str]]:
    """Return what loses a number of responses that the server has sent, and the list of all requests that it got."""
    asked: list[str] = []

    def arrived(response: httpx2.Response) -> None:
        asked.append(f"{response.request.method} {response.request.url.path}")
        if len(asked) <= times:
            raise failure("lost")

    return arrived, asked


REPEATED: dict[str, Callable[[Client], object]] = {
    "POST /v1/denoise": lambda client: client.denoise(png(), sigma=25),
    "POST /v1/noise": lambda client: client.estimate(png()),
    "POST /v1/evaluate": lambda client: client.evaluate(png()),
    "POST /v1/neighbors": lambda client: client.neighbors(png(), x=1, y=1, sigma=25),
    "GET /v1/info": lambda client: client.info(),
}


@pytest.mark.parametrize("request_line", REPEATED)
def test_requests_that_are_safe_are_sent_again_when_the_response_is_lost(
    service: Live, connect: Connect, request_line: str
) -> None:
    clock, (arrived, asked) = Clock(), losing(LOST[len(request_line) % 3])
    client = connect(service, arrived=arrived, sleep=clock.sleep)
    assert REPEATED[request_line](client)
    assert asked == [request_line] * 2
    assert len(clock.slept) == 1


def test_a_job_whose_response_was_lost_is_started_once(service: Live, connect: Connect) -> None:
    arrived, asked = losing(httpx2.ReadError, times=2)
    client = connect(service, arrived=arrived, sleep=lambda _: None)
    before = service.metric("denoise_jobs_total", model="n3unet", outcome="ok")
    job = client.create_job(png(), sigma=25)
    assert client.wait(job.id).status == "succeeded"
    assert asked[:3] == [f"PUT /v1/jobs/{job.id}"] * 3
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="ok") == before + 1
    client.delete_job(job.id)


def test_a_lost_deletion_is_not_repeated(service: Live, connect: Connect) -> None:
    arrived, asked = losing(httpx2.ReadError)
    with pytest.raises(ConnectionFailed, match="lost") as caught:
        connect(service, arrived=arrived).delete_job("an-id-of-nothing")
    assert isinstance(caught.value.__cause__, httpx2.ReadError)
    assert len(asked) == 1


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ConnectTimeout])
def test_what_never_reached_the_service_is_always_sent_again(connect: Connect, failure: type[httpx2.TransportError]) -> None:
    clock, tries = Clock(), list[str]()

    def refuse(request: httpx2.Request) -> httpx2.Response:
        tries.append(request.method)
        raise failure("nobody listens")

    retries = Retries(60, clock=clock, chance=lambda: 1)
    client = connect(None, transport=httpx2.MockTransport(refuse), sleep=clock.sleep, retries=retries)
    with pytest.raises(ConnectionFailed, match="nobody listens"):
        client.delete_job("an-id-of-nothing")
    assert clock.slept == [0.5, 1, 2, 4, 8, 10, 10, 10, 10]
    assert tries == ["DELETE"] * 10


def test_a_response_that_takes_too_long_is_not_asked_for_again(connect: Connect) -> None:
    def stall(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("")

    with pytest.raises(ConnectionFailed, match="ReadTimeout"):
        connect(None, transport=httpx2.MockTransport(stall)).models()


def test_answers_of_something_else_are_told_apart(connect: Connect) -> None:
    answers = iter(
        [
            httpx2.Response(502, html="<h1>Bad Gateway</h1>"),
            httpx2.Response(200, html="<h1>Hello</h1>"),
            httpx2.Response(200, html="<h1>Hello</h1>"),
        ]
    )
    client = connect(None, transport=httpx2.MockTransport(lambda _: next(answers)))
    with pytest.raises(ServiceError, match="Bad Gateway") as caught:
        client.models()
    assert not isinstance(caught.value, Busy | TimeLimit)
    with pytest.raises(UnexpectedResponse, match="Models"):
        client.models()
    with pytest.raises(UnexpectedResponse, match="text/event-stream"):
        list(client.job_events("an-id-of-the-client"))
