"""What to run on a machine with a GPU. It needs PyTorch, NumPy, safetensors and Triton, and `photographs` SciPy and Pillow."""
