"""Access control, rate limits and security headers."""

import asyncio
import dataclasses
import hmac
import http.cookies
import time
import urllib.parse
from typing import Any

from cachetools import LRUCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "inr_gan_viewer_token"
_MOST_CLIENTS = 1024
# OpenSeadragon writes one rule of its own into the page.
_OPENSEADRAGON_STYLE = "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="
_HEADERS = {
    "Content-Security-Policy": f"default-src 'self'; style-src 'self' '{_OPENSEADRAGON_STYLE}'; object-src 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclasses.dataclass(frozen=True)
class AccessSettings:
    """Which requests are answered.

    Attributes:
        hosts: accepted host names, against DNS rebinding; None for all.
        token: required in each request; None for none.
        requests_per_second: of one client, on average.
        burst: of one client, at once.
        send_seconds: time limit of a client for a part of a response.
        may_be_framed: whether other pages, such as a notebook, may show this one in a frame.
    """

    hosts: frozenset[str] | None = None
    token: str | None = None
    requests_per_second: float = 200.0
    burst: float = 800.0
    send_seconds: float = 30.0
    may_be_framed: bool = False


class AccessControl:
    """Middleware that filters requests.

    Args:
        app: the application.
        settings: the bounds.
    """

    def __init__(self, app: ASGIApp, settings: AccessSettings) -> None:
        self._app, self._settings = app, settings
        # Client -> (requests left, at which time).
        self._left: LRUCache[str, tuple[float, float]] = LRUCache(_MOST_CLIENTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or forwards a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, receive, self._bounded(send))
        except TimeoutError:
            # The client reads too slowly; no further answer is possible.
            return

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = self._settings.hosts
        if hosts is not None and _name_of(headers.get("host", "")) not in hosts:
            return _sentence(421, "this viewer does not answer to that host name")
        if not self._has_request_left(scope):
            return _sentence(429, "too many requests from one client; ask again in a second", {"Retry-After": "1"})
        return None if self._settings.token is None else self._token_refusal(scope, headers, self._settings.token)

    def _token_refusal(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in query:
            if not _equal(query["token"][0], token):
                return _sentence(401, "the token is wrong; the viewer printed the URL that contains it")
            # The token is removed from the URL, so that shared links do not contain it.
            answer = RedirectResponse("./", 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="lax")
            return answer
        given = headers.get("authorization", "").removeprefix("Bearer ") or _cookie(headers.get("cookie", ""))
        if not _equal(given, token):
            return _sentence(401, "a token is required; the viewer printed the URL that contains it")
        return None

    def _has_request_left(self, scope: Scope) -> bool:
        client = (scope.get("client") or ("unknown",))[0]
        now = time.monotonic()
        left, then = self._left.get(client, (self._settings.burst, now))
        left = min(self._settings.burst, left + (now - then) * self._settings.requests_per_second)
        self._left[client] = (max(0.0, left - 1), now)
        return left >= 1

    def _bounded(self, send: Send) -> Send:
        async def bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if not self._settings.may_be_framed:
                    headers["X-Frame-Options"] = "SAMEORIGIN"
            async with asyncio.timeout(self._settings.send_seconds):
                await send(message)

        return bounded


def _sentence(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{sentence}\n", status, headers)


def _equal(given: str, token: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())


def _cookie(header: str) -> str:
    cookies: Any = http.cookies.SimpleCookie()
    try:
        cookies.load(header)
    except http.cookies.CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()
