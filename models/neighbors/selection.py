"""The relaxed k-nearest-neighbor selection (Plötz & Roth 2018, Eqs. 8-10), stable at any temperature.

Letters: B batch, M queries, N items, O candidates of one query, K neighbors, F features of a value.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

Relaxation = Literal["paper", "code"]
SMALLEST_COMPLEMENT = 1e-6
"""Least 1 - w that a gradient of the code form is divided by."""


def neighbor_weights(distances: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation = "paper") -> Tensor:
    """Select k soft nearest neighbors among each query's candidates (Plötz & Roth 2018, Eqs. 8-10).

    In the paper form this is hard k-nearest-neighbor selection as the temperature goes to 0. The code form leaves out the
    division of log(1 - w) by the temperature, as weights that were trained so need; at low temperature its later neighbors
    collapse onto the first few.

    Args:
        distances: (B, M, O), smaller is nearer; only differences within a row matter, so the block's
            batch-normalized distances serve too; inf for a candidate that must not be chosen.
        temperature: (B, M, 1) or a scalar, > 0, in the unit of the distances.
        k: Neighbors to select, 1 <= k <= O.
        relaxation: "paper" divides log(1 - w) by the temperature as Eqs. 8-10 do; "code" does not.

    Returns:
        (B, M, O, K); each [..., j] is non-negative and sums to 1 over O.

    Raises:
        ValueError: If k exceeds the number of candidates, or the relaxation has no such name.
    """
    candidates = distances.shape[-1]
    if not 1 <= k <= candidates:
        raise ValueError(f"k must lie between 1 and the number of candidates, {candidates}, but is {k}")
    if relaxation not in ("paper", "code"):
        raise ValueError(f'relaxation must be "paper" or "code", not {relaxation!r}')
    # Float32 logits far from zero lose the digits that make a softmax sum to one, so the nearest candidate becomes 0 first.
    nearest = distances.detach().amin(-1, keepdim=True)
    nearest = torch.where(nearest.isfinite(), nearest, 0)
    logits = -(distances - nearest) / temperature
    return torch.stack(list(successive_weights(logits, temperature, k, relaxation)), -1)


def successive_weights(logits: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation) -> Iterator[Tensor]:
    """Yield w_1 ... w_k of Eq. 10, each (..., O), from the logits -distance / temperature of Eq. 8.

    Args:
        logits: (..., O); -inf for a candidate that must not be chosen.
        temperature: Broadcastable to the logits, > 0; the code form does not use it.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    # Lower than any real logit, and adding two of them still gives a finite number; -inf would make 0 * inf in the gradients.
    floor = torch.finfo(logits.dtype).min / 2
    logits = logits.clamp_min(floor)
    for j in range(k):
        logits = logits - logits.detach().amax(-1, keepdim=True)
        log_weights = logits.log_softmax(-1)
        yield log_weights.exp()
        if j + 1 == k:
            return
        if relaxation == "paper":
            logits = (logits + log_complement(logits) / temperature).clamp_min(floor)
        else:
            logits = (logits + saturating_log_complement(log_weights)).clamp_min(floor)


class CodeWeights(torch.autograd.Function):
    """The weights of the code form, with a backward pass of its own.

    It takes a fifth of the time that autograd does through seven softmaxes, and in training that is paid at every step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, k: int) -> Tensor:
        """Return (B, K, ..., O) from logits (B, ..., O); as `successive_weights`."""
        weights = stacked_weights(logits - logits.amax(-1, keepdim=True), 1.0, k, "code")
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Go from the last neighbor to the first: of log(1 - w), -1 / (1 - w) kept off its pole, of the softmax, its own."""
        rest: Tensor | None = None
        for weights, gradient in zip(*(reversed(every.unbind(1)) for every in (*ctx.saved_tensors, gradients[0])), strict=True):
            through = gradient * weights
            if rest is not None:
                through = through.addcdiv_(rest * weights, (1 - weights).clamp_(min=SMALLEST_COMPLEMENT), value=-1)
            through = through.addcmul_(weights, through.sum(-1, keepdim=True), value=-1)
            rest = through if rest is None else rest.add_(through)
        assert rest is not None  # k >= 1
        return rest, None


def log_complement(logits: Tensor) -> Tensor:
    """Return log(1 - softmax(logits)) over the last axis, exact at any gap and with bounded gradients.

    Only the largest weight of a row can exceed 1/2. With R the log-sum-exp of the others and Z that of all, its log(1 - w) is
    R - Z, and for the others log1p(-exp(l - Z)) loses nothing.
    """
    if logits.shape[-1] == 1:  # the only candidate has weight 1: nothing is left for a second choice
        return torch.full_like(logits, torch.finfo(logits.dtype).min / 2)
    largest = logits.detach().argmax(-1, keepdim=True)
    others = logits.scatter(-1, largest, -math.inf).logsumexp(-1, keepdim=True)
    total = torch.logaddexp(logits.gather(-1, largest), others)
    # The largest is set aside before log1p, whose gradient at w = 1 would be infinite.
    rest = torch.log1p(-(logits - total).scatter(-1, largest, -math.inf).exp())
    return rest.scatter(-1, largest, others - total)


