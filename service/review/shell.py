"""What every page shares: who is signed in and for which sites, templates, addresses, forms, and pages for errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.formparsers import FormParser, MultiPartException

from moderation.categories import CATEGORIES
from service.auth import hash_token
from service.errors import Forbidden, NotFound, NotSignedIn, ServiceError, TooLarge
from service.hashes import Hashes
from service.review.assets import Assets
from service.settings import Settings
from service.sign_in import KNOWN_FOR, SignIn, may, require
from service.statuses import Right
from service.store import Moderator, Session, Site, Store
from service.tries import client_network

MAX_FORM_BYTES = 1024 * 1024
MAX_OPEN_FORM_BYTES = 16 * 1024
MAX_FORM_FIELDS = 2000
"""More than a batch of all that may be judged together has: a tick for each, and what else the form holds."""

# What an address may ask for that says the same on every site; and what does on the site where the id is known.
_EVERYWHERE = frozenset(
    {"sort", "category", "reason", "lang", "since", "until", "text", "low", "high", "days", "view", "status"}
)
_IDS = frozenset({"post", "author"})
_FAULTS_FROM = 400

_TEMPLATES = Path(__file__).parent / "templates"

# Title and what to do, by the status of the answer.
_ERRORS: Mapping[int, tuple[str, str]] = {
    401: ("Not signed in", "Sign in and try again."),
    403: ("Not permitted", "Ask a maintainer of the site if you need this."),
    404: ("Nothing here", "It may have been erased, or the address has a slip. The queue has everything that waits."),
    405: ("Nothing here", "Go back to the queue."),
    409: ("Somebody was quicker", "Go on with the next comment in the queue."),
    410: ("Erased", "The comment is gone for good. Go on with the next one in the queue."),
    413: ("Too long", "Shorten it and send it again."),
    422: ("That cannot be taken", "Go back, correct what is named here, and send it again."),
    429: ("Too many tries", "Wait a moment, then try again."),
    503: (
        "The database does not answer",
        "Nothing was changed. Try again in a moment; if it stays, tell the operator.",
    ),
}
_ERRORS_BY_CODE: Mapping[str, tuple[str, str]] = {
    "text_changed": (
        "The text has changed",
        "Nothing was decided. Go back, load the page again and read it.",
    ),
    "verdict_stands": ("That cannot be taken back", "The page of the comment says what was decided, by whom and when."),
}
_FAULT = ("A fault of the service", "Nothing was changed. Try again; if it stays, tell the operator, whose log has it.")


@dataclass(frozen=True, slots=True)
class Section:
    """A place in the navigation. Only those who have the ``right`` on one of their sites see it."""

    name: str
    label: str
    path: str
    right: Right = "read"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is signed in, the sites that are theirs, and the one they chose with ``?site=``, if they chose one."""

    session: Session
    sites: tuple[Site, ...]
    site: Site | None

    @property
    def moderator(self) -> Moderator:
        """The person."""
        return self.session.moderator

    @property
    def shown(self) -> tuple[Site, ...]:
        """The sites that a page is about: the chosen one, or all of theirs."""
        return (self.site,) if self.site is not None else self.sites

    def may(self, right: Right, site: Site | None = None) -> bool:
        """Whether they may do that on a site, or on any of the sites shown."""
        return any(may(self.moderator, right, each) for each in ((site,) if site is not None else self.shown))

    def require(self, right: Right, site: Site) -> None:
        """Raise ``Forbidden``, or ``NotFound`` where the site is not one of theirs."""
        require(self.moderator, right, site)

    def configurable(self) -> tuple[Site, ...]:
        """All sites whose settings are theirs to change. Raises ``Forbidden`` without any, or for the chosen."""
        if self.site is not None:
            self.require("configure", self.site)
        sites = tuple(site for site in self.sites if self.may("configure", site))
        if not sites:
            raise Forbidden("this needs the role of a maintainer on at least one site")
        return sites

    def find_site(self, row: int) -> Site:
        """One of their sites by its number. Raises ``NotFound``, also for sites of others."""
        found = next((site for site in self.sites if site.row == row), None)
        if found is None:
            raise NotFound("there is no such site among yours")
        return found


@dataclass(frozen=True, slots=True)
class Listed:
    """What the address of a page with lists says: before which line its list begins, and what a form has just done."""

    before: int | None
    done: str


def read_listed(
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None, done: Annotated[str, Query(max_length=20)] = ""
) -> Listed:
    """That part of an address."""
    return Listed(before, done)


ListedOf = Annotated[Listed, Depends(read_listed)]


