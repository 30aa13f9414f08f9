"""Many files on a Ray cluster of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.__main__ import app
from tests.support.live import png

pytest.importorskip("ray", reason="needs the extra ray: pip install -e '.[ray]'")

from service.cli import ray_files
from service.cli.denoiser import DenoiserOptions
from service.cli.ray_files import OutcomeRow, SourceRow, Worker
from service.denoising.job import OutputOptions
from service.denoising.pipeline import DenoisingOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good pictures, one of them deeper down, a bad one, and a file that is no picture by its name."""
    root = tmp_path / "in"
    (root / "deeper").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "deeper/c.png")):
        (root / name).write_bytes(png(seed=seed))
    (root / "cut.png").write_bytes(png()[:40])
    (root / "notes.txt").write_text("nothing to see")
    return root


def options(weights: Path) -> DenoiserOptions:
    return DenoiserOptions(
        "n3unet",
        str(weights),
        "cpu",
        "float32",
        None,
        DenoisingOptions(25.0),
        OutputOptions(),
        gray_stays_gray=False,
        mask=None,
        photons=None,
    )


def row(source: Path, relative: str) -> SourceRow:
    return SourceRow(source=str(source), relative=relative)


def test_a_worker_skips_what_is_done_unless_it_is_forced(folder: Path, weights: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "out", row(folder / "deeper" / "c.png", "deeper/c.png")
    worker = Worker(str(out), options(weights), force=False)
    first, second = worker(source), worker(source)
    assert first == OutcomeRow(
        source=source["source"], target=str(out / "deeper" / "c.png"), skipped=False, notes="sigma 25.0", problem=""
    )
    assert second["skipped"]
    assert not Worker(str(out), options(weights), force=True)(source)["skipped"]
    assert [path.name for path in (out / "deeper").iterdir()] == ["c.png"]  # and nothing half written


def test_a_worker_reports_what_it_cannot_denoise(folder: Path, weights: Path, tmp_path: Path) -> None:
    worker = Worker(str(tmp_path / "out"), options(weights), force=False)
    assert worker(row(folder / "cut.png", "cut.png"))["problem"]
    assert "No such file" in worker(row(folder / "gone.png", "gone.png"))["problem"]


def test_a_worker_reads_and_writes_what_fsspec_can(weights: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/in/a.png", "wb") as file:
        file.write(png())
    found = list(ray_files._find_sources(["memory://bucket/in"], "memory://bucket/in/out"))
    assert found == [SourceRow(source="memory:///bucket/in/a.png", relative="a.png")]
    worker = Worker("memory://bucket/in/out", options(weights), force=False)
    assert not worker(found[0])["problem"]
    assert worker(found[0])["skipped"]
    assert list(ray_files._find_sources(["memory://bucket/in"], "memory://bucket/in/out")) == found


def test_two_sources_with_one_result_are_a_problem() -> None:
    rows = [OutcomeRow(source=name, target="out/a.png", skipped=False, notes="", problem="") for name in ("1/a.png", "2/a.png")]
    first, second = ray_files._distinct(iter(rows))
    assert not first["problem"]
    assert second["problem"] == "two sources would be written to one file"


def test_a_url_keeps_its_slashes() -> None:
    assert ray_files._location(Path("s3://bucket/folder")) == "s3://bucket/folder"
    assert ray_files._location(Path("/a/b")) == "/a/b"
    assert ray_files._location(Path("a/b")) == "a/b"


@pytest.mark.parametrize("arguments", [["-", "-o", "-"], ["a.png", "-o", "b.png"]])
def test_streams_and_single_files_are_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["denoise", *arguments, "--ray", "local"])
    assert done.exit_code == 2
    assert "--ray takes files and folders" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.slow
def test_a_folder_is_denoised_on_ray_and_resumed(folder: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run() -> subprocess.CompletedProcess[str]:
        arguments = [
            str(folder),
            "-o",
            str(out),
            "--sigma",
            "25",
            "--weights",
            str(weights),
            "--ray",
            "local",
            "--ray-cores",
            "2",
        ]
        environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "service", "denoise", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    first = run()
    assert first.returncode == 1, first.stderr
    assert "3 of 4 done, 0 of them before" in first.stderr
    assert first.stderr.count(f"FAILED {folder / 'cut.png'}") == 2  # when it happened, and at the end
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert {path.relative_to(out).as_posix() for path in before} == {"a.png", "b.png", "deeper/c.png"}
    (out / "b.png").unlink()
    second = run()
    assert "3 of 4 done, 2 of them before" in second.stderr
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert after.keys() == before.keys()
    assert {path.name for path in after if after[path] != before[path]} == {"b.png"}
