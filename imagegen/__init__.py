"""On-brand pictures on demand: see README.md for use and docs/architecture.md for the house."""

__version__ = "0.1.0"
