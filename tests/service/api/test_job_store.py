"""How long the service keeps background jobs, how many, and for whom."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving.redis_server import MISSING, RedisServer, redis_server
from service.api.job_clock import COMPUTING_SHARE
from tests.support.faulty import Gate, scripted
from tests.support.jobs import create, ended, state_of
from tests.support.live import live, png, settings_for, wait_for


def test_a_full_store_refuses_and_keeps_what_it_has(weights: Path) -> None:
    with live(settings_for(weights, jobs_mib=0.05, job_keep_seconds=600)) as service:
        first = create(service).json()
        assert ended(service, first["id"])["status"] == "succeeded"
        second = create(service).json()
        ended(service, second["id"])
        refused = create(service)
        assert refused.status_code == 429
        assert refused.json()["type"].endswith("jobs-full")
        assert 500 < int(refused.headers["retry-after"]) <= 600
        assert not service.engine.tickets
        assert service.client.get(first["links"]["result"]).status_code == 200
        service.client.delete(first["links"]["self"])
        assert create(service).status_code == 202
        never = create(service, png(300, 300))
        assert never.status_code == 413
        assert service.denoise().status_code == 200, "plain requests need no room"


def test_jobs_belong_to_the_key_that_created_them(weights: Path) -> None:
    hashes = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in ("one", "two"))
    with live(settings_for(weights, api_key_hashes=hashes)) as service:
        one, two = {"x-api-key": "one"}, {"x-api-key": "two"}
        ids = []
        for _ in range(3):
            answer = service.client.post("/v1/jobs", content=png(), params={"sigma": 25}, headers=one)
            ids.append(answer.json()["id"])
            wait_for(lambda: service.client.get(f"/v1/jobs/{ids[-1]}", headers=one).json()["status"] == "succeeded")
        for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", "")):
            assert service.client.request(method, f"/v1/jobs/{ids[0]}{path}", headers=two).status_code == 404
        assert service.client.get("/v1/jobs", headers=two).json() == {"jobs": [], "next": None}
        page = service.client.get("/v1/jobs", params={"limit": 2}, headers=one).json()
        assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
        rest = service.client.get("/v1/jobs", params={"after": page["next"]}, headers=one).json()
        assert [job["id"] for job in rest["jobs"]] == [ids[0]]
        assert rest["next"] is None


def test_without_keys_nobody_sees_the_jobs_of_others(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        assert service.client.get("/v1/jobs").status_code == 403


def test_a_result_expires(weights: Path) -> None:
    with live(settings_for(weights, job_keep_seconds=0.5)) as service:
        job = create(service).json()
        wait_for(lambda: state_of(service, job["id"])["status"] == "expired")
        assert service.client.get(job["links"]["result"]).status_code == 410
        wait_for(lambda: service.client.get(job["links"]["self"]).status_code == 404)
        wait_for(lambda: service.metric("denoise_job_store_bytes") == 0)


def test_each_job_is_counted_once(weights: Path) -> None:
    with live(settings_for(weights)) as service:
        job = create(service).json()
        ended(service, job["id"])
        service.client.get(job["links"]["result"])
        assert create(service, b"no picture").status_code == 415
        wait_for(lambda: service.metric("denoise_background_jobs") == 0)
        assert service.metric("denoise_jobs_total", model="n3unet", outcome="ok") == 1
        assert service.metric("denoise_jobs_total", model="n3unet", outcome="client_error") == 1


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
class TestRedis:
    def test_any_instance_answers_for_any_job(self, weights: Path, redis: RedisServer) -> None:
        gate = Gate()
        settings = settings_for(weights, jobs_url=redis.url)
        with live(settings, scripted(weights, gate)) as one, live(settings) as other:
            job = create(one, png(64, 32)).json()
            gate.wait()
            gate.open(2)
            wait_for(lambda: state_of(other, job["id"])["progress"] == 0.5 * COMPUTING_SHARE)
            assert create(other, png(64, 32), job_id=job["id"]).status_code == 200, "the same job on another instance"
            gate.open(2)
            assert ended(other, job["id"]) == ended(one, job["id"])
            results = [each.client.get(job["links"]["result"]) for each in (one, other)]
            assert results[0].content == results[1].content
            assert results[0].headers["x-sigma"] == results[1].headers["x-sigma"] == "25"
            assert other.client.get(job["links"]["result"], params={"format": "webp"}).headers["content-type"] == "image/webp"

    def test_any_instance_cancels_any_job(self, weights: Path, redis: RedisServer) -> None:
        gate = Gate()
        settings = settings_for(weights, jobs_url=redis.url)
        with live(settings, scripted(weights, gate)) as one, live(settings) as other:
            job = create(one, png(640, 32)).json()
            gate.wait()
            assert other.client.delete(job["links"]["self"]).status_code == 200
            wait_for(lambda: not one.engine.tickets)
            assert state_of(one, job["id"])["status"] == "canceled"
            gate.open(2)

    def test_a_result_outlives_the_instance_that_computed_it(self, weights: Path, redis: RedisServer) -> None:
        settings = settings_for(weights, jobs_url=redis.url)
        with live(settings) as other:
            with live(settings) as one:
                job = create(one).json()
                ended(one, job["id"])
                one.server.handle_exit(15, None)
                one.thread.join()
            assert other.client.get(job["links"]["result"]).status_code == 200

    def test_without_redis_there_are_no_jobs_and_plain_requests_work(self, weights: Path, tmp_path: Path) -> None:
        gate = Gate()
        with redis_server(tmp_path) as redis, live(settings_for(weights, jobs_url=redis.url), scripted(weights, gate)) as service:
            job = create(service, png(64, 32)).json()
            gate.wait()
            redis.stop()
            for answer in (
                create(service),
                service.client.get(job["links"]["self"]),
                service.client.delete(job["links"]["self"]),
            ):
                assert answer.status_code == 503
                assert answer.json()["type"].endswith("jobs-unavailable")
                assert answer.headers["retry-after"]
            gate.open(4)
            assert service.denoise().status_code == 200
            redis.start()
            wait_for(lambda: not service.engine.tickets)
            again = create(service).json()
            assert ended(service, again["id"])["status"] == "succeeded"
