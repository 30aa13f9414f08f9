"""Images: files, noise, color, symmetries and quality metrics."""
