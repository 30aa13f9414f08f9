"""Membership: the probability that a candidate is among the k nearest neighbors.

This is the limited multi-label projection of Amos, Koltun & Kolter 2019. The selection of the N3 block
(`models.neighbors.selection`) gives k distributions, one per neighbor; membership is one vector of probabilities for the whole
set.

Letters: O candidates of one query.
"""

import math

import torch
from torch import Tensor


def neighbor_membership(distances: Tensor, temperature: Tensor | float, k: int) -> Tensor:
    """Return each candidate's probability of being among the k nearest.

    The probabilities are m = sigmoid((t - distance) / temperature). Each row has one threshold t, chosen so that they sum to k.
    Of all vectors in [0, 1] that sum to k, m minimizes <m, distance> - temperature * (sum of the binary entropies of m). As the
    temperature goes to 0, m becomes the indicator of the k nearest.

    Args:
        distances: (..., O), smaller is nearer; inf excludes a candidate. Each row has at least k finite distances.
        temperature: (..., 1) or a scalar, > 0, in the unit of the distances.
        k: Size of the set, 1 <= k <= O.

    Returns:
        (..., O) in [0, 1], with sum k over O. Gradients flow to the distances and to the temperature.

    Raises:
        ValueError: If k is below 1 or exceeds the number of candidates.
    """
    candidates = distances.shape[-1]
    if not 1 <= k <= candidates:
        raise ValueError(f"k must lie between 1 and the number of candidates, {candidates}, but is {k}")
    if k == candidates:
        return torch.ones_like(distances)
    floor = torch.finfo(distances.dtype).min / 4
    ordered = distances.detach().topk(k + 1, largest=False).values
    nearest = ordered[..., :1]
    # Shift the logits so that zero lies midway between the k-th and the next one. No digits are lost at the threshold then,
    # whatever the temperature.
    logits = (-(distances - nearest) / temperature).clamp_min(floor)
    edges = (-(ordered[..., k - 1 :] - nearest) / temperature).clamp_min(floor)
    logits = logits - edges.detach().mean(-1, keepdim=True)
    with torch.no_grad():
        # The further shift that makes the sum k lies between -log(O - k) and log k. Find it by bisection.
        low = torch.full_like(nearest, -math.log(candidates - k))
        high = torch.full_like(nearest, math.log(k))
        for _ in range(4 - round(math.log2(torch.finfo(distances.dtype).eps))):
            shift = (low + high) / 2
            enough = torch.sigmoid(logits + shift).sum(-1, keepdim=True) > k
            low, high = torch.where(enough, low, shift), torch.where(enough, shift, high)
        shift = (low + high) / 2
        members = torch.sigmoid(logits + shift)
        slopes = members * (1 - members)
        slope = slopes.sum(-1, keepdim=True).clamp_min(torch.finfo(distances.dtype).tiny)
    # This term has the value zero and the gradient of the shift by the implicit function theorem: the sum stays k when the
    # logits change.
    response = ((logits - logits.detach()) * slopes).sum(-1, keepdim=True) / slope
    return torch.sigmoid(logits + shift - response)
