"""The commands of `n3denoise`, one file each; each imports what it needs when it runs."""
