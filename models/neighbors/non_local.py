"""The non-local block in its embedded-Gaussian form (Wang, Girshick, Gupta & He 2018, "Non-local Neural Networks").

The block combines Eqs. 1, 3 and 6 of the paper.

Letters: B batch, C channels, H x W pixels, E embedding channels, N = H * W queries, h x w keys after pooling, S = h * w keys.
"""

from typing import overload

import torch
from torch import Tensor, nn
from torch.nn import functional


class NonLocalBlock(nn.Module):
    """x + W(softmax(theta(x)^T phi(x)) g(x)): every pixel averages all pixels of the map, weighted by their embedded similarity.

    The attention (N, S) is never in memory as a whole, because `scaled_dot_product_attention` computes it in pieces. The output
    convolution starts at zero, so that inserting a new block into a trained network does not change the output at first.
    """

    def __init__(self, channels: int, embedding: int | None = None, subsample: int = 1) -> None:
        """Build the block.

        Args:
            channels: C, of the input and of the output.
            embedding: E. The default is half of C, as in the paper.
            subsample: Side of the max-pooling of keys and values; 1 means no pooling.

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
        """Return x plus the averages over all pixels and, on request, the attention of one query pixel.

        Args:
            x: (B, C, H, W).
            return_attention: (row, column) of the query pixel whose attention to return. Negative values count from the end.

        Returns:
            (B, C, H, W). With `return_attention` also the query's attention over the keys, (B, h, w) with
            h = ceil(H / subsample), which sums to 1 for each image.

        Raises:
            IndexError: If the query lies outside the map.
        """
        queries = self.theta(x)  # (B, E, H, W)
        keys, values = self.pool(self.phi(x)), self.pool(self.g(x))  # (B, E, h, w)
        gathered = functional.scaled_dot_product_attention(
            tokens(queries),
            tokens(keys),
            tokens(values),
            scale=1.0,  # Eq. 3 does not divide by sqrt(E)
        )  # (B, 1, N, E)
        out: Tensor = x + self.out(gathered.squeeze(1).transpose(1, 2).reshape(queries.shape))
        if return_attention is None:
            return out
        row, column = return_attention
        logits = torch.einsum("be,behw->bhw", queries[:, :, row, column], keys)
        return out, logits.flatten(1).softmax(1).reshape(logits.shape)

    @torch.no_grad()
    def most_attended(self, x: Tensor) -> Tensor:
        """Return, for each image, the key that receives the most attention, as (row, column) among the h x w keys: (B, 2).

        The attention that a key receives is summed over all queries, one row of queries at a time to need only O(W * S) memory.
        """
        keys = self.pool(self.phi(x))
        received = sum(
            torch.einsum("bew,behv->bwhv", queries, keys).flatten(2).softmax(2).sum(1) for queries in self.theta(x).unbind(2)
        )
        assert isinstance(received, Tensor)
        best = received.argmax(1)
        return torch.stack((best // keys.shape[-1], best % keys.shape[-1]), 1)


def tokens(planes: Tensor) -> Tensor:
    """Turn (B, E, H, W) into the tokens (B, 1, H * W, E) of a single attention head.

    The copy is needed: with other strides, attention falls back to an implementation that stores the whole matrix (N, S).
    """
    return planes.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
