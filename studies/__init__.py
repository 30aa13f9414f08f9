"""Studies of what stands behind the service: each script draws its plots and fills its page under docs/studies."""
