"""Weights of models that run in the miner's own process: where they lie, how they are placed."""
