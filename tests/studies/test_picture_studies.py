"""The scripts behind the decisions on color and noise run, and print a row for each noise level."""

from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from studies import color, noise_level


@pytest.mark.parametrize("study", [color, noise_level])
def test_the_study_prints_its_table(
    study: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(data.astronaut()[:64, 160:224]).save(tmp_path / "one.png")
    (tmp_path / "names.txt").write_text("one")
    arguments = ["study", str(tmp_path), "--only", str(tmp_path / "names.txt"), "--sigma", "25", "--side", "32"]
    monkeypatch.setattr("sys.argv", arguments)
    study.main()  # type: ignore[attr-defined]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 images")
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells[0] == "25"
    assert all(cells[1:])
    assert len(cells) == lines[1].count("|") - 1
