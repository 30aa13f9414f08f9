"""`n3denoise denoise` with the formats of cameras."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from service.__main__ import app
from tests.support.heif_files import heic
from tests.support.picture_table import levels, pil


def denoise(*arguments: object) -> Result:
    """Run the command with the fastest model."""
    return CliRunner().invoke(app, ["denoise", *map(str, arguments), "--model", "nlm", "--sigma", "20"])


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def kind(path: Path) -> str | None:
    return Image.open(io.BytesIO(path.read_bytes())).format


def test_a_folder_of_heic_and_avif_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.heic", "b.HIF", "c.heif"):
        saved(tmp_path / "in" / name, heic(levels(64, 72, 3)))
    saved(tmp_path / "in" / "d.avif", pil(levels(64, 72, 3), "avif"))
    saved(tmp_path / "in" / "e.heic", heic(np.dstack([levels(64, 72, 3), levels(64, 72)])))
    done = denoise(tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    kinds = {path.name: kind(path) for path in (tmp_path / "out").iterdir()}
    assert kinds == {"a.jpg": "JPEG", "b.jpg": "JPEG", "c.jpg": "JPEG", "d.avif": "AVIF", "e.png": "PNG"}


def test_heic_cannot_be_the_result(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.heic", heic(levels(64, 72, 3)))
    for arguments in (("-o", tmp_path / "b.heic"), ("-o", tmp_path / "out", "--format", "heic")):
        done = denoise(source, *arguments)
        assert done.exit_code == 2
        assert "png" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.heic"]
    assert denoise(source, "-o", tmp_path / "b.avif").exit_code == 0
    assert kind(tmp_path / "b.avif") == "AVIF"


def test_a_conversion_is_said_in_the_line_of_the_file(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.jpg", pil(levels(64, 72, 3), "jpeg", "CMYK"))
    done = denoise(source, "-o", tmp_path / "out")
    assert done.exit_code == 0
    assert "guessed-cmyk" in done.output
