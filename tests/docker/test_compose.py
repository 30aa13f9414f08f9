"""The files for Docker Compose, as far as they can be tested without a container engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.paths import ROOT

DOCKER = ROOT / "docker"


def services(name: str = "compose.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())["services"]
    return found


def mounts(name: str) -> dict[str, Path]:
    """Return the files of this repository that a service sees, by their path in the container."""
    pairs = [volume.split(":") for volume in services()[name]["volumes"]]
    assert all(mode == "ro" for _, _, mode in pairs)
    return {target: DOCKER / source for source, target, _ in pairs}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_use_settings_that_exist(name: str) -> None:
    environment = services(name)["n3denoise"].get("environment", {})
    Settings.model_validate({key.removeprefix("N3DENOISE_").lower(): value for key, value in environment.items()})
    assert all(key.removeprefix("N3DENOISE_").lower() in Settings.model_fields for key in environment)


def test_the_container_may_take_longer_to_stop_than_the_grace_period() -> None:
    period = services()["n3denoise"]["stop_grace_period"]
    assert int(period.removesuffix("s")) > Settings().grace_seconds


def test_other_images_and_digests_can_be_chosen() -> None:
    assert services()["n3denoise"]["build"]["args"] == ["BASE_IMAGE", "TORCH_INDEX_URL"], "no value: from the environment, if set"
    for name, image in (("prometheus", "prom/prometheus:v"), ("grafana", "grafana/grafana:")):
        assert re.fullmatch(rf"\$\{{{name.upper()}_IMAGE:-{image}\d+\.\d+\.\d+\}}", services()[name]["image"])


def test_prometheus_finds_the_service_and_the_alerts() -> None:
    files = mounts("prometheus")
    configuration = yaml.safe_load(files["/etc/prometheus/prometheus.yml"].read_text())
    (rules,) = configuration["rule_files"]
    assert files[f"/etc/prometheus/{rules}"].exists()
    (job,) = configuration["scrape_configs"]
    assert (job["job_name"], job["static_configs"]) == ("n3denoise", [{"targets": [f"n3denoise:{Settings().port}"]}])


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    assert services()["grafana"]["profiles"] == services()["prometheus"]["profiles"] == ["monitoring"]
    files = mounts("grafana")
    provisioning = "/etc/grafana/provisioning"
    (source,) = yaml.safe_load(files[f"{provisioning}/datasources/n3denoise.yml"].read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load(files[f"{provisioning}/dashboards/n3denoise.yml"].read_text())["providers"]
    assert files[f"{provider['options']['path']}/n3denoise.json"].exists()
