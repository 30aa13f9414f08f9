"""Load, endurance and bad requests, measured on real server processes."""
