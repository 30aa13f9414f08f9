"""Wider networks that start with what a trained one has learned (Net2Net, Chen, Goodfellow & Shlens 2016)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def widen(network: nn.Module, state: Mapping[str, Tensor], inputs: Mapping[str, Sequence[int]] = {}) -> None:
    """Give a network with fresh weights the function of a narrower one.

    The first features are those of the narrower network, which do not depend on the others. The others keep their fresh weights,
    so they differ from each other, and training soon makes use of them.

    Args:
        network: The wide network, whose weights are changed in place. It has the same layers as the narrow one.
        state: The state dict of the narrow network.
        inputs: For convolutions whose inputs are not in the same order, by their names: the place in the wide network of each
            input plane of the narrow one.

    Raises:
        ValueError: If the networks differ in more than their widths.
    """
    wide = network.state_dict()
    if wide.keys() != state.keys() or any(wide[key].ndim != value.ndim for key, value in state.items()):
        raise ValueError("the networks have different layers")
    if any(size > into for key, value in state.items() for size, into in zip(value.shape, wide[key].shape, strict=True)):
        raise ValueError("the network is not wider")
    for name, module in network.named_modules():
        for parameter, values in module.named_parameters(prefix=name, recurse=False):
            # Transposed convolutions have their inputs first.
            target, source = (
                each.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) and each.ndim > 1 else each
                for each in (values, state[parameter].to(values))
            )
            if source.ndim > 1:
                target[: len(source)] = 0
                target[: len(source), list(inputs.get(name, range(source.shape[1])))] = source
            else:
                target[: len(source)] = source
    for name, buffer in network.named_buffers():
        buffer.copy_(state[name])
