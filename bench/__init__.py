"""How fast it is, against what most people write: see docs/performance.md."""
