"""What to run when a GPU is at hand. Everything here needs PyTorch, NumPy, safetensors and Triton only."""
