"""Image quality, speed and memory of the denoiser, and of other denoisers for comparison."""
