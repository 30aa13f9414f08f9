"""Training: from folders of images to a weights file."""
