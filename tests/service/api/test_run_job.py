"""The way of a request: three hand-offs to thread pools, whatever the request asks for."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.serving.tiny_weights import tiny_weights
from service.api.context import AppContext
from tests.support.live import Live, live, png_of, settings_for

COLOR = png_of(np.random.default_rng(0).integers(0, 255, (24, 30, 3)).astype(np.uint8))
GRAY = png_of(np.random.default_rng(1).integers(0, 255, (24, 30)).astype(np.uint8))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tiny_weights(tmp_path_factory.mktemp("weights")))) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("/v1/denoise?sigma=25", {"image": GRAY}),
        ("/v1/denoise?sigma=25", {"image": COLOR, "reference": COLOR}),
        ("/v1/denoise?sigma=25&color=rgb&ensemble=true", {"image": COLOR, "reference": COLOR}),
        ("/v1/evaluate?sigma=25&color=rgb", {"image": COLOR}),
        ("/v1/noise", {"image": COLOR}),
    ],
)
def test_three_hand_offs(path: str, files: dict[str, bytes], service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    original = AppContext.run_stage

    async def run_stage(context: AppContext, name: Any, *args: Any, **kwargs: Any) -> Any:
        stages.append(name)
        return await original(context, name, *args, **kwargs)

    monkeypatch.setattr(AppContext, "run_stage", run_stage)
    assert service.client.post(path, files=files).status_code == 200
    assert stages == ["read", "decode", "encode"]


def test_a_raw_body_takes_the_same_way(service: Live) -> None:
    answer = service.client.post("/v1/denoise?sigma=25", content=GRAY)
    assert answer.status_code == 200
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["read", "decode", "treat", "encode", "queue", "infer", "total"]
