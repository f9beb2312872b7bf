"""The page on which a person labels URL prefixes and audits pages: `motherlode annotate RUN`.

Plain pages and forms made on the server, so that every view is an address, the back button works and two tabs show
the same files; JavaScript adds the keys. What people say goes to label_log.Book at every press, and nowhere else.
"""

import getpass
import importlib.resources
import json
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jinja2
import uvicorn
from fastapi import FastAPI
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from mining.annotate import UNATTENDED
from mining.errors import ConfigError, MotherlodeError
from mining.inspect import formats
from mining.inspect.label_log import PAGES, PREFIXES, Act, Book
from mining.inspect.labelling import labels_file
from mining.inspect.tables import open_run
from mining.inspect.web_charts import share_bar
from mining.inspect.web_data import ORDERS, SHOWN, RunData
from mining.inspect.web_guard import Guard, read_form
from mining.inspect.web_views import Asked, Views, list_address, list_query
from mining.store import now
from mining.url import host_of, prefix_parts

_NAME = re.compile(r"[\w][\w .@+-]{0,39}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")
_LABEL_WORDS = ("math", "not_math", "skip")


@dataclass(frozen=True)
class Settings:
    """What `motherlode annotate` was told."""

    run: Path
    port: int
    annotator: str
    labels: Path | None = None
    """Another labels.csv than the run's."""


def check_annotator(name: str) -> str:
    """`name` where a person may sign labels with it; ConfigError else."""
    if not _NAME.fullmatch(name.strip()):
        raise ConfigError(f"annotator {name[:60]!r}: give letters, digits, blanks and . @ + - _, at most 40")
    if name.strip().lower() in UNATTENDED:
        raise ConfigError(f"annotator {name.strip()}: mine.py signs its own labels so; give another name")
    return name.strip()


def login_name() -> str:
    """The user's name on this machine, `person` where it has none that could sign a label."""
    try:
        return check_annotator(getpass.getuser())
    except (OSError, KeyError, ConfigError):
        return "person"


