"""Robust estimation without a network, to compare with: RANSAC of scikit-image, and USAC of OpenCV if it is installed.

Both take a single pair of views and return an essential matrix, (1, 3, 3), and which matches agree with it, (1, N).
"""

import numpy as np
import torch
from torch import Tensor

from models.correspondences.scenes import Pairs

THRESHOLD = 2.0
"""Largest distance of a match that agrees with a matrix, in pixels."""
TRIALS = 1000
"""Largest number of samples."""
CONFIDENCE = 0.999
NOTHING = torch.full((1, 3, 3), torch.nan, dtype=torch.float64)
"""The matrix of a method that finds none."""


def scikit_image_ransac(pair: Pairs) -> tuple[Tensor, Tensor]:
    """Estimate by RANSAC (Fischler & Bolles 1981) with the eight-point algorithm."""
    from skimage.measure import ransac
    from skimage.transform import EssentialMatrixTransform

    matches = pair.matches[0].double().numpy()
    try:
        model, agreeing = ransac(
            (matches[:, :2], matches[:, 2:]),
            EssentialMatrixTransform,
            min_samples=8,
            residual_threshold=THRESHOLD * pair.pixel.item(),
            max_trials=TRIALS,
            stop_probability=CONFIDENCE,
            rng=0,
        )
    except ValueError:  # fewer than eight matches agree with the best estimate
        model, agreeing = None, None
    if model is None:
        return NOTHING, torch.ones(1, len(matches), dtype=torch.float64)
    return torch.from_numpy(np.asarray(model.params))[None], torch.from_numpy(agreeing)[None].double()


def opencv_usac(pair: Pairs) -> tuple[Tensor, Tensor]:
    """Estimate by OpenCV's USAC framework (Raguram et al. 2013) with its most exact settings, from five points.

    Raises:
        ModuleNotFoundError: If OpenCV is not installed; the extra `bench` has it.
    """
    import cv2

    matches = pair.matches[0].double().numpy()
    matrix, agreeing = cv2.findEssentialMat(
        np.ascontiguousarray(matches[:, :2]),
        np.ascontiguousarray(matches[:, 2:]),
        np.eye(3),
        method=cv2.USAC_ACCURATE,
        prob=CONFIDENCE,
        threshold=THRESHOLD * pair.pixel.item(),
        maxIters=TRIALS,
    )
    if matrix is None or matrix.shape != (3, 3):
        return NOTHING, torch.ones(1, len(matches), dtype=torch.float64)
    return torch.from_numpy(matrix)[None], torch.from_numpy(agreeing[:, 0] > 0)[None].double()
