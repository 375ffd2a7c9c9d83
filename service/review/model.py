"""The model in use: what it is, how good it was found to be, where the lines lie on it, and which came before.

Everything is to be looked at, but for who maintains every site of the service: they may go back to the bundle that
served before, have the model retrained, read the reports of it, and publish what the gate leaves to a person.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup
from starlette.datastructures import FormData

from moderation.bundle import Bundle, encoder_folder
from moderation.categories import CATEGORIES, CODES
from moderation.comment import Scores
from moderation.errors import BundleError, ModerationError, ReleaseRefused
from moderation.goals import TIERS
from moderation.record import InForce
from moderation.releases import Releases
from service.api import Parts, PartsOf
from service.errors import Forbidden, InvalidRequest, NotFound
from service.policies import Policies
from service.review.charts import draw_curve, draw_reliability
from service.review.doubts import read_doubts
from service.review.shell import Form, Section, Shell, ShellOf, SignedIn, Viewer, field
from service.shadow import report
from service.statuses import STATUS_AFTER

_log = logging.getLogger(__name__)

SECTION = Section("model", "Model", "/review/model", "configure")

View = Literal["figures", "lines", "card", "releases", "retraining", "labels", "shadow"]

_DISAGREEMENTS = 30
_MOST_NOTE_CHARS = 500
_STOP_ASKING = 286
"""The status by which htmx ends what it does again and again."""

_NAMES = {"publish": "Published", "hold": "Held", "reject": "Rejected"}
_LABELS = {each.code: each.label for each in CATEGORIES}

router = APIRouter(include_in_schema=False)


@router.get("/review/model")
def show_model(
    request: Request,
    shell: ShellOf,
    viewer: SignedIn,
    parts: PartsOf,
    view: View = "figures",
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
    bundle: Annotated[str, Query(max_length=40)] = "",
    done: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """The model that scores now, and what came before or is scored beside it."""
    _check(viewer)
    return _show(request, shell, viewer, parts, view, before=before, wanted=bundle, done=done)


@router.post("/review/model/rollback")
def roll_back(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Go back to the bundle that served before, unless another one serves by now than the page has shown."""
    _require_all(viewer, parts)
    shown = _read_shown(form)
    try:
        release = parts.live_model.releases.roll_back(
            note="rolled back on the Model page", by=viewer.moderator.name, instead_of=shown
        )
    except BundleError as error:
        raise _refusal(error, "not rolled back", "the former bundle") from error
    _log.info("rolled back", extra={"bundle": release.bundle, "who": viewer.moderator.name})
    return shell.redirect(request, "/review/model", site=_chosen(viewer), view="releases", done="back")