def saturating_log_complement(log_weights: Tensor) -> Tensor:
    """Return log(1 - w) in the float32 arithmetic of the "code" form: -inf once w rounds to 1, past about 17 nats.

    Weights that were trained with this saturation need it: the exact form would give even mixes in its place.
    """
    half = math.log(0.5)
    # Each branch sees only arguments for which its gradient is finite.
    small = torch.log1p(-log_weights.clamp_max(half).exp())
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
) -> Tensor:
    """Return the k soft nearest neighbors of each query under the squared Euclidean distance, in bounded memory.

    Neither the (M, N) distances nor the (M, N, K) weights ever exist as a whole: queries are taken so many at a time that one
    (queries, N) matrix has at most `chunk` entries, or one query at a time where N alone is larger.

    Args:
        queries: (M, E) embeddings of the queries.
        items: (N, E) embeddings of the candidates.
        values: (N, F) what is averaged.
        temperature: (M, 1) or a scalar, > 0.
        k: Neighbors to select, 1 <= k <= N.
        relaxation: As in `neighbor_weights`.
        chunk: Entries of the distance matrix held at a time, > 0.

    Returns:
        (M, K, F).

    Raises:
        ValueError: If k exceeds the number of items, `chunk` is not positive, or the relaxation has no such name.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be positive, but is {chunk}")
    if not 1 <= k <= len(items):
        raise ValueError(f"k must lie between 1 and the number of items, {len(items)}, but is {k}")
    if relaxation not in ("paper", "code"):
        raise ValueError(f'relaxation must be "paper" or "code", not {relaxation!r}')
    temperatures = torch.as_tensor(temperature, dtype=queries.dtype).expand(len(queries), 1)
    count = max(1, chunk // len(items))
    selected = []
    for some, some_temperatures in zip(queries.split(count), temperatures.split(count), strict=True):
        distances = squared_distances(some, items)
        logits = -(distances - distances.detach().amin(-1, keepdim=True)) / some_temperatures
        selected.append(
            torch.stack([weights @ values for weights in successive_weights(logits, some_temperatures, k, relaxation)], 1)
        )
    return torch.cat(selected) if selected else values.new_empty(0, k, values.shape[-1])


def squared_distances(queries: Tensor, items: Tensor) -> Tensor:
    """Return the squared Euclidean distances (M, N), from differences where the dimension is low, else from products."""
    dimensions = queries.shape[-1]
    if dimensions > 8:  # |a|^2 + |b|^2 - 2ab cancels, hence float64; differences would cost M x N x E memory
        dtype = queries.dtype
        queries, items = queries.double(), items.double()
        products = queries.square().sum(-1, keepdim=True) + items.square().sum(-1) - 2 * queries @ items.T
        return products.clamp_min(0).to(dtype)
    total = queries.new_zeros(len(queries), len(items))
    for axis in range(dimensions):
        total = total + (queries[:, axis, None] - items[None, :, axis]).square()
    return total


def inference_weights(distances: Tensor, temperature: Tensor, k: int, relaxation: Relaxation) -> Tensor:
    """Return what `successive_weights` yields, stacked as (B, K, M, O), the faster way that needs no gradients.

    Args:
        distances: (B, M, O), float32; inf for a candidate that must not be chosen. Overwritten.
        temperature: (B, M, 1), > 0.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    return stacked_weights(distances.sub_(distances.amin(-1, keepdim=True)).div_(temperature).neg_(), temperature, k, relaxation)


def stacked_weights(logits: Tensor, temperature: Tensor | float, k: int, relaxation: Relaxation) -> Tensor:
    """Return what `successive_weights` yields, stacked behind the first axis, without gradients.

    In the code form l + log(1 - w) is the product p (S - p) / S of p = exp(l) and S = sum of p: seven selections need neither
    exponential nor logarithm, and S - p rounds as the saturating logarithm does. Where p underflows, the logarithms return.

    Args:
        logits: (B, ..., O), the largest of each row 0.
        temperature: As in `successive_weights`.
        k: Neighbors to select.
        relaxation: "paper" or "code", as in `neighbor_weights`.
    """
    weights = logits.new_empty(len(logits), k, *logits.shape[1:])
    if relaxation == "code" and not torch.compiler.is_compiling():  # a compiler cannot look at the total
        products = logits.exp()
        for j in range(k):
            total = products.sum(-1, keepdim=True)
            chosen = torch.div(products, total, out=weights[:, j])
            if j + 1 < k:
                torch.sub(total, products, out=products)
                products.mul_(chosen)
        if k == 1 or total.min() > 1e-20:  # then what underflowed is too little to be seen
            return weights
    for j, chosen in enumerate(successive_weights(logits, temperature, k, relaxation)):
        weights[:, j] = chosen
    return weights
