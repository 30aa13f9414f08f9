"""The N3 block as one Triton kernel: distances, selection and averages of a tile of patches, with weights only in registers.

A program completes a tile of (SIDE - 1)^2 cells. Its queries are the SIDE^2 patches that cover these cells. Its items are the
(SIDE - 1 + WINDOW)^2 patches of all their windows, of which a mask selects the window of each query. Each cell of the result is
written once, so that the result does not depend on the order in which programs run. In return, queries at the edge of a tile are
computed more than once.

Only `models.inference.fused_block` imports this module, after it has checked that Triton is installed.

Letters: M = SIDE^2 queries, N >= items of a program, F values of a cell, h x w cells.
"""
# Names in capitals are constants that the kernel is compiled with, as is usual with Triton.
# ruff: noqa: N803, N806
# mypy: disable-error-code="untyped-decorator"

import triton
import triton.language as tl


@triton.jit
def log1p_negative(x: tl.tensor) -> tl.tensor:
    """Return log(1 - x). A correction restores the digits that 1 - x loses to rounding if x is small."""
    rest = 1.0 - x
    return tl.log(rest) - ((rest - 1.0) + x) / rest


@triton.jit
def without_chosen(
    logits: tl.tensor,
    exponentials: tl.tensor,
    total: tl.tensor,
    temperature: tl.tensor,
    items: tl.tensor,
    PAPER: tl.constexpr,
) -> tl.tensor:
    """Return the logits (M, N) of the next selection: log(1 - w) is added, see `models.neighbors.selection.successive_weights`.

    Args:
        logits: (M, N); the largest of each row is 0.
        exponentials: (M, N), the exponentials of the logits.
        total: (M, 1), the sums of the exponentials.
        temperature: (M, 1).
        items: (N,), 0, 1, 2 and so on.
        PAPER: Whether to use the paper form. In the code form, log(1 - w) is -inf if w rounds to 1.
    """
    if PAPER:
        # This is exact for any gap. The largest item: log-sum-exp of the others minus that of all. The others: log1p(-w).
        chosen = items[None, :] == tl.argmax(logits, 1)[:, None]
        others = tl.where(chosen, float("-inf"), logits)
        second = tl.max(others, 1)[:, None]
        rest = second + tl.log(tl.sum(tl.exp(others - second), 1)[:, None])
        everything = tl.maximum(rest, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(rest)))
        complement = tl.where(chosen, rest - everything, log1p_negative(tl.exp(others - everything)))
        return logits + complement / temperature
    return logits + tl.log((total - exponentials) / total)


