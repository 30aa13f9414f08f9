"""A tiny network and a short recipe for the tests of training."""

from models.networks.n3net import N3NetConfig
from models.training.recipe import Recipe

TINY = N3NetConfig(features=8, depth=2, planes=8, embedding=8, window=5, k=3)
RECIPE = Recipe(crop=40, batch=2, steps=6, learning_rate=2e-3, warmup_steps=2, seed=5)
