"""Who may talk to the labelling page: this machine's browser, on its own pages, and nobody through it.

A page elsewhere in the same browser can send requests to 127.0.0.1. It is met three times: the Host header must name
the loopback address (a DNS name that was rebound to it does not), a request that the browser marks as coming from
another site is refused (Sec-Fetch-Site, Origin), and every change carries a token that only our own pages hold.
"""

import hmac
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mining.errors import ConfigError

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make the browser send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_NAMES = ("127.0.0.1", "localhost", "[::1]")
MAX_BODY_BYTES = 32_000_000


class Guard:
    """ASGI middleware that refuses foreign requests and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in _NAMES} | (set(_NAMES) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no web socket is spoken here

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self.refusal(Request(scope))
        answer: ASGIApp = PlainTextResponse(f"{refusal}\n", status_code=403) if refusal else self.app
        await answer(scope, receive, with_headers)

    def refusal(self, request: Request) -> str:
        """Why a request is refused, '' where it is not."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return f"this server answers to {', '.join(sorted(self.hosts))} only, not to {hosts[:1]}"
        site = request.headers.get("sec-fetch-site", "")
        if request.method in ("GET", "HEAD"):
            # A link on another site may lead here; its scripts, frames and images may not.
            navigation = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
            frame = request.headers.get("sec-fetch-dest", "document") not in ("document", "empty")
            foreign = site in ("cross-site", "same-site") and not (navigation and not frame)
            return "requests from other sites are refused" if foreign else ""
        if request.method != "POST":
            return f"{request.method} is not spoken here"
        origin = request.headers.get("origin")
        own = {f"http://{host}" for host in self.hosts}
        if site not in ("", "same-origin") or (origin is not None and origin.lower() not in own):
            return "changes from other sites are refused"
        if not site and origin is None:
            return "a change must say where it comes from (no Origin and no Sec-Fetch-Site header)"
        return ""


async def read_form(request: Request, token: str) -> dict[str, str]:
    """The fields of a form of ours; ConfigError without the right token, or where it is too large or no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise ConfigError(f"content type {kind!r}: send a form")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ConfigError(f"more than {MAX_BODY_BYTES:,} bytes: import a smaller file")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=40)
    except ValueError as error:
        raise ConfigError(f"the form cannot be read ({error}); reload the page") from None
    form = {name: values[-1] for name, values in fields.items()}
    if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
        raise ConfigError("this page is from before the server was started anew; go back, reload it and label again")
    return form
