"""The policy of a site: as a form and as text, tried on what was decided before it is put in force, and its history."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from moderation.categories import CATEGORIES
from moderation.errors import InvalidPolicy
from moderation.policy import Policy
from service.api import PartsOf
from service.errors import InvalidRequest, NotFound
from service.policies import Policies, Trials, find_place
from service.review import policy_form
from service.review.shell import Form, ListedOf, Section, Shell, ShellOf, SignedIn, Viewer, field
from service.store import PolicyChange, Site

SECTION = Section("policy", "Policy", "/review/policy", "configure")

DAYS = (7, 30, 90)
_COMMENTS = 20
_CHANGES = 10
_STRICTER = re.compile(r"stricter\.\d{1,2}\.[a-z_]+(\.[a-z]+)?")

View = Literal["form", "text", "history"]

router = APIRouter(include_in_schema=False)


def _policies(parts: PartsOf) -> Policies:
    return Policies(parts.store, parts.live_model, now=parts.store.now)


PoliciesOf = Annotated[Policies, Depends(_policies)]


@router.get("/review/policy")
def show_policy(
    request: Request, shell: ShellOf, viewer: SignedIn, policies: PoliciesOf, listed: ListedOf, view: View = "form"
) -> Response:
    """The policy of the site that was chosen; with several and none chosen, which of them follows which."""
    sites = _configurable(viewer)
    if len(sites) > 1:
        rows = [(site, policies.history(site, limit=1), policies.in_force(site) is None) for site in sites]
        return shell.render(request, "policy_sites.html", viewer, sites=rows)
    (site,) = sites
    if view == "history":
        return _show_history(request, shell, viewer, policies, site, listed.before)
    return _show_editor(request, shell, viewer, policies, site, policies.text(site), view=view, done=listed.done)


@router.post("/review/policy/edit")
def edit(request: Request, shell: ShellOf, viewer: SignedIn, policies: PoliciesOf, form: Form) -> Response:
    """Go on with a draft, as a form or as text. Nothing is kept yet."""
    site = _site(viewer)
    toml, filled = _read_draft(form)
    view: View = "text" if field(form, "view") == "text" else "form"
    return _show_editor(request, shell, viewer, policies, site, toml, view=view, filled=filled)


@router.post("/review/policy/check")
def check(request: Request, shell: ShellOf, viewer: SignedIn, policies: PoliciesOf, form: Form) -> Response:
    """Try a draft on what was decided, and ask whether it is to be put in force. Nothing is kept yet."""
    site = _site(viewer)
    toml, filled = _read_draft(form)
    try:
        policy = policies.check(toml, site)
    except InvalidPolicy as error:
        view: View = "form" if filled is not None else "text"
        return _show_editor(
            request, shell, viewer, policies, site, toml, view=view, filled=filled, error=error, status=422
        )
    return _show_check(request, shell, viewer, policies, site, policy, form)


@router.post("/review/policy/again")
def use_again(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Try a policy that was in force before, as any other draft."""
    site, policies = _site(viewer), _policies(parts)
    digest = field(form, "policy")
    # Of this site only: policies of other sites name their authors.
    known = any(digest in (each.digest, each.before) for each in policies.history(site, limit=1000))
    toml = parts.store.policy_toml(digest) if digest and known else None
    if toml is None:
        raise NotFound("this site has had no such policy")
    try:
        policy = policies.check(toml, site)
    except InvalidPolicy as error:
        return _show_editor(request, shell, viewer, policies, site, toml, view="text", error=error, status=422)
    return _show_check(request, shell, viewer, policies, site, policy, form)


@router.post("/review/policy/save")
def save(request: Request, shell: ShellOf, viewer: SignedIn, policies: PoliciesOf, form: Form) -> Response:
    """Put a draft in force on the site, unless somebody else was quicker."""
    site = _site(viewer)
    toml, _ = _read_draft(form)
    try:
        policy = policies.check(toml, site)
    except InvalidPolicy as error:
        return _show_editor(request, shell, viewer, policies, site, toml, view="text", error=error, status=422)
    base = field(form, "base") or None
    if not policies.put(site, policy, who=viewer.moderator.name, instead_of=base):
        return _show_check(request, shell, viewer, policies, site, policy, form, status=409)
    return shell.redirect(request, "/review/policy", site=site.row, done="saved")


@router.post("/review/policy/follow")
def follow(request: Request, shell: ShellOf, viewer: SignedIn, policies: PoliciesOf, form: Form) -> Response:
    """Let the site follow the policy of the service again."""
    site = _site(viewer)
    if not policies.put(site, None, who=viewer.moderator.name, instead_of=field(form, "base") or None):
        raise InvalidRequest("somebody else has put another policy in force meanwhile; look at it first")
    return shell.redirect(request, "/review/policy", site=site.row, done="follows")


def _configurable(viewer: Viewer) -> tuple[Site, ...]:
    """The sites shown whose settings are theirs to change. Raises ``Forbidden`` where there is none."""
    return tuple(site for site in viewer.configurable() if site in viewer.shown)


def _site(viewer: Viewer) -> Site:
    sites = _configurable(viewer)
    if len(sites) != 1:
        raise InvalidRequest("choose a site first")
    return sites[0]


