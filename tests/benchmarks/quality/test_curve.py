"""The plot and the tables of a model card."""

from pathlib import Path

import pytest

from benchmarks.quality import curve
from models.weights.files import save_weights
from tests.support.image_folders import noise_pictures
from tests.support.markdown import cells
from tests.support.networks import random_weights


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return noise_pictures(tmp_path / "pictures")


def test_the_curve_is_drawn_and_weak_noise_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "CURVE", (5, 75))
    weights = random_weights(1)
    path = tmp_path / "random.safetensors"
    save_weights(path, weights.config, weights.state, weights.sigma_range, {})
    curve.main([str(pictures), "--weights", str(path), "--plot", str(tmp_path / "curve.svg")])
    lines = [cells(line) for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["sigma given", "0", "0.5", "1", "sigma", "3", "5"]
    assert all(float(line[1]) > 0 for line in lines[1:4])
    assert all(float(line[1]) <= float(line[2]) for line in lines[5:])
    assert "<svg" in (tmp_path / "curve.svg").read_text()
