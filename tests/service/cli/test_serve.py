"""The commands that serve and ask for health."""

import subprocess
import sys

from typer.testing import CliRunner

from service.__main__ import app


def test_the_command_line_imports_little_until_a_command_runs() -> None:
    code = "import sys, service.__main__; sys.exit(any(m in sys.modules for m in ('torch', 'fastapi', 'PIL', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_health_asks_the_running_service() -> None:
    result = CliRunner().invoke(app, ["health", "--port", "9", "--timeout-seconds", "1"])
    assert result.exit_code == 1
    assert "no response" in result.output
