"""What imports what: the directions that lint rules cannot say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.name)
def test_models_know_nothing_of_the_service(path: Path) -> None:
    found = packages(path)
    assert not found & {"service", "fastapi", "starlette", "pydantic", "uvicorn", "typer"}
    assert "PIL" not in found or path.name == "data.py"
    assert "environ" not in path.read_text(encoding="utf-8")


SERVICE = sorted(path for path in (ROOT / "service").rglob("*.py"))


@pytest.mark.parametrize("path", SERVICE, ids=lambda path: str(path.relative_to(ROOT)))
def test_routes_and_edges_do_not_compute(path: Path) -> None:
    if path.parent.name == "routes" or path.name in ("middleware.py", "schemas.py", "errors.py", "telemetry.py", "settings.py"):
        assert not packages(path) & {"torch", "PIL", "tifffile", "imagecodecs"}


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
    names = {
        path.stem for folder in ("models", "service", "tests", "studies", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    }
    assert not names & {"utils", "helpers", "common", "core", "manager"}
