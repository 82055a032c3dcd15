"""A tiny Qwen3-VL made from nothing: architecture, tokenizer, samples, training, figures.

Needs torch and transformers, which only training and its tests install.
"""

from natix_miner.torch_stack import make_torchvision_importable

make_torchvision_importable()  # before any module of this room imports transformers
