"""Image-text models (CLIP and its kin): pictures and sentences as vectors that can be compared."""

from natix_miner.experts.image_text.model import ImageTextModel
from natix_miner.experts.image_text.prompts import PromptPair, Prompts, load_prompts

__all__ = ["ImageTextModel", "PromptPair", "Prompts", "load_prompts"]
