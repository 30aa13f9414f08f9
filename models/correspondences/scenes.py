"""Random scenes seen by two calibrated cameras, and the putative matches that a matcher would find in their pictures.

The points of a scene come in groups, as the corners of real pictures do. The points of some groups lie on planes, those of others
at any depth. Wrong matches are of two kinds: random ones, and those of repeated structures. In the latter, all points of a group
are matched with the same points one period further, such as the next window of a façade. They agree with each other, but not
with the motion of the cameras, or only by chance.

Letters: B pairs of views, N matches, M candidate points, G groups.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.correspondences.geometry import epipolar_distances, essential_matrix, homogeneous

ASPECT = 0.75
"""Height of the pictures as a share of their width."""
HALF_WIDTH = 320.0
"""Half the width of the pictures in pixels."""
NEAREST = 0.05
"""Smallest depth of a visible point; the groups lie around depth 1."""


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """How scenes and their matches are drawn. Ranges are drawn from uniformly, except where noted.

    Attributes:
        matches: Number of matches of a pair, N.
        outlier_share: Range of the share of wrong matches.
        repeated_share: Range of the share of repeated structures among the wrong matches.
        noise: Range of the standard deviation of the positions in both pictures, in pixels.
        groups: Number of groups of points.
        planes: Number of planes that groups can lie on.
    """

    matches: int = 128
    outlier_share: tuple[float, float] = (0.5, 0.9)
    repeated_share: tuple[float, float] = (0.0, 0.6)
    noise: tuple[float, float] = (0.3, 1.2)
    groups: int = 8
    planes: int = 4


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of views with their matches.

    Attributes:
        matches: (x1, y1, x2, y2) in calibrated coordinates, (B, N, 4), in random order.
        correct: Whether a match was drawn as the same point in both views, (B, N). A wrong match may lie on its epipolar line.
        rotation: R from the frame of the first camera to that of the second, (B, 3, 3).
        translation: t, of length 1, (B, 3).
        pixel: Size of a pixel in calibrated coordinates, (B,).
    """

    matches: Tensor
    correct: Tensor
    rotation: Tensor
    translation: Tensor
    pixel: Tensor

    @property
    def essential(self) -> Tensor:
        """The essential matrices, (B, 3, 3), with Frobenius norm 1."""
        return essential_matrix(self.rotation, self.translation)

    def each(self) -> "Iterator[Pairs]":
        """Yield the pairs one by one, with B = 1."""
        for index in range(len(self.matches)):
            one = slice(index, index + 1)
            yield Pairs(self.matches[one], self.correct[one], self.rotation[one], self.translation[one], self.pixel[one])

    def inliers(self, pixels: float) -> Tensor:
        """Tell which matches are within a number of pixels from their epipolar lines, (B, N)."""
        return epipolar_distances(self.matches, self.essential) < pixels * self.pixel[:, None]


def draw_pairs(options: SceneOptions, count: int, generator: torch.Generator) -> Pairs:
    """Draw pairs of views.

    Half of the pairs are like indoor pictures: points at very different depths, and a short baseline in any direction. The others
    are like outdoor pictures: less depth, and a longer baseline, mostly sideways.

    Args:
        options: What to draw.
        count: Number of pairs, B.
        generator: The source of all random numbers.
    """
    draw = _Draw(count, generator)
    number, groups = options.matches, options.groups
    field = torch.tensor((1.0, ASPECT)) / draw.between((1.0, 2.2))[:, None, None]  # half the picture, (B, 1, 2)
    pixel = field[:, 0, 0] / HALF_WIDTH
    indoor = draw.uniform() < 0.5

    # Four times as many points as needed: not every one is visible in both pictures.
    group = (draw.uniform(4 * number) * groups).long()
    centers, widths = draw.between((-0.95, 0.95), groups, 2), draw.between((0.03, 0.2), groups, 1)
    first = (_pick(centers, group) + _pick(widths, group) * draw.normal(4 * number, 2)) * field
    rays = homogeneous(first)
    points = rays * _depths(options, draw, rays, homogeneous(centers * field), group, indoor)[..., None]
    rotation, translation = _motion(draw, points, indoor)
    inside = (first.abs() < field).all(-1)
    for _ in range(3):  # another motion, where too few points are visible in both pictures
        enough = (_projected(points, rotation, translation, field)[1] & inside).sum(1) >= number // 2
        others = _motion(draw, points, indoor)
        rotation = torch.where(enough[:, None, None], rotation, others[0])
        translation = torch.where(enough[:, None], translation, others[1])
    second, visible = _projected(points, rotation, translation, field)
    visible &= inside

    period = draw.direction(groups) * torch.tensor((1.0, 1.0, 0.3)) * draw.between((0.05, 0.5), groups, 1)
    repeated, repeats = _projected(points + _pick(period, group), rotation, translation, field)
    repeats &= visible & (draw.uniform(groups) < 0.4).gather(1, group)

    # Every match is first drawn as a random one: of two different points, or of a point and any place in the second picture.
    anywhere = draw.between((-1.0, 1.0), number, 2) * field
    start = _pick(first, draw.some(visible, number)).clamp(-field, field)
    end = torch.where(draw.uniform(number, 1) < 0.5, _pick(second, draw.some(visible, number)).clamp(-field, field), anywhere)
    wrong = (draw.between(options.outlier_share) * number).round()
    from_repeats = (wrong * draw.between(options.repeated_share)).round()
    place = torch.arange(number)
    chosen = draw.some(repeats, number)
    is_repeat = (place < from_repeats[:, None]) & repeats.gather(1, chosen)
    start = torch.where(is_repeat[..., None], _pick(first, chosen), start)
    end = torch.where(is_repeat[..., None], _pick(repeated, chosen), end)
    chosen = draw.some(visible, number)
    correct = (place >= wrong[:, None]) & visible.gather(1, chosen)
    start = torch.where(correct[..., None], _pick(first, chosen), start)
    end = torch.where(correct[..., None], _pick(second, chosen), end)

    noise = (draw.between(options.noise) * pixel)[:, None, None] * draw.normal(number, 4)
    order = draw.uniform(number).argsort(1)
    matches = _pick(torch.cat((start, end), -1) + noise, order)
    return Pairs(matches, correct.gather(1, order), rotation, functional.normalize(translation, dim=-1), pixel)


