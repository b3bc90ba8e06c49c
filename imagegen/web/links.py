"""Links in answers: absolute, by the name that the caller has for this service."""

from __future__ import annotations

from urllib.parse import urljoin

from flask import Request
from werkzeug.exceptions import BadRequest

from imagegen.generation import GeneratedImage, Generation


def root_of(request: Request) -> str:
    """What the caller calls this service. Raises BadRequest for a Host that is none."""
    if not request.host:
        raise BadRequest("the Host header does not name a host")
    return request.url_root


def with_absolute_links(generation: Generation, root: str) -> Generation:
    """The same, with links that lead somewhere from outside too."""
    images = tuple(with_absolute_link(image, root) for image in generation.images)
    return generation.model_copy(update={"images": images})


def with_absolute_link(image: GeneratedImage, root: str) -> GeneratedImage:
    """The same of one picture."""
    clean = image.clean
    if clean is not None:
        clean = clean.model_copy(update={"url": urljoin(root, clean.url)})
    return image.model_copy(update={"url": urljoin(root, image.url), "clean": clean})
