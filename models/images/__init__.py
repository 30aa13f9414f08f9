"""Images as tensors: files, noise, color, quality."""