class Site:
    """One run being labelled: its data, the two books, and how its pages are made."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.annotator = check_annotator(settings.annotator)
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"annotator_{settings.port}"  # cookies do not know ports: two servers would share one
        run = open_run(settings.run)
        self.unused = ""
        try:
            file = settings.labels or labels_file(run)
        except ConfigError:
            asked = run.manifest["config"]["labels"]["annotator"]
            file = settings.run / "labels.csv"
            self.unused = (
                f"This run was mined with --labels.annotator {asked}: it reads {file.name} once mine.py "
                "runs on with --labels.annotator file --rerun true."
            )
        self.labels = Book(file, PREFIXES)
        self.audits = Book(settings.run / "audits.csv", PAGES)
        self.views = Views(RunData(settings.run), self.labels, self.audits)
        self.templates = _templates()

    def asked(self, request: Request) -> Asked:
        """Who asks, and for which part of the list; values that no page of ours sends count as the defaults."""
        query = request.query_params
        name = unquote(request.cookies.get(self.cookie, ""))
        try:
            annotator = check_annotator(name) if name else self.annotator
        except ConfigError:
            annotator = self.annotator
        page = query.get("page", "1")
        return Asked(
            annotator=annotator,
            show=query["show"] if query.get("show") in SHOWN else "todo",
            sort=query["sort"] if query.get("sort") in ORDERS else "tokens",
            search=query.get("q", "")[:200],
            page=max(1, min(int(page), 1_000_000)) if page.isdecimal() and len(page) < 8 else 1,
        )

    def page(self, template: str, request: Request, view: Mapping[str, Any], *, status: int = 200) -> Response:
        """A template filled with a view and with what every page shows."""
        asked = self.asked(request)
        text = self.templates.get_template(template).render(
            run_name=self.settings.run.resolve().name,
            token=self.token,
            asked=asked,
            list_query=list_query(asked),
            unused=self.unused,
            here=request.url.path,
            **view,
        )
        return Response(text.encode("utf-8", "replace"), status_code=status, media_type="text/html; charset=utf-8")

    def state(self) -> str:
        """Changes whenever a label is given, by whichever tab or server."""
        return json.dumps([self.labels.signature(), self.audits.signature()], default=str)

    # -- changes

    def label(self, form: Mapping[str, str]) -> str:
        """Enter a person's word on a prefix; the address to go to next."""
        target = unquote(form.get("target", ""))
        if not prefix_parts(target).host or _UNSEEN.search(target) or len(target) > 2000:
            raise ConfigError(f"{target[:200]!r}: not a URL prefix; write host/path")
        self.labels.write([self._act(form, target.partition("://")[2] or target)])
        return self.views.after_label(asked_in(form), form.get("host", ""), target)

    def audit(self, form: Mapping[str, str]) -> str:
        """Enter a person's word on a page; the address of the next one."""
        page = self.views.audited_page(form.get("page_id", ""))
        if page is None:
            raise ConfigError(f"{form.get('page_id', '')[:80]!r}: not a page of this round's sample; reload the page")
        act = self._act(form, page["url"], round_number=page["round"], score=page["score"])
        self.audits.write([act])
        return "/audit?" + list_query(asked_in(form)) if form.get("show") == "second" else "/audit"

    def undo(self, form: Mapping[str, str]) -> str:
        """Take back the annotator's newest act; the address of what it was about."""
        annotator = check_annotator(form.get("annotator", ""))
        pages = form.get("kind") == "page"
        book = self.audits if pages else self.labels
        trail = book.standing().trail.get(annotator, [])
        last = trail[-1] if trail else None
        book.write([Act(now(), annotator, "undo", "")])
        if pages or last is None:
            return "/audit" if pages else list_address(asked_in(form))
        return self.views.host_address(asked_in(form), last.target)

    def take_in(self, form: Mapping[str, str]) -> str:
        """Import a labels.csv: its rows become the labels of the annotators that they name."""
        own = check_annotator(form.get("annotator", ""))
        rows = PREFIXES.read(form.get("csv", ""))
        acts = [Act(a.at or now(), a.annotator or own, "file", a.target, a.label, note=a.note) for a in rows]
        return f"/agreement?rows={len(rows)}&new={len(self.labels.write(acts))}"

    def _act(self, form: Mapping[str, str], target: str, *, round_number: int = 0, score: float | None = None) -> Act:
        label = form.get("label", "")
        if label not in _LABEL_WORDS:
            raise ConfigError(f"label {label!r}: write one of {', '.join(_LABEL_WORDS)}")
        annotator = check_annotator(form.get("annotator", ""))
        action, label = ("skip", "") if label == "skip" else ("label", label)
        note = formats.printable(form.get("note", ""))[:500]
        return Act(now(), annotator, action, target, label, round_number, score, note)


def asked_in(form: Mapping[str, str]) -> Asked:
    """The same out of a form's fields."""
    show, sort = form.get("show", ""), form.get("sort", "")
    return Asked(
        annotator=check_annotator(form.get("annotator", "")),
        show=show if show in SHOWN else "todo",
        sort=sort if sort in ORDERS else "tokens",
        search=form.get("q", "")[:200],
        page=1,
    )


