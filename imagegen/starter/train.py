"""Trains the starter model from nothing: `python -m imagegen.starter.train STAGE --work DIR`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from imagegen.starter import autoencoder

AUTOENCODER_PHASES = (
    autoencoder.Phase(crop_px=64, rows=8, until=9_000),
    autoencoder.Phase(crop_px=128, rows=2, until=11_500),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["autoencoder"])
    parser.add_argument("--work", type=Path, default=Path("build/starter"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.work.mkdir(parents=True, exist_ok=True)
    autoencoder.train(arguments.work, AUTOENCODER_PHASES)


if __name__ == "__main__":
    main()
