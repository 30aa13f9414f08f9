"""Admission over HTTP: it comes before anything is decoded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.imaging import codec
from service.imaging.picture import DecodeLimits, Picture
from tests.support.faulty import Gate, scripted
from tests.support.live import PATIENCE, live, png, settings_for


def test_what_is_refused_is_not_decoded(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Picture] = []
    gate = Gate()

    def decode(file: codec.ImageFile) -> Picture:
        decoded.append(original(file))
        return decoded[-1]

    original = codec.ImageFile.decode
    monkeypatch.setattr(codec.ImageFile, "decode", decode)
    first, second = png(16, 32, seed=1), png(16, 32, seed=2)
    expected = original(codec.open_image(first, DecodeLimits()))
    with live(settings_for(weights), scripted(weights, gate)) as service, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(service.denoise, first)
        gate.wait()
        service.engine.throughput.add(512e6, 200e6)  # 200 seconds for this image: one is in time, two are not
        refused = service.denoise(second)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:n3denoise:error:would-miss-deadline")
        assert int(refused.headers["retry-after"]) == 200
        gate.open()
        assert waiting.result(PATIENCE).status_code == 200
        assert [picture.planes.tolist() for picture in decoded] == [expected.planes.tolist()]