@router.post("/review/model/retrain")
def retrain(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Start a retraining; where one runs already, the page shows that one."""
    _require_all(viewer, parts)
    parts.retraining.begin(viewer.moderator.name, anyway=bool(field(form, "anyway")))
    return shell.redirect(request, "/review/model", site=_chosen(viewer), view="retraining")


@router.get("/review/model/retraining")
def follow_retraining(request: Request, shell: ShellOf, parts: PartsOf) -> Response:
    """How far a retraining is, for a page that asks again and again; that is no use of the session."""
    try:
        viewer = shell.find_listener(request)
    except NotFound:
        viewer = None
    if viewer is None or not _governs(viewer, parts):
        return Response(status_code=_STOP_ASKING, headers={"HX-Reswap": "none"})
    return shell.render(request, "retraining.html", viewer, done="", **_read_retraining(viewer, parts, ""))


@router.post("/review/model/publish")
def publish_anyway(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, form: Form) -> Response:
    """Publish a challenger that the gate holds, on the word of a person, which is kept with the release."""
    _require_all(viewer, parts)
    try:
        release = parts.retraining.publish_anyway(
            parts.live_model.releases,
            field(form, "report"),
            digest=field(form, "digest"),
            note=field(form, "note")[:_MOST_NOTE_CHARS],
            by=viewer.moderator.name,
            instead_of=_read_shown(form),
        )
    except BundleError as error:
        raise _refusal(error, "not published", "the bundle") from error
    _log.info("published though held", extra={"bundle": release.bundle, "who": viewer.moderator.name})
    return shell.redirect(request, "/review/model", site=_chosen(viewer), view="releases", done="published")


def _check(viewer: Viewer) -> None:
    if viewer.site is not None:
        viewer.require("configure", viewer.site)
    if not viewer.may("configure"):
        raise Forbidden("this needs the role of a maintainer on at least one site")


def _require_all(viewer: Viewer, parts: Parts) -> None:
    _check(viewer)
    if not _governs(viewer, parts):
        raise Forbidden("the model serves every site, so this needs the role of a maintainer on all of them")


def _chosen(viewer: Viewer) -> int | None:
    return viewer.site.row if viewer.site is not None else None


def _read_shown(form: FormData) -> InForce:
    """What served when the page of a form was made."""
    shown = InForce.parse(field(form, "in_force").replace("\r\n", "\n"))
    if shown is None:
        raise InvalidRequest("the form does not say which bundle it has shown; load the page again")
    return shown


def _refusal(error: BundleError, what: str, which: str) -> InvalidRequest:
    """Why a release was refused, in a sentence for the page; paths stay in the log."""
    _log.error(what, extra={"fault": str(error)})
    if isinstance(error, ReleaseRefused):
        return InvalidRequest(str(error))
    return InvalidRequest(f"{which} cannot be used ({type(error).__name__}); the log of the service says why")


def _governs(viewer: Viewer, parts: Parts) -> bool:
    """Whether they maintain every site: what serves one serves all."""
    mine = {site.row for site in viewer.sites if viewer.may("configure", site)}
    return all(site.row in mine for site in parts.store.sites())


def _show(
    request: Request,
    shell: Shell,
    viewer: Viewer,
    parts: Parts,
    view: View,
    *,
    before: int | None,
    wanted: str,
    done: str,
) -> Response:
    live = parts.live_model.current()
    bundle = live.bundle
    values: dict[str, Any] = {}
    if view == "figures" and bundle is not None:
        values = read_figures(bundle.path)
    elif view == "lines":
        policies = Policies(parts.store, parts.live_model)
        sites = [site for site in viewer.shown if viewer.may("configure", site)]
        site = sites[0] if len(sites) == 1 else None
        policy = policies.in_force(site) if site else policies.of_home()
        tiers = [tier for tier in TIERS if tier in (live.tier, "lexical")]
        lines = [(tier, policies.lines(policy, tier)) for tier in tiers] if policy is not None else []
        values = {"of_site": site, "tiers": lines, "is_unreadable": policy is None}
    elif view == "card" and bundle is not None:
        values = {"card": render_card(_read(bundle.path / "MODEL_CARD.md"))}
    elif view == "releases":
        values = read_releases(parts.live_model.releases) | {"may_go_back": _governs(viewer, parts)}
        values["wording"] = _read_wording(parts, values["in_force"]) if values["may_go_back"] else None
    elif view == "retraining":
        values = _read_retraining(viewer, parts, wanted)
    elif view == "labels":
        values = read_doubts(viewer, parts, done)
    elif view == "shadow":
        values = _read_shadow(viewer, parts, wanted, before)
    return shell.render(
        request,
        "model.html",
        viewer,
        view=view,
        done=done,
        bundle=bundle,
        tier=live.tier,
        faults=live.faults,
        size=_size(bundle) if bundle is not None else 0,
        made_with=bundle.manifest["made_with"] if bundle is not None else {},
        **values,
    )


def read_figures(bundle: Path) -> dict[str, Any]:
    """What was measured when a bundle was made, and charts of it; empty where nothing was."""
    try:
        found = json.loads(_read(bundle / "evaluation.json"))
    except ValueError:
        found = {}
    sets: Sequence[Mapping[str, Any]] = found.get("sets", [])
    curves = [
        (each, draw_curve([(recall, precision) for recall, precision in each["precision_recall"]], _say_curve(each)))
        for each in sets
        if each.get("precision_recall")
    ]
    reliability = [
        (
            each,
            draw_reliability([(item["score"], item["share"], item["rows"]) for item in each["bins"]], _say_bins(each)),
        )
        for each in found.get("calibration", [])
    ]
    cases = found.get("behaviour", {}).get("slices", {})
    passed = sum(each["passed"] for each in cases.values()), sum(each["cases"] for each in cases.values())
    values = {"sets": sets, "curves": curves, "reliability": reliability, "cases": cases}
    return values | {"passed": passed, "keys": [_sum_up(sets, each.code) for each in CATEGORIES if not each.parent]}


def _sum_up(sets: Sequence[Mapping[str, Any]], code: str) -> dict[str, Any] | None:
    """How well a category is told from the rest: the middle one of its sets, the worst and the best."""
    found = sorted(each["auc"] for each in sets if each["category"] == code)
    if not found:
        return None
    return {"category": code, "sets": len(found), "median": median(found), "least": found[0], "most": found[-1]}


def read_releases(releases: Releases) -> dict[str, Any]:
    """Every publication in the folder that counts, newest first, what serves, and where a rollback would lead."""
    here = {path.name for path in releases.bundles()}
    try:
        present, former = releases.in_force(), releases.former()
    except BundleError:
        present, former = None, None
    history = [(release, release.bundle in here) for release in reversed(releases.history())]
    newest = next((release for release, _ in history if release.took_effect), None)
    pinned = releases.pinned()
    return {"releases": history, "newest": newest, "in_force": present, "former": former, "pinned": pinned}


def _read_wording(parts: Parts, in_force: InForce | None) -> Mapping[str, Any] | None:
    """Which words weigh more or less since the bundle in force was made of labels; ``None`` where no report says so."""
    report = parts.retraining.report(in_force.bundle) if in_force is not None else None
    return report.content.get("wording") if report is not None else None


def _read_retraining(viewer: Viewer, parts: Parts, wanted: str) -> dict[str, Any]:
    """How retraining stands and its reports, which name accounts and sites: for who maintains every site."""
    if not _governs(viewer, parts):
        return {"may_retrain": False}
    state, reports = parts.retraining.look(), parts.retraining.reports()
    newest = reports[0] if reports else None
    report = next((each for each in reports if each.name == wanted), newest)
    try:
        present = parts.live_model.releases.in_force()
    except BundleError:
        present = None
    return {
        "may_retrain": True,
        "state": state,
        "run": state.run,
        "days": parts.retraining.days,
        "reports": reports,
        "report": report,
        "in_force": present,
        "may_publish": report is not None
        and report.verdict == "HOLD"
        and present is not None
        and report.champion == present.bundle
        and (parts.live_model.releases.models / report.name).is_dir(),
    }


def _read_shadow(viewer: Viewer, parts: Parts, wanted: str, before: int | None) -> dict[str, Any]:
    """How far a challenger agrees on the sites shown, and the comments that it would have decided otherwise."""
    sites = [site for site in viewer.shown if viewer.may("configure", site)]
    shadows = parts.store.shadows
    runs = shadows.runs(sites)
    run = next((each for each in runs if each.bundle == wanted), runs[0] if runs else None)
    challenger = parts.live_model.challenger()
    values: dict[str, Any] = {"runs": runs, "run": run, "before": before, "names": _NAMES, "statuses": STATUS_AFTER}
    values["challenger"] = challenger.bundle.name if challenger is not None and challenger.bundle else None
    if run is None:
        return values
    others = shadows.disagreements(sites, run.bundle, limit=_DISAGREEMENTS + 1, before=before)
    values["others"] = others[:_DISAGREEMENTS]
    values["say"] = _say_why
    values["cursor"] = others[_DISAGREEMENTS - 1].row if len(others) > _DISAGREEMENTS else None
    return values | {"report": report(parts.store, sites, run.bundle)}


def render_card(card: str) -> Markup:
    """Markdown as HTML. HTML in it is shown as text, its headings come below that of the page, tables scroll alone."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    frame = '<div class="table-frame" tabindex="0" role="group" aria-label="Table"><table>'
    for name, rule in (
        ("table_open", _say(frame)),
        ("table_close", _say("</table></div>")),
        ("heading_open", _lower),
        ("heading_close", _lower),
        ("th_open", _head),
        ("th_close", _head),
    ):
        markdown.add_render_rule(name, rule)
    return Markup(markdown.render(card))  # noqa: S704  # the renderer escapes, and HTML in it is off


def _say(html: str) -> Any:
    def rule(
        _renderer: RendererHTML, _tokens: Sequence[Token], _index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        return html

    return rule


def _lower(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    token = tokens[index]
    level = min(int(token.tag[1:]) + 1, 6)
    return f"<{'/' if token.nesting < 0 else ''}h{level}>"


def _head(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """The head of a column; one that says nothing is none."""
    token = tokens[index]
    said = tokens[index + (1 if token.nesting > 0 else -1)].content
    return f"<{'/' if token.nesting < 0 else ''}{'th' if said else 'td'}>"


def _size(bundle: Bundle) -> int:
    """Bytes of a bundle on disk, its encoder included."""
    folders = [bundle.path]
    try:
        encoder = encoder_folder(bundle.path)
    except ModerationError:
        encoder = None
    folders += [encoder] if encoder is not None and encoder.is_dir() else []
    return sum(path.stat().st_size for folder in folders for path in folder.iterdir() if path.is_file())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _say_why(fired: Sequence[str], scores: Scores | None) -> str:
    """What spoke for a decision: categories with their scores, rules by name."""
    said = []
    for name in fired:
        score = scores[name] if scores is not None and name in CODES else None
        label = _LABELS.get(name) or name.replace("_", " ")
        said.append(f"{label} {score * 100:.0f} %" if score is not None else label)
    return ", ".join(said) or "nothing"


def _say_curve(each: Mapping[str, Any]) -> str:
    return f"Precision over recall, {each['category']} on {each['set']}: average precision {each['average_precision']}"


def _say_bins(each: Mapping[str, Any]) -> str:
    return f"Scores against shares, {each['category']} on {each['set']}: calibration error {each['ece']}"
