"""Settings come from the environment, have units in their names, and are refused with a clear message if invalid."""

import hashlib
import inspect

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from models.methods import method_names
from models.weights.files import DEFAULT_NAME
from service.__main__ import app
from service.api.neighbor_schemas import NeighborOptions
from service.api.schemas import EvaluateOptions
from service.cli.evaluate import evaluate
from service.settings import DEFAULT_MODEL, Settings
from tests.support.paths import ROOT


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"key").hexdigest()
    monkeypatch.setenv("N3DENOISE_PORT", "9000")
    monkeypatch.setenv("N3DENOISE_MAX_MEGAPIXELS", "2.5")
    monkeypatch.setenv("N3DENOISE_API_KEY_HASHES", f"{digest}, {digest.upper()}")
    monkeypatch.setenv("N3DENOISE_CORS_ORIGINS", "https://a.example,https://b.example")
    settings = Settings()
    assert (settings.port, settings.max_pixels) == (9000, 2_500_000)
    assert settings.api_key_hashes == (digest, digest)
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_more_than_one_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with pytest.raises(ValidationError, match="run one process per device"):
        Settings()
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("api_key_hashes", "a-key-and-not-its-hash"),
        ("api_key_hashes", hashlib.sha256(b"").hexdigest().upper()),
        ("queue_requests", "0"),
        ("device", "tpu"),
        ("port", "x"),
    ],
)
def test_invalid_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"N3DENOISE_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()
    result = CliRunner().invoke(app, ["serve"])
    assert result.exit_code == 2
    assert name in result.output


def test_names_contain_the_unit_and_every_setting_is_described() -> None:
    units = ("_seconds", "_mib", "_kib", "_megapixels", "_requests", "_images", "_threads", "_fields", "_channels")
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float, int | None) and name not in ("port", "web_concurrency"):
            assert name.endswith(units), name
        assert field.description, name


def test_the_default_model_is_the_same_everywhere() -> None:
    assert DEFAULT_MODEL == DEFAULT_NAME == method_names()[0]
    for options in (EvaluateOptions, NeighborOptions):
        assert options.model_fields["model"].default == DEFAULT_MODEL
    assert inspect.signature(evaluate).parameters["model"].default == DEFAULT_MODEL
    page = ROOT / "service" / "web" / "scripts" / "models.js"
    assert f'DEFAULT_MODEL = "{DEFAULT_MODEL}";' in page.read_text(encoding="utf-8")
