"""The commands of `n3denoise`, one file each; every command imports what it needs when it runs, so that `--help` is fast."""
