"""The relaxed k-nearest-neighbor selection (Plötz & Roth 2018, Eqs. 8-10), stable at any temperature.

Letters: B batch, M queries, N items, O candidates of one query, K neighbors, F features of a value.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Relaxation = Literal["paper", "code"]
SMALLEST_COMPLEMENT = 1e-6
"""Lower bound of 1 - w where a gradient of the code form is divided by it."""


def neighbor_weights(distances: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation = "paper") -> Tensor:
    """Select k soft nearest neighbors among each query's candidates (Plötz & Roth 2018, Eqs. 8-10).

    The paper form becomes hard k-nearest-neighbor selection as the temperature goes to 0. The code form, which the authors' code
    computes, does not divide log(1 - w) by the temperature; networks trained with it need it. At low temperature its later
    neighbors collapse onto the first few.

    Args:
        distances: (B, M, O), smaller is nearer; inf excludes a candidate. Only differences within a row matter, so
            batch-normalized distances work too.
        temperature: (B, M, 1) or a scalar, > 0, in the unit of the distances.
        k: Neighbors to select, 1 <= k <= O.
        relaxation: "paper" divides log(1 - w) by the temperature as Eqs. 8-10 do; "code" does not.

    Returns:
        (B, M, O, K). Each [..., j] is non-negative and sums to 1 over O.

    Raises:
        ValueError: If k is below 1 or exceeds the number of candidates, or the relaxation is unknown.
    """
    candidates = distances.shape[-1]
    if not 1 <= k <= candidates:
        raise ValueError(f"k must lie between 1 and the number of candidates, {candidates}, but is {k}")
    if relaxation not in ("paper", "code"):
        raise ValueError(f'relaxation must be "paper" or "code", not {relaxation!r}')
    # Float32 logits far from zero are too coarse for a softmax that sums to one. Subtract the smallest distance first.
    nearest = distances.detach().amin(-1, keepdim=True)
    nearest = torch.where(nearest.isfinite(), nearest, 0)
    logits = -(distances - nearest) / temperature
    return torch.stack(list(successive_weights(logits, temperature, k, relaxation)), -1)


def successive_weights(logits: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation) -> Iterator[Tensor]:
    """Yield w_1 ... w_k of Eq. 10, each (..., O), from the logits -distance / temperature of Eq. 8.

    Args:
        logits: (..., O); -inf excludes a candidate.
        temperature: Broadcastable to the logits, > 0. The code form does not use it.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    # Use a finite floor instead of -inf, which would cause 0 * inf in the gradients. It is lower than any real logit, and the
    # sum of two floors is still finite.
    floor = torch.finfo(logits.dtype).min / 2
    logits = logits.clamp_min(floor)
    for j in range(k):
        logits = logits - logits.detach().amax(-1, keepdim=True)
        log_weights = logits.log_softmax(-1)
        yield normal_exp(log_weights)
        if j + 1 == k:
            return
        if relaxation == "paper":
            logits = (logits + log_complement(logits) / temperature).clamp_min(floor)
        else:
            logits = (logits + saturating_log_complement(log_weights)).clamp_min(floor)


class CodeWeights(torch.autograd.Function):
    """The weights of the code form with a hand-written backward pass.

    For k = 7 it takes a fifth of the time of autograd, and training calls it at every step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int) -> Tensor:
        """Return the weights (B, K, ..., O) that `successive_weights` yields for logits (B, ..., O)."""
        weights = stacked_weights(logits - logits.amax(-1, keepdim=True), 1.0, k, "code")
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Propagate the gradients from the last neighbor to the first.

        The derivative of log(1 - w) is -1 / (1 - w); `SMALLEST_COMPLEMENT` bounds it. Then follows the derivative of the softmax.
        """
        rest: Tensor | None = None
        for weights, gradient in zip(*(reversed(every.unbind(1)) for every in (*ctx.saved_tensors, gradients[0])), strict=True):
            through = gradient * weights
            if rest is not None:
                through = through.addcdiv_(rest * weights, (1 - weights).clamp_(min=SMALLEST_COMPLEMENT), value=-1)
            through = through.addcmul_(weights, through.sum(-1, keepdim=True), value=-1)
            rest = through if rest is None else rest.add_(through)
        assert rest is not None  # k >= 1
        return rest, None


def normal_exp(logits: Tensor) -> Tensor:
    """Return exp(l), and 0 where it would be below the normal numbers: on a CPU, these few take up to 40 times as long."""
    least = math.log(torch.finfo(logits.dtype).tiny) + 1
    return functional.threshold(logits.clamp_min(least).exp(), math.exp(least + 0.1), 0.0)


def log_complement(logits: Tensor) -> Tensor:
    """Return log(1 - softmax(logits)) over the last axis, exact for any logits and with bounded gradients.

    Only the largest weight of a row can exceed 1/2. Let Z be the log-sum-exp of all logits and R that of all but the largest.
    Then log(1 - w) is R - Z for the largest; for the others, log1p(-exp(l - Z)) is accurate.
    """
    if logits.shape[-1] == 1:  # the only candidate has weight 1, so nothing is left for a second neighbor
        return torch.full_like(logits, torch.finfo(logits.dtype).min / 2)
    largest = logits.detach().argmax(-1, keepdim=True)
    others = logits.scatter(-1, largest, -math.inf).logsumexp(-1, keepdim=True)
    total = torch.logaddexp(logits.gather(-1, largest), others)
    # Exclude the largest from log1p, whose gradient at w = 1 is infinite.
    rest = torch.log1p(-(logits - total).scatter(-1, largest, -math.inf).exp())
    return rest.scatter(-1, largest, others - total)


