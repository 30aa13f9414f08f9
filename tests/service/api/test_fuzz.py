"""A few thousand bad requests: none breaks the service. `benchmarks/serving/endurance.py` sends many more."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.serving.bad_inputs import BadRequest, bad_requests, form, mutated
from service.api.upload import read_form
from service.errors import ServiceError
from service.imaging import codec
from service.imaging.picture import DecodeLimits
from tests.support.live import Live, png
from tests.support.upscaling import random_upscaling_weights, upscaling_service

CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
# What Pillow remarks on damaged files is not what this is about.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
PATHS = ("/v1/denoise", "/v1/denoise", "/v1/evaluate", "/v1/noise", "/v1/neighbors", "/v1/upscale")
STATUSES: Counter[int] = Counter()


def cases(count: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many cases, the same ones each time; without shrinking, for what fails is printed as it was."""
    phases = [Phase.explicit, Phase.generate]
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=phases, suppress_health_check=CHECKS
    )


@pytest.fixture(scope="module")
def service(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    upscaling_weights = random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))
    with upscaling_service(weights, upscaling_weights, max_megapixels=0.02) as running:
        yield running


def status_of(work: Callable[[], object]) -> int:
    """What the service would answer."""
    try:
        work()
    except ServiceError as error:
        return error.status
    return 200


@cases(1200)
@given(data=mutated())
def test_damaged_files_are_decoded_or_refused(data: bytes) -> None:
    assert status_of(lambda: codec.decode(data, DecodeLimits(pixels=20_000))) in (200, 413, 415, 422)


@cases(400)
@given(body_and_type=form())
def test_damaged_forms_are_read_or_refused(body_and_type: tuple[bytes, str]) -> None:
    assert status_of(lambda: read_form(body_and_type[0], b"b", 4)) in (200, 400)


@cases(800)
@given(bad=bad_requests(), path=st.sampled_from(PATHS))
def test_bad_requests_are_never_the_service_s_fault(service: Live, bad: BadRequest, path: str) -> None:
    params = dict(bad.params)
    if path == "/v1/noise" and params == {"sigma": "25"}:  # a good option elsewhere, and no option there
        params = {}
    if path == "/v1/neighbors":  # which asks for a pixel
        params = {"x": "0", "y": "0", **params}
    answer = service.client.post(path, content=bad.content, headers=bad.headers, params=params)
    STATUSES[answer.status_code] += 1
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_all_kinds_of_refusal_were_seen_and_the_service_works(service: Live) -> None:
    assert {400, 406, 415, 422} <= STATUSES.keys()
    assert service.denoise(png()).status_code == 200
    assert service.metric("denoise_jobs_total", model="n3unet", outcome="internal") == 0
    assert service.metric("denoise_queue_jobs") == 0
