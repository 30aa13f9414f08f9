"""Traces, as a collector of OpenTelemetry receives them over OTLP."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.serving.servers import free_port
from tests.support.live import PATIENCE, png, wait_for

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """A collector that keeps the spans that it receives."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.spans += [span for scope in resource.scope_spans for span in scope.spans]
                handler.send_response(200)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def log(collector: Collector, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Send one request and one probe to a service that sends traces; return the lines of its log."""
    port, path = free_port(), tmp_path_factory.mktemp("log") / "log.jsonl"
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "N3DENOISE_WEIGHTS": str(weights),
        "N3DENOISE_LOG_FORMAT": "json",
        "N3DENOISE_DRAIN_DELAY_SECONDS": "0",
    }
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--device", "cpu"]
    with path.open("wb") as file, subprocess.Popen(command, env=os.environ | variables, stderr=file) as process:
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:

                def ready() -> bool:
                    try:
                        return client.get("/readyz").status_code == 200
                    except httpx2.TransportError:
                        return False

                wait_for(ready)
                parent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
                assert client.post("/v1/denoise?sigma=25", content=png(), headers=parent).status_code == 200
                wait_for(lambda: any(span.name == "POST /v1/denoise" for span in collector.spans))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("log")
def test_a_request_is_a_span_with_a_child_for_each_stage(collector: Collector) -> None:
    request = next(span for span in collector.spans if span.name == "POST /v1/denoise")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    stages = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert {span.name for span in stages} == {"read", "decode", "treat", "queue", "infer", "encode"}
    for span in stages:
        assert span.trace_id.hex() == TRACE
        assert request.start_time_unix_nano - 1_000_000 <= span.start_time_unix_nano <= span.end_time_unix_nano


@pytest.mark.usefixtures("log")
def test_probes_leave_no_traces(collector: Collector) -> None:
    assert not [span.name for span in collector.spans if "readyz" in span.name]


def test_log_lines_of_a_request_name_its_trace(log: list[dict[str, Any]]) -> None:
    (line,) = [line for line in log if line.get("route") == "/v1/denoise"]
    assert line["trace_id"] == TRACE
    assert "trace_id" not in next(line for line in log if line["event"] == "ready")