def make_app(settings: Settings) -> FastAPI:
    """The application; requests come one at a time to the run's tables."""
    site = Site(settings)
    app = FastAPI(title="motherlode annotate", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, port=settings.port)
    app.state.site = site
    views = site.views

    def show(template: str, make: Callable[[Asked, Request], Mapping[str, Any] | None]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            def work() -> Response:
                with views.data.lock:
                    views.data.refresh()
                    view = make(site.asked(request), request)
                if view is None:
                    raise ConfigError(f"{unquote(request.url.path)}: this round has no such host or page")
                return site.page(template, request, view)

            return await guarded(request, work)

        return answer

    async def guarded(request: Request, work: Callable[[], Response]) -> Response:
        try:
            return await run_in_threadpool(work)
        except MotherlodeError as error:
            return site.page("annotate_error.html", request, {"message": str(error)}, status=400)

    def change(make: Callable[[Mapping[str, str]], str]) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            try:
                form = await read_form(request, site.token)
            except ConfigError as error:
                return site.page("annotate_error.html", request, {"message": str(error)}, status=403)

            def work() -> Response:
                with views.data.lock:
                    return RedirectResponse(make(form), status_code=303)

            return await guarded(request, work)

        return answer

    async def rename(request: Request) -> Response:
        try:
            form = await read_form(request, site.token)
            name = check_annotator(form.get("name", ""))
        except ConfigError as error:
            return site.page("annotate_error.html", request, {"message": str(error)}, status=403)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(site.cookie, quote(name), samesite="strict", httponly=True, max_age=30 * 86400)
        return answer

    def download(book: Book) -> Callable[..., Any]:
        async def answer(request: Request) -> Response:
            def work() -> Response:
                text = book.table.write(list(book.standing().table().values()))
                headers = {"Content-Disposition": f'attachment; filename="{book.table.name}"'}
                return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

            return await guarded(request, work)

        return answer

    async def state(request: Request) -> Response:
        return JSONResponse({"state": site.state()})

    pages: dict[str, Callable[..., Any]] = {
        "/": show("annotate_queue.html", lambda asked, _: views.queue(asked)),
        "/host/{host}": show(
            "annotate_host.html",
            lambda asked, r: views.host(
                asked, r.path_params["host"], r.query_params.get("prefix", ""), r.query_params.get("draw", "0")
            ),
        ),
        "/page/{page_id}": show("annotate_page.html", lambda asked, r: views.page(r.path_params["page_id"])),
        "/audit": show("annotate_audit.html", lambda asked, _: views.audit(asked)),
        "/agreement": show("annotate_agreement.html", lambda asked, r: views.agreement(dict(r.query_params))),
        "/labels.csv": download(site.labels),
        "/audits.csv": download(site.audits),
        "/state": state,
    }
    for path, answer in pages.items():
        app.add_api_route(path, answer, methods=["GET"], response_model=None)
    changes = {"/label": site.label, "/audit": site.audit, "/undo": site.undo, "/import": site.take_in}
    for path, make in changes.items():
        app.add_api_route(path, change(make), methods=["POST"], response_model=None)
    app.add_api_route("/annotator", rename, methods=["POST"], response_model=None)
    for name, kind in (("annotate.css", "text/css"), ("annotate.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        app.add_api_route(f"/static/{name}", _static(name, kind), methods=["GET"], response_model=None)
    return app


def _static(name: str, kind: str) -> Callable[[], Any]:
    text = importlib.resources.files("mining.inspect").joinpath("static", name).read_text(encoding="utf-8")

    async def answer() -> Response:
        return PlainTextResponse(text, media_type=f"{kind}; charset=utf-8")

    return answer


def _templates() -> jinja2.Environment:
    def finalize(value: object) -> object:
        """Text that pages wrote, made harmless to read; our own markup as it is."""
        if isinstance(value, Markup) or not isinstance(value, str):
            return "" if value is None else value
        return formats.printable(value)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mining.inspect", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters.update(
        count=formats.count, compact=formats.compact, percent=formats.percent, logit=formats.logit,
        number=formats.number, bar=share_bar, host_of=host_of, web_url=web_url,
    )  # fmt: skip
    return environment


def web_url(url: str) -> str:
    """`url` where a browser may follow it to the web, '' for every other scheme."""
    return url if re.match(r"https?://[^\s/]", url, re.IGNORECASE) else ""


def serve(settings: Settings, *, open_browser: bool) -> None:
    """Serve until interrupted; the address is printed once the port is open. ConfigError where it cannot be had."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", settings.port))
        listener.listen()  # whoever reads the address below may knock at once
    except OSError as error:
        raise ConfigError(
            f"--port {settings.port}: cannot be had ({error.strerror}); give another, 0 for any"
        ) from None
    port = listener.getsockname()[1]
    app = make_app(Settings(settings.run, port, settings.annotator, settings.labels))
    address = f"http://127.0.0.1:{port}/"
    print(f"{address}  (labels go to {app.state.site.labels.file}; Ctrl-C ends)", flush=True)
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", server_header=False)
    uvicorn.Server(config).run(sockets=[listener])
