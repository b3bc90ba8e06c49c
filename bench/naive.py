"""The naive server: what most people write. One route, one lock, a LoRA loaded for each request.

    gunicorn --worker-class gthread --threads 32 bench.naive:app

NAIVE_MODEL: a folder in diffusers' layout; NAIVE_LORAS: JSON, brand to file; NAIVE_DTYPE.
"""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from flask import Flask, Response, request

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LORAS = {brand: Path(path) for brand, path in json.loads(os.environ["NAIVE_LORAS"]).items()}

app = Flask(__name__)
lock = threading.Lock()
pipe = StableDiffusionPipeline.from_pretrained(
    os.environ["NAIVE_MODEL"], dtype=getattr(torch, os.environ["NAIVE_DTYPE"])
).to(DEVICE)
pipe.set_progress_bar_config(disable=True)


@app.get("/livez")
def alive() -> str:
    return "ok"


@app.post("/generate")
def generate() -> Response:
    asked = request.get_json()
    lora = LORAS[asked["brand"]]
    with lock:
        # not the brand's name: PEFT keeps adapters as attributes, and fails for one called "pop"
        pipe.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="lora")
        pipe.set_adapters("lora")
        image = pipe(
            asked["prompt"],
            width=asked["width"],
            height=asked["height"],
            num_inference_steps=asked["num_inference_steps"],
            guidance_scale=asked["guidance_scale"],
            generator=torch.Generator("cpu").manual_seed(asked["seed"]),
        ).images[0]
        pipe.unload_lora_weights()
    file = io.BytesIO()
    image.save(file, "PNG")
    return Response(file.getvalue(), mimetype="image/png")
