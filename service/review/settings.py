"""Settings: sites with their keys, people, webhooks, and the log of what people did. For maintainers.

What is shown once (a key, a link, a secret) is shown in the answer to the form that made it and is kept nowhere. An
account is more than a role on one site: only who maintains every site on which somebody has a role may make a link for
them, disable or delete them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.api import Parts, PartsOf
from service.auth import make_key, make_sign_in_token, sign_in_link, site_url
from service.errors import Forbidden, InvalidRequest, InvalidSettings, NotFound
from service.review.shell import Form, ListedOf, Section, Shell, ShellOf, SignedIn, Viewer, field
from service.statuses import Role, Status
from service.store import Moderator, Site, Webhook
from service.webhooks import OLD_SECRET_STAYS, check_key, check_url, make_secret, ping

SECTION = Section("settings", "Settings", "/review/settings", "configure")

_LINES = 50
_ROLES: tuple[Role, ...] = get_args(Role)
_EVENTS: tuple[Status, ...] = get_args(Status)
_DONE = {
    "site": "The site is there. Make a key for it below.",
    "revoked": "The key has ended.",
    "role": "The role is changed.",
    "taken": "The role is taken away.",
    "added": "They have the role.",
    "disabled": "They are signed out and cannot sign in.",
    "enabled": "They can sign in again.",
    "deleted": "The account is deleted. Verdicts keep the name.",
    "hook": "The webhook is there. Send a test to see whether the plugin takes its key.",
    "removed": "The webhook is removed, with what waited for it.",
}

View = Literal["sites", "people", "webhooks", "log"]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that is shown once: what it is, what to do with it, and for whom it is."""

    title: str
    value: str
    advice: str


@router.get("/review/settings")
def show_settings(
    request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, listed: ListedOf, view: View = "sites"
) -> Response:
    """One of the four lists of settings."""
    return _show(request, shell, viewer, parts, view, before=listed.before, done=_DONE.get(listed.done))


# Sites and keys


