"""Image files decoded to pictures, and pictures encoded to files."""
