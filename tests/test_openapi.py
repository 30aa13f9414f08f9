"""The API against its own document, by Schemathesis: what is answered is documented, and what breaks the rules is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.live import Live, live, settings_for, tiny_weights

load_all_checks()
# No schema can say "an image file", so most of what a schema calls valid is refused.
NOT_FOR_IMAGES: list[CheckFunction] = [positive_data_acceptance]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(settings_for(tiny_weights(tmp_path_factory.mktemp("weights")))) as running:
        yield running


def test_every_operation_keeps_to_the_document(service: Live) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert {"/v1/denoise", "/v1/models", "/v1/info", "/livez", "/readyz", "/metrics"} <= {each.path for each in operations}
    for operation in operations:
        examine(operation.as_strategy())


def examine(cases: st.SearchStrategy[Any]) -> None:
    """Send cases and judge the answers."""

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
        case.call_and_validate(excluded_checks=NOT_FOR_IMAGES)

    check()