@triton.jit
def window_start(query: tl.tensor, count: tl.tensor, size: tl.tensor, WINDOW: tl.constexpr) -> tl.tensor:
    """Return the first candidate of a query along one axis of `count` patches, as `models.networks.patches.window_start`."""
    return tl.maximum(tl.minimum(query - WINDOW // 2, count - size), 0)


VARYING = ("base", "h", "w", "start", "stop", "first_row", "out_rows", "left", "width")
"""Sizes and positions. The kernel is not compiled again for values that happen to be 1 or a multiple of 16."""


@triton.jit(do_not_specialize=VARYING, do_not_specialize_on_alignment=("log_temperature",))
def n3_block(
    maps: tl.tensor,
    values: tl.tensor,
    embedded: tl.tensor,
    log_temperature: tl.tensor,
    out: tl.tensor,
    base: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    start: tl.tensor,
    stop: tl.tensor,
    first_row: tl.tensor,
    out_rows: tl.tensor,
    left: tl.tensor,
    width: tl.tensor,
    distance_scale: tl.tensor,
    bound: tl.tensor,
    offset: tl.tensor,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    PLANES: tl.constexpr,
    WINDOW: tl.constexpr,
    SIDE: tl.constexpr,
    N: tl.constexpr,
    DEPTH: tl.constexpr,
    BLOCK: tl.constexpr,
    PAPER: tl.constexpr,
) -> None:
    """Write z_1 - x ... z_K - x of the cell rows from `start` to `stop` as pixels.

    Args:
        maps: (rows, w, F) float32, the cells of x. The first row has the number `base`.
        values: `maps` in the dtype of the averages.
        embedded: (rows, w, F) float32, the cells of the embedding.
        log_temperature: (rows, w) float32, the mean over each cell.
        out: (out_rows, width, K * PLANES). The first row is pixel row `first_row` of the padded map.
        base: Number of the first cell row in `maps`, `values`, `embedded` and `log_temperature`.
        h: Cell rows of the whole padded map.
        w: Cell columns.
        start: First cell row to complete.
        stop: One past the last cell row to complete.
        first_row: See `out`.
        out_rows: Rows of `out`.
        left: Zeros left of the image.
        width: Columns of the image.
        distance_scale: Factor of the squared distances.
        bound: The log-temperature is clamped to plus or minus this value.
        offset: Added to the log-temperature.
        K: Number of neighbors.
        STRIDE: Pixels of a cell along each axis.
        PLANES: Planes of x.
        WINDOW: Number of candidates along each axis.
        SIDE: Number of queries of a program along each axis, a power of two.
        N: Number of items of a program, rounded up to a power of two.
        DEPTH: Values of a cell that are processed at a time for the distances.
        BLOCK: Values of a cell that are processed at a time for the averages.
        PAPER: Whether to use the paper form of the selection, else the code form.
    """
    M: tl.constexpr = SIDE * SIDE
    SPAN: tl.constexpr = SIDE - 1 + WINDOW
    F: tl.constexpr = PLANES * STRIDE * STRIDE
    p, q = h - 1, w - 1
    rows_held = tl.minimum(p, WINDOW)
    columns_held = tl.minimum(q, WINDOW)
    # The first cell of the tile, and its queries: the first one is the patch above and left of that cell.
    cell_row = start + tl.program_id(1) * (SIDE - 1)
    cell_column = tl.program_id(0) * (SIDE - 1)
    m, n = tl.arange(0, M), tl.arange(0, N)
    query_row, query_column = cell_row - 1 + m // SIDE, cell_column - 1 + m % SIDE
    query_ok = (query_row >= 0) & (query_row < tl.minimum(p, stop)) & (query_column >= 0) & (query_column < q)
    # The items: from the start of the first query's window to the end of the last query's window.
    last_row = tl.minimum(cell_row + SIDE - 2, tl.minimum(p, stop) - 1)
    last_column = tl.minimum(cell_column + SIDE - 2, q - 1)
    item_row = window_start(cell_row - 1, p, rows_held, WINDOW) + n // SPAN
    item_column = window_start(cell_column - 1, q, columns_held, WINDOW) + n % SPAN
    item_ok = item_row < window_start(last_row, p, rows_held, WINDOW) + rows_held
    item_ok &= item_column < window_start(last_column, q, columns_held, WINDOW) + columns_held
    item_ok &= n < SPAN * SPAN
    query_cell = (query_row - base) * w + query_column
    item_cell = (item_row - base) * w + item_column

    # |b|^2 - 2ab is enough: |a|^2 is the same for all candidates of a query, and a softmax ignores it.
    products = tl.zeros((M, N), tl.float32)
    norms = tl.zeros((N,), tl.float32)
    mean = tl.zeros((M,), tl.float32)
    for corner in range(4):
        step = (corner // 2) * w + corner % 2
        mean += 0.25 * tl.load(log_temperature + query_cell + step, mask=query_ok, other=0.0)
        for first in range(0, F, DEPTH):
            f = first + tl.arange(0, DEPTH)
            inside = (f < F)[None, :]
            a = tl.load(embedded + (query_cell + step)[:, None] * F + f[None, :], mask=query_ok[:, None] & inside, other=0.0)
            b = tl.load(embedded + (item_cell + step)[:, None] * F + f[None, :], mask=item_ok[:, None] & inside, other=0.0)
            products = tl.dot(a, tl.trans(b), products, input_precision="ieee")
            norms += tl.sum(b * b, 1)
    temperature = tl.exp(tl.minimum(tl.maximum(mean, -bound), bound) + offset)[:, None]
    from_row = window_start(query_row, p, rows_held, WINDOW)[:, None]
    from_column = window_start(query_column, q, columns_held, WINDOW)[:, None]
    candidate = (item_row[None, :] >= from_row) & (item_row[None, :] < from_row + rows_held)
    candidate &= (item_column[None, :] >= from_column) & (item_column[None, :] < from_column + columns_held)
    candidate &= (item_row[None, :] != query_row[:, None]) | (item_column[None, :] != query_column[:, None])
    candidate &= query_ok[:, None] & item_ok[None, :]
    excluded = tl.where(query_ok, float("-inf"), 0.0)[
        :, None
    ]  # rows without a query get finite logits here, and zero weights below
    logits = tl.where(candidate, (2.0 * products - norms[None, :]) * distance_scale / temperature, excluded)

    # The cells to complete, and the number of patches that cover each.
    down, right = m // SIDE, m % SIDE
    row, column = cell_row + down, cell_column + right
    cell_ok = (down < SIDE - 1) & (right < SIDE - 1) & (row < stop) & (column < w)
    coverage = tl.where((row > 0) & (row < h - 1), 2.0, 1.0) * tl.where((column > 0) & (column < w - 1), 2.0, 1.0)
    cell = (row - base) * w + column
    for j in range(K):
        logits -= tl.max(logits, 1)[:, None]  # keeps the digits that make the weights sum to one
        exponentials = tl.exp(logits)
        total = tl.sum(exponentials, 1)[:, None]
        weights = tl.where(query_ok[:, None], exponentials / total, 0.0).to(values.dtype.element_ty)
        if j + 1 < K:  # before the averages, which need the registers
            logits = without_chosen(logits, exponentials, total, temperature, n, PAPER)
        for first in range(0, F, BLOCK):
            f = first + tl.arange(0, BLOCK)
            inside = (f < F)[None, :]
            summed = tl.zeros((M, BLOCK), tl.float32)
            for corner in range(4):
                y, x = corner // 2, corner % 2
                taken = tl.load(
                    values + (item_cell + y * w + x)[:, None] * F + f[None, :], mask=item_ok[:, None] & inside, other=0.0
                )
                part = tl.dot(weights, taken, input_precision="ieee")
                covering = tl.minimum((down + 1 - y) * SIDE + right + 1 - x, M - 1)
                summed += tl.gather(part, tl.broadcast_to(covering[:, None], (M, BLOCK)), 0)
            ok = cell_ok[:, None] & inside
            own = tl.load(maps + cell[:, None] * F + f[None, :], mask=ok, other=0.0)
            pixel_row = (row * STRIDE - first_row)[:, None] + (f // (STRIDE * PLANES))[None, :]
            pixel_column = (column * STRIDE - left)[:, None] + (f // PLANES % STRIDE)[None, :]
            ok &= (pixel_row >= 0) & (pixel_row < out_rows) & (pixel_column >= 0) & (pixel_column < width)
            at = (pixel_row * width + pixel_column) * (K * PLANES) + j * PLANES + (f % PLANES)[None, :]
            tl.store(out + at, (summed / coverage[:, None] - own).to(out.dtype.element_ty), mask=ok)
