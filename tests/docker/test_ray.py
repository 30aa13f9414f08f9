"""The files for Ray clusters fit the application, the settings and each other."""

import importlib
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.paths import ROOT

FOLDER = ROOT / "docker" / "ray"
SERVE: dict[str, Any] = yaml.safe_load((FOLDER / "serve.yaml").read_text())
SERVICE: dict[str, Any] = yaml.safe_load((FOLDER / "rayservice.yaml").read_text())["spec"]
CLUSTER = SERVICE["rayClusterConfig"]
WORKERS = CLUSTER["workerGroupSpecs"][0]


def test_both_files_deploy_the_same_application() -> None:
    assert yaml.safe_load(SERVICE["serveConfigV2"]) == SERVE


def test_the_settings_exist() -> None:
    Settings.model_validate(SERVE["applications"][0]["args"]["settings"])


def test_every_node_has_the_middleware_of_the_proxies() -> None:
    for template in (CLUSTER["headGroupSpec"]["template"], WORKERS["template"]):
        (container,) = template["spec"]["containers"]
        (variable,) = container["env"]
        assert variable["name"] == "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
        assert variable["value"] in (FOLDER / "serve.yaml").read_text()
        module, function = variable["value"].split(":")
        assert getattr(importlib.import_module(module), function)()


def test_a_worker_has_room_for_a_replica_and_time_to_stop() -> None:
    args = SERVE["applications"][0]["args"]
    spec = WORKERS["template"]["spec"]
    assert int(spec["containers"][0]["resources"]["limits"]["cpu"]) >= args["num_cpus"]
    assert WORKERS["maxReplicas"] == args["max_replicas"]
    assert spec["terminationGracePeriodSeconds"] >= Settings().grace_seconds + 15


def test_the_version_of_ray_is_the_one_that_is_installed_and_tested() -> None:
    assert f"\nray=={CLUSTER['rayVersion']}\n" in (ROOT / "requirements.lock").read_text()


def test_ray_serve_and_the_application_take_the_configuration() -> None:
    pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")
    from ray.serve.schema import ServeDeploySchema

    from service.ray.app import Arguments

    ServeDeploySchema.model_validate(SERVE)
    Arguments.model_validate(SERVE["applications"][0]["args"])


def test_the_manual_describes_every_argument() -> None:
    pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")
    from service.ray.app import Arguments

    manual = (ROOT / "docs" / "scaling.md").read_text()
    for name, field in Arguments.model_fields.items():
        default = "" if name == "settings" else f"{field.default} "
        assert f"| `{name}` | {default}| {field.description} |" in manual
