"""The OpenAPI document as generators of clients read it, and a client that is made from it."""

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiopenapi3
import pytest
from pydantic import BaseModel

from service.api.app import create_app
from service.api.neighbor_schemas import NeighborOptions
from service.api.schemas import DenoiseOptions, EvaluateOptions, NoiseOptions
from service.api.upscale_schemas import UpscaleOptions
from service.settings import Settings
from tests.support.live import Live, png
from tests.support.upscaling import random_upscaling_weights, upscaling_service

OPTIONS: dict[str, type[BaseModel]] = {
    "denoise": DenoiseOptions,
    "upscale": UpscaleOptions,
    "evaluate": EvaluateOptions,
    "noise": NoiseOptions,
    "neighbors": NeighborOptions,
}
FILES = {"denoise": {"image", "reference", "mask"}, "upscale": {"image", "reference"}}
KEY = "open sesame"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}


@pytest.fixture(scope="module")
def service(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    upscaling_weights = random_upscaling_weights(tmp_path_factory.mktemp("upscaling"))
    with upscaling_service(weights, upscaling_weights, api_key_hashes=[hashlib.sha256(KEY.encode()).hexdigest()]) as running:
        yield running


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_operations_have_short_names(operations: dict[str, dict[str, Any]]) -> None:
    assert operations.keys() == {
        "denoise",
        "upscale",
        "evaluate",
        "noise",
        "neighbors",
        "create_job",
        "create_job_with_id",
        "list_jobs",
        "job",
        "job_result",
        "job_events",
        "delete_job",
        "models",
        "info",
        "livez",
        "readyz",
        "metrics",
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_in_the_query_and_files_in_the_form(
    name: str, document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    parameters = [(each["in"], each["name"]) for each in operations[name]["parameters"]]
    assert parameters == [("query", option) for option in OPTIONS[name].model_fields]
    reference = operations[name]["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
    form = document["components"]["schemas"][reference.removeprefix("#/components/schemas/")]
    assert set(form["properties"]) == FILES.get(name, {"image"})


def test_jobs_take_a_task_and_the_options_of_all_tasks(operations: dict[str, dict[str, Any]]) -> None:
    wanted = {"task"} | DenoiseOptions.model_fields.keys() | UpscaleOptions.model_fields.keys()
    for name in ("create_job", "create_job_with_id"):
        names = [each["name"] for each in operations[name]["parameters"] if each["in"] == "query"]
        assert sorted(names) == sorted(wanted)


def test_only_the_pixel_is_required(operations: dict[str, dict[str, Any]]) -> None:
    required = {(name, each["name"]) for name in OPTIONS for each in operations[name]["parameters"] if each["required"]}
    assert required == {("neighbors", "x"), ("neighbors", "y")}


def test_schemas_are_components_and_all_references_lead_there(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert {each.removeprefix("#/components/schemas/") for each in found} == document["components"]["schemas"].keys()
    contents = [
        media["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        for body in (operation.get("requestBody", {"content": {}}), *operation["responses"].values())
        for media in body["content"].values()
    ]
    assert all("$ref" in schema or schema["type"] == "string" for schema in contents)


def test_bodies_and_headers_of_good_responses_are_described(operations: dict[str, dict[str, Any]]) -> None:
    good = {
        name: next(operation["responses"][status] for status in ("200", "202") if status in operation["responses"])
        for name, operation in operations.items()
    }
    assert all(response["description"] not in ("", "Successful Response") for response in good.values())
    assert (
        set(good["denoise"]["content"])
        == set(good["upscale"]["content"])
        == {
            "application/json",
            *(f"image/{x}" for x in ("png", "jpeg", "webp", "avif", "tiff", "bmp")),
        }
    )
    assert {"image/avif", "image/heic", "image/heif"} <= set(operations["denoise"]["requestBody"]["content"])
    assert set(good["evaluate"]["content"]) == {"application/json", "image/png"}
    assert set(good["neighbors"]["content"]) == {"application/json", "image/png"}
    assert set(good["noise"]["content"]) == set(good["models"]["content"]) == {"application/json"}
    assert set(good["metrics"]["content"]) == {"text/plain"}
    assert all(header["description"] for response in good.values() for header in response.get("headers", {}).values())


def test_the_headers_that_are_sent_are_described(service: Live, operations: dict[str, dict[str, Any]]) -> None:
    authorized = {"X-API-Key": KEY}
    files = {"image": png(), "reference": png(seed=1)}
    enlarging = {"image": png(), "reference": png(96, 80)}
    answers = {
        "denoise": service.client.post("/v1/denoise", files=files, headers=authorized),
        "upscale": service.client.post("/v1/upscale?sigma=auto", files=enlarging, headers=authorized),
        "evaluate": service.client.post("/v1/evaluate", content=png(), headers=authorized),
        "neighbors": service.client.post("/v1/neighbors?x=1&y=2", content=png(), headers=authorized),
    }
    for name, answer in answers.items():
        described = {header.lower() for header in operations[name]["responses"]["200"]["headers"]}
        sent = {header for header in answer.headers if header.startswith("x-") or header == "server-timing"}
        assert sent - {"x-request-id", "x-content-type-options", "x-frame-options"} <= described


@pytest.mark.parametrize("hashes", [(), ("0" * 64,)])
def test_routes_under_v1_say_that_they_take_api_keys(hashes: tuple[str, ...]) -> None:
    document = create_app(Settings(api_key_hashes=hashes)).openapi()
    schemes = document["components"]["securitySchemes"]
    assert (schemes["ApiKey"]["in"], schemes["ApiKey"]["name"]) == ("header", "X-API-Key")
    assert (schemes["Bearer"]["type"], schemes["Bearer"]["scheme"]) == ("http", "bearer")
    choices: list[dict[str, list[str]]] = [{"ApiKey": []}, {"Bearer": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                assert operation["security"] == (choices if hashes else [{}, *choices])
            else:
                assert "security" not in operation


@pytest.mark.parametrize("key", [{"ApiKey": KEY}, {"Bearer": KEY}])
def test_a_client_made_from_the_document_works(service: Live, key: dict[str, str]) -> None:
    client = aiopenapi3.OpenAPI.load_sync(f"http://127.0.0.1:{service.port}/openapi.json")
    client.authenticate(**key)

    def ask(operation: str, options: dict[str, Any], *files: str) -> dict[str, Any]:
        request = client.createRequest(operation)
        request.req.headers["Accept"] = "application/json"
        answer = request(parameters=options, data=[(name, ("x.png", io.BytesIO(png()), "image/png")) for name in files])
        return dict(answer.model_dump())

    denoised = ask(
        "denoise", {"sigma": 30, "color": "gray", "format": "tiff", "depth": "16", "detail": 0.5}, "image", "reference", "mask"
    )
    assert (denoised["sigma"], denoised["media_type"], denoised["noisy"]["ssim"]) == (30, "image/tiff", 1)
    assert denoised["sigmas"] == [{"plane": "gray", "sigma": pytest.approx(30)}]
    assert base64.b64decode(denoised["image"])[:2] in (b"II", b"MM")
    headers = {"X-API-Key": KEY, "Accept": "application/json"}
    in_color = service.client.post("/v1/denoise?color=rgb", content=png(80, 80, 3), headers=headers).json()
    assert [each["plane"] for each in in_color["sigmas"]] == ["luma", "red-blue", "magenta-green"]
    upscaled = ask("upscale", {"factor": 3, "sigma": 5, "format": "tiff"}, "image")
    assert (upscaled["factor"], upscaled["width"], upscaled["media_type"]) == (3, 120, "image/tiff")
    evaluated = ask("evaluate", {"sigma": 20, "seed": 3}, "image")
    assert (evaluated["sigma"], evaluated["seed"]) == (20, 3)
    assert ask("noise", {}, "image")["confidence"] > 0
    neighbors = ask("neighbors", {"x": 3, "y": 4, "sigma": 20}, "image")["neighbors"]
    assert [each["index"] for each in neighbors] == [1, 2]
    tasks = {card.name: card.task for card in client.createRequest("models")().models}
    assert tasks == dict.fromkeys(("n3net", "n3unet", "photo", "dncnn", "nlm"), "denoise") | {"upscale": "upscale"}
