"""Address: where a service is, and who asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from imagegen.client.talk import Answer, Ask, Talk
from imagegen.errors import RenderFailed, ServiceUnreachable, Unauthenticated
from imagegen.problems import ASK_AGAIN_S

IdToken = str | Callable[[], str]

_MOVED = (301, 302, 303, 307, 308)
_HOPS = 5


class Address:
    """A service's address and the caller's credentials, which no other host ever gets."""

    def __init__(self, url: str, api_key: str | None = None, id_token: IdToken | None = None):
        """Raises ServiceUnreachable where `url` is no address, Unauthenticated for no key."""
        if not is_address(url):
            raise ServiceUnreachable(f"{url!r} is no http(s) address", ASK_AGAIN_S)
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise Unauthenticated("the API key holds characters that no key has")
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._id_token = id_token

    def followed(self, ask: Ask) -> Talk[Answer]:
        """The answer, behind redirects if there are any: they keep method and body.

        ask.url: a route (`/brands`), or a link as an answer holds it.
        """
        route = ask.url
        url = self.url + route if route.startswith("/") else urljoin(f"{self.url}/", route)
        for _ in range(_HOPS):
            if not is_address(url):
                raise RenderFailed(f"the service's link {url!r} is no http(s) address")
            headers = {**ask.headers, **self._caller(url)}
            answer: Answer = yield replace(ask, url=url, headers=headers)
            target = answer.headers.get("location")
            if answer.status not in _MOVED or target is None:
                return answer
            moved = urljoin(url, target)
            if _is_same_host(url, moved) and route.startswith("/") and moved.endswith(route):
                self.url = moved.removesuffix(route)  # the next request goes there at once
            url = moved
        raise RenderFailed(f"{self.url} leads from one address to the next without end")

    def _caller(self, url: str) -> dict[str, str]:
        """The headers that say who asks. Links may lead to a bucket: that host gets none."""
        headers = {"User-Agent": "imagegen"}
        if not _is_same_host(self.url, url):
            return headers
        if self._id_token is not None:
            token = self._id_token if isinstance(self._id_token, str) else self._id_token()
            # Cloud Run's check reads the first and passes the second on unread.
            headers["X-Serverless-Authorization"] = f"Bearer {token}"
            headers["Authorization"] = f"Bearer {token}"
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        return headers


def is_address(url: str) -> bool:
    """Whether `url` is an absolute http(s) one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_same_host(ours: str, url: str) -> bool:
    """The same host and port, or the same host behind https after a redirect from http."""
    here, there = urlsplit(ours), urlsplit(url)
    if here.netloc == there.netloc:
        return there.scheme in (here.scheme, "https")
    upgraded = (here.scheme, there.scheme) == ("http", "https")
    return upgraded and here.hostname == there.hostname
