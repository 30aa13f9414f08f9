"""The HTTP service around the denoiser; imports `models` from the engine and the command line only."""
