"""The non-local block in its embedded-Gaussian form (Wang, Girshick, Gupta & He 2018, "Non-local Neural Networks", Eqs. 4-6).

Letters: B batch, C channels, H, W pixels, E embedding channels, N = H * W queries, S keys (N, or about N / r^2 sub-sampled by r).
"""

from typing import overload

import torch
from torch import Tensor, nn
from torch.nn import functional


class NonLocalBlock(nn.Module):
    """x + W(softmax(theta(x)^T phi(x)) g(x)): every pixel averages all pixels of the map by their embedded similarity.

    The (N, S) attention never exists as a whole: `scaled_dot_product_attention` goes through it in pieces. The output
    convolution starts at zero, so that a new block in a trained network changes nothing at first.
    """

    def __init__(self, channels: int, embedding: int | None = None, subsample: int = 1) -> None:
        """Build the block.

        Args:
            channels: C of the map, kept.
            embedding: E; half of C by default, as in the paper.
            subsample: Max-pooling of keys and values, 1 for none.

        Raises:
            ValueError: If a size is below 1.
        """
        super().__init__()
        embedding = max(1, channels // 2) if embedding is None else embedding
        if min(channels, embedding, subsample) < 1:
            raise ValueError(f"sizes must be at least 1, but are {channels}, {embedding}, {subsample}")
        self.theta = nn.Conv2d(channels, embedding, 1)
        self.phi = nn.Conv2d(channels, embedding, 1)
        self.g = nn.Conv2d(channels, embedding, 1)
        self.pool = nn.MaxPool2d(subsample, ceil_mode=True) if subsample > 1 else nn.Identity()
        self.out = nn.Conv2d(embedding, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, return_attention: tuple[int, int]) -> tuple[Tensor, Tensor]: ...

    def forward(self, x: Tensor, return_attention: tuple[int, int] | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Return x plus what the pixels gathered, and on demand where one of them looked.

        Args:
            x: (B, C, H, W).
            return_attention: (row, column) of one query pixel, negative from the end.

        Returns:
            (B, C, H, W); with a query also its attention (B, h, w) over the keys, h = ceil(H / subsample), which sums to 1.

        Raises:
            IndexError: If the query lies outside the map.
        """
        queries = self.theta(x)  # (B, E, H, W)
        keys, values = self.pool(self.phi(x)), self.pool(self.g(x))  # (B, E, h, w)
        gathered = functional.scaled_dot_product_attention(
            tokens(queries),
            tokens(keys),
            tokens(values),
            scale=1.0,  # Eq. 3 has no 1 / sqrt(E)
        )  # (B, 1, N, E)
        out: Tensor = x + self.out(gathered.squeeze(1).transpose(1, 2).reshape(queries.shape))
        if return_attention is None:
            return out
        row, column = return_attention
        logits = torch.einsum("be,behw->bhw", queries[:, :, row, column], keys)
        return out, logits.flatten(1).softmax(1).reshape(logits.shape)

    @torch.no_grad()
    def most_attended(self, x: Tensor) -> Tensor:
        """Return the pixel that the others look at most, as (row, column) on the key map, for each image: (B, 2).

        The attention each key receives is summed over all queries, one row of queries at a time to stay within O(W * S) memory.
        """
        keys = self.pool(self.phi(x))
        received = sum(
            torch.einsum("bew,behv->bwhv", queries, keys).flatten(2).softmax(2).sum(1) for queries in self.theta(x).unbind(2)
        )
        assert isinstance(received, Tensor)
        best = received.argmax(1)
        return torch.stack((best // keys.shape[-1], best % keys.shape[-1]), 1)


def tokens(planes: Tensor) -> Tensor:
    """Turn (B, E, H, W) into (B, 1, H * W, E), one head.

    The copy is not for tidiness: with any other strides attention falls back to the form that holds the whole (N, S) matrix.
    """
    return planes.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
