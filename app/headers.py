"""What every answer tells the browser: load nothing from elsewhere, guess nothing, frame nothing, keep nothing."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERYWHERE = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with less, a browser would hide the origin of a form, which is checked
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTTPS_ONLY = "max-age=31536000"  # seconds: a year
CACHED = ("/ui/static/", "/static/", "/favicon.ico")
"""The same for everyone: a browser may keep them."""


class Headers:
    """ASGI middleware. What a route sets itself stands."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in EVERYWHERE.items():
                    if name != "Cache-Control" or not scope["path"].startswith(CACHED):
                        headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", HTTPS_ONLY)
                message["headers"] = headers.raw
            await send(message)

        await self.app(scope, receive, fenced)
