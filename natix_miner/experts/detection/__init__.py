"""What detectors share: result, vocabularies, the way from boxes to a probability."""

from natix_miner.experts.detection.detections import Detections, outline_of
from natix_miner.experts.detection.expert import DetectorExpert
from natix_miner.experts.detection.settings import DetectorSettings, PromptedSettings
from natix_miner.experts.detection.vocabulary import Vocabulary, load_vocabularies

__all__ = [
    "Detections",
    "DetectorExpert",
    "DetectorSettings",
    "PromptedSettings",
    "Vocabulary",
    "load_vocabularies",
    "outline_of",
]