class Shell:
    """Renders pages. ``create_app`` puts one into ``app.state.shell``."""

    def __init__(self, settings: Settings, store: Store, hashes: Hashes, sections: Sequence[Section]) -> None:
        self.sign_in = SignIn(store, settings, hashes)
        self._proxies = settings.trusted_proxies
        self.assets = Assets()
        self._store = store
        self._idle = timedelta(hours=settings.session_hours)
        self._sections = tuple(sections)
        self._public = urlsplit(settings.public_url) if settings.public_url else None
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": _ago,
            "percent": _percent,
            "number": _number,
            "host": _host,
            "capital": _capital,
        }
        self._environment.globals |= {
            "category_names": {each.code: each.label for each in CATEGORIES},
            "hostile_codes": {each.code for each in CATEGORIES if "hostile" in (each.code, each.parent)},
        }

    def render(
        self,
        request: Request,
        template: str,
        viewer: Viewer | None = None,
        *,
        status: int = 200,
        fragment: str | None = None,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """A page, or one block of its template (``fragment``) for htmx to put into the page that is there."""

        def link(path: str, **query: Any) -> str:
            chosen = {"site": viewer.site.row} if viewer is not None and viewer.site is not None else {}
            return self.address(request, path, **(chosen | query))

        context = {
            "viewer": viewer,
            "sections": [] if viewer is None else [each for each in self._sections if viewer.may(each.right)],
            "link": link,
            "asset": lambda name: self.address(request, self.assets.path(name)),
            "same_on": lambda site: self._same_on(request, site, is_fault=status >= _FAULTS_FROM),
            "now": self._store.now(),
            **values,
        }
        # Given rather than imported by the templates: a block that is rendered alone has no imports.
        context["parts"] = self._environment.get_template("parts.html").make_module(context)
        page = self._environment.get_template(template)
        blocks = page.blocks[fragment](page.new_context(context)) if fragment is not None else [page.render(context)]
        return HTMLResponse("".join(blocks), status, dict(headers or {}))

    def _same_on(self, request: Request, site: Site | None, *, is_fault: bool) -> str:
        """Where the same is shown for one site, or for all: here, with what was asked for where that makes sense.

        For a page that answers a form, which cannot be asked for, it is where the form came from.
        """
        chosen = {} if site is None else {"site": str(site.row)}
        if request.method != "GET":
            paths = [each.path for each in self._sections if request.url.path.startswith(each.path.rstrip("/"))]
            return self.address(request, max(paths, key=len, default="/review/"), **chosen)
        kept = _EVERYWHERE | (_IDS if site is None else set())
        asked = (
            {} if is_fault else {name: value for name, value in request.query_params.items() if name in kept and value}
        )
        # The path as the browser has it stays as it is.
        return f"?{urlencode(asked | chosen)}"

    def address(self, request: Request, path: str, **query: Any) -> str:
        """A path of ours as the browser names it, below the prefix of a proxy. What is ``None`` is left out."""
        prefix = self._public.path if self._public is not None else request.scope.get("root_path", "")
        given = {name: value for name, value in query.items() if value is not None}
        return f"{prefix}{path}{'?' + urlencode(given) if given else ''}"

    def redirect(self, request: Request, path: str, **query: Any) -> Response:
        """Go on to another page of ours; the browser gets it with GET."""
        address = self.address(request, path, **query)
        if is_htmx(request):
            return Response(status_code=204, headers={"HX-Redirect": address})
        return RedirectResponse(address, 303)

    def is_secure(self, request: Request) -> bool:
        """Whether the browser reaches us over TLS."""
        return request.url.scheme == "https" or (self._public is not None and self._public.scheme == "https")

    def is_our_origin(self, request: Request, origin: str) -> bool:
        """Whether an ``Origin`` names this service. Only hosts are compared: a proxy may have ended TLS."""
        host = urlsplit(origin).netloc.lower()
        ours = {request.headers.get("host", "").lower()} | ({self._public.netloc.lower()} if self._public else set())
        return bool(host) and host in ours

    def cookie_name(self, request: Request) -> str:
        """The name of the session's cookie. With the prefix browsers let no other host or path set it."""
        return "__Host-moderation" if self.is_secure(request) else "moderation"

    def set_session(self, request: Request, response: Response, token: str) -> None:
        """Keep a session in the browser, until it ends here."""
        response.set_cookie(
            self.cookie_name(request),
            token,
            path="/",
            httponly=True,
            secure=self.is_secure(request),
            samesite="lax",
        )

    def set_browser(self, request: Request, response: Response, name: str) -> None:
        """Keep in the browser that somebody has signed in here: it is no stranger's then."""
        response.set_cookie(
            self._browser_cookie(request),
            self.sign_in.know(name),
            max_age=int(KNOWN_FOR.total_seconds()),
            path="/",
            httponly=True,
            secure=self.is_secure(request),
            samesite="lax",
        )

    def browser(self, request: Request) -> str:
        """What :meth:`set_browser` has kept; empty where there is nothing."""
        return request.cookies.get(self._browser_cookie(request), "")

    def client(self, request: Request) -> str | None:
        """What counts as one client when tries are limited; ``None`` where it is not known."""
        return client_network(request.client.host if request.client is not None else None, self._proxies)

    def _browser_cookie(self, request: Request) -> str:
        return f"{self.cookie_name(request)}-browser"

    def end_session(self, request: Request, response: Response) -> None:
        """Take the session out of the browser."""
        response.delete_cookie(
            self.cookie_name(request), path="/", httponly=True, secure=self.is_secure(request), samesite="lax"
        )

    def token(self, request: Request) -> str | None:
        """The session's token that the browser sent."""
        return request.cookies.get(self.cookie_name(request))

    def find_viewer(self, request: Request, *, any_site: bool = False) -> Viewer | None:
        """Who asks; ``None`` where nobody is signed in.

        Raises ``NotFound`` for a site that is not theirs, unless the site does not matter (``any_site``).
        """
        token = self.token(request)
        return self._view(request, self.sign_in.find(token) if token else None, any_site=any_site)

    def find_listener(self, request: Request) -> Viewer | None:
        """The same for what goes on by itself while nobody clicks: the session ends as if it had not asked."""
        token = self.token(request)
        session = self._store.sessions.find(hash_token(token), self._idle, is_use=False) if token else None
        return self._view(request, session)

    def _view(self, request: Request, session: Session | None, *, any_site: bool = False) -> Viewer | None:
        if session is None:
            return None
        mine = [site for site in self._store.sites() if may(session.moderator, "read", site)]
        viewer = Viewer(session, tuple(sorted(mine, key=lambda site: site.url)), None)
        chosen = request.query_params.get("site")
        if chosen is None or any_site:
            return viewer
        row = int(chosen) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 18 else 0
        return Viewer(session, viewer.sites, viewer.find_site(row))

    def render_error(self, request: Request, error: ServiceError) -> Response:
        """What went wrong, as a page in the shell; for htmx, as a message beside the page that is there.

        Blocks: call it in a thread.
        """
        headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
        if isinstance(error, NotSignedIn):
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            wanted = path if request.method == "GET" and not is_htmx(request) else None
            answer = self.redirect(request, "/review/sign-in", next=wanted)
            self.end_session(request, answer)
            return answer
        title, advice = _ERRORS_BY_CODE.get(error.code) or _ERRORS.get(error.status, _FAULT)
        if is_htmx(request):
            headers |= {"HX-Retarget": "#toasts", "HX-Reswap": "beforeend"}
        viewer: Viewer | None = getattr(request.state, "viewer", None)
        if viewer is None:
            try:
                viewer = self.find_viewer(request, any_site=True)
            except ServiceError:
                viewer = None  # the page says what is wrong without saying who asks
        return self.render(
            request,
            "error.html",
            viewer,
            status=error.status,
            fragment="toast" if is_htmx(request) else None,
            headers=headers,
            title=title,
            advice=advice,
            message=error.message,
            details=error.details,
        )


def is_htmx(request: Request) -> bool:
    """Whether htmx asks, which wants a piece of a page."""
    return request.headers.get("hx-request") == "true"


def shell_of(request: Request) -> Shell:
    """The shell of the application that a request reached."""
    return cast("Shell", request.app.state.shell)


ShellOf = Annotated[Shell, Depends(shell_of)]


def require_viewer(request: Request, shell: ShellOf) -> Viewer:
    """Who is signed in. Raises ``NotSignedIn``, which leads to the page for it."""
    viewer = shell.find_viewer(request)
    if viewer is None:
        raise NotSignedIn
    request.state.viewer = viewer
    return viewer


SignedIn = Annotated[Viewer, Depends(require_viewer)]


async def _read_form(request: Request, most_bytes: int) -> FormData:
    """The fields of a form (``application/x-www-form-urlencoded``). Raises ``TooLarge``."""

    async def limited() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                raise TooLarge(f"the form is longer than {most_bytes:,} bytes")
            yield chunk

    parser = FormParser(request.headers, limited())
    parser.max_fields = MAX_FORM_FIELDS  # which not every version takes as an argument
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise TooLarge(f"the form has more than {MAX_FORM_FIELDS:,} fields") from error


async def read_form(request: Request) -> FormData:
    """A form that anybody may send: it is short, because all requests wait while it is read."""
    return await _read_form(request, MAX_OPEN_FORM_BYTES)


async def read_form_signed_in(request: Request, _viewer: SignedIn) -> FormData:
    """Any other form; nothing is read from who is not signed in."""
    return await _read_form(request, MAX_FORM_BYTES)


OpenForm = Annotated[FormData, Depends(read_form)]
"""The form of a page for which nobody has to be signed in."""

Form = Annotated[FormData, Depends(read_form_signed_in)]
"""The form of every other page."""


def field(form: FormData, name: str) -> str:
    """One field of a form as text; empty where it was left out."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _ago(moment: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: ``3 h``."""
    seconds = max(0.0, (now - moment).total_seconds())
    for size, unit in ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")


def _capital(sentence: str) -> str:
    """A sentence with a capital at its beginning, as it stands alone on a page."""
    return sentence[:1].upper() + sentence[1:]


def _host(url: str) -> str:
    """A site's address as people call it."""
    parts = urlsplit(url)
    return parts.netloc + parts.path
