"""Folders of files through the command line's batch, with a stand-in for the network, and once with the real one."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from models.model_info import ModelInfo
from service.__main__ import app
from service.cli.denoiser import FileDenoiser
from service.cli.files import Outcome, Progress, RunPass, Source, find_sources, process_files
from service.denoising.job import OutputOptions
from service.denoising.pipeline import DenoisingOptions, Pass
from service.imaging.picture import DecodeLimits, Format, Plane
from tests.support.passes import sigma_of

MODEL = ModelInfo("n3unet", "n3unet", "ab" * 32, {}, (0.0, 75.0), "cpu", "CPU", "float32", None)


def half_as_bright(each: Pass, progress: Progress) -> Plane:
    """Show that the network was here."""
    assert 0 < sigma_of(each) < 1
    progress(0.5)
    progress(1.0)
    return each.plane / np.float32(2)


def denoiser(
    sigma: float | None = 25, denoise: RunPass = half_as_bright, file_format: Format | None = None, ensemble: bool = False
) -> FileDenoiser:
    options = DenoisingOptions(sigma, ensemble=ensemble)
    return FileDenoiser(MODEL, denoise, options, OutputOptions(file_format), DecodeLimits())


def png(value: int = 100, size: tuple[int, int] = (6, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full(size, value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pictures, one of them deeper down, two bad ones, and a file that is no picture by its name."""
    root = tmp_path / "in"
    (root / "deeper" / "still").mkdir(parents=True)
    (root / "a.png").write_bytes(png())
    (root / "deeper" / "still" / "B.PNG").write_bytes(png(60))
    (root / "cut.png").write_bytes(png()[:40])
    (root / "empty.jpg").touch()
    (root / "notes.txt").write_text("nothing to see")
    return root


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(opened(path))


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def test_the_good_are_done_and_the_bad_are_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcomes = list(process_files(find_sources([folder], out), out, denoiser(), overwrite=False))
    assert [(str(each.source.relative), each.problem) for each in outcomes] == [
        ("a.png", ""),
        ("cut.png", "The file is damaged or truncated."),
        ("empty.jpg", "The file is empty."),
        ("deeper/still/B.PNG", ""),
    ]
    assert (pixels(out / "a.png") == 50).all()
    assert (pixels(out / "deeper/still/B.PNG") == 30).all(), "the tree is kept"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == ["a.png", "deeper/still/B.PNG"]


def test_nothing_is_overwritten_unless_told(folder: Path, tmp_path: Path) -> None:
    source = [Source(folder / "a.png", Path("a.png"))]
    (tmp_path / "a.png").write_bytes(b"precious")
    (outcome,) = process_files(source, tmp_path, denoiser(), overwrite=False)
    assert "exists" in outcome.problem
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    (outcome,) = process_files(source, tmp_path, denoiser(), overwrite=True)
    assert not outcome.problem
    assert (pixels(tmp_path / "a.png") == 50).all()


def test_two_sources_of_one_name_never_meet(folder: Path, tmp_path: Path) -> None:
    inputs = [folder / "a.png", folder / "deeper" / ".." / "a.png"]
    outcomes = list(process_files(find_sources(inputs, tmp_path), tmp_path, denoiser(), overwrite=True))
    assert [bool(each.problem) for each in outcomes] == [False, True]


def test_results_within_the_input_are_not_taken_for_input(folder: Path) -> None:
    out = folder / "out"
    first = list(process_files(find_sources([folder], out), out, denoiser(), overwrite=True))
    again = list(process_files(find_sources([folder], out), out, denoiser(), overwrite=True))
    assert len(first) == len(again) == 4


def test_the_suffix_follows_the_format(folder: Path, tmp_path: Path) -> None:
    to_jpeg = denoiser(file_format="jpeg")
    (outcome,) = process_files([Source(folder / "a.png", Path("a.png"))], tmp_path, to_jpeg, overwrite=False)
    assert outcome.target == tmp_path / "a.jpg"
    assert opened(tmp_path / "a.jpg").format == "JPEG"


def test_progress_of_a_file_rises_over_its_runs(folder: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    many = denoiser(ensemble=True)
    list(process_files([Source(folder / "a.png", Path("a.png"))], tmp_path, many, overwrite=False, progress=seen.append))
    assert seen == sorted(seen)
    assert len(seen) == 16
    assert seen[-1] == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    def outcomes() -> Iterator[Outcome]:
        return process_files(find_sources([tmp_path / "none.png"], tmp_path), tmp_path, denoiser(), overwrite=False)

    assert [each.problem for each in outcomes()] == ["No such file or directory"]


def test_the_command_does_a_folder_and_says_what_failed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["denoise", str(folder), "-o", str(out), "--sigma", "25"])
    assert result.exit_code == 1
    assert "2 of 4 done" in result.output
    assert "4/4" in result.output, "the progress over all"
    assert f"FAILED {folder / 'cut.png'}: The file is damaged or truncated." in result.output
    assert f"FAILED {folder / 'empty.jpg'}" in result.output
    assert np.allclose(pixels(out / "a.png"), 100, atol=6)
    assert "model=n3unet sigma=25 weights=sha256:" in opened(out / "a.png").info["Software"]


def test_the_command_reads_standard_input_and_writes_standard_output() -> None:
    result = CliRunner().invoke(app, ["denoise", "-", "-o", "-", "--sigma", "auto"], input=png(77, (24, 24)))
    assert result.exit_code == 0
    assert (np.asarray(Image.open(io.BytesIO(result.stdout_bytes))) == 77).all(), "clean, so left as it is"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{in}", "-o", "{in}", "--sigma", "-1"], 2, "--sigma"),
        (["{in}", "-o", "{in}", "--sigma", "nan"], 2, "--sigma"),
        (["{in}", "-o", "{in}", "--sigma", "200"], 2, "75"),
        (["{in}", "{in}", "-o", "-"], 2, "one input"),
        (["-", "-o", "{in}"], 2, "one input"),
        (["{empty}", "-o", "{in}", "--sigma", "25"], 1, "no image found"),
    ],
)
def test_mistakes_are_told(arguments: list[str], code: int, message: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    places = {"in": str(folder), "empty": str(tmp_path / "empty")}
    result = CliRunner().invoke(app, ["denoise", *(each.format(**places) for each in arguments)])
    assert result.exit_code == code
    assert message in result.output


def test_another_method_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(size=(24, 24)))
    command = ["denoise", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--sigma", "20"]
    done = CliRunner().invoke(app, [*command, "--model", "nlm"])
    assert done.exit_code == 0, done.output
    software = opened(tmp_path / "out" / "a.png").info["Software"]
    assert "model=nlm" in software
    assert "weights" not in software
    network = CliRunner().invoke(app, [*command, "--model", "dncnn", "--memory-budget", "64", "--force"])
    assert network.exit_code == 0, network.output
    software = opened(tmp_path / "out" / "a.png").info["Software"]
    assert "model=dncnn" in software
    assert "weights=sha256:" in software
    assert CliRunner().invoke(app, [*command, "--model", "magic", "--force"]).exit_code == 2


def test_a_memory_budget_that_is_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(size=(24, 24)))
    command = ["denoise", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--memory-budget", "64"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "the memory budget must be at least" in " ".join(result.output.split())
