"""The memory of labelled pictures: an index of vectors and hashes, and how it votes."""

from __future__ import annotations
