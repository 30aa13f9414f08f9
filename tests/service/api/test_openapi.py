"""The API against its own document, by Schemathesis: what is answered is documented, and what breaks the rules is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.live import Live, live, png, settings_for

Operation = APIOperation[Any, Any, Any, Any]
load_all_checks()
# No schema can say "an image file", so most of what a schema calls valid is refused.
NOT_FOR_IMAGES: list[CheckFunction] = [positive_data_acceptance]


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights)) as running:
        yield running


@pytest.fixture(scope="module")
def operations(service: Live) -> list[Operation]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def test_every_operation_keeps_to_the_document(operations: list[Operation]) -> None:
    assert {"/v1/denoise", "/v1/models", "/v1/info", "/livez", "/readyz", "/metrics"} <= {each.path for each in operations}
    for operation in operations:
        examine(operation.as_strategy())


def test_what_breaks_the_document_is_refused(operations: list[Operation]) -> None:
    breakable = [each for each in operations if each.query or each.body]
    jobs = {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/result"}
    images = {f"/v1/{name}" for name in ("denoise", "upscale", "evaluate", "noise", "neighbors")}
    assert images | jobs == {each.path for each in breakable}
    for operation in breakable:
        parts = examine(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), broken=True)
        expected = {ParameterLocation.QUERY} | ({ParameterLocation.BODY} if operation.body else set())
        assert parts - {ParameterLocation.PATH} == expected  # only some operations have parameters in the path


def examine(cases: st.SearchStrategy[Any], *, broken: bool = False) -> set[ParameterLocation]:
    """Send cases, judge the answers, and return the parts of the requests that broke the document."""
    seen = set()

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        parts = {place for place, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
        seen.update(parts)
        assume(not broken or (all_sent(case.query) and all_sent(case.body)))
        if ParameterLocation.QUERY in parts:  # which nothing else is to hide
            case.body, case.media_type, case.headers = png(), "image/png", None
        answer = case.call_and_validate(excluded_checks=NOT_FOR_IMAGES)
        if broken:
            assert 400 <= answer.status_code < 500, case.as_curl_command()
            assert answer.headers["content-type"] == ["application/problem+json"]

    check()
    return seen


def all_sent(values: object) -> bool:
    """Whether a request shows every value; an empty list breaks the document, but leaves no trace in a query or a form."""
    lists = (
        [value for value in values.values() if isinstance(value, (list, dict, type(None)))] if isinstance(values, dict) else []
    )
    return all(value and any(each is not None for each in value) for value in lists)
