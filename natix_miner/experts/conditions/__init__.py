"""Conditions of a frame: how dark, hazy, blurred it is, told without judging what it shows."""

from natix_miner.experts.conditions.classifier import ClassifierSettings, ConditionClassifier
from natix_miner.experts.conditions.rules import (
    ALL,
    RULES,
    RULES_VERSION,
    ConditionName,
    step,
    told,
)
from natix_miner.experts.conditions.statistics import SIDE, Statistics, measured

__all__ = [
    "ALL",
    "RULES",
    "RULES_VERSION",
    "SIDE",
    "ClassifierSettings",
    "ConditionClassifier",
    "ConditionName",
    "Statistics",
    "measured",
    "step",
    "told",
]
