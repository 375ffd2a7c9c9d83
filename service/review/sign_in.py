"""Signing in and out, the first sign-in by a link, and one's own password."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.errors import InvalidRequest, ServiceError, TooManyTries, Unauthorized
from service.review.shell import Form, OpenForm, Shell, ShellOf, SignedIn, Viewer, field
from service.sign_in import MIN_PASSWORD_CHARS

router = APIRouter(include_in_schema=False)

HOME = "/review/"


@router.get("/review/sign-in")
def show_sign_in(request: Request, shell: ShellOf, next: str = "") -> Response:  # the usual name of it
    """The form for name and password."""
    return shell.render(request, "sign_in.html", name="", next=_own_path(next), error=None)


@router.post("/review/sign-in")
def enter(request: Request, shell: ShellOf, form: OpenForm) -> Response:
    """Sign in with name and password, and go on to the page that was wanted."""
    name, wanted = field(form, "name"), _own_path(field(form, "next"))
    try:
        token = shell.sign_in.enter(
            name, field(form, "password"), address=shell.client(request), browser=shell.browser(request)
        )
    except (Unauthorized, TooManyTries) as error:
        return _again(request, shell, "sign_in.html", error, name=name[:200], next=wanted)
    return _go_in(request, shell, name.strip(), token, wanted or HOME)


@router.get("/review/first-sign-in")
def show_first_sign_in(request: Request, shell: ShellOf, token: str = "") -> Response:
    """The form for a first password, for who has a link. Looking at it does not use the link up."""
    moderator = shell.sign_in.who_is_invited(token)
    return _show_choice(request, shell, name=moderator.name, token=token, error=None)


@router.post("/review/first-sign-in")
def choose_password(request: Request, shell: ShellOf, form: OpenForm) -> Response:
    """Use the link: set the password and sign in."""
    token = field(form, "token")
    moderator = shell.sign_in.who_is_invited(token)
    try:
        session = shell.sign_in.choose_password(token, _read_new(form))
    except InvalidRequest as error:
        return _show_choice(request, shell, name=moderator.name, token=token, error=error.message, status=422)
    return _go_in(request, shell, moderator.name, session, HOME)


@router.post("/review/sign-out")
def leave(request: Request, shell: ShellOf, form: OpenForm) -> Response:
    """End this session; with ``everywhere``, every session of the moderator."""
    # Whatever site the address names: a role there may have been taken away meanwhile.
    viewer, token = shell.find_viewer(request, any_site=True), shell.token(request)
    if viewer is not None and field(form, "everywhere"):
        shell.sign_in.leave_everywhere(viewer.moderator)
    if token is not None:
        shell.sign_in.leave(token)
    answer = shell.redirect(request, "/review/sign-in")
    shell.end_session(request, answer)
    return answer


@router.get("/review/account")
def show_account(request: Request, shell: ShellOf, viewer: SignedIn) -> Response:
    """Who is signed in, with which roles, and the form for another password."""
    return _show_account(request, shell, viewer, error=None)


@router.post("/review/account/password")
def change_password(request: Request, shell: ShellOf, viewer: SignedIn, form: Form) -> Response:
    """Set another password, which signs out every other browser."""
    try:
        token = shell.sign_in.change_password(viewer.moderator, field(form, "present"), _read_new(form))
    except Unauthorized:
        return _show_account(request, shell, viewer, error="the present password is not right", status=422)
    except InvalidRequest as error:
        return _show_account(request, shell, viewer, error=error.message, status=422)
    except TooManyTries as error:
        headers = {"Retry-After": str(error.retry_after_seconds)}
        return _show_account(request, shell, viewer, error=error.message, status=429, headers=headers)
    return _go_in(request, shell, viewer.moderator.name, token, "/review/account")


def _go_in(request: Request, shell: Shell, name: str, token: str, path: str) -> Response:
    path, _, query = path.partition("?")
    answer = shell.redirect(request, path)
    if query:
        answer.headers["Location"] += f"?{query}"
    shell.set_session(request, answer, token)
    shell.set_browser(request, answer, name)
    return answer


def _again(request: Request, shell: Shell, template: str, error: ServiceError, **values: Any) -> Response:
    headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
    return shell.render(request, template, status=error.status, headers=headers, error=error.message, **values)


def _show_choice(request: Request, shell: Shell, *, status: int = 200, **values: Any) -> Response:
    return shell.render(request, "first_sign_in.html", status=status, least=MIN_PASSWORD_CHARS, **values)


def _show_account(request: Request, shell: Shell, viewer: Viewer, **values: Any) -> Response:
    return shell.render(request, "account.html", viewer, least=MIN_PASSWORD_CHARS, **values)


def _read_new(form: OpenForm) -> str:
    """A new password, which is written twice. Raises ``InvalidRequest`` where the two differ."""
    password = field(form, "password")
    if password != field(form, "again"):
        raise InvalidRequest("the two passwords are not the same; write it again")
    return password


def _own_path(path: str) -> str:
    """A page of ours to go on to; empty for any other address, which somebody may have put into a link."""
    is_plain = path.isascii() and path.isprintable() and "\\" not in path and "//" not in path
    return path if is_plain and path.startswith("/review/") else ""
