"""The operations manual names exactly the settings, metrics, alerts and exit codes that exist."""

import re

import yaml

from service.api import server
from service.errors import (
    DeviceLost,
    DeviceOutOfMemory,
    Draining,
    InternalError,
    NonFiniteResult,
    NotReady,
    QueueFull,
    UploadsFull,
    WouldMissDeadline,
)
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.support.manual import MANUAL, rows
from tests.support.paths import ROOT


def test_every_setting_is_there_with_its_default_and_description() -> None:
    documented = rows("Settings")
    names = {name.upper() if name == "web_concurrency" else f"N3DENOISE_{name.upper()}" for name in Settings.model_fields}
    assert documented.keys() == names
    for name, field in Settings.model_fields.items():
        default, meaning = documented.get(f"N3DENOISE_{name.upper()}") or documented[name.upper()]
        assert meaning == field.description, name
        if field.default not in (None, ()):
            assert default == (str(field.default).lower() if isinstance(field.default, bool) else str(field.default)), name


def test_every_metric_is_there_with_its_help_text() -> None:
    metrics = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: metric.documentation
        for metric in Metrics().registry.collect()
    }
    documented = rows("Metrics")
    assert documented.keys() == metrics.keys()
    for name, text in metrics.items():
        assert documented[name][1] == text or name.startswith("process_"), name  # the library words those


def test_every_alert_is_there() -> None:
    rules = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())["groups"][0]["rules"]
    assert rows("Alerts").keys() == {rule["alert"] for rule in rules}


def test_the_runbook_has_every_problem_and_its_symptoms() -> None:
    section = MANUAL.split("\n## Runbook\n", 1)[1]
    paragraphs = dict(re.findall(r"^\*\*(.+?)\.\*\* (.+?)(?:\n\n|\Z)", section, re.MULTILINE | re.DOTALL))
    symptoms = {
        "The device is lost": (f"`{DeviceLost.code}`", f"exit code {server.EXIT_LOST}"),
        "Out of memory on the device": (f"`{DeviceOutOfMemory.code}`", "half"),
        "A result is not finite": (f"`{NonFiniteResult.code}`",),
        "A computation fails": (f"`{InternalError.code}`",),
        "A computation hangs": ("`N3DENOISE_HANG_SECONDS`", "`/livez`"),
        "Overload": (f"`{QueueFull.code}`", f"`{WouldMissDeadline.code}`", f"`{UploadsFull.code}`"),
        "Draining": (f"`{Draining.code}`", "exit code 0", f"code {server.EXIT_FORCED}", "`N3DENOISE_GRACE_SECONDS`"),
        "It does not become ready": (f"`{NotReady.code}`", f"code {server.EXIT_LOST}"),
        "The CPU is used although there is a GPU": ("`X-Device-Fallback`", "`N3DENOISE_REQUIRE_GPU`"),
        "How much memory": ("`N3DENOISE_MEMORY_BUDGET_MIB`", "`N3DENOISE_QUEUE_MEGAPIXELS`"),
    }
    assert paragraphs.keys() == symptoms.keys()
    for problem, words in symptoms.items():
        for word in words:
            assert word in paragraphs[problem], (problem, word)
    named = set(re.findall(r"`N3DENOISE_\w+", section))
    assert named <= {f"`{name}" for name in rows("Settings")}


def test_every_exit_code_is_there() -> None:
    codes = set(re.findall(r"^\| (\d) \|", MANUAL, re.MULTILINE))
    assert codes == {"0", "2", str(server.EXIT_FORCED), str(server.EXIT_LOST)}
