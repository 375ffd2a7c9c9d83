"""Labels in, a challenger and a verdict out: what ``moderation retrain`` runs. Needs nothing but a bundle and labels.

The encoder and the heads that came with the bundle stay; what labels add to them is fitted anew from all labels
(:mod:`moderation.training.adapt`), calibrated and measured on the bundle's own validation rows, and held against the
champion by the gate (:mod:`moderation.training.gate`): on frozen rows, on behaviour cases, and on a fifth of the labels
that no model has ever learned from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays

from moderation.adaptation import Adaptation
from moderation.bundle import Bundle, encoder_folder, load_bundle, read_anchors, write_bundle
from moderation.categories import CODES
from moderation.comment import Comment
from moderation.errors import DataError
from moderation.heads import Features, Vectors
from moderation.model import FullTier, extract, read_vectors
from moderation.policy import Policy, default_policy_toml
from moderation.training import fuse
from moderation.training.accounts import Accounts
from moderation.training.adapt import EVERYWHERE, NOTHING, Labelled, fit_everywhere, fit_sites
from moderation.training.agreement import measure_agreement
from moderation.training.anchors import Figures, unpack
from moderation.training.card import add_lessons
from moderation.training.contest import (
    Contest,
    Contestant,
    Rows,
    Sides,
    Training,
    lines_of,
    passed_cases,
    without_texts,
)
from moderation.training.data_checks import Check
from moderation.training.doubt_check import count_doubted
from moderation.training.gate import CHECKS, GateReport, judge
from moderation.training.known import find_new
from moderation.training.labels import Label, Trust, believed, last_words
from moderation.training.lessons import (
    LEAST_LABELS,
    Bands,
    Lessons,
    Progress,
    answer,
    count_sides,
    describe,
    labels_digest,
    prepare,
    tier_logits,
)
from moderation.training.rows import BehaviourCase
from moderation.training.trials import lined_policy
from moderation.training.wording import compare_wording

_RANKS = ("REJECT", "HOLD", "PROMOTE")
# What all sites may lose by what some of them say. Where it holds, it may be for want of rows to be sure.
_LOSSES = frozenset({"ranking", "lines", "behaviour", "sites"})


@dataclass(frozen=True, slots=True)
class Round:
    """One retraining: the challenger's folder, what the gate says, and figures for the report, without any text."""

    bundle: Path
    gate: GateReport
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Entrant:
    """A challenger that the gate has judged, and whether labels moved what all sites share (``is_shared``)."""

    bundle: Bundle
    contest: Contest
    gate: GateReport
    is_shared: bool

    @property
    def rank(self) -> tuple[int, int]:
        """How far up its verdict is, then in how few ways something stands in its way.

        That one moves single sites says what it is and not that it is worse.
        """
        return _RANKS.index(self.gate.verdict), -sum(check.name != "norms" for check in self.gate.in_the_way)

    @property
    def is_a_loss(self) -> bool:
        """Whether all sites lose by it, or perhaps do."""
        return self.gate.verdict == "REJECT" or any(check.name in _LOSSES for check in self.gate.in_the_way)


def is_learned(learned: Mapping[str, Any], labels: Sequence[Label], trust: Trust) -> bool:
    """Whether a bundle whose manifest says ``learned`` of its labels has been made from exactly these."""
    return learned.get("sha256") == labels_digest(labels, trust)


def need_encoder(champion: Bundle) -> FullTier:
    """The tier that labels are added to. Raises ``DataError`` where the bundle has none in use."""
    if champion.model.full is None:
        raise DataError(
            f"{champion.name} has no encoder in use, and labels refit what stands on it; "
            f"{champion.fault or 'publish a bundle that has one'}"
        )
    return champion.model.full


