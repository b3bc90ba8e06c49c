"""Runs renderings in a process of their own. Knows no torch, no HTTP, no storage."""
