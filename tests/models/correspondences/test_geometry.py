"""The geometry of two views: exact data give exact answers, and scikit-image agrees."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from skimage.transform import EssentialMatrixTransform, FundamentalMatrixTransform
from torch import Tensor

from models.correspondences.geometry import (
    depths,
    eight_point,
    epipolar_distances,
    essential_matrix,
    recover_pose,
    smallest_eigenvector,
    unit,
    with_essential_form,
)

PAIRS = 5


def exact_views(seed: int = 0, number: int = 30) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return matches, rotations, translations of length 1 and the depths in both views, in float64."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.from_rotvec(rng.normal(0, 0.2, (PAIRS, 3))).as_matrix()
    translation = rng.normal(size=(PAIRS, 3))
    translation /= np.linalg.norm(translation, axis=1, keepdims=True)
    points = rng.uniform((-2, -2, 4), (2, 2, 8), (PAIRS, number, 3))
    moved = np.einsum("bij,bnj->bni", rotation, points) + translation[:, None]
    matches = np.concatenate((points[..., :2] / points[..., 2:], moved[..., :2] / moved[..., 2:]), 2)
    far = np.stack((points[..., 2], moved[..., 2]), 2)
    return tuple(map(torch.from_numpy, (matches, rotation, translation, far)))  # type: ignore[return-value]


def same_up_to_sign(one: Tensor, other: Tensor, tolerance: float = 1e-8) -> bool:
    apart = torch.minimum((one - other).flatten(1).norm(dim=1), (one + other).flatten(1).norm(dim=1))
    return bool((apart < tolerance).all())


def test_exact_matches_give_the_essential_matrix_and_the_pose() -> None:
    matches, rotation, translation, far = exact_views()
    wrong = torch.rand(PAIRS, 20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.cat((torch.rand(PAIRS, 30, dtype=torch.float64) + 0.1, torch.zeros(PAIRS, 20)), 1)
    estimated = eight_point(torch.cat((matches, wrong), 1), weights)
    true = essential_matrix(rotation, translation)
    assert same_up_to_sign(estimated, true)
    assert epipolar_distances(matches, estimated).max() < 1e-9
    for sign in (-1, 1):
        found = recover_pose(sign * estimated, torch.cat((matches, wrong), 1), weights)
        torch.testing.assert_close(found[0], rotation)
        torch.testing.assert_close(found[1], translation)
    torch.testing.assert_close(depths(matches, rotation, translation), far)
    torch.testing.assert_close(with_essential_form(estimated), unit(estimated), atol=1e-7, rtol=0)


def test_scikit_image_estimates_the_same() -> None:
    matches, rotation, translation, _ = exact_views()
    noisy = matches + 0.002 * torch.randn(matches.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = eight_point(noisy, torch.ones(noisy.shape[:2]))
    for index, each in enumerate(noisy.numpy()):
        model = FundamentalMatrixTransform.from_estimate(each[:, :2], each[:, 2:])
        left, values, right = np.linalg.svd(ours[index].numpy())
        rank_two = torch.from_numpy(left * (values * (1, 1, 0)) @ right)
        # The library forces rank 2 before it undoes the normalization, so the agreement is not exact.
        assert same_up_to_sign(unit(rank_two[None]), unit(torch.from_numpy(model.params)[None]), 0.05)
        essential = EssentialMatrixTransform(rotation=rotation[index].numpy(), translation=translation[index].numpy())
        expected = unit(torch.from_numpy(np.asarray(essential.params))[None])
        assert same_up_to_sign(essential_matrix(rotation, translation)[index : index + 1], expected)


def test_distances_are_those_from_the_lines() -> None:
    matches, rotation, translation, _ = exact_views()
    noisy = matches + 0.05 * torch.randn(matches.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = epipolar_distances(noisy, 3 * essential_matrix(rotation, translation))
    e = np.cross(np.eye(3), translation[1].numpy()).T @ rotation[1].numpy()
    one, two = np.append(noisy[1, 4, :2], 1), np.append(noisy[1, 4, 2:], 1)
    lines = e @ one, e.T @ two
    apart = abs(two @ lines[0]) / math.hypot(*lines[0][:2]), abs(one @ lines[1]) / math.hypot(*lines[1][:2])
    assert found[1, 4].item() == pytest.approx(math.sqrt((apart[0] ** 2 + apart[1] ** 2) / 2))


def test_pixels_give_the_fundamental_matrix() -> None:
    matches, rotation, translation, _ = exact_views()
    camera = torch.tensor(((800.0, 0, 320), (0, 800, 240), (0, 0, 1)), dtype=torch.float64)
    pixels = matches * 800 + torch.tensor((320, 240, 320, 240))
    inverse = torch.linalg.inv(camera)
    expected = unit(inverse.T @ essential_matrix(rotation, translation) @ inverse)
    assert same_up_to_sign(eight_point(pixels, torch.ones(pixels.shape[:2])), expected, 1e-7)


def test_the_eigenvector_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(3, 9, 6, generator=generator, dtype=torch.float64)
    spread = half @ half.mT + torch.eye(9)

    def projector(entries: Tensor) -> Tensor:
        vector = smallest_eigenvector((entries + entries.mT) / 2)
        return vector[:, :, None] * vector[:, None, :]  # does not depend on the sign

    separate = spread + torch.diag(torch.arange(9.0))
    _, vectors = np.linalg.eigh(separate.numpy())
    torch.testing.assert_close(projector(separate), torch.from_numpy(vectors[:, :, :1] * vectors[:, None, :, 0]))
    assert torch.autograd.gradcheck(projector, separate.requires_grad_())
    equal = torch.eye(9, dtype=torch.float64)[None].requires_grad_()  # where the gradient of eigh is not finite
    smallest_eigenvector(equal).sum().backward()
    assert equal.grad is not None
    assert equal.grad.isfinite().all()


def test_the_estimate_is_differentiable_and_finite_without_weights() -> None:
    matches, _, _, _ = exact_views()
    noisy = matches[:1] + 0.01 * torch.randn(1, 30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def projector(weights: Tensor) -> Tensor:
        flat = eight_point(noisy, weights).flatten(1)
        return flat[:, :, None] * flat[:, None, :]

    weights = torch.rand(1, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    assert torch.autograd.gradcheck(projector, weights.requires_grad_())
    nothing = torch.zeros(1, 30, dtype=torch.float64, requires_grad=True)
    estimated = eight_point(noisy, nothing)
    estimated.sum().backward()
    assert estimated.isfinite().all()
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()
