"""The dashboard and the alerts ask for metrics and labels that the service exports, and a real Prometheus answers all of it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving.monitoring import dashboard_queries
from benchmarks.serving.prometheus import prometheus, wait_until
from tests.support.binaries import binary
from tests.support.live import PATIENCE, Live, live, png, settings_for
from tests.support.paths import ROOT

DOCKER = ROOT / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "n3denoise.json").read_text())
ALERTS = [rule["expr"] for group in yaml.safe_load((DOCKER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
TARGET_LABELS = {"job", "instance", "namespace"}
"""Labels that Prometheus adds to whatever it scrapes."""


def busy(service: Live) -> None:
    """Cause all kinds of events that the metrics count and that a healthy device has."""
    assert service.denoise().status_code == 200
    assert service.denoise(sigma="auto").status_code == 200
    assert service.denoise(png(120, 100)).status_code == 429, "too many bytes at a time"
    assert service.denoise(b"no picture").status_code == 415


def exported(service: Live) -> dict[str, set[str]]:
    """Return the names of all samples of /metrics and their labels."""
    found: dict[str, set[str]] = defaultdict(set, {"up": set()})
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] |= sample.labels.keys()
    return found


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """Return the metrics that a query selects, each with the labels that it names."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: Any) -> bool:
        vector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(vector, promql_parser.VectorSelector):
            assert vector.name
            found.append((vector.name, {matcher.name for matcher in vector.matchers.matchers}))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """Return the labels by which a query groups."""
    found: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            found.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def test_the_metrics_and_labels_in_every_query_exist(weights: Path) -> None:
    with live(settings_for(weights, max_uploads_mib=0.01)) as service:
        busy(service)
        known = exported(service)
    for query in [*dashboard_queries(), *ALERTS]:
        named = selectors(query)
        assert named, query
        for metric, labels in named:
            assert metric in known, query
            assert labels <= known[metric] | TARGET_LABELS, query
            assert grouped(query) <= known[metric] | TARGET_LABELS, query
            assert "job" in labels, f"other programs have metrics of this name: {query}"


def test_a_real_prometheus_scrapes_the_service_and_answers_every_query(weights: Path) -> None:
    program = binary("prometheus")
    with live(settings_for(weights, max_uploads_mib=0.01)) as service:
        busy(service)
        with prometheus(program, f"127.0.0.1:{service.port}", "200ms") as monitor:
            count = 'sum(denoise_rejections_total{job="n3denoise",reason="uploads-full"})'
            assert monitor.query(count)[0]["value"][1] == "1"
            for query in dashboard_queries():
                monitor.query(query)

            def evaluated() -> bool:
                rules = [rule for group in monitor.get("/rules")["groups"] for rule in group["rules"]]
                return len(rules) == len(ALERTS) and all(rule["health"] == "ok" for rule in rules)

            wait_until(evaluated, PATIENCE, every=0.1)


def test_panels_have_distinct_ids_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_panels_use_the_chosen_data_source(panel: dict[str, Any]) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    for part in (panel, *panel.get("targets", [])) if panel["type"] != "row" else ():
        assert part["datasource"] == {"type": variable["query"], "uid": f"${{{variable['name']}}}"}
