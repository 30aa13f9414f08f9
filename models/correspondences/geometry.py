"""The geometry of two calibrated views (Hartley & Zisserman, "Multiple View Geometry", chapters 9 and 11).

A point X in the frame of the first camera is R X + t in that of the second. A match (x1, y1, x2, y2) holds its two pictures in
calibrated coordinates: those of the image plane at distance 1. A correct match satisfies p2^T E p1 = 0 with p = (x, y, 1) and
the essential matrix E = [t]_x R.

Letters: B pairs of views, N matches of a pair.
"""

import torch
from torch import Tensor

TINY = 1e-12
"""Lower bound of denominators that can be zero."""
SMALLEST_GAP = 1e-7
"""Lower bound of the gap between eigenvalues, as a share of their sum, by which a gradient is divided."""


def cross_matrix(vectors: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) that turn w into the cross product v x w, for vectors v, (..., 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1)
    return rows.view(*vectors.shape[:-1], 3, 3)


def essential_matrix(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return E = [t]_x R, (B, 3, 3), with Frobenius norm 1, of rotations (B, 3, 3) and translations (B, 3)."""
    return unit(cross_matrix(translation) @ rotation)


def unit(matrices: Tensor) -> Tensor:
    """Scale matrices (..., 3, 3) to Frobenius norm 1."""
    scaled: Tensor = matrices / matrices.flatten(-2).norm(dim=-1).clamp_min(TINY)[..., None, None]
    return scaled


def homogeneous(points: Tensor) -> Tensor:
    """Append a coordinate 1 to points: (..., 2) to (..., 3)."""
    return torch.cat((points, torch.ones_like(points[..., :1])), -1)


def epipolar_distances(matches: Tensor, matrices: Tensor) -> Tensor:
    """Return how far the points of matches are from their epipolar lines.

    Args:
        matches: (B, N, 4).
        matrices: Essential or fundamental matrices, (B, 3, 3), at any scale.

    Returns:
        (B, N), in the unit of the coordinates: the root mean square of the distances in the two views.
    """
    first, second = homogeneous(matches[..., :2]), homogeneous(matches[..., 2:])
    second_lines, first_lines = first @ matrices.mT, second @ matrices  # lines in the second view and in the first
    products = (second * second_lines).sum(-1).square()
    inverses = [1 / lines[..., :2].square().sum(-1).clamp_min(TINY) for lines in (first_lines, second_lines)]
    return (products * (inverses[0] + inverses[1]) / 2).sqrt()


def eight_point(matches: Tensor, weights: Tensor) -> Tensor:
    """Estimate essential or fundamental matrices by the weighted eight-point algorithm.

    Among all matrices of norm 1, the algorithm takes the one with the smallest weighted sum of (p2^T F p1)^2. Before that, the
    points of each view are moved and scaled (Hartley 1997), by their weighted mean and spread. The result is differentiable.

    Args:
        matches: (B, N, 4), calibrated for an essential matrix, or in pixels for a fundamental one. At least eight matches have
            a positive weight.
        weights: (B, N), not negative.

    Returns:
        (B, 3, 3), with Frobenius norm 1, in the dtype of the matches. The rank may be 3; see `with_essential_form`.
    """
    shares = (weights / weights.sum(-1, keepdim=True).clamp_min(TINY)).double()
    points, transforms = [], []
    for view in matches.double().split(2, -1):
        center = (shares[..., None] * view).sum(-2, keepdim=True)
        spread = (shares * (view - center).square().sum(-1)).sum(-1).clamp_min(TINY).sqrt()
        scale = (2**0.5 / spread)[..., None, None]
        points.append(homogeneous((view - center) * scale))
        zero, one = torch.zeros_like(scale), torch.ones_like(scale)
        shift = -center.mT * scale  # (B, 2, 1)
        top = torch.cat((scale * torch.eye(2, dtype=scale.dtype, device=scale.device), shift), -1)
        transforms.append(torch.cat((top, torch.cat((zero, zero, one), -1)), -2))
    rows = (points[1][..., :, None] * points[0][..., None, :]).flatten(-2)  # (B, N, 9)
    moments = rows.mT @ (rows * shares[..., None])
    normalized = smallest_eigenvector(moments).unflatten(-1, (3, 3))
    return unit(transforms[1].mT @ normalized @ transforms[0]).to(matches.dtype)


def smallest_eigenvector(matrices: Tensor) -> Tensor:
    """Return the unit eigenvectors (B, D) of the smallest eigenvalues of symmetric matrices (B, D, D), up to their sign.

    The gradient of `torch.linalg.eigh` is not finite if any two eigenvalues are equal. This one needs only the gap between the
    smallest eigenvalue and the others, which has a lower bound.
    """
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(matrices)
        smallest, others = vectors[..., 0], vectors[..., 1:]
        gaps = values[..., 1:] - values[..., :1]
        least = SMALLEST_GAP * values.sum(-1, keepdim=True).clamp_min(TINY)
        inverse = (others / gaps.maximum(least)[..., None, :]) @ others.mT
    # This term is zero, because the other eigenvectors are orthogonal to A v. Its gradient is that of the eigenvector:
    # dv = -(A - l)^+ dA v.
    product = inverse @ (matrices @ smallest[..., None])
    found: Tensor = smallest - product.squeeze(-1)
    return found


def with_essential_form(matrices: Tensor) -> Tensor:
    """Return the nearest essential matrices, (B, 3, 3): those with singular values s, s and 0, with Frobenius norm 1."""
    left, _, right = torch.linalg.svd(matrices)
    nearest: Tensor = (left * matrices.new_tensor((0.5**0.5, 0.5**0.5, 0.0))) @ right
    return nearest


def recover_pose(matrices: Tensor, matches: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pose that an essential matrix stands for.

    Of the four possible poses, this is the one that puts the most weight of matches in front of both cameras.

    Args:
        matrices: (B, 3, 3), essential at least approximately.
        matches: (B, N, 4).
        weights: (B, N), not negative.

    Returns:
        The rotations R, (B, 3, 3), and the translations t, (B, 3), of length 1.
    """
    left, _, right = torch.linalg.svd(matrices)
    left = left * torch.linalg.det(left)[..., None, None]
    right = right * torch.linalg.det(right)[..., None, None]
    turn = matrices.new_tensor(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    rotations = torch.stack([left @ each @ right for each in (turn, turn.mT, turn, turn.mT)], -3)  # (B, 4, 3, 3)
    direction = left[..., 2]
    translations = torch.stack((direction, direction, -direction, -direction), -2)  # (B, 4, 3)
    in_front = (depths(matches[..., None, :, :], rotations, translations) > 0).all(-1)  # (B, 4, N)
    best = (in_front * weights[..., None, :]).sum(-1).argmax(-1)
    pairs = torch.arange(len(best), device=best.device)
    return rotations[pairs, best], translations[pairs, best]


def depths(matches: Tensor, rotations: Tensor, translations: Tensor) -> Tensor:
    """Return the depths of the points of matches in both views, (..., N, 2), in the unit of the translations.

    Each depth is the least-squares solution of z2 p2 = z1 R p1 + t when the other one is eliminated.

    Args:
        matches: (..., N, 4).
        rotations: (..., 3, 3).
        translations: (..., 3).
    """
    turned = homogeneous(matches[..., :2]) @ rotations.mT
    second = homogeneous(matches[..., 2:])
    shift = translations[..., None, :]
    normal = torch.linalg.cross(second, turned)
    square = normal.square().sum(-1).clamp_min(TINY)
    first_depth = -(torch.linalg.cross(second, shift) * normal).sum(-1) / square
    second_depth = -(torch.linalg.cross(turned, shift) * normal).sum(-1) / square
    return torch.stack((first_depth, second_depth), -1)
