"""Campaigns: many rows of prompts become generations, one after another, whoever dies meanwhile."""

from imagegen.campaigns.campaigns import Campaigns

__all__ = ["Campaigns"]
