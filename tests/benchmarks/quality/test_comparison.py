"""The comparison with other denoisers runs from end to end on tiny images, and its figures are right."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks.provenance import RESULTS
from benchmarks.quality import comparison
from benchmarks.quality.comparison_report import (
    CONDITIONS,
    EVERY_SIZE,
    GPU,
    Measurement,
    Results,
    Size,
    convolution_flops,
    ratios,
)
from benchmarks.quality.methods import picture
from models.networks.n3net import N3Net, N3NetConfig
from models.networks.n3unet import N3UNetConfig


def test_one_command_writes_table_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "QUICK_SIZES", ((48, 64),))
    comparison.main(["--quick", "--methods", "scikit-image total variation", "--out", str(tmp_path)])
    text = (tmp_path / "comparison.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| scikit-image total variation")]
    assert [row[2].strip() for row in rows] == ["64 x 48"]
    assert all(float(row[3]) > 22 and float(row[4]) >= 0 and float(row[7]) > 20 for row in rows)
    assert "Commit:" in text
    assert "<svg" in (tmp_path / "comparison.svg").read_text()


def test_what_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        comparison,
        "child",
        lambda _, height, width: json.dumps({"seconds": height * width, "core_seconds": 1, "psnr": 30, "idle": 1, "peak": 2}),
    )
    sizes = ((1, 2), (2, 2), (2, 3))
    results = comparison.measure(["bm3d", *EVERY_SIZE], sizes, limit=5)
    assert [isinstance(entry, Measurement) for entry in results["bm3d"].values()] == [True, True, False]
    assert results["bm3d"][2, 3] == "over 5 s"
    assert all(isinstance(entry, Measurement) for name in EVERY_SIZE for entry in results[name].values())


def test_a_method_that_is_not_installed_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(*_: object) -> str:
        raise subprocess.CalledProcessError(1, "x", stderr="ModuleNotFoundError: No module named 'bm3d'")

    monkeypatch.setattr(comparison, "child", child)
    assert list(comparison.measure(["bm3d"], ((1, 2), (2, 2)), limit=5)["bm3d"].values()) == ["not installed"]


def test_ratios_compare_with_the_bounds() -> None:
    def results(factor: float) -> Results:
        entry = Measurement(factor, factor, 30.0, 1, 1 << 30)
        ours: dict[Size, Measurement | str] = {
            (512, 512): entry,
            (1024, 1024): entry,
            (4000, 6000): Measurement(factor * 23, factor * 23, 30.0, 1, 3 << 30),
        }
        return {"n3net bfloat16": ours, "DnCNN-17 bfloat16": {(512, 512): Measurement(1.0, 1.0, None, 1, 1)}}

    assert [line.split("|")[4].strip() for line in ratios(results(1.9))[2:]] == ["yes", "yes", "yes", "yes", "yes", "no"]
    assert ratios(results(2.1))[2].split("|")[4].strip() == "no"
    assert ratios({}) == []


def test_convolutions_are_counted_as_the_network_has_them() -> None:
    config = N3NetConfig()
    weights = sum(module.weight.numel() for module in N3Net(config).modules() if isinstance(module, torch.nn.Conv2d))
    assert convolution_flops(config) == 2 * weights
    assert 0.4e6 < convolution_flops(N3UNetConfig()) < 0.45e6


def test_pictures_have_the_size_asked_for() -> None:
    for size in ((100, 700), (512, 512), (1100, 30)):
        image = picture(*size)
        assert image.shape == size
        assert 0 <= image.min() < image.max() <= 1


def test_the_committed_page_has_the_words_of_its_generator() -> None:
    page = (RESULTS / "comparison.md").read_text()
    assert CONDITIONS.format(limit=comparison.LIMIT) in page
    assert page.endswith(f"{GPU}\n")