def saturating_log_complement(log_weights: Tensor) -> Tensor:
    """Return log(1 - w) as the code form computes it in float32: -inf where w rounds to 1.

    That happens when the largest logit is about 17 above all others. Networks trained with this saturation need it: the exact
    form would average candidates evenly there.
    """
    half = math.log(0.5)
    # Each branch gets only arguments for which its gradient is finite.
    small = torch.log1p(-normal_exp(log_weights.clamp_max(half)))
    saturated = log_weights >= 0
    large = torch.log(-torch.expm1(torch.where(saturated, half, log_weights).clamp_min(half)))
    return torch.where(log_weights < half, small, torch.where(saturated, -math.inf, large))


def select_neighbors(
    queries: Tensor,
    items: Tensor,
    values: Tensor,
    temperature: Tensor | float,
    k: int,
    relaxation: Relaxation = "paper",
    chunk: int = 1 << 20,
    *,
    others: bool = False,
) -> Tensor:
    """Return the k soft nearest neighbors of each query under the squared Euclidean distance, in bounded memory.

    Neither the distances (M, N) nor the weights (M, N, K) are ever in memory as a whole. Queries are processed in chunks such
    that a matrix (queries, N) has at most `chunk` entries; a chunk has at least one query.

    Args:
        queries: (M, E) embeddings of the queries.
        items: (N, E) embeddings of the candidates.
        values: (N, F), what the weights average.
        temperature: (M, 1) or a scalar, > 0.
        k: Neighbors to select, 1 <= k <= N.
        relaxation: As in `neighbor_weights`.
        chunk: Entries of the distance matrix in memory at a time, > 0.
        others: Whether the queries are the items, and none is a candidate of itself. Then k must be below N.

    Returns:
        (M, K, F).

    Raises:
        ValueError: If k is below 1 or exceeds the number of candidates, `chunk` is not positive, or the relaxation is unknown.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be positive, but is {chunk}")
    if not 1 <= k <= len(items) - others:
        raise ValueError(f"k must lie between 1 and the number of items, {len(items) - others}, but is {k}")
    if relaxation not in ("paper", "code"):
        raise ValueError(f'relaxation must be "paper" or "code", not {relaxation!r}')
    temperatures = torch.as_tensor(temperature, dtype=queries.dtype).expand(len(queries), 1)
    count = max(1, chunk // len(items))
    selected = []
    for index, (some, some_temperatures) in enumerate(zip(queries.split(count), temperatures.split(count), strict=True)):
        distances = squared_distances(some, items)
        if others:
            distances.diagonal(index * count).fill_(math.inf)
        logits = -(distances - distances.detach().amin(-1, keepdim=True)) / some_temperatures
        selected.append(
            torch.stack([weights @ values for weights in successive_weights(logits, some_temperatures, k, relaxation)], 1)
        )
    return torch.cat(selected) if selected else values.new_empty(0, k, values.shape[-1])


def squared_distances(queries: Tensor, items: Tensor) -> Tensor:
    """Return the squared Euclidean distances (M, N) of queries (M, E) and items (N, E).

    Up to 8 dimensions they come from differences, above from |a|^2 + |b|^2 - 2ab.
    """
    dimensions = queries.shape[-1]
    if dimensions > 8:  # |a|^2 + |b|^2 - 2ab cancels, hence float64. Differences would be slow, one pass per dimension.
        dtype = queries.dtype
        queries, items = queries.double(), items.double()
        products = queries.square().sum(-1, keepdim=True) + items.square().sum(-1) - 2 * queries @ items.T
        return products.clamp_min(0).to(dtype)
    total = queries.new_zeros(len(queries), len(items))
    for axis in range(dimensions):
        total = total + (queries[:, axis, None] - items[None, :, axis]).square()
    return total


def inference_weights(distances: Tensor, temperature: Tensor, k: int, relaxation: Relaxation) -> Tensor:
    """Return the weights that `successive_weights` yields, stacked to (B, K, M, O), faster and without gradients.

    Args:
        distances: (B, M, O), float32; inf excludes a candidate. Overwritten.
        temperature: (B, M, 1), > 0.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    return stacked_weights(distances.sub_(distances.amin(-1, keepdim=True)).div_(temperature).neg_(), temperature, k, relaxation)


def stacked_weights(logits: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation) -> Tensor:
    """Return the weights that `successive_weights` yields, stacked along a new second axis, without gradients.

    With p = exp(l) and S the sum of p over the candidates, the step l + log(1 - w) of the code form is p (S - p) / S. So all k
    selections together need one exponential and no logarithm, and S - p rounds as the saturating logarithm does. Where S gets
    so small that p may have underflowed, the logarithmic form is used.

    Args:
        logits: (B, ..., O); the largest of each row is 0.
        temperature: As in `successive_weights`.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    weights = logits.new_empty(len(logits), k, *logits.shape[1:])
    if relaxation == "code" and not torch.compiler.is_compiling():  # a compiled graph cannot branch on `total`
        products = normal_exp(logits)
        for j in range(k):
            total = products.sum(-1, keepdim=True)
            chosen = torch.div(products, total, out=weights[:, j])
            if j + 1 < k:
                torch.sub(total, products, out=products)
                products.mul_(chosen)
        if k == 1 or total.min() > 1e-20:  # then whatever underflowed is negligible
            return weights
    for j, chosen in enumerate(successive_weights(logits, temperature, k, relaxation)):
        weights[:, j] = chosen
    return weights
