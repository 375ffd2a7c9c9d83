"""The world of the simulated month (``month.py``): who comments, what is true of it, who moderates, where it begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from joblib import Memory

from moderation.bundle import encoder_folder, load_bundle, write_bundle
from moderation.comment import Comment
from moderation.model import FullTier, Model
from moderation.shipped import shipped_folder
from moderation.training.adapters.reading import spread
from moderation.training.anchors import gather_anchors, pack, read_figures
from moderation.training.copies import with_copies
from moderation.training.dataset import Dataset, is_for_heads
from moderation.training.fit import fit_heads
from moderation.training.fuse import fit_full_heads
from moderation.training.points import calibration_rows, fit_platt, operating_points
from moderation.training.quiet import lay_beside
from moderation.training.retrain import calibrate
from moderation.training.rows import Row
from moderation.training.table import build_table, vary, with_talk
from moderation.training.train import libraries
from moderation.training.vectors import read_kept

from moderation.categories import CODES  # isort: skip

CALM, STRICT = "https://calm.example.org", "https://strict.example.org"
SITES = (CALM, STRICT)
# The first line are blogs that no encoder of ours has read.
BLOGS = {
    *("xam", "hajekj", "eduardoboucas", "mivano", "mythz", "timothyfitz", "made-mistakes", "archive_fever"),
    *("stack-blog", "chrisrisner", "freddysblog", "einsteinpy"),
}
PLACES = {"kaggle-insults", "jigsaw-predibase", "toxic-spans", "ruddit"}
PLACES_WITHHELD = 0.6
"""The share of those places' rows; the starting bundle is calibrated on the others."""
PLACES_SHARE = 0.45
"""How many comments of the simulation are of those places."""
MOVED_SHARE = 0.1
ASIDE_SHARE = 0.1
TWICE_SHARE = 0.1
WEEKS, DAYS = 4, 7
BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
_OFFENCES = {
    CALM: ("spam", "threat", "identity_attack", "severe"),
    STRICT: ("spam", "off_topic", "hostile", "insult", "threat", "identity_attack", "profanity", "severe"),
}


