"""The Helm chart: its objects are valid and fit the service, and broken values are refused with a clear message."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.api.app import create_app
from service.engine.engine import Engine
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.support.binaries import binary
from tests.support.live import settings_for
from tests.support.paths import ROOT

CHART = ROOT / "docker" / "helm" / "n3denoise"
EXAMPLES = {"default": (), **{path.stem: ("-f", str(path)) for path in sorted((CHART / "examples").glob("*.yaml"))}}
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Kinds that operators define, whose schemas are not those of Kubernetes."""
OLDEST, NEWEST = "1.29", "1.37"
HIDDEN = {"/metrics", "/livez", "/readyz"}

Objects = dict[tuple[str, str], dict[str, Any]]


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary("helm"), *words], capture_output=True, text=True, check=False, cwd=ROOT)


def render(*words: str) -> Objects:
    """Return the objects that a release named "denoise" consists of, by kind and name."""
    done = helm("template", "denoise", str(CHART), "--namespace", "pictures", *words)
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def container(objects: Objects) -> dict[str, Any]:
    (first,) = objects["Deployment", "denoise-n3denoise"]["spec"]["template"]["spec"]["containers"]
    return dict(first)


def environment(objects: Objects) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(objects)["env"]}


def test_the_chart_has_the_version_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_object_is_valid(name: str) -> None:
    done = helm("lint", "--strict", "--quiet", str(CHART), *EXAMPLES[name])
    assert done.returncode == 0, done.stdout + done.stderr
    for (kind, _), each in render(*EXAMPLES[name]).items():
        if kind not in CUSTOM:
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_have_no_privileges_and_selectors_find_them(name: str) -> None:
    objects = render(*EXAMPLES[name])
    for (kind, _), each in objects.items():
        if kind in ("Deployment", "StatefulSet"):
            template = each["spec"]["template"]
            pod = template["spec"]
            assert each["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            assert pod["automountServiceAccountToken"] is False
            assert pod["enableServiceLinks"] is False, "a Service named n3denoise would set N3DENOISE_PORT to tcp://…"
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for one in pod["containers"]:
                assert one["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }
    labels = objects["Deployment", "denoise-n3denoise"]["spec"]["template"]["metadata"]["labels"].items()
    service = objects["Service", "denoise-n3denoise"]
    assert service["spec"]["selector"].items() <= labels
    assert service["spec"]["ports"][0]["targetPort"] == container(objects)["ports"][0]["name"]
    assert container(objects)["ports"][0]["containerPort"] == Settings().port
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        spec = objects[kind, "denoise-n3denoise"]["spec"]
        assert (spec.get("selector") or spec["podSelector"])["matchLabels"].items() <= labels


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_service_accepts_its_environment(name: str) -> None:
    objects = render(*EXAMPLES[name])
    given = {key.removeprefix("N3DENOISE_").lower(): value for key, value in environment(objects).items()}
    assert given.keys() <= Settings.model_fields.keys()
    settings = Settings.model_validate(given)
    pod = objects["Deployment", "denoise-n3denoise"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.drain_delay_seconds + settings.grace_seconds
    assert {container(objects)[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")} == {"/readyz"}
    assert container(objects)["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_values_repeat_the_defaults_of_the_service_with_two_exceptions() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    changed = {name for name, value in values.items() if Settings.model_fields[name].default != value}
    assert changed == {"device", "drain_delay_seconds"}


def test_the_schema_has_the_settings_of_the_service(tmp_path: Path) -> None:
    before = (CHART / "values.schema.json").read_bytes()
    copy = tmp_path / "n3denoise" / "values.schema.json"
    copy.parent.mkdir()
    copy.write_bytes(before)
    script = tmp_path / "settings_schema.py"
    script.write_bytes((CHART.parent / "settings_schema.py").read_bytes())
    subprocess.run([sys.executable, script], check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert copy.read_bytes() == before, "run `make chart`"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("replicas=0", "replicas"),
        ("replica=3", "replica"),
        ("settings.max_body_mib=-1", "max_body_mib"),
        ("settings.max_body_mb=1", "max_body_mb"),
        ("settings.device=tpu", "device"),
        ("image.digest=latest", "digest"),
        ("resources.limits.memory=lots", "memory"),
        ("ingress.enabled=true", "host"),
        ("keda.minReplicas=0", "minReplicas"),
        ("keda.prometheusUrl=prometheus:9090", "prometheusUrl"),
        ("redis.storage=lots", "storage"),
        ("gpu.enabled=maybe", "gpu"),
        ("environment.N3DENOISE_DEVICE=cpu", "environment"),
    ],
)
def test_a_broken_value_is_refused_by_name(value: str, message: str) -> None:
    done = helm("template", "denoise", str(CHART), "--set", value)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert message in done.stderr


def test_the_readme_has_every_value() -> None:
    def paths(values: dict[str, Any], above: str = "") -> set[str]:
        nested = ("image", "gpu", "service", "ingress", "podDisruptionBudget", "networkPolicy", "keda", "monitoring", "redis")
        found: set[str] = set()
        for name, value in values.items():
            found |= paths(value, f"{name}.") if not above and name in nested else {above + name}
        return found

    rows = re.findall(r"^\| (`.+?`) \|", (CHART / "README.md").read_text(), re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert documented == paths(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_gpu_values() -> None:
    objects = render(*EXAMPLES["gpu"])
    assert container(objects)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert environment(objects)["N3DENOISE_REQUIRE_GPU"] == "true"
    assert environment(objects)["N3DENOISE_DEVICE"] == "cuda"
    spec = objects["Deployment", "denoise-n3denoise"]["spec"]
    assert spec["template"]["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["template"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_further_environment_variables_reach_the_service() -> None:
    objects = render("--set", "environment.OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318")
    assert environment(objects)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


def test_keda_values() -> None:
    objects = render(*EXAMPLES["keda"])
    deployment = objects["Deployment", "denoise-n3denoise"]
    assert "replicas" not in deployment["spec"], "helm upgrade would undo what the autoscaler did"
    scaled = objects["ScaledObject", "denoise-n3denoise"]
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    spec = scaled["spec"]
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 20)
    (trigger,) = spec["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert trigger["metadata"]["threshold"] == "10"
    pods = '{namespace="pictures",service="denoise-n3denoise"}'
    assert trigger["metadata"]["query"] == f"sum(denoise_queue_pixels{pods}) / avg(denoise_pixels_per_second{pods} > 0)"

    monitor = objects["ServiceMonitor", "denoise-n3denoise"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = objects["Service", "denoise-n3denoise"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "n3denoise"}]
    assert endpoint["path"] in HIDDEN


def test_the_autoscaler_sees_the_seconds_of_work_that_wait(tmp_path: Path) -> None:
    (trigger,) = render(*EXAMPLES["keda"])["ScaledObject", "denoise-n3denoise"]["spec"]["triggers"]
    ours, others = 'namespace="pictures",service="denoise-n3denoise"', 'namespace="pictures",service="other"'
    series = {
        f'denoise_queue_pixels{{{ours},pod="busy"}}': 4_000_000,
        f'denoise_pixels_per_second{{{ours},pod="busy"}}': 100_000,
        f'denoise_queue_pixels{{{ours},pod="starting"}}': 0,
        f'denoise_pixels_per_second{{{ours},pod="starting"}}': 0,
        f"denoise_queue_pixels{{{others}}}": 9_000_000,
        f"denoise_pixels_per_second{{{others}}}": 900_000,
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": str(value)} for name, value in series.items()],
        "promql_expr_test": [
            {"expr": trigger["metadata"]["query"], "eval_time": "0m", "exp_samples": [{"labels": "{}", "value": 40}]}
        ],
    }
    path = tmp_path / "query.yml"
    path.write_text(yaml.safe_dump({"tests": [case]}))
    done = subprocess.run([binary("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_dashboard_are_those_of_the_folder_above() -> None:
    objects = render(*EXAMPLES["keda"])
    rule = objects["PrometheusRule", "denoise-n3denoise"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())
    dashboard = objects["ConfigMap", "denoise-n3denoise-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["n3denoise.json"]) == json.loads(
        (ROOT / "docker" / "grafana" / "n3denoise.json").read_text()
    )


def test_redis_values() -> None:
    objects = render(*EXAMPLES["redis"])
    assert environment(objects)["N3DENOISE_JOBS_URL"] == "redis://denoise-n3denoise-redis:6379/0"
    assert container(objects)["envFrom"] == [{"secretRef": {"name": "n3denoise"}}]
    redis = objects["StatefulSet", "denoise-n3denoise-redis"]["spec"]
    assert "--maxmemory 1280mb --maxmemory-policy noeviction" in redis["template"]["spec"]["containers"][0]["args"][0]
    (claim,) = redis["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"
    labels = redis["template"]["metadata"]["labels"].items()
    service = objects["Service", "denoise-n3denoise-redis"]["spec"]
    assert service["selector"].items() <= labels
    guard = objects["NetworkPolicy", "denoise-n3denoise-redis"]["spec"]
    assert guard["podSelector"]["matchLabels"].items() <= labels
    pods = objects["Deployment", "denoise-n3denoise"]["spec"]["template"]["metadata"]["labels"].items()
    assert guard["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= pods
    assert not guard["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= labels
    ways = objects["NetworkPolicy", "denoise-n3denoise"]["spec"]["egress"]
    assert [way["to"][0]["podSelector"]["matchLabels"].items() <= labels for way in ways if "to" in way] == [True]


def test_by_default_pods_may_call_nobody() -> None:
    assert render()["NetworkPolicy", "denoise-n3denoise"]["spec"]["egress"] == []


def test_the_ingress_has_the_limits_and_all_routes_but_those_for_operators(weights: Path) -> None:
    ingress = render(*EXAMPLES["redis"])["Ingress", "denoise-n3denoise"]
    notes = ingress["metadata"]["annotations"]
    assert {value for name, value in notes.items() if "body-size" in name} == {"64m"}
    assert notes["nginx.org/proxy-read-timeout"] == "315s"
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    exact = {path["path"] for path in paths if path["pathType"] == "Exact"}
    prefixes = tuple(path["path"] + "/" for path in paths if path["pathType"] == "Prefix")
    settings = settings_for(weights)
    page = {"/", "/web/page.js", "/docs", "/openapi.json"}
    routes = page | create_app(settings, Engine(settings, Metrics())).openapi()["paths"].keys()
    reachable = {route for route in routes if route in exact or route.startswith(prefixes)}
    assert routes - reachable == HIDDEN
