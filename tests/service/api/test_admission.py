"""Admission over HTTP: it comes before anything is decoded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.imaging import codec
from service.imaging.picture import Limits, Picture
from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, live, png, settings_for, tiny_weights


def test_what_is_refused_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    gate, weights = Gate(), tiny_weights(tmp_path)

    def decode(data: bytes, limits: Limits) -> Picture:
        decoded.append(data)
        return original(data, limits)

    original = codec.decode
    monkeypatch.setattr(codec, "decode", decode)
    first, second = png(16, 32, seed=1), png(16, 32, seed=2)
    with live(settings_for(weights), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(service.denoise, first)
        gate.wait()
        service.engine.throughput.add(512e6, 200e6)  # 200 seconds for this image: one is in time, two are not
        refused = service.denoise(second)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:n3denoise:error:would-miss-deadline")
        assert int(refused.headers["retry-after"]) == 200
        gate.open()
        assert waiting.result(PATIENCE).status_code == 200
        assert decoded == [first]
