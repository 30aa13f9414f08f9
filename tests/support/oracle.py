"""N3Net as float64 NumPy loops, written from the equations of the paper. It shares no code with `models`."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def select(distances: Array, temperature: float, k: int, relaxation: str) -> Array:
    """Return the weights (O, k) of Eqs. 8-10 for the distances (O,) of one query."""
    logits = -distances / temperature
    columns = []
    for _ in range(k):
        largest = int(logits.argmax())
        logits = logits - logits[largest]
        exponentials = np.exp(logits)
        columns.append(exponentials / exponentials.sum())
        others = exponentials.sum() - exponentials
        others[largest] = np.delete(exponentials, largest).sum()  # the subtraction would be inexact near w = 1
        with np.errstate(divide="ignore"):
            log_complement = np.log(others / exponentials.sum())
        logits = logits + log_complement / (temperature if relaxation == "paper" else 1.0)
    return np.stack(columns, 1)


def convolve(maps: Array, weight: Array, bias: Array) -> Array:
    """Return the 3x3 convolution, (O, H, W), of maps (C, H, W) padded with zeros."""
    _, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(weight), height, width))
    for y in range(3):
        for x in range(3):
            out += np.einsum("oc,chw->ohw", weight[:, :, y, x], padded[:, y : y + height, x : x + width])
    return out + bias[:, None, None]


class Network:
    """An N3Net with the weights of a state dict of NumPy arrays."""

    def __init__(self, state: dict[str, Array], config: dict[str, object]) -> None:
        self.state, self.config = state, config

    def layers(self, prefix: str, maps: Array) -> Array:
        """Apply convolutions. Batch normalization, if any, and ReLU follow each one but the last."""
        numbers = sorted({int(key[len(prefix) :].split(".")[0]) for key in self.state if key.startswith(prefix)})
        convolutions = [n for n in numbers if self.state[f"{prefix}{n}.weight"].ndim == 4]
        for n in convolutions:
            weight = self.state[f"{prefix}{n}.weight"]
            maps = convolve(maps, weight, self.state.get(f"{prefix}{n}.bias", np.zeros(len(weight))))
            if n + 1 in numbers:
                mean, variance, scale, shift = (
                    self.state[f"{prefix}{n + 1}.{name}"][:, None, None]
                    for name in ("running_mean", "running_var", "weight", "bias")
                )
                maps = (maps - mean) / np.sqrt(variance + 1e-5) * scale + shift
            if n != convolutions[-1]:
                maps = np.maximum(maps, 0)
        return maps

    def dncnn(self, index: int, maps: Array, added: int) -> Array:
        """Apply a DnCNN and add the first `added` planes of its input to its output."""
        out = self.layers(f"dncnns.{index}.", maps)
        out[:added] += maps[:added]
        return out

    def block(self, index: int, maps: Array) -> Array:
        """Apply an N3 block by loops over queries and candidates."""
        k, window, stride = (int(str(self.config[name])) for name in ("k", "window", "stride"))
        size = 2 * stride
        embedded = self.layers(f"blocks.{index}.embed.", maps)
        log_temperature = self.layers(f"blocks.{index}.temperature.", maps)
        planes, height, width = maps.shape
        pads = []
        for length in (height, width):
            pad = -(length - size) % stride
            pads.append((pad // 2, pad - pad // 2))
        x, e, t = (np.pad(array, ((0, 0), *pads)) for array in (maps, embedded, log_temperature))
        rows, columns = ((length - size) // stride + 1 for length in x.shape[1:])

        def patch(array: Array, r: int, c: int) -> Array:
            return array[:, r * stride : r * stride + size, c * stride : c * stride + size]

        norm = {name: self.state[f"blocks.{index}.distance_norm.{name}"][0] for name in ("running_mean", "running_var")}
        scale, shift = (self.state[f"blocks.{index}.distance_norm.{name}"][0] for name in ("weight", "bias"))
        eps = float(str(self.config["distance_eps"]))
        sums, counts = np.zeros((k, *x.shape)), np.zeros(x.shape[1:])
        for r in range(rows):
            top = max(0, min(r - window // 2, rows - window))
            for c in range(columns):
                left = max(0, min(c - window // 2, columns - window))
                candidates = [
                    (i, j)
                    for i in range(top, min(rows, top + window))
                    for j in range(left, min(columns, left + window))
                    if (i, j) != (r, c)
                ]
                own = patch(e, r, c)
                d = np.array([-((own - patch(e, i, j)) ** 2).sum() for i, j in candidates])
                d = (d - norm["running_mean"]) / np.sqrt(norm["running_var"] + eps) * scale + shift
                mean = patch(t, r, c).mean()
                bound = self.config["temperature_bound"]
                if bound is not None:
                    mean = max(-float(str(bound)), min(float(str(bound)), mean))
                weights = select(-d, float(np.exp(mean + np.log(0.1))), k, str(self.config["relaxation"]))
                patches = np.stack([patch(x, i, j) for i, j in candidates])
                region = slice(r * stride, r * stride + size), slice(c * stride, c * stride + size)
                for j in range(k):
                    sums[j, :, region[0], region[1]] += np.tensordot(weights[:, j], patches, 1)
                counts[region] += 1
        differences = (sums / counts - x)[:, :, pads[0][0] :, pads[1][0] :][:, :, :height, :width]
        return np.concatenate((maps, differences.reshape(k * planes, height, width)))

    def denoise(self, noisy: Array, sigma: float) -> Array:
        """Return the denoised image (H, W)."""
        smallest = 20 if self.config["blocks"] else 1
        height, width = noisy.shape
        offsets, padded = [], noisy
        for axis, length in enumerate((height, width)):
            missing = max(0, smallest - length)
            offsets.append(missing // 2)
            pad = [(0, 0), (0, 0)]
            pad[axis] = (missing // 2, missing - missing // 2)
            padded = np.pad(padded, pad, mode="reflect")
        maps = padded[None]
        if self.config["sigma_plane"]:
            maps = np.concatenate((maps, np.full_like(maps, sigma)))
        blocks = int(str(self.config["blocks"]))
        for index in range(blocks + 1):
            outputs = 1 if index == blocks else int(str(self.config["planes"]))
            maps = self.dncnn(index, maps, 1 if index == 0 else min(outputs, len(maps)))
            if index < blocks:
                maps = self.block(index, maps)
        return maps[0, offsets[0] : offsets[0] + height, offsets[1] : offsets[1] + width]