def _read_draft(form: FormData) -> tuple[str, Mapping[str, str] | None]:
    """The text of the draft; with what was filled in where it came from the form.

    Raises ``InvalidRequest`` where the text that the form was made from is no longer TOML.
    """
    toml = _field(form, "toml")
    if field(form, "source") != "form":
        return toml, None
    filled = {name: _field(form, name) for name in form if name in policy_form.FIELDS or _STRICTER.fullmatch(name)}
    try:
        return policy_form.write(toml, filled), filled
    except ValueError:
        raise InvalidRequest("the form cannot be put into the text of this policy; edit it as text") from None


def _field(form: FormData, name: str) -> str:
    """One field, with the line ends of a file; browsers send their own."""
    return field(form, name).replace("\r\n", "\n").replace("\r", "\n")


def _show_editor(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    policies: Policies,
    site: Site,
    toml: str,
    *,
    view: View,
    filled: Mapping[str, str] | None = None,
    error: InvalidPolicy | None = None,
    status: int = 200,
    done: str = "",
) -> Response:
    place = find_place(error, toml) if error is not None else None
    policy, present = None, policies.text(site)
    is_unreadable = policies.in_force(site) is None
    try:
        policy = policies.check(toml, site)
    except InvalidPolicy as fault:
        if is_unreadable and error is None and toml == present:
            error, place = fault, find_place(fault, toml)
        if view == "form" and filled is None:
            # What is no TOML has no fields.
            error, place, view = error or fault, find_place(error or fault, toml), "text"
    values: Mapping[str, str] = {}
    if view == "form":
        values = filled if filled is not None else policy_form.fill(toml)
    named = policy_form.field_of(place.key) if place is not None else None
    lines = policies.lines(policy) if policy is not None else ()
    return shell.render(
        request,
        "policy.html",
        viewer,
        status=status,
        site=site,
        view=view,
        toml=toml,
        base=site.policy_digest or "",
        is_draft=toml != present,
        is_unreadable=is_unreadable,
        values=values,
        entries=policy_form.count_entries(values) + 1,
        categories=[(each, policy_form.category_fields(each.code)) for each in CATEGORIES],
        rules=[
            (title, [item for item in group if item.key in policy_form.FIELDS]) for title, group in policy_form.RULES
        ],
        audit=policy_form.AUDIT,
        lines={each.category.code: each for each in lines},
        has_missing=any(line.missing is not None for each in lines for line in (each.hold, each.reject)),
        error=str(error) if error is not None else None,
        wrong={named: str(error).partition(": ")[2] or str(error)} if named is not None else {},
        place=place,
        wrong_line=_line(toml, place.line) if place is not None else None,
        done=done,
        days=DAYS,
    )


def _line(toml: str, number: int | None) -> str | None:
    lines = toml.split("\n")
    return lines[number - 1] if number is not None and number <= len(lines) else None


def _show_check(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    policies: Policies,
    site: Site,
    policy: Policy,
    form: FormData,
    *,
    status: int = 200,
) -> Response:
    days = next((each for each in DAYS if field(form, "days") == str(each)), 30)
    present = policies.in_force(site)
    trials: Trials = request.app.state.trials
    # Turning the pages of a trial's list asks for that trial.
    upto = field(form, "upto")
    of_trial = int(upto) if field(form, "page") and upto.isascii() and upto.isdecimal() and len(upto) < 19 else None
    trial = trials.of(policies, site, policy, days, of_trial)
    before, after = policies.lines(present) if present is not None else (), policies.lines(policy)
    pages = max(1, -(-len(trial.versions) // _COMMENTS))
    asked = field(form, "page")
    page = min(max(int(asked), 1), pages) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 1
    return shell.render(
        request,
        "policy_check.html",
        viewer,
        status=status,
        site=site,
        toml=policy.toml,
        # Seen anew after a conflict: what is saved then is saved in place of what is shown.
        base=site.policy_digest or "",
        is_same=policy.digest == site.policy_digest,
        is_late=status == 409,
        diff=diff(policies.text(site), policy.toml),
        trial=trial,
        days=days,
        choices=DAYS,
        page=page,
        pages=pages,
        changed=policies.changed(site, trial, (page - 1) * _COMMENTS, page * _COMMENTS),
        has_missing=any(line.missing is not None for each in (*before, *after) for line in (each.hold, each.reject)),
        # Under a policy that cannot be read every comment is held, so there are no lines before.
        lines=[(old, new) for old, new in zip(before or [None] * len(after), after, strict=True)],
    )


def _show_history(
    request: Request, shell: Shell, viewer: Viewer, policies: Policies, site: Site, before: int | None
) -> Response:
    changes = policies.history(site, limit=_CHANGES + 1, before=before)
    shown = changes[:_CHANGES]
    home = policies.of_home().toml

    def describe(change: PolicyChange) -> dict[str, Any]:
        return {"change": change, "diff": diff(change.before_toml or home, change.toml or home)}

    return shell.render(
        request,
        "policy_history.html",
        viewer,
        site=site,
        base=site.policy_digest or "",
        changes=[describe(change) for change in shown],
        is_newest=before is None,
        cursor=shown[-1].row if len(changes) > _CHANGES else None,
    )


def diff(old: str, new: str) -> Sequence[tuple[str, str]]:
    """What differs between two texts: (``+``, ``-``, a blank or ``@``, line)."""
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), n=2, lineterm="")
    lines = [line for line in found if not line.startswith(("---", "+++"))]
    return [("@", "") if line.startswith("@@") else (line[0], line[1:]) for line in lines]
