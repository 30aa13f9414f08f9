"""The numerical part of n3denoise: networks, inference, training, weights and evaluation. It knows nothing of the service."""
