"""The numbers of n3denoise: the network, its exact inference, training and evaluation. No HTTP and no image codecs live here."""
