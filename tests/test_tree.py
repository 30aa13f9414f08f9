"""What the contracts of import-linter cannot say about the source tree."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

FOLDERS = ("models", "service", "clients", "tests", "studies", "benchmarks")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("module", ["models.inference.denoiser", "models.training.run", "service.api.app", "service.__main__"])
def test_importing_does_no_work(module: str) -> None:
    program = (
        "import sys, threading\n"
        f"import {module}\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert 'skimage' not in sys.modules and 'matplotlib' not in sys.modules\n"
        f"assert {module!r} != 'service.__main__' or 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "core", "manager"}


def test_models_read_no_environment_variables() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        assert "environ" not in path.read_text(encoding="utf-8"), path


def test_no_module_is_longer_than_300_lines() -> None:
    assert not [path for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 300]


def test_tests_import_no_tests() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("from tests.", "import tests.")):
                assert line.split()[1].startswith("tests.support"), (path, line)


def test_packages_stay_small_at_the_top() -> None:
    for package in ("service", "models"):
        assert len([path for path in (ROOT / package).iterdir() if path.is_file()]) <= 8
