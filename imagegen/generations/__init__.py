"""Generations: one code path for everybody who asks, and what is kept of each in Storage."""

from imagegen.generations.generations import Generations

__all__ = ["Generations"]
