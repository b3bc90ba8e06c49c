"""IdTokens: who this service is, told to a renderer that only lets its own callers in."""

from __future__ import annotations

import functools
import threading
from typing import Any

from imagegen.errors import ServiceUnreachable
from imagegen.problems import ASK_AGAIN_S

_METADATA_S = 10.0


class IdTokens:
    """Google's ID tokens for one service: of this instance's account, or of a key file's.

    A token is kept until shortly before it ends, as google-auth counts that. Google's library is
    imported with the first one: where the renderer is on this machine nobody needs it.
    """

    def __init__(self, audience: str) -> None:
        """audience: the address of the service that is to be called."""
        self._audience = audience
        self._lock = threading.Lock()  # guards the credentials; whoever waits needs the same token
        self._credentials: Any = None

    def token(self) -> str:
        """Raises ServiceUnreachable where nobody gives one."""
        from google.auth.exceptions import GoogleAuthError

        with self._lock:
            try:
                return self._token()
            except GoogleAuthError as error:
                raise ServiceUnreachable(
                    f"no ID token for {self._audience}: {error}", ASK_AGAIN_S
                ) from None

    def _token(self) -> str:
        from google.auth.transport.requests import Request
        from google.oauth2.id_token import fetch_id_token_credentials

        request = functools.partial(Request(), timeout=_METADATA_S)
        if self._credentials is None:
            self._credentials = fetch_id_token_credentials(self._audience, request)
        if not self._credentials.valid:
            self._credentials.refresh(request)
        token: str = self._credentials.token
        return token
