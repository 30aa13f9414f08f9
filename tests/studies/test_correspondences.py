"""The study of correspondences: its parts are right, and the script runs."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.correspondences.geometry import recover_pose
from models.correspondences.scenes import Pairs, SceneOptions, draw_pairs
from models.correspondences.scores import pose_errors
from studies import correspondences, motorcycle
from studies.ransac import NOTHING, opencv_usac, scikit_image_ransac
from studies.report import PAGES

Method = Callable[[Pairs], tuple[Tensor, Tensor]]


@pytest.mark.parametrize("method", [scikit_image_ransac, opencv_usac])
def test_methods_without_a_network_find_poses(method: Method) -> None:
    if method is opencv_usac:
        pytest.importorskip("cv2")
    options = SceneOptions(matches=80, outlier_share=(0.25, 0.25), repeated_share=(0, 0), noise=(0.1, 0.1))
    errors = []
    for pair in draw_pairs(options, 5, torch.Generator().manual_seed(0)).each():
        matrix, agreeing = method(pair)
        assert agreeing.shape == (1, 80)
        pose = recover_pose(matrix, pair.matches.double(), agreeing)
        errors.append(pose_errors(*pose, pair.rotation.double(), pair.translation.double()).item())
    assert np.median(errors) < 3


def test_a_score_is_kept(tmp_path: Path) -> None:
    pairs = draw_pairs(SceneOptions(noise=(0, 0)), 3, torch.Generator().manual_seed(0))

    def know(pair: Pairs) -> tuple[Tensor, Tensor]:
        found.append(pair)
        return pair.essential.double() if len(found) < 3 else NOTHING, pair.correct.double()

    found: list[Pairs] = []
    score = correspondences.score(pairs, know, tmp_path / "known.pt")
    assert (score.errors[:2] < 0.01).all()
    assert score.errors[2] == torch.inf
    again = correspondences.score(pairs, know, tmp_path / "known.pt")
    assert torch.equal(again.errors, score.errors)
    assert len(found) == 3


def test_matches_are_compared_with_the_disparity() -> None:
    disparity = np.full((10, 20), 4, np.float32)
    disparity[:, 15:] = np.nan
    matches = np.array([[8, 5, 4.5, 5], [8, 5, 1, 5], [8, 5, 4, 8], [16, 2, 12, 2]], np.float32)
    known, correct = motorcycle.compare(matches, disparity)
    assert known.tolist() == [True, True, True, False]
    assert correct[known].tolist() == [True, False, False]


@pytest.mark.slow
def test_the_script_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["correspondences", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--quick"]
    monkeypatch.setattr(sys, "argv", arguments)
    correspondences.main()
    drawn = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"correspondences.md", "correspondences-curve.svg", "correspondences-motorcycle.png"} == drawn
    assert drawn <= {path.name for path in PAGES.iterdir()}
    page = (tmp_path / "out" / "correspondences.md").read_text()
    assert "network with N3, samples" in page
    assert page.count("(") > 10  # figures of several seeds