@router.post("/review/settings/sites")
def add_site(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Add a site; who adds it becomes its maintainer."""
    viewer.configurable()
    given = field(form, "url")
    try:
        url = site_url(given)
    except InvalidSettings as error:
        return _show(request, shell, viewer, parts, "sites", wrong={"url": str(error)}, given=form, status=422)
    if any(site.url == url for site in parts.store.sites()):
        error_text = f"there is a site {url} already"
        return _show(request, shell, viewer, parts, "sites", wrong={"url": error_text}, given=form, status=422)
    site = parts.store.add_site(url)
    parts.store.people.add(viewer.moderator.name, site, "maintainer", who=viewer.moderator.name)
    return shell.redirect(request, "/review/settings", done="site")


@router.post("/review/settings/keys")
def add_key(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Make a key for a site and show it, this once."""
    site = _site(viewer, form)
    key = make_key(parts.store, site, who=viewer.moderator.name)
    secret = Secret(f"A new key for {site.url}", key, "The site sends it as “Authorization: Bearer KEY”.")
    return _show(request, shell, viewer, parts, "sites", secret=secret)


@router.post("/review/settings/keys/revoke")
def revoke_key(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """End a key at once and for good."""
    site, prefix = _site(viewer, form), field(form, "prefix")
    if prefix not in {key.prefix for key in parts.store.keys(site)}:
        raise NotFound("this site has no such key")
    parts.store.revoke_key(prefix, who=viewer.moderator.name)
    return _back(request, shell, viewer, "sites", "revoked")


# People


@router.post("/review/settings/people")
def add_person(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Give somebody a role on a site; who is new gets a link, which is shown this once."""
    site, name, people = _site(viewer, form), field(form, "name").strip(), parts.store.people
    if not name or len(name) > 200 or not name.isprintable():
        wrong = {"name": "a moderator's name has 1 to 200 visible characters"}
        return _show(request, shell, viewer, parts, "people", wrong=wrong, given=form, status=422)
    if name == viewer.moderator.name:
        wrong = {"name": "this is you; another maintainer changes your role"}
        return _show(request, shell, viewer, parts, "people", wrong=wrong, given=form, status=422)
    try:
        people.find(name)
        is_new = False
    except NotFound:
        is_new = True
    try:
        person = people.add(name, site, _role(form), who=viewer.moderator.name)
    except InvalidSettings as error:
        return _show(request, shell, viewer, parts, "people", wrong={"name": str(error)}, given=form, status=422)
    if not is_new:
        return _back(request, shell, viewer, "people", "added")
    return _show_link(request, shell, viewer, parts, person)


@router.post("/review/settings/people/role")
def change_role(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Another role on a site, or none."""
    site, person = _site(viewer, form), _person(viewer, parts, form)
    if not field(form, "role"):
        parts.store.people.take_role(person.name, site, who=viewer.moderator.name)
        return _back(request, shell, viewer, "people", "taken")
    parts.store.people.add(person.name, site, _role(form), who=viewer.moderator.name)
    return _back(request, shell, viewer, "people", "role")


@router.post("/review/settings/people/link")
def make_link(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Make a link for signing in and show it, this once; an earlier one ends."""
    return _show_link(request, shell, viewer, parts, _account(viewer, parts, form))


@router.post("/review/settings/people/disable")
def disable(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Keep somebody out, at once."""
    parts.store.people.disable(_account(viewer, parts, form).name, who=viewer.moderator.name)
    return _back(request, shell, viewer, "people", "disabled")


@router.post("/review/settings/people/enable")
def enable(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Let somebody in again."""
    parts.store.people.enable(_account(viewer, parts, form).name, who=viewer.moderator.name)
    return _back(request, shell, viewer, "people", "enabled")


@router.post("/review/settings/people/delete")
def delete(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Delete an account; verdicts keep the name."""
    parts.store.people.delete(_account(viewer, parts, form).name, who=viewer.moderator.name)
    return _back(request, shell, viewer, "people", "deleted")


# Webhooks


@router.post("/review/settings/webhooks")
def add_webhook(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Tell an address of changes on a site, and show the secret that signs, this once."""
    site = _site(viewer, form)
    try:
        url = check_url(field(form, "url"), parts.settings.webhook_allow)
    except InvalidSettings as error:
        return _show(request, shell, viewer, parts, "webhooks", wrong={"url": str(error)}, given=form, status=422)
    if field(form, "format") == "akismet":
        try:
            key = check_key(field(form, "key"))
        except InvalidSettings as error:
            return _show(request, shell, viewer, parts, "webhooks", wrong={"key": str(error)}, given=form, status=422)
        parts.store.webhooks.add(site, url, (), key, who=viewer.moderator.name, form="akismet")
        return _back(request, shell, viewer, "webhooks", "hook")
    wanted = [str(each) for each in form.getlist("event")]
    # All of them is what none of them says as well, and stays so when there are more.
    events = tuple(each for each in _EVENTS if each in wanted) if set(wanted) != set(_EVENTS) else ()
    secret = make_secret()
    parts.store.webhooks.add(site, url, events, secret, who=viewer.moderator.name)
    return _show_signing(request, shell, viewer, parts, url, secret)


@router.post("/review/settings/webhooks/rotate")
def rotate(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Sign with a new secret and show it, this once."""
    webhook, secret = _webhook(viewer, parts, form), make_secret()
    parts.store.webhooks.rotate(webhook.id, secret, OLD_SECRET_STAYS, who=viewer.moderator.name)
    return _show_signing(request, shell, viewer, parts, webhook.url, secret)


@router.post("/review/settings/webhooks/remove")
def remove(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Tell an address nothing any more."""
    parts.store.webhooks.remove(_webhook(viewer, parts, form).id, who=viewer.moderator.name)
    return _back(request, shell, viewer, "webhooks", "removed")


@router.post("/review/settings/webhooks/test")
def send_test(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Send a ping now, and say what came back."""
    webhook = _webhook(viewer, parts, form)
    outcome = asyncio.run(ping(webhook, parts.settings.webhook_allow, datetime.now(UTC)))
    if outcome.is_delivered:
        return _show(request, shell, viewer, parts, "webhooks", done=f"The test was taken: {outcome.status}.")
    said = f"The test was not taken: {outcome.error}"
    if outcome.error == "refused_address":
        said += ". The address leads into a private network; list it in MODERATION_WEBHOOK_ALLOW"
    return _show(request, shell, viewer, parts, "webhooks", failed=f"{said}.")


def _site(viewer: Viewer, form: Form) -> Site:
    """The site that a form is about. Raises ``NotFound`` or ``Forbidden``."""
    row = field(form, "of_site")
    site = viewer.find_site(int(row) if row.isascii() and row.isdecimal() and len(row) < 18 else 0)
    viewer.require("configure", site)
    return site


def _role(form: Form) -> Role:
    role = field(form, "role")
    if role not in _ROLES:
        raise InvalidRequest("the role is viewer, moderator or maintainer")
    return role


def _people(viewer: Viewer, parts: Parts) -> list[Moderator]:
    """Who has a role on a site of theirs."""
    urls = {site.url for site in viewer.configurable()}
    return [person for person in parts.store.people.all() if urls & person.roles.keys()]


def _person(viewer: Viewer, parts: Parts, form: Form) -> Moderator:
    """Whom a form is about. Raises ``NotFound``, and ``Forbidden`` for oneself: nobody locks themselves out."""
    name = field(form, "name")
    person = next((each for each in _people(viewer, parts) if each.name == name), None)
    if person is None:
        raise NotFound("there is no such moderator on a site of yours")
    if person.row == viewer.moderator.row:
        raise Forbidden("this is you; another maintainer has to do it")
    return person


def _governs(viewer: Viewer, person: Moderator) -> bool:
    """Whether the whole account is theirs to change: every role of it is on a site that they maintain."""
    return person.roles.keys() <= {site.url for site in viewer.configurable()}


def _account(viewer: Viewer, parts: Parts, form: Form) -> Moderator:
    """Whose account a form is about. Raises ``NotFound`` or ``Forbidden``."""
    person = _person(viewer, parts, form)
    if not _governs(viewer, person):
        raise Forbidden(f"{person.name} also has a role on a site that you do not maintain")
    return person


def _webhook(viewer: Viewer, parts: Parts, form: Form) -> Webhook:
    webhook = parts.store.webhooks.find(field(form, "webhook")) if field(form, "webhook").isprintable() else None
    if webhook is None or webhook.site not in {site.url for site in viewer.configurable()}:
        raise NotFound("there is no such webhook on a site of yours")
    return webhook


def _back(request: Request, shell: Shell, viewer: Viewer, view: View, done: str) -> Response:
    site = viewer.site.row if viewer.site is not None else None
    return shell.redirect(request, "/review/settings", site=site, view=view, done=done)


def _show_link(request: Request, shell: Shell, viewer: Viewer, parts: Parts, person: Moderator) -> Response:
    token, until = make_sign_in_token(parts.store, person, who=viewer.moderator.name)
    here = f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"
    link = sign_in_link(parts.settings.public_url or here, token)
    advice = f"Send it to them. It works once, until {until:%Y-%m-%d %H:%M} UTC; an earlier link has ended."
    return _show(request, shell, viewer, parts, "people", secret=Secret(f"A link for {person.name}", link, advice))


def _show_signing(request: Request, shell: Shell, viewer: Viewer, parts: Parts, url: str, secret: str) -> Response:
    advice = "The site checks every message with it. A secret before it signs beside it for a day."
    return _show(request, shell, viewer, parts, "webhooks", secret=Secret(f"The secret for {url}", secret, advice))


def _show(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    parts: Parts,
    view: View,
    *,
    status: int = 200,
    before: int | None = None,
    secret: Secret | None = None,
    done: str | None = None,
    failed: str | None = None,
    wrong: dict[str, str] | None = None,
    given: Form | None = None,
) -> Response:
    sites = viewer.configurable()
    shown: Sequence[Site] = [site for site in sites if site in viewer.shown]
    urls = {site.url for site in shown}
    values: dict[str, Any] = {}
    if view == "sites":
        values["keys"] = [(site, parts.store.keys(site)) for site in shown]
    elif view == "people":
        found = [person for person in _people(viewer, parts) if urls & person.roles.keys()]
        values["people"] = [(person, _governs(viewer, person)) for person in found]
    elif view == "webhooks":
        hooks = [each for each in parts.store.webhooks.all() if each.site in urls]
        values["webhooks"] = [(each, parts.store.webhooks.deliveries(each)) for each in hooks]
    else:
        # What is about no site in particular (accounts) is for who maintains them all.
        everywhere = {site.row for site in sites} >= {site.row for site in parts.store.sites()}
        about: list[Site | None] = [*shown, None] if everywhere and viewer.site is None else [*shown]
        values["entries"], values["cursor"] = parts.store.logs.page(about, limit=_LINES, before=before)
    return shell.render(
        request,
        "settings.html",
        viewer,
        status=status,
        view=view,
        sites=shown,
        every_site=sites,
        roles=_ROLES,
        events=_EVENTS,
        secret=secret,
        done=done,
        failed=failed,
        wrong=wrong or {},
        given={name: field(given, name) for name in given} if given is not None else {},
        # What was ticked stays so where something else of the form is wrong.
        ticked=_EVENTS if given is None else given.getlist("event"),
        before=before,
        **values,
    )
