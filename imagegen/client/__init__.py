"""The Python client: `Client` and `AsyncClient` ask an imagegen service for pictures.

Needs httpx2 and pydantic, neither torch nor Flask. Failures are the classes of `imagegen.errors`.
"""

from imagegen.client.answers import AsyncPicture, AsyncPictures, Ended, Picture, Pictures
from imagegen.client.asynchronous import AsyncClient
from imagegen.client.blocking import Client

__all__ = [
    "AsyncClient",
    "AsyncPicture",
    "AsyncPictures",
    "Client",
    "Ended",
    "Picture",
    "Pictures",
]
