"""The client has all that the OpenAPI document describes, under the same names."""

import re
from collections.abc import Iterator
from inspect import isclass
from typing import Any, get_type_hints

import httpx2
import pytest
from n3denoise_client import AsyncClient, Client, errors, results
from n3denoise_client.calls import Calls
from n3denoise_client.errors import ProblemError, RequestRejected, problem_error
from n3denoise_client.image_files import Denoised, EvaluatedImage, HeatMap, Upscaled
from n3denoise_client.method import method
from n3denoise_client.results import Answer, Problem
from pydantic import BaseModel, TypeAdapter

from service.api.app import create_app
from service.errors import leaves
from service.settings import Settings
from tests.support.live import png

NOT_NEEDED = {
    "livez": "orchestrators ask for it",
    "readyz": "load balancers ask for it",
    "metrics": "Prometheus asks for it",
    "create_job": "create_job_with_id does the same, and a lost response can be asked for again",
}
NOT_IN_CLIENT = {
    "DenoiseForm": "the arguments image, reference and mask",
    "ImageForm": "the argument image",
    "UpscaleForm": "the arguments image and reference",
    "Denoised": "DenoisedFigures and the file",
    "Upscaled": "UpscaledFigures and the file",
    "Health": "see livez and readyz",
    "HTTPValidationError": "the framework lists it; no response has it",
    "ValidationError": "likewise",
}
CALLS = {
    "denoise": ["denoise"],
    "upscale": ["upscale"],
    "noise": ["estimate"],
    "evaluate": ["evaluate", "evaluate_image"],
    "neighbors": ["neighbors", "heat_map"],
    "models": ["models"],
    "info": ["info"],
    "create_job_with_id": ["create_job", "denoise_in_background", "upscale_in_background"],
    "list_jobs": ["list_jobs"],
    "job": ["job", "wait"],
    "job_result": ["job_result", "upscaled_result"],
    "job_events": ["job_events"],
    "delete_job": ["delete_job"],
}
FILES = {"image", "reference", "mask"}
TASKS = {"denoise_in_background": ("denoise", set()), "upscale_in_background": ("upscale", {"task"})}
"""The calls that create a job for one task: the operation with its options and files, and what says the task."""
OWN = {"figures", "progress", "deadline_seconds", "job_id"}
"""Parameters that only the client has, and the ID of a job, which is part of the path."""

DOCUMENT = create_app(Settings()).openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: (verb.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for verb, operation in operations.items()
}


def parameters(name: str) -> dict[str, Any]:
    """The parameters of a method with their types."""
    call = vars(Calls).get(name)
    if not isinstance(call, method):
        return {"job_id": str}  # job_events, which each client has for itself
    hints = get_type_hints(call.function)
    del hints["return"]
    options = hints.pop("options", None)
    return hints | (get_type_hints(options.__args__[0]) if options else {})


def test_every_operation_is_there() -> None:
    assert CALLS.keys() | NOT_NEEDED.keys() == OPERATIONS.keys()
    assert not CALLS.keys() & NOT_NEEDED.keys()
    public = {name for client in (Client, AsyncClient) for name in dir(client) if not name.startswith("_")}
    assert public == {name for names in CALLS.values() for name in names} | {"close", "run"}


@pytest.mark.parametrize(("operation", "call"), [(each, call) for each, calls in CALLS.items() for call in calls])
def test_each_call_sends_its_operation_with_every_option(operation: str, call: str) -> None:
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(499)

    given = parameters(call)
    verb, path, description = OPERATIONS[operation]
    arguments: dict[str, Any] = {name: png() if name in FILES else "1" for name in given if name not in OWN}
    arguments |= {"job_id": "an-id-of-the-client"} if "job_id" in given else {}
    client = Client("http://service", http=httpx2.Client(transport=httpx2.MockTransport(answer)))
    with pytest.raises(ProblemError):
        list([getattr(client, call)(**arguments)] if call != "job_events" else client.job_events(**arguments))
    (request,) = sent
    assert request.method == verb
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.url.path)
    task, telling = TASKS.get(call, (operation, set()))
    description = OPERATIONS[task][2]
    asked = {each["name"] for each in description.get("parameters", ()) if each["in"] == "query"}
    assert {*request.url.params} == asked | telling
    if "requestBody" in description:
        form = description["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
        assert {*SCHEMAS[form]["properties"]} == FILES & given.keys()


def values(schema: Any) -> set[str]:
    """All types and constants that a schema allows."""
    if isinstance(schema, list):
        return {value for each in schema for value in values(each)}
    constants = {repr(each) for each in schema.get("enum", ())} | ({repr(schema["const"])} if "const" in schema else set())
    return constants or values(schema.get("anyOf", [])) or {schema["type"]}


@pytest.mark.parametrize(("operation", "call"), [(each, call) for each, calls in CALLS.items() for call in calls])
def test_options_take_the_same_values(operation: str, call: str) -> None:
    given = parameters(call)
    for described in OPERATIONS[TASKS.get(call, (operation,))[0]][2].get("parameters", ()):
        if described["in"] == "query":
            ours = TypeAdapter(given[described["name"]]).json_schema()
            assert values(ours) == values(described["schema"]), described["name"]


def models() -> Iterator[type[BaseModel]]:
    for each in vars(results).values():
        if isclass(each) and issubclass(each, Answer) and each is not Answer:
            yield each


def test_answers_have_the_same_members() -> None:
    ours = {model.__name__: model for model in models()}
    assert ours.keys() | NOT_IN_CLIENT.keys() == SCHEMAS.keys()
    for name, model in ours.items():
        assert model.model_fields.keys() == SCHEMAS[name]["properties"].keys(), name
    jobs = ours["Job"].model_json_schema()["properties"]["status"]
    assert values(jobs) == values(SCHEMAS["Job"]["properties"]["status"])


@pytest.mark.parametrize(
    ("models", "operation"),
    [
        ({Denoised}, "denoise"),
        ({Upscaled}, "upscale"),
        ({Denoised, Upscaled}, "job_result"),
        ({EvaluatedImage}, "evaluate"),
        ({HeatMap}, "neighbors"),
    ],
)
def test_image_files_have_every_header(models: set[type[BaseModel]], operation: str) -> None:
    headers = OPERATIONS[operation][2]["responses"]["200"]["headers"]
    described = {name.lower().removeprefix("x-").replace("-", "_") for name in headers}
    assert {name for model in models for name in model.model_fields} - {"image", "media_type", "figures"} == described


def test_every_code_has_its_exception() -> None:
    codes = {leaf.code: leaf.status for leaf in leaves()}
    assert errors.KINDS.keys() <= codes.keys()
    for code, status in codes.items():
        problem = Problem(type=f"urn:n3denoise:error:{code}", title="t", status=status, detail="d", instance="i")
        error = problem_error(problem)
        assert (error.code, error.status) == (code, status)
        assert isinstance(error, RequestRejected) == (status < 500 and status != 429)
