"""The checked list of models: which exist, where from, how large; and fetching them."""

from natix_miner.catalogue.catalogue import Catalogue, Entry, load_catalogue
from natix_miner.catalogue.model import KINDS, Asset, Checkpoint, Model, Parameters, Shape
from natix_miner.catalogue.resolve import ResolvedModel, is_path, located, resolve_model

__all__ = [
    "KINDS",
    "Asset",
    "Catalogue",
    "Checkpoint",
    "Entry",
    "Model",
    "Parameters",
    "ResolvedModel",
    "Shape",
    "is_path",
    "load_catalogue",
    "located",
    "resolve_model",
]