class _Draw:
    """Draws random numbers for each of B pairs."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, generator=self.generator)

    def between(self, bounds: tuple[float, float], *shape: int) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * self.uniform(*shape)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)

    def direction(self, *shape: int) -> Tensor:
        return functional.normalize(self.normal(*shape, 3), dim=-1)

    def some(self, wanted: Tensor, number: int) -> Tensor:
        """Return the indices, (B, number), of random entries that are wanted, (B, M), followed by others if there are too few."""
        return (self.uniform(wanted.shape[1]) + ~wanted).argsort(1)[:, :number]


def _pick(values: Tensor, indices: Tensor) -> Tensor:
    """Return the values, (B, M, D), at indices (B, N): (B, N, D)."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))


def _depths(options: SceneOptions, draw: _Draw, rays: Tensor, centers: Tensor, group: Tensor, indoor: Tensor) -> Tensor:
    """Return the depth of each point, (B, M): on the plane of its group, or anywhere if its group has none.

    Args:
        options: What to draw.
        draw: The random numbers.
        rays: (x, y, 1) of each point, (B, M, 3).
        centers: (x, y, 1) of the center of each group, (B, G, 3).
        group: The group of each point, (B, M).
        indoor: Which pairs have very different depths, (B,).
    """
    reach = torch.where(indoor, 1.0, 0.4)[:, None]  # largest logarithm of a depth
    plane_depth = (reach * draw.between((-1.0, 1.0), options.planes)).exp()
    normal = functional.normalize(0.6 * draw.normal(options.planes, 3) - torch.tensor((0.0, 0.0, 1.0)), dim=-1)
    anchor = centers[:, : options.planes]  # each plane cuts the ray of one group at the depth of the plane
    plane = (draw.uniform(options.groups) * options.planes).long()
    offset = plane_depth * (normal * anchor).sum(-1)
    of_point = plane.gather(1, group)
    towards = (_pick(normal, of_point) * rays).sum(-1).clamp(max=-0.1)
    depth = (offset.gather(1, of_point) / towards).clamp(0.2, 5.0)
    anywhere = (reach * draw.between((-1.0, 1.0), group.shape[1])).exp()
    return torch.where((draw.uniform(options.groups) < 0.3).gather(1, group), anywhere, depth)


def _motion(draw: _Draw, points: Tensor, indoor: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotations, (B, 3, 3), and translations, (B, 3), to a second camera that sees a good part of the points."""
    target = points.median(1).values
    distance = target.norm(dim=-1, keepdim=True)
    sideways = torch.where(indoor[:, None], torch.ones(3), torch.tensor((1.0, 0.25, 0.35)))
    length = torch.where(indoor, draw.between((0.05, 0.4)), draw.between((0.15, 0.8)))[:, None]
    center = functional.normalize(draw.normal(3) * sideways, dim=-1) * length * distance
    # The camera looks somewhere between straight ahead and the middle of the scene, with an error.
    towards = functional.normalize(target - center, dim=-1)
    share = draw.uniform(1)
    ahead = share * towards + (1 - share) * torch.tensor((0.0, 0.0, 1.0)) + 0.08 * draw.normal(3)
    roll = math.radians(8) * draw.normal()
    down = torch.stack((roll.sin(), roll.cos(), torch.zeros_like(roll)), -1)
    z = functional.normalize(ahead, dim=-1)
    x = functional.normalize(torch.linalg.cross(down, z), dim=-1)
    rotation = torch.stack((x, torch.linalg.cross(z, x), z), -2)
    return rotation, -(rotation @ center[..., None]).squeeze(-1)


def _projected(points: Tensor, rotation: Tensor, translation: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """Return points (B, M, 3) in the second picture, (B, M, 2), and whether they lie in it, (B, M)."""
    seen = points @ rotation.mT + translation[:, None]
    depth = seen[..., 2:]
    projected = seen[..., :2] / depth.clamp_min(NEAREST)
    return projected, (depth[..., 0] > NEAREST) & (projected.abs() < field).all(-1)