def retrain(
    champion: Bundle,
    labels: Sequence[Label],
    cases: Sequence[BehaviourCase],
    models: Path,
    *,
    trust: Trust | None = None,
    accounts: Accounts | None = None,
    bands: Bands = lambda _: (),
    key: bytes = b"",
    cache: Path | None = None,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Round:
    """Fit a challenger on all labels, write it into ``models`` and have the gate judge it. Publishing is another step.

    Labels move what all sites share and, beside it, what is each site's own. Where sites have different norms, what one
    of them calls good would make the model worse for everybody, and the gate says so, or that it may. Then a second
    challenger is tried, in which labels move nothing but the sites that they are of. Where less stands in its way it is
    taken, and waits for a person: the norm may be meant, or the labels may be wrong.

    Args:
        champion: The bundle in force; the challenger has its encoder, its heads and its anchors.
        labels: All that was ever said; the last word about a comment counts.
        cases: The behaviour cases.
        models: Folder to write the challenger into.
        trust: What labels weigh by source and account.
        accounts: Whom a check of the labels has named; who is left out has no say, whatever ``trust`` says.
        bands: Hashes of a text of which near-duplicates share one.
        key: Of the hashes by which the next round tells which labels are new.
        cache: Folder where vectors are kept, without texts; with it a second run takes seconds.
        jobs: Processes for features, threads for heads.
        progress: Hears what is being done.

    Raises:
        DataError: There are too few labels, or the champion has no full tier.
        BundleError: The champion's anchors cannot be read.
    """
    full, encoder = need_encoder(champion), encoder_folder(champion.path)
    named = accounts or Accounts()
    trusted = named.apply(trust or Trust())
    heard = believed(labels, trusted)
    progress("reading the bundle's own rows")
    packed = read_anchors(champion.path)
    anchors = unpack(load_arrays(packed))
    lessons = prepare(
        champion.model,
        heard,
        anchors,
        cases,
        trust=trusted,
        bands=bands,
        cache=cache,
        jobs=jobs,
        progress=progress,
    )
    facts = describe(lessons, heard, trusted, key)
    evaluation = _read_json(champion.path / "evaluation.json")
    measured = {
        **{name: facts[name] for name in ("learned", "held_out", "by_site")},
        # The base bundle's figures, through however many retrainings; its name is the same in each of them.
        "figures_of": evaluation.get("labels", {}).get("figures_of", champion.name),
        "gate": None,
    }

    def enter(*, is_shared: bool) -> _Entrant:
        holding = EVERYWHERE if is_shared else NOTHING
        taught = lessons.learned, anchors.kept
        everywhere = fit_everywhere(full.heads, *taught, holding=holding, jobs=jobs, progress=progress)
        progress("calibrating")
        tier, points = calibrate(FullTier(full.encoder, full.heads, Adaptation(everywhere, {})), anchors.validation)
        # The validation rows are of no site, so that what sites add changes nothing of the calibration.
        sites = fit_sites(tier.heads, everywhere, *taught, jobs=jobs, progress=progress)
        tier = replace(tier, adaptation=Adaptation(everywhere, sites))
        tiers = {"lexical": champion.operating_points["tiers"]["lexical"], "full": points}
        progress("writing the challenger")
        path = write_bundle(
            models,
            replace(champion.model, full=tier),
            operating_points={"format": champion.operating_points["format"], "tiers": tiers},
            evaluation={**evaluation, "labels": measured},
            probes=_probes(champion.path),
            card=add_lessons((champion.path / "MODEL_CARD.md").read_text(encoding="utf-8"), measured),
            made_with=champion.manifest["made_with"],
            trained_on={**champion.manifest["trained_on"], "labels": facts},
            encoder=encoder,
            anchors=packed,
        )
        challenger = load_bundle(path, beside=[champion])
        progress("champion and challenger on the same rows")
        contest = hold_contest(champion, challenger, anchors.frozen, lessons, heard, cases, accounts=named, key=key)
        checks = CHECKS if is_shared else (*CHECKS, check_norms)
        return _Entrant(challenger, contest, judge(contest, checks), is_shared)

    entrants = [enter(is_shared=True)]
    adaptation = need_encoder(entrants[0].bundle).adaptation
    if entrants[0].is_a_loss and adaptation is not None and adaptation.sites:
        progress("once more, with labels moving nothing but their own sites")
        entrants.append(enter(is_shared=False))
    taken = max(entrants, key=lambda entrant: entrant.rank)
    progress("what changed, in words")
    wording = compare_wording(champion.model, taken.bundle.model, lessons.learned, lessons.held_out)
    figures = {
        "labels": {name: value for name, value in facts.items() if name != "known"},
        "moves": "all sites" if taken.is_shared else "single sites",
        "also_tried": [
            {"challenger": each.bundle.name, "verdict": each.gate.verdict, "reasons": each.gate.reasons}
            for each in entrants
            if each is not taken
        ],
        "sites": _compare_sites(taken.contest),
        "wording": wording.to_dict(),
    }
    return Round(taken.bundle.path, taken.gate, figures)


def check_norms(_: Contest) -> Check:
    """Of a challenger in which labels move nothing but their own sites, because all would lose by them."""
    sentence = (
        "All sites together would lose by these labels, so that they move nothing but the sites that they are of. That "
        "is right where a site has norms of its own, and wrong where its labels are: somebody has to say which it is."
    )
    return Check("norms", "hold", sentence)


def calibrate(tier: FullTier, validation: Figures) -> tuple[FullTier, dict[str, Any]]:
    """The tier with its scores calibrated on validation rows, and its part of ``operating_points.json``."""
    logits = tier_logits(tier, validation)
    heads, points = fuse.calibrate(tier.heads, logits, validation)
    return replace(tier, heads=heads), points


def hold_contest(
    champion: Bundle,
    challenger: Bundle,
    frozen: Figures,
    lessons: Lessons,
    labels: Sequence[Label],
    cases: Sequence[BehaviourCase],
    *,
    accounts: Accounts | None = None,
    key: bytes = b"",
) -> Contest:
    """Both bundles on the same rows and cases, each under the lines of the default policy."""
    learned_before = champion.manifest["trained_on"].get("labels") or {}
    comments = [case.comment for case in cases]
    named = accounts or Accounts()
    words = last_words(labels)
    new = find_new(words, learned_before, key)
    by_account = new.by_account()
    # Both have the same encoder and word weights, so what they see of the cases is the same too.
    seen = extract(comments, champion.model.topic), read_vectors(comments, need_encoder(champion).encoder)
    return Contest(
        frozen=Rows.of(frozen),
        held_out=Rows.of(lessons.held_out.figures, lessons.held_out.sites),
        cases=without_texts(cases),
        champion=_contestant(champion, frozen, lessons.held_out, cases, *seen),
        challenger=_contestant(challenger, frozen, lessons.held_out, cases, *seen),
        training=Training(
            labels=len(lessons.learned.figures),
            labels_before=learned_before.get("learned", 0),
            new_by_account=by_account,
            others=len({*(label.moderator for label in words), *named.left_out} - by_account.keys()),
            accounts=named,
            sides=count_sides(lessons.learned.figures),
            sides_before={code: Sides(*sides) for code, sides in learned_before.get("sides", {}).items()},
            doubted=count_doubted(need_encoder(champion), lessons, new if learned_before else None),
            agreement=measure_agreement(labels),
            prints=lessons.prints,
        ),
    )


def _contestant(
    bundle: Bundle,
    frozen: Figures,
    held_out: Labelled,
    cases: Sequence[BehaviourCase],
    features: Features,
    vectors: Vectors,
) -> Contestant:
    tier = need_encoder(bundle)
    assessed = bundle.model.assess_read([case.comment for case in cases], features, vectors)
    return Contestant(
        name=bundle.name,
        frozen=answer(tier, frozen),
        held_out=answer(tier, held_out.figures, held_out.sites, held_out.texts),
        lines=lines_of(Policy.parse(default_policy_toml(), bundle.operating_points)),
        passed=passed_cases(cases, assessed, lined_policy(bundle.operating_points)),
    )


def _compare_sites(contest: Contest) -> dict[str, Any]:
    """Log loss and rows of each site and category on held-out labels, before and after."""
    sites: dict[str, Any] = {}
    for site in sorted({site or "" for site in contest.held_out.sites}):
        rows = np.array([(other or "") == site for other in contest.held_out.sites])
        for head, code in enumerate(CODES):
            labels = contest.held_out.labels[rows, head]
            known = ~np.isnan(labels)
            if known.sum() < LEAST_LABELS:
                continue
            losses = [
                _log_loss(labels[known], one.held_out[rows, head][known])
                for one in (contest.champion, contest.challenger)
            ]
            sites.setdefault(site, {})[code] = {
                "rows": int(known.sum()),
                "bad": int(labels[known].sum()),
                "log_loss": [round(value, 5) for value in losses],
            }
    return sites


def _log_loss(labels: NDArray[np.float64], answers: NDArray[np.float64]) -> float:
    said = np.clip(np.where(labels == 1, answers, 1 - answers), 1e-6, 1)
    return float(-np.nanmean(np.log(said)))


def _probes(bundle: Path) -> list[Comment]:
    lines = (bundle / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    return [Comment.from_dict(json.loads(line)["comment"]) for line in lines]


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
