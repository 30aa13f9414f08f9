"""Tests of the curve of the loss."""

from pathlib import Path

import pytest

from benchmarks.training.loss_curve import main, read_runs, smoothed


def run(folder: Path, losses: list[float]) -> Path:
    folder.mkdir()
    lines = [f"{index},{50 * index},20,{loss},0,1,0" for index, loss in enumerate(losses, 1)]
    (folder / "scalars.csv").write_text("\n".join(["step,seconds,crops_per_second,loss,gradient_norm,rate,skipped", *lines]))
    return folder


def test_runs_follow_each_other(tmp_path: Path) -> None:
    folders = [run(tmp_path / "first", [4, 3]), run(tmp_path / "second", [2, 1])]
    rows = read_runs(folders)
    assert rows == [(1, 4), (2, 3), (3, 2), (4, 1)]
    assert smoothed(rows, 2) == [pytest.approx((1.5, 3.5)), pytest.approx((2.5, 2.5)), pytest.approx((3.5, 1.5))]
    main([*map(str, folders), "--plot", str(tmp_path / "curve.svg")])
    assert (tmp_path / "curve.svg").read_text().count("<path") > 1
