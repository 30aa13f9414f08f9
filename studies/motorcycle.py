"""The matches of a real stereo pair that comes with scikit-image, for the study of correspondences.

The pair is "Motorcycle" of the Middlebury 2014 benchmark. The cameras are calibrated, the second one looks in the same direction
from the right of the first one, and the disparity is known nearly everywhere.
"""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.correspondences.detection import Detector, putative_matches
from models.correspondences.drawing import draw_matches
from models.correspondences.estimation import Intrinsics, MatchClassifier
from models.correspondences.scores import pose_errors
from models.images.color import GRAY_WEIGHTS
from studies.report import Report

FOCAL, CENTER, SHIFTED_CENTER = 994.978, (311.193, 254.877), (342.279, 254.877)
"""The calibration of the reduced pictures, from the documentation of scikit-image."""
EXACT = 2.0
"""Largest distance in pixels between a correct match and the position that the disparity gives."""
COLORS = 128
"""Colors of the drawn picture, a palette that keeps the file small."""


def run(report: Report, detector: Detector, ratio: float) -> None:
    """Match the pair with the shipped weights, fill the table and draw the picture."""
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    matches = putative_matches(gray(left), gray(right), detector, ratio)
    cameras = Intrinsics(FOCAL, *CENTER), Intrinsics(FOCAL, *SHIFTED_CENTER)
    views = MatchClassifier.load().two_views(torch.from_numpy(matches), *cameras)
    error = pose_errors(
        views.rotation[None],
        views.translation[None],
        torch.eye(3, dtype=torch.float64)[None],
        torch.tensor(((-1.0, 0, 0),), dtype=torch.float64),
    )
    known, correct = compare(matches, disparity)
    groups = {
        "putative": np.ones(len(matches), bool),
        "probability below 0.5": (views.probabilities < 0.5).numpy(),
        "probability of at least 0.5": (views.probabilities >= 0.5).numpy(),
        "inliers of the estimate": views.inliers.numpy(),
    }
    rows = [
        [name, str(group.sum()), f"{100 * correct[group & known].mean():.1f}" if (group & known).any() else "-"]
        for name, group in groups.items()
    ]
    report.table("motorcycle", ("matches", "number", "correct, %"), [*rows, ["error of the pose", "", f"{error.item():.1f}°"]])
    drawn = draw_matches(planes(left), planes(right), matches, views.probabilities.numpy())
    save(report.out / "correspondences-motorcycle.png", drawn)


def planes(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return an 8-bit picture, (H, W, 3), as planes (3, H, W) in [0, 1]."""
    return np.asarray(picture.transpose(2, 0, 1) / 255, np.float32)


def gray(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return an 8-bit picture, (H, W, 3), as gray, (H, W) in [0, 1]."""
    return np.asarray(picture @ GRAY_WEIGHTS / 255, np.float32)


def compare(matches: NDArray[np.float32], disparity: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for which matches the disparity is known, (N,), and which of them it confirms, (N,)."""
    columns, rows = np.rint(matches[:, :2]).astype(int).T
    shift = disparity[rows.clip(0, disparity.shape[0] - 1), columns.clip(0, disparity.shape[1] - 1)]
    apart = np.hypot(matches[:, 0] - shift - matches[:, 2], matches[:, 1] - matches[:, 3])
    return np.isfinite(shift), apart < EXACT


def save(path: Path, drawn: NDArray[np.float32]) -> None:
    """Write a picture, (3, H, W), as a PNG file with few colors."""
    picture = Image.fromarray(np.rint(drawn.transpose(1, 2, 0) * 255).astype(np.uint8))
    file = io.BytesIO()
    picture.quantize(COLORS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    path.write_bytes(file.getvalue())
