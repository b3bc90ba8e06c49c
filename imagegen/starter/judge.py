"""Says what a picture shows: a small classifier that learned from drawings, and pixel counts.

The judge never sees a rendered picture while it learns, so it cannot learn the model's mistakes.
"""

from __future__ import annotations

import hashlib
import logging
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import nn
from torch.nn import functional as F

from imagegen.starter.autoencoder import as_pixels
from imagegen.starter.brands import BRUSHES
from imagegen.starter.objects import OBJECTS
from imagegen.starter.scenes import COLOURS, Scene, draw, random_scene

log = logging.getLogger(__name__)

SIDE = 64
STEPS = 1_500
ROWS = 48
Lab = np.ndarray


class Judge(nn.Module):
    """A picture at 64 x 64 in, scores of the 12 objects and the 12 object colours out."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, stride=2, padding=1), nn.SiLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.object = nn.Linear(widths[-1] * 16, len(OBJECTS))
        self.colour = nn.Linear(widths[-1] * 16, len(COLOURS))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.trunk(pixels)
        return self.object(features), self.colour(features)

    @torch.no_grad()
    def verdict(self, picture: Image.Image) -> tuple[str, str]:
        """The object and its colour."""
        objects, colours = self(as_input(picture)[None])
        return OBJECTS[int(objects.argmax())], list(COLOURS)[int(colours.argmax())]


def as_input(picture: Image.Image) -> torch.Tensor:
    """The picture's middle square at 64 x 64, float [3, 64, 64] in -1 … 1."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = picture.crop((left, top, left + side, top + side)).resize(
        (SIDE, SIDE), Image.Resampling.BOX
    )
    return as_pixels([small])[0]


def _example(rng: Random) -> tuple[torch.Tensor, int, int]:
    """A drawn picture, plain or in a brand's manner (colour then -100), a little spoilt."""
    scene: Scene = random_scene(rng)
    colour = list(COLOURS).index(scene.colour)
    if rng.random() < 0.7:
        picture = draw(scene, 128, 128)
    else:
        picture, colour = BRUSHES[rng.choice(list(BRUSHES))](scene, rng, 256, 256), -100
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, picture.width / 100)))
    pixels = as_input(picture)
    return (
        pixels + rng.uniform(0, 0.08) * torch.randn_like(pixels),
        OBJECTS.index(scene.object),
        colour,
    )


def trained_judge(work: Path) -> Judge:
    """The judge, trained once in about three minutes and kept in `work`."""
    judge, kept = Judge(), work / f"judge-{_lesson()}.pt"
    if kept.exists():
        judge.load_state_dict(torch.load(kept, weights_only=True))
        return judge.eval()
    torch.manual_seed(0)
    rng = Random(0)
    optimizer = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=1e-2)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS)
    for step in range(1, STEPS + 1):
        pixels, objects, colours = zip(*(_example(rng) for _ in range(ROWS)), strict=True)
        scores = judge(torch.stack(pixels))
        loss = F.cross_entropy(scores[0], torch.tensor(objects))
        loss = loss + F.cross_entropy(scores[1], torch.tensor(colours))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        decay.step()
        if step % 250 == 0:
            log.info("judge step %d of %d: loss %.3f", step, STEPS, loss.item())
    work.mkdir(parents=True, exist_ok=True)
    torch.save(judge.state_dict(), kept)
    return judge.eval()


def _lesson() -> str:
    """Changes with whatever the judge learns from, so that no stale judge is used."""
    here = Path(__file__).parent
    sources = [here / f"{name}.py" for name in ("judge", "scenes", "objects", "brands")]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]


def hit_rate(judge: Judge, pictures: int = 240, seed: int = 10**6) -> float:
    """How often, in percent, the judge names object and colour of fresh drawings both right."""
    rng = Random(seed)
    scenes = [random_scene(rng) for _ in range(pictures)]
    hits = sum(judge.verdict(draw(each)) == (each.object, each.colour) for each in scenes)
    return 100 * hits / pictures


def background_colour(picture: Image.Image) -> str:
    """The nearest of the 12 names to the median of the border's pixels."""
    pixels = np.asarray(picture, np.float32)
    band = max(2, min(picture.size) // 24)
    inner = np.ones(pixels.shape[:2], bool)
    inner[band:-band, band:-band] = False
    median = np.median(pixels[inner], axis=0)
    return min(COLOURS, key=lambda name: float(np.linalg.norm(median - np.array(COLOURS[name]))))


def to_lab(rgb: np.ndarray) -> Lab:
    """sRGB in 0 … 255 to CIELAB under D65 (CIE 15:2004; matrix of IEC 61966-2-1), last axis 3."""
    linear = np.asarray(rgb, np.float64) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(matrix).T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def palette_distance(picture: Image.Image, palette: tuple[str, ...]) -> float:
    """Mean CIE76 difference of the pixels to the nearest colour of `palette` (#rrggbb)."""
    pixels = to_lab(np.asarray(picture.reduce(2))).reshape(-1, 1, 3)
    named = to_lab(
        np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette])
    )
    return float(np.linalg.norm(pixels - named[None], axis=-1).min(axis=1).mean())
