"""Each alert fires when it should, and not otherwise."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.binaries import binary
from tests.support.paths import ROOT

CASES = Path(__file__).parent / "alerts.promtool.yml"
RULES = ROOT / "docker" / "alerts.yml"


def alerts() -> set[str]:
    return {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary("promtool"), *words], capture_output=True, text=True, check=False)


def test_the_cases_hold() -> None:
    done = promtool("test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases: list[dict[str, Any]] = [
        case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts()
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts()


def test_the_configuration_is_valid() -> None:
    done = promtool("check", "config", ROOT / "docker" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout + done.stderr
