"""A tiny Qwen3-VL made from nothing: architecture, tokenizer, samples, training, figures.

Needs torch and transformers, which only training and its tests install.
"""
