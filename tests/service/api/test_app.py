"""The application over a real socket: the answers that callers rely on."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.inference.denoiser import Denoiser
from tests.support.live import Live, live, png, png_of, settings_for


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Live]:
    with live(settings_for(weights, max_body_mib=0.25, max_megapixels=0.1)) as running:
        yield running


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    """Assert that an answer is the problem document of an error, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = answer.json()
    assert document["type"] == f"urn:n3denoise:error:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == f"urn:n3denoise:request:{answer.headers['x-request-id']}"
    return document


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_raw_body_gives_what_the_denoiser_gives(service: Live) -> None:
    noisy = pixels(png())
    answer = service.denoise(png(), sigma=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    denoiser = Denoiser.load(service.server.settings.weights, "cpu", "float32")
    expected = denoiser.denoise(torch.from_numpy(noisy.astype(np.float32) / 255), 30 / 255)
    levels = np.rint(expected.clamp(0, 1).numpy() * 255)
    np.testing.assert_array_equal(pixels(answer.content), levels)


def test_form_gives_what_the_raw_body_gives(service: Live) -> None:
    answer = service.client.post("/v1/denoise", files={"image": ("secret name.png", png(), "image/png")}, data={"sigma": "30"})
    assert answer.content == service.denoise(png(), sigma=30).content


def test_color_is_converted_as_in_the_paper(service: Live) -> None:
    color = pixels(png(channels=3)).astype(np.float64)
    gray = np.rint(color @ [0.2989, 0.5870, 0.1140]).astype(np.uint8)
    assert service.denoise(png(channels=3)).content == service.denoise(png_of(gray)).content


def test_headers_tell_what_was_done(service: Live) -> None:
    answer = service.denoise(sigma=12.5)
    model = service.engine.model_info()
    assert answer.headers["x-sigma"] == "12.5"
    assert answer.headers["x-model"] == "n3unet"
    assert answer.headers["x-device"] == "cpu"
    assert answer.headers["x-weights-sha256"] == model.weights_sha256
    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["read", "decode", "treat", "encode", "queue", "infer", "total"]


def test_psnr_is_of_the_returned_pixels(service: Live) -> None:
    clean = np.tile(np.linspace(60, 180, 40).astype(np.uint8), (48, 1))
    answer = service.client.post("/v1/denoise", files={"image": png(), "reference": png_of(clean)}, data={"sigma": "25"})

    def psnr(image: NDArray[np.uint8]) -> float:
        return float(10 * np.log10(255**2 / np.mean((image.astype(float) - clean) ** 2)))

    assert float(answer.headers["x-psnr-noisy"]) == pytest.approx(psnr(pixels(png())), abs=1e-3)
    assert float(answer.headers["x-psnr-denoised"]) == pytest.approx(psnr(pixels(answer.content)), abs=1e-3)


def test_json_holds_the_same_image_and_figures(service: Live) -> None:
    image = service.denoise(png(), sigma=30)
    answer = service.client.post("/v1/denoise?sigma=30", content=png(), headers={"accept": "application/json"}).json()
    assert base64.b64decode(answer["image"]) == image.content
    assert answer["sigma"] == 30
    assert answer["media_type"] == "image/png"
    assert (answer["height"], answer["width"]) == (48, 40)
    assert answer["denoised"] is None
    assert answer["noise"] is None


def test_format_of_the_result_can_be_chosen(service: Live) -> None:
    for name in ("png", "jpeg", "webp", "avif", "tiff", "bmp"):
        answer = service.denoise(format=name)
        assert answer.headers["content-type"] == f"image/{name}"
        assert Image.open(io.BytesIO(answer.content)).format == name.upper()


def test_the_noise_is_found_out_unless_told(service: Live) -> None:
    answer = service.client.post("/v1/denoise", content=png(), headers={"accept": "application/json"})
    noise = answer.json()["noise"]
    assert float(answer.headers["x-sigma"]) == pytest.approx(noise["sigma"], rel=1e-3)
    assert float(answer.headers["x-sigma-confidence"]) == pytest.approx(noise["confidence"], abs=0.01)
    assert answer.headers.get("x-warnings", "") == ", ".join(each["code"] for each in noise["warnings"])


@pytest.mark.parametrize(
    ("data", "options", "status", "code"),
    [
        (b"", {}, 400, "bad-request"),
        (b"no image", {}, 415, "unsupported-format"),
        (png()[:-30], {}, 422, "undecodable-image"),
        (png(), {"sigma": 75.1}, 422, "sigma-out-of-range"),
        (png(), {"sigma": 75.0000001}, 422, "sigma-out-of-range"),
        (png(), {"sigma": -1}, 422, "invalid-parameter"),
        (png(), {"sigma": "nan"}, 422, "invalid-parameter"),
        (png(), {"model": "other"}, 422, "invalid-parameter"),
        (png(), {"unheard-of": 1}, 422, "invalid-parameter"),
        (png(400, 300), {}, 413, "too-many-pixels"),
        (bytes(300_000), {}, 413, "body-too-large"),
    ],
)
def test_bad_requests_are_answered_with_problems(
    service: Live, data: bytes, options: dict[str, object], status: int, code: str
) -> None:
    problem(service.denoise(data, **options), status, code)


def test_a_reference_of_another_size_is_refused(service: Live) -> None:
    files = {"image": png(), "reference": png(40, 48)}
    problem(service.client.post("/v1/denoise", files=files, data={"sigma": "25"}), 422, "reference-mismatch")


def test_the_framework_s_own_errors_are_problems(service: Live) -> None:
    problem(service.client.get("/nowhere"), 404, "not-found")
    answer = service.client.get("/v1/denoise")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    answer = service.client.post("/v1/denoise?sigma=5", content=png(), headers={"accept": "text/html"})
    problem(answer, 406, "not-acceptable")


def test_an_oversized_body_is_a_problem_with_and_without_its_length(service: Live) -> None:
    big = bytes(300_000)
    for content in (big, iter([big[:100_000]] * 3)):
        document = problem(service.client.post("/v1/denoise?sigma=5", content=content), 413, "body-too-large")
        assert document["limit_bytes"] == 256 * 1024


def test_errors_do_not_echo_the_input(service: Live) -> None:
    marker = "Zx9Secret"
    answers = [
        service.denoise(sigma=marker),
        service.client.post("/v1/denoise", content=png(), params={"name": marker}),
        service.client.post("/v1/denoise", content=png(), params={f"<{marker}>": 1}),
        service.denoise(marker.encode()),
        service.client.get(f"/{marker}"),
        service.client.post("/v1/denoise", files={"image": (marker, png())}, data={"sigma": "1", "name": marker}),
        service.client.post("/v1/denoise", files={f"<{marker}>": (marker, marker.encode())}),
        service.client.post("/v1/denoise", files={"image": png(), "file": (marker, marker.encode())}),
        service.client.get("/livez", headers={"x-request-id": marker + " <script>"}),
    ]
    for answer in answers:
        assert marker not in answer.text
        assert marker not in str(answer.headers)


def test_a_plain_request_id_is_kept(service: Live) -> None:
    assert service.client.get("/livez", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"


def part(disposition: bytes, data: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: form-data" + disposition + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\n",
        part(b'; name="image"', png()),  # cut short
        part(b"", b"x") + b"--b--\r\n",  # without a name
        part(b'; name="sigma"', b"5") + b"--b--\r\n",  # without an image
        part(b'; name="image"\r\n' + b"X: y\r\n" * 100 + b"X: y", png()) + b"--b--\r\n",
        part(b'; name="image"\r\nX: ' + b"y" * 5000, png()) + b"--b--\r\n",
        b"".join(part(b'; name="%d"' % i) for i in range(40)) + b"--b--",
        part(b'; name="sigma"', b"5" * 2000) + b"--b--\r\n",
        part(b'; name="sigma"', b"\xff") + part(b'; name="image"', png()) + b"--b--\r\n",
    ],
)
def test_broken_forms_are_bad_requests(service: Live, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    problem(service.client.post("/v1/denoise", content=body, headers=headers), 400, "bad-request")
    headers = {"content-type": "multipart/form-data"}
    problem(service.client.post("/v1/denoise", content=body, headers=headers), 400, "bad-request")


@pytest.mark.parametrize("name", ["reference", "mask"])
def test_an_empty_file_is_refused_but_one_that_was_not_chosen_is_not_there(service: Live, name: str) -> None:
    answer = service.client.post("/v1/denoise", files={"image": png(), name: (f"{name}.png", b"")})
    assert problem(answer, 400, "bad-request")["detail"] == f"The file {name} is empty."
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png()
    form += f'\r\n--b\r\nContent-Disposition: form-data; name="{name}"; filename=""\r\n\r\n\r\n--b--\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert service.client.post("/v1/denoise", content=form, headers=headers).status_code == 200


def test_an_option_given_twice_is_refused(service: Live) -> None:
    answer = service.client.post("/v1/denoise?sigma=5", files={"image": png()}, data={"sigma": "6"})
    problem(answer, 422, "invalid-parameter")


def test_models_and_info_describe_what_runs(service: Live) -> None:
    card = service.client.get("/v1/models").json()["models"][0]
    assert (card["name"], card["sigma_min"], card["sigma_max"]) == ("n3unet", 0, 75)
    info = service.client.get("/v1/info").json()
    assert (info["device"], info["dtype"]) == ("cpu", "float32")
    assert info["fallback_reason"] is None
    assert (info["limits"]["max_pixels"], info["limits"]["max_channels"]) == (100_000, 16)
    assert info["weights_sha256"] == card["weights_sha256"]


def test_health_and_metrics_answer(service: Live) -> None:
    assert service.client.get("/livez").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ok"}
    assert "denoise_ready 1.0" in service.client.get("/metrics").text


def test_openapi_documents_the_request(service: Live) -> None:
    document = service.client.get("/openapi.json").json()
    operation = document["paths"]["/v1/denoise"]["post"]
    assert {"multipart/form-data", "image/png"} <= operation["requestBody"]["content"].keys()
    assert {"sigma", "model", "format"} <= {parameter["name"] for parameter in operation["parameters"]}
    assert {"200", "413", "415", "422", "429", "503", "504"} <= operation["responses"].keys()


def test_the_default_weights_serve_a_better_picture() -> None:
    y, x = np.mgrid[0:96, 0:96]
    clean = (96 + 60 * np.sin(x / 9) * np.cos(y / 13) + 30 * (x > y)).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    with live(settings_for("default", dtype="auto")) as service:
        files = {"image": png_of(noisy), "reference": png_of(clean)}
        answer = service.client.post("/v1/denoise", files=files, data={"sigma": "25"})
    assert float(answer.headers["x-psnr-denoised"]) > float(answer.headers["x-psnr-noisy"]) + 8


def test_another_method_can_be_asked_for(service: Live) -> None:
    models = {card["name"]: card for card in service.client.get("/v1/models").json()["models"]}
    assert {"n3net", "n3unet", "photo", "dncnn", "nlm", "upscale"} == models.keys()
    assert models["nlm"]["weights_sha256"] is None
    answer = service.denoise(model="nlm")
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "nlm"
    assert "x-weights-sha256" not in answer.headers
    assert answer.content != service.denoise().content
    network = service.denoise(model="dncnn")
    assert network.headers["x-model"] == "dncnn"
    assert network.headers["x-weights-sha256"] == models["dncnn"]["weights_sha256"]
    assert network.content not in (answer.content, service.denoise().content)
    missing = service.denoise(model="magic")
    assert (missing.status_code, missing.json()["parameters"]) == (422, ["model"])
    assert service.denoise(model="nlm", sigma=0.5).json()["sigma_min"] == 1.0
