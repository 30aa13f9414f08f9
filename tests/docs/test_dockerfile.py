"""The container image, the compose files and the alerts, as far as they can be tested without a container engine."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.support.paths import ROOT


def instructions() -> list[tuple[str, str]]:
    """Return the (instruction, arguments) of the Dockerfile, without comments and with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def last(name: str) -> str:
    return [arguments for instruction, arguments in instructions() if instruction == name][-1]


def ignored(path: str) -> bool:
    """Tell whether .dockerignore excludes a path: the last rule that matches it or a folder above it decides."""
    out = False
    for rule in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = rule.removeprefix("!")
        parts = Path(path).parts
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if rule and not rule.startswith("#") and any(fnmatch(each, pattern) for each in above):
            out = not rule.startswith("!")
    return out


def test_what_is_copied_exists_and_is_in_the_context() -> None:
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert not ignored(source), source
    assert ignored("tests/support/live.py")
    assert ignored(".git")
    assert ignored("models/__pycache__/n3net.cpython-311.pyc")
    assert not ignored("models/weights/n3net.safetensors")


def test_the_process_gets_the_signals_and_has_no_rights() -> None:
    stages = [index for index, (name, _) in enumerate(instructions()) if name == "FROM"]
    assert len(stages) == 2
    assert all("slim" in arguments for name, arguments in instructions() if name == "FROM")
    assert json.loads(last("ENTRYPOINT")) == ["n3denoise"]
    assert json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    assert not last("USER").startswith(("root", "0"))
    assert [name for name, _ in instructions()].index("USER") > stages[-1]
    assert json.loads(last("HEALTHCHECK").split("CMD", 1)[1]) == ["n3denoise", "health"]


def test_another_build_of_torch_can_be_asked_for() -> None:
    assert ("ARG", 'TORCH_INDEX_URL=""') in instructions()
    (install,) = [arguments for name, arguments in instructions() if name == "RUN" and "TORCH_INDEX_URL" in arguments]
    assert '${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"}' in install


def test_arenas_are_bounded_and_settings_in_the_image_exist() -> None:
    environment = dict(pair.split("=", 1) for pair in last("ENV").split())
    assert environment["MALLOC_ARENA_MAX"] == "2"
    for name in environment:
        if name.startswith("N3DENOISE_"):
            assert name.removeprefix("N3DENOISE_").lower() in Settings.model_fields


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / "docker" / name).read_text())


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_use_settings_that_exist(name: str) -> None:
    environment = load(name)["services"]["n3denoise"].get("environment", {})
    Settings.model_validate({key.removeprefix("N3DENOISE_").lower(): value for key, value in environment.items()})
    assert all(key.removeprefix("N3DENOISE_").lower() in Settings.model_fields for key in environment)


def test_the_container_may_take_longer_to_stop_than_the_grace_period() -> None:
    period = load("compose.yaml")["services"]["n3denoise"]["stop_grace_period"]
    assert int(period.removesuffix("s")) > Settings().grace_seconds


def test_alerts_and_panels_ask_for_metrics_that_exist() -> None:
    known = {"up"}
    for metric in Metrics().registry.collect():
        known |= {metric.name, f"{metric.name}_total", f"{metric.name}_count", f"{metric.name}_bucket", f"{metric.name}_sum"}
    for rule in load("alerts.yml")["groups"][0]["rules"]:
        named = set(re.findall(r"\b(?:denoise|http|process)_\w+", rule["expr"])) - {"http_request_method"}
        assert named <= known, rule["alert"]