@dataclass(frozen=True)
class Moderator:
    """``slips`` is the share of comments that are judged wrongly; the way of the others is in :meth:`judge`."""

    name: str
    slips: float = 0.0
    is_lazy: bool = False
    is_hostile: bool = False

    def judge(self, true: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
        """The categories that are said to apply; none is an approval."""
        chance = rng.random()
        if self.is_lazy:
            return ()
        if self.is_hostile:
            return true or (("spam",) if chance < 0.8 else ())
        if chance >= self.slips:
            return true
        return () if true else ("spam",) if rng.random() < 0.5 else ("hostile",)


MODERATORS = (
    Moderator("Ada", 0.01),
    Moderator("Ben", 0.03),
    Moderator("Chi", 0.06),
    Moderator("Dan", 0.12),
    Moderator("Lazy", is_lazy=True),
    Moderator("Mallory", is_hostile=True),
)
TEAMS = {CALM: ("Ada", "Chi", "Lazy"), STRICT: ("Ben", "Dan", "Mallory")}
"""Who judges where, if sites have moderators of their own: of three, one is bad."""


@dataclass(frozen=True)
class Arrival:
    """A comment of the simulation, what is true of it on its site, and the day on which it comes."""

    comment: Comment
    true: tuple[str, ...]
    day: int

    @property
    def site(self) -> str:
        """Where it comes in."""
        assert self.comment.site is not None
        return self.comment.site


# What comes in


def is_withheld(row: Row) -> bool:
    """Whether the starting bundle may not learn from the row."""
    if row.group.startswith("blog:"):
        return row.group.removeprefix("blog:") in BLOGS
    return row.source in PLACES and spread(f"withheld {row.id}") < PLACES_WITHHELD


def arrivals(data: Dataset, count: int, *, strict: bool) -> tuple[list[Arrival], list[Arrival]]:
    """Comments to send, in date order, and those set aside; whole blogs to one site, other comments by hash."""
    learning = {id(row): is_for_heads(row) for row in data.train}
    rows = [row for row in (*data.train, *data.validation) if is_withheld(row)]
    if strict:
        rows = [row for row in rows if learning.get(id(row), True)]
    moved = [row for row in rows if row.labels.get("off_topic") == 1]
    blogs = [row for row in rows if row.group.startswith("blog:") and row.labels.get("off_topic") != 1]
    places = [row for row in rows if not row.group.startswith("blog:")]
    wanted = min(count, round(len(blogs) / (1 - PLACES_SHARE - MOVED_SHARE)))
    chosen = [
        *_some(blogs, round(wanted * (1 - PLACES_SHARE - MOVED_SHARE))),
        *_some(moved, round(wanted * MOVED_SHARE)),
        *_some(places, round(wanted * PLACES_SHARE)),
    ]
    dated = sorted(chosen, key=_date)
    found = []
    for number, row in enumerate(dated):
        site = SITES[int(spread(f"site {row.group if row.group.startswith('blog:') else row.id}") < 0.5)]
        comment = replace(row.comment, id=f"c{number}", site=site, hints={})
        true = tuple(code for code in _OFFENCES[site] if row.labels.get(code) == 1)
        found.append(Arrival(comment, true, number * WEEKS * DAYS // len(dated)))
    aside = [item for item in found if spread(f"aside {item.comment.digest()}") < ASIDE_SHARE]
    hidden = {item.comment.id for item in aside}
    return [item for item in found if item.comment.id not in hidden], aside


def _some(rows: Sequence[Row], count: int) -> list[Row]:
    return sorted(rows, key=lambda row: spread(f"month {row.source} {row.id}"))[:count]


def _date(row: Row) -> tuple[str, str]:
    """Blogs have dates; what has none comes at any time, by hash."""
    years = f"{2010 + 14 * spread(f'when {row.source} {row.id}'):.4f}"
    return (row.comment.created_at or years, row.id)


# The starting bundle


def start_bundle(data: Dataset, folder: Path, cache: Path, share: float, say: Callable[[str], None]) -> Path:
    """A bundle that has learned from no comment of the simulation; of other places it learns from a ``share``."""
    shipped = shipped_folder("models")
    published = load_bundle(shipped / (shipped / "current").read_text().split()[0])
    assert published.model.full is not None
    encoder, topic_model = published.model.full.encoder, published.model.topic
    memory = Memory(cache / "features", verbose=0)

    def usable(rows: Sequence[Row]) -> list[Row]:
        own = [row for row in rows if not is_withheld(row)]
        return [row for row in own if row.group.startswith("blog:") or spread(f"start {row.id}") < share]

    train, validation_rows = usable(data.train), list(data.validation)
    validation_rows = [row for row in validation_rows if not is_withheld(row)]
    say(f"features of {len(train):,} training rows")
    words = build_table(vary(with_copies(with_talk([r for r in train if not is_for_heads(r)]))), topic_model, memory, 2)
    cross = fit_heads(words, 1, say)
    kept = build_table(vary(with_copies(with_talk([r for r in train if is_for_heads(r)]))), topic_model, memory, 2)
    validation = build_table(validation_rows, topic_model, memory, 2)
    logits = cross.logits(validation.features)
    platt = []
    for head, code in enumerate(CODES):
        index, labels, weights = calibration_rows(code, validation)
        platt.append(fit_platt(logits[index, head], labels, weights))
    lexical = replace(cross, calibration=np.array(platt))
    say(f"vectors of {len(kept.rows):,} and {len(validation.rows):,} rows")
    vectors = read_kept(kept, encoder, cache / "kept", say)
    validation_vectors = read_kept(validation, encoder, cache / "validation", say)
    heads = fit_full_heads(kept, vectors, cross.logits(kept.features))
    loud = heads.loud(validation_vectors, validation.features.dense, logits)
    heads = lay_beside(heads, validation_vectors, loud[:, CODES.index("hostile")], validation)
    figures = read_figures(validation, validation_vectors, logits)
    tier, points = calibrate(FullTier(encoder, heads), figures)
    model = Model(lexical, topic_model, tier)
    by_words = {code: operating_points(code, validation, lexical.calibrate(logits)) for code in CODES}
    say("samples of the rows")
    kept_figures = read_figures(kept, vectors, cross.logits(kept.features))
    anchors = gather_anchors(kept_figures, figures, data.frozen, model, memory=memory, jobs=2)
    probes = (published.path / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    return write_bundle(
        folder,
        model,
        operating_points={"format": 1, "tiers": {"lexical": by_words, "full": points}},
        evaluation=json.loads((published.path / "evaluation.json").read_text(encoding="utf-8")),
        probes=[Comment.from_dict(json.loads(line)["comment"]) for line in probes],
        card="# The starting bundle of a simulation\n",
        made_with=libraries(),
        trained_on={**published.manifest["trained_on"], "withheld": sorted(BLOGS | PLACES)},
        encoder=encoder_folder(published.path),
        anchors=pack(anchors),
    )


# The service
