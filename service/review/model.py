"""The model in use: what it is, how good it was found to be, where the lines lie on it, and which came before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from moderation.bundle import Bundle, encoder_folder
from moderation.categories import CATEGORIES
from moderation.errors import ModerationError
from moderation.goals import TIERS
from service.api import PartsOf
from service.errors import Forbidden
from service.live_model import LiveModel
from service.policies import Policies
from service.review.charts import draw_curve, draw_reliability
from service.review.shell import Section, ShellOf, SignedIn

SECTION = Section("model", "Model", "/review/model", "configure")

View = Literal["figures", "lines", "card", "releases"]

router = APIRouter(include_in_schema=False)


@router.get("/review/model")
def show_model(request: Request, shell: ShellOf, viewer: SignedIn, parts: PartsOf, view: View = "figures") -> Response:
    """The model that scores now. Nothing can be changed here."""
    if viewer.site is not None:
        viewer.require("configure", viewer.site)
    if not viewer.may("configure"):
        raise Forbidden("this needs the role of a maintainer on at least one site")
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
        values = {"releases": read_releases(parts.live_model)}
    return shell.render(
        request,
        "model.html",
        viewer,
        view=view,
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


def read_releases(live_model: LiveModel) -> list[dict[str, Any]]:
    """Every publication in the folder that counts, newest first; lines that cannot be read are left out."""
    releases = []
    for line in _read(live_model.models / "published.jsonl").splitlines():
        try:
            entry = json.loads(line)
            release = {name: str(entry[name]) for name in ("bundle", "at", "note")}
        except (ValueError, KeyError, TypeError):
            continue
        releases.append(release | {"is_here": (live_model.models / release["bundle"]).is_dir()})
    return releases[::-1]


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


def _say_curve(each: Mapping[str, Any]) -> str:
    return f"Precision over recall, {each['category']} on {each['set']}: average precision {each['average_precision']}"


def _say_bins(each: Mapping[str, Any]) -> str:
    return f"Scores against shares, {each['category']} on {each['set']}: calibration error {each['ece']}"
