"""What the operator wants done with which score: a TOML text and a model's measurements become decisions.

``Policy.parse`` checks the text (:mod:`moderation.policy_schema`) and resolves goals against measured operating points
(:mod:`moderation.goals`). ``Policy.decide`` is pure: the same comment, scores and facts always give the same decision.
It lists every reason that :mod:`moderation.rules` looked at, fired or not. In doubt it holds for a person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.categories import CODES
from moderation.comment import Action, Comment, Decision, Facts, Post, Scores, Tier
from moderation.errors import InvalidPolicy
from moderation.goals import (
    TIERS,
    Evidence,
    LineAction,
    LinePair,
    OwnEvidence,
    ResolvedLine,
    read_operating_points,
    resolve_pair,
)
from moderation.policy_schema import PolicySettings, StatedLine, fold, read_settings
from moderation.rules import Case, compile_words, judge

AUTHOR_MESSAGES: Mapping[Action, str | None] = {
    "publish": None,
    "hold": "Thank you for your comment. A moderator will read it before it appears.",
    "reject": "Your comment was not published. If you think that is a mistake, please ask this site's moderators.",
}
"""What an author may be told. The same words whatever fired, so that they cannot be used to get around a rule."""

_STRICTNESS: tuple[Action, ...] = ("publish", "hold", "reject")

_Lines = Mapping[tuple[Tier, str], LinePair]


@dataclass(frozen=True, slots=True, repr=False)
class Policy:
    """A policy in force. Make one with :meth:`parse`.

    ``digest`` is the SHA-256 (hex) of the TOML text's UTF-8 bytes; ``settings`` is the text as values, for parts that
    need more of it than decisions (audit shares, ``hostile_counts_as_spam``).
    """

    toml: str
    digest: str
    settings: PolicySettings
    lines: _Lines
    stricter: tuple[tuple[frozenset[str], _Lines], ...]
    blocked_words: re.Pattern[str] | None

    @classmethod
    def parse(
        cls,
        toml: str,
        operating_points: Mapping[str, Any] | None = None,
        own: Mapping[tuple[Tier, str], OwnEvidence] | None = None,
    ) -> Policy:
        """Read a policy and resolve its goals against a bundle's ``operating_points.json`` (``None``: no bundle yet).

        ``own`` is what the site's own labels say, by tier and category (:func:`moderation.guarantee.own_evidence`);
        where there are enough of them they go before the bundle's measurements.

        Raises ``InvalidPolicy`` that names the line or the dotted key and what to do. A goal that the measurements do
        not support is no error: it fails towards a person, and :meth:`line` and the reasons say so.
        """
        try:
            digest = hashlib.sha256(toml.encode()).hexdigest()
        except UnicodeEncodeError:
            raise InvalidPolicy("the policy contains a lone surrogate, which is not a character; remove it") from None
        settings = read_settings(toml)
        evidence = read_operating_points(operating_points)
        return cls(
            toml=toml,
            digest=digest,
            settings=settings,
            lines=_resolve_lines(settings, evidence, own or {}, {}),
            stricter=tuple(
                (entry.tags, _resolve_lines(settings, evidence, own or {}, entry.lines)) for entry in settings.stricter
            ),
            blocked_words=compile_words(settings.rules.blocked_words),
        )

    def line(self, tier: Tier, category: str, action: LineAction) -> ResolvedLine:
        """The line in force for posts without stricter tags. Raises ``KeyError`` for an unknown tier or category."""
        pair = self.lines[tier, category]
        return pair.reject if action == "reject" else pair.hold

    def may_reject_by(self, category: str, comment: Comment, decision: Decision) -> bool:
        """Whether a score of a decision is over the reject line of its category, and is of a tier that may reject.

        False where the decision was made with other lines and only held, whatever its score.
        """
        score = None if decision.scores is None else decision.scores[category]
        if decision.action != "reject" or decision.tier != "full" or score is None:
            return False
        base = {code: self.lines[decision.tier, code] for code in CODES}
        return self._strictest(base, decision.tier, comment.post or Post())[category].reject.is_reached_by(score)

    def decide(self, comment: Comment, scores: Scores | None, facts: Facts) -> Decision:
        """Decide about one comment; ``scores`` is ``None`` where no model could score it. Never raises.

        The strictest finding wins: reject before hold before publish.
        """
        # Scores of unknown origin get the tier that may do less.
        tier: Tier = facts.tier or "lexical"
        base = {code: self.lines[tier, code] for code in CODES}
        pairs = self._strictest(base, tier, comment.post or Post())
        settings, words = self.settings, self.blocked_words
        findings = judge(Case(comment, scores, facts, tier, settings=settings, words=words, base=base, pairs=pairs))
        action = max((finding.action for finding in findings), key=_STRICTNESS.index)
        return Decision(
            action=action,
            scores=scores,
            reasons=tuple(finding.reason for finding in findings),
            digest=comment.digest(),
            bundle=None if scores is None else facts.bundle,
            policy=self.digest,
            tier=None if scores is None else tier,
            author_message=AUTHOR_MESSAGES[action],
        )

    def _strictest(self, base: Mapping[str, LinePair], tier: Tier, post: Post) -> dict[str, LinePair]:
        """The lines of each category that count under a post: of those for its tags the lowest."""
        pairs = dict(base)
        tags = {fold(tag) for tag in post.tags}
        for stricter_tags, lines in self.stricter:
            if tags & stricter_tags:
                for code, pair in pairs.items():
                    pairs[code] = pair.strictest(lines[tier, code])
        return pairs


def default_policy_toml() -> str:
    """The text of the policy that is in force until an operator writes one."""
    return Path(__file__).with_name("default_policy.toml").read_text(encoding="utf-8")


def _resolve_lines(
    settings: PolicySettings,
    evidence: Mapping[tuple[Tier, str], Evidence],
    own: Mapping[tuple[Tier, str], OwnEvidence],
    stricter: Mapping[str, tuple[StatedLine, StatedLine]],
) -> _Lines:
    """Every category's lines in every tier; of a category's own line and a stricter one the lower counts."""
    lines: dict[tuple[Tier, str], LinePair] = {}
    for code, category in settings.categories.items():
        hold, reject = stricter.get(code, (None, None))
        for tier in TIERS:
            lines[tier, code] = resolve_pair(
                {"hold": (category.hold, hold), "reject": (category.reject, reject)},
                tier=tier,
                category=code,
                live_rate=category.live_rate,
                evidence=evidence.get((tier, code)),
                own=own.get((tier, code)),
            )
    return lines
