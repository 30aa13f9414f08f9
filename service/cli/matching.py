"""Match two picture files, and describe or draw what was found."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.atomic_write import atomic_write
from models.correspondences.detection import Detector, putative_matches
from models.correspondences.drawing import draw_matches
from models.correspondences.estimation import Intrinsics, MatchClassifier, TwoViews
from service.errors import ServiceError
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Format, Picture


@dataclass(frozen=True, slots=True)
class MatchingOptions:
    """How two pictures are matched.

    Attributes:
        detector: How points are found, see `models.correspondences.detection`.
        ratio: Largest distance of a match as a share of that of the second best.
        focal: Focal lengths of both pictures in pixels; None if they are not known.
        center: Principal points of both pictures, (x, y) in pixels; None for the middle.
    """

    detector: Detector = "sift"
    ratio: float = 0.9
    focal: tuple[float | None, float | None] = (None, None)
    center: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)


@dataclass(frozen=True, slots=True)
class MatchedPictures:
    """What was found.

    Attributes:
        matches: (x1, y1, x2, y2) in pixels, (N, 4).
        views: The geometry of the two views.
        cameras: The cameras that were assumed.
        calibrated: Whether the focal lengths were given, not guessed.
        weights: Name and SHA-256 of the weights of the network.
    """

    matches: NDArray[np.float32]
    views: TwoViews
    cameras: tuple[Intrinsics, Intrinsics]
    calibrated: bool
    weights: tuple[str, str]


def read_picture(path: Path) -> Picture:
    """Read a picture file.

    Raises:
        OSError: If it cannot be read.
        ServiceError: If it cannot be decoded. The message names the file.
    """
    try:
        return codec.decode(path.read_bytes(), DecodeLimits())
    except ServiceError as error:
        raise type(error)(f"{path}: {error}") from error


def match_pictures(first: Picture, second: Picture, classifier: MatchClassifier, options: MatchingOptions) -> MatchedPictures:
    """Match two pictures.

    Raises:
        TooFewMatchesError: If too few of their points match.
    """
    cameras = [
        _camera(picture, focal, center)
        for picture, focal, center in zip((first, second), options.focal, options.center, strict=True)
    ]
    matches = putative_matches(_gray(first), _gray(second), options.detector, options.ratio)
    views = classifier.two_views(torch.from_numpy(matches), *cameras)
    weights = classifier.weights
    calibrated = options.focal[0] is not None
    return MatchedPictures(matches, views, (cameras[0], cameras[1]), calibrated, (weights.name, weights.sha256))


def describe(found: MatchedPictures) -> bytes:
    """Return what was found as JSON, see docs/correspondences.md.

    The essential matrix and the motion are left out if the focal lengths are only a guess. The fundamental matrix needs none.
    """
    views = found.views
    content: dict[str, Any] = {
        "weights": dict(zip(("name", "sha256"), found.weights, strict=True)),
        "cameras": [{"focal": each.focal, "x": each.x, "y": each.y, "guessed": not found.calibrated} for each in found.cameras],
        "fundamental_matrix": views.fundamental.tolist(),
    }
    if found.calibrated:
        motion = {"rotation": views.rotation.tolist(), "translation": views.translation.tolist()}
        content |= {"essential_matrix": views.essential.tolist(), **motion}
    content["inliers"] = int(views.inliers.sum())
    content["matches"] = [
        {"first": _rounded(match[:2]), "second": _rounded(match[2:]), "probability": round(probability, 4), "inlier": inlier}
        for match, probability, inlier in zip(
            found.matches.tolist(), views.probabilities.tolist(), views.inliers.tolist(), strict=True
        )
    ]
    return (json.dumps(content) + "\n").encode()


def draw(first: Picture, second: Picture, found: MatchedPictures, file_format: Format) -> bytes:
    """Return a picture file in which each match is a line between the two pictures, colored by its probability.

    Raises:
        InvalidParameter: If the format cannot hold a picture of this size.
    """
    drawn = draw_matches(_rgb(first), _rgb(second), found.matches, found.views.probabilities.numpy())
    codec.check_size(file_format, drawn.shape[2], drawn.shape[1])
    return codec.encode(Picture(drawn, rgb=True, format=file_format))


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders that it needs.

    Raises:
        OSError: If that fails; an existing file then stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        part.write_bytes(content)


def _camera(picture: Picture, focal: float | None, center: tuple[float, float] | None) -> Intrinsics:
    guess = Intrinsics.guess(picture.width, picture.height)
    x, y = center or (guess.x, guess.y)
    return Intrinsics(focal or guess.focal, x, y)


def _gray(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(codec.to_gray(picture).planes.mean(0).clip(0, 1), np.float32)


def _rgb(picture: Picture) -> NDArray[np.float32]:
    planes = picture.planes if picture.rgb else picture.planes.mean(0, keepdims=True)
    return np.broadcast_to(planes.clip(0, 1), (3, *planes.shape[1:]))


def _rounded(place: list[float]) -> list[float]:
    return [round(each, 2) for each in place]
