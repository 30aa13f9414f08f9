"""The operations manual names every setting, metric, alert and exit code there is, and none that is not."""

import re
from pathlib import Path

import yaml

from service import server
from service.settings import Settings
from service.telemetry import Metrics

ROOT = Path(__file__).parent.parent
MANUAL = (ROOT / "docs" / "operations.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """First cell → other cells of the table under a heading."""
    section = MANUAL.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in table}


def test_every_setting_is_there_with_its_default() -> None:
    documented = rows("Settings")
    names = {name.upper() if name == "web_concurrency" else f"N3DENOISE_{name.upper()}" for name in Settings.model_fields}
    assert documented.keys() == names
    for name, field in Settings.model_fields.items():
        default = documented.get(f"N3DENOISE_{name.upper()}", documented.get(name.upper(), [""]))[0]
        if field.default not in (None, ()):
            assert default == (str(field.default).lower() if isinstance(field.default, bool) else str(field.default)), name


def test_every_metric_is_there() -> None:
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()}
    assert rows("Metrics").keys() == names


def test_every_alert_is_there() -> None:
    rules = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"][0]["rules"]
    assert rows("Alerts").keys() == {rule["alert"] for rule in rules}


def test_every_exit_code_is_there() -> None:
    codes = set(re.findall(r"^\| (\d) \|", MANUAL, re.MULTILINE))
    assert codes == {"0", "2", str(server.EXIT_FORCED), str(server.EXIT_LOST)}
