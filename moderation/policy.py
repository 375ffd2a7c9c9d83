"""What the operator wants done with which score: a TOML text and a model's measurements become decisions.

``Policy.parse`` checks the text (:mod:`moderation.policy_schema`) and resolves goals against measured operating points
(:mod:`moderation.goals`). ``Policy.decide`` is pure: the same comment, scores and facts always give the same decision.
It lists every reason it looked at, fired or not, always in the order of ``REASONS``. In doubt it holds for a person.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.categories import CATEGORIES, CODES, MAY_ABSTAIN
from moderation.comment import Action, Author, Comment, Decision, Post, Reason, Scores, Tier
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
from moderation.policy_schema import (
    WINDOWS,
    PolicySettings,
    Rate,
    Rules,
    StatedLine,
    fold,
    fold_domain,
    read_settings,
)

__all__ = ["AUTHOR_MESSAGES", "REASONS", "Facts", "Policy", "ResolvedLine", "default_policy_toml"]

REASONS: tuple[str, ...] = (
    "banned_author",
    "trusted_author",
    "honeypot",
    "blocked_words",
    "blocked_domains",
    "links_allowed",
    "model_unavailable",
    "encoder_unavailable",
    "lexical_tier_holds",
    *CODES,
    "abstained",
    "first_time",
    "campaign",
    "author_rate",
    "site_rate",
)
"""The closed list of reason names, in the order in which a decision lists them."""

AUTHOR_MESSAGES: Mapping[Action, str | None] = {
    "publish": None,
    "hold": "Thank you for your comment. A moderator will read it before it appears.",
    "reject": "Your comment was not published. If you think that is a mistake, please ask this site's moderators.",
}
"""What an author may be told. The same words whatever fired, so that they cannot be used to get around a rule."""

_STRICTNESS: tuple[Action, ...] = ("publish", "hold", "reject")
_LABELS = {category.code: category.label for category in CATEGORIES}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a comment beside its scores.

    ``domains`` are the hosts of links in the text and of the author's URL, lower case, without a leading ``www.``.
    ``author_published`` counts earlier published comments of this author on this site (``None``: not known),
    ``campaign_size`` near-identical comments seen lately (0: none or not known). ``author_recent`` and ``site_recent``
    count the comments of this author, and all of this site, that came in before within each of
    :data:`~moderation.policy_schema.WINDOWS` (empty: not known). ``encoder_available`` is false where the bundle has an
    encoder but it failed.
    """

    bundle: str | None = None
    tier: Tier | None = None
    links: int = 0
    domains: tuple[str, ...] = ()
    author_published: int | None = None
    campaign_size: int = 0
    author_recent: tuple[int, ...] = ()
    site_recent: tuple[int, ...] = ()
    encoder_available: bool = True


_Lines = Mapping[tuple[Tier, str], LinePair]


@dataclass(frozen=True, slots=True)
class _Finding:
    """A reason and what it asks for; ``publish`` asks for nothing."""

    reason: Reason
    action: Action = "publish"


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
            blocked_words=_compile_words(settings.rules.blocked_words),
        )

    def line(self, tier: Tier, category: str, action: LineAction) -> ResolvedLine:
        """The line in force for posts without stricter tags. Raises ``KeyError`` for an unknown tier or category."""
        pair = self.lines[tier, category]
        return pair.reject if action == "reject" else pair.hold

    def decide(self, comment: Comment, scores: Scores | None, facts: Facts) -> Decision:
        """Decide about one comment; ``scores`` is ``None`` where no model could score it. Never raises.

        The strictest finding wins: reject before hold before publish.
        """
        case = _Case(self, comment, scores, facts)
        findings = (
            # Who wrote it comes first, because it changes how the rest is read.
            _judge_banned_author(case),
            _judge_trusted_author(case),
            # Rules that hold for everybody and need no model.
            _judge_honeypot(case),
            _judge_blocked_words(case),
            _judge_blocked_domains(case),
            _judge_links(case),
            # What the model could not do, before what it found.
            _judge_model(case),
            _judge_encoder(case),
            _judge_lexical_tier(case),
            *(_judge_category(case, code) for code in CODES if case.pairs[code].is_set),
            # Without anything wrong in the comment itself, what remains is what is not known about it.
            _judge_abstention(case),
            _judge_first_time(case),
            _judge_campaign(case),
            _judge_rate("author_rate", "of this author", case.rules.author_rate, case.facts.author_recent),
            _judge_rate("site_rate", "on this site", case.rules.site_rate, case.facts.site_recent),
        )
        action = max((finding.action for finding in findings), key=_STRICTNESS.index)
        return Decision(
            action=action,
            scores=scores,
            reasons=tuple(finding.reason for finding in findings),
            digest=comment.digest(),
            bundle=None if scores is None else facts.bundle,
            policy=self.digest,
            tier=None if scores is None else case.tier,
            author_message=AUTHOR_MESSAGES[action],
        )


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


def _compile_words(words: tuple[str, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    alternatives = "|".join(r"\s+".join(map(re.escape, word.split())) for word in words)
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")


class _Case:
    """One comment with everything that the judging functions look at more than once."""

    __slots__ = ("author", "base", "comment", "facts", "is_trusted", "may_reject", "pairs", "policy", "scores", "tier")

    def __init__(self, policy: Policy, comment: Comment, scores: Scores | None, facts: Facts) -> None:
        self.policy = policy
        self.comment = comment
        self.scores = scores
        self.facts = facts
        # Scores of unknown origin get the tier that may do less.
        self.tier: Tier = facts.tier or "lexical"
        self.may_reject = self.tier == "full" and facts.encoder_available
        author = comment.author or Author()
        self.author = {fold(name) for name in (author.id, author.name) if name}
        self.is_trusted = bool(self.author & self.rules.trusted_authors)
        self.base = {code: policy.lines[self.tier, code] for code in CODES}
        self.pairs = dict(self.base)
        tags = {fold(tag) for tag in (comment.post or Post()).tags}
        for stricter_tags, lines in policy.stricter:
            if tags & stricter_tags:
                for code, pair in self.pairs.items():
                    self.pairs[code] = pair.strictest(lines[self.tier, code])

    @property
    def rules(self) -> Rules:
        return self.policy.settings.rules

    def score(self, code: str) -> float | None:
        """The score as it is stored, six digits, so that a decision replayed from the store is the same."""
        value = None if self.scores is None else self.scores[code]
        return round(value, 6) if value is not None and math.isfinite(value) else None

    def reaches_reject(self, code: str) -> bool:
        score = self.score(code)
        return score is not None and self.pairs[code].reject.is_reached_by(score)


def _judge_banned_author(case: _Case) -> _Finding:
    if not case.author & case.rules.banned_authors:
        return _Finding(Reason("banned_author", False, None, False, "The author is not on the list of banned authors."))
    return _Finding(Reason("banned_author", True, None, True, "The author is on the list of banned authors."), "reject")


def _judge_trusted_author(case: _Case) -> _Finding:
    if not case.is_trusted:
        return _Finding(
            Reason("trusted_author", False, None, False, "The author is not on the list of trusted authors.")
        )
    text = "The author is on the list of trusted authors: hold lines, the link limit and first-time rules do not apply."
    return _Finding(Reason("trusted_author", True, None, True, text))


def _judge_honeypot(case: _Case) -> _Finding:
    action = case.rules.honeypot
    if not case.comment.hints.get("honeypot"):
        return _Finding(Reason("honeypot", False, None, False, "The hidden field that only programs fill in is empty."))
    if action == "publish":
        text = "The hidden field that only programs fill in was filled in; this policy does not mind."
        return _Finding(Reason("honeypot", True, None, False, text))
    return _Finding(
        Reason("honeypot", True, None, True, "The hidden field that only programs fill in was filled in."), action
    )


def _judge_blocked_words(case: _Case) -> _Finding:
    found = _count_blocked_words(case.policy.blocked_words, case.comment.text)
    if not found:
        return _Finding(Reason("blocked_words", 0, 0, False, "No blocked word is in the text."))
    text = f"Blocked words in the text: {found}."
    return _Finding(Reason("blocked_words", found, 0, True, text), case.rules.blocked_words_action)


def _count_blocked_words(words: re.Pattern[str] | None, text: str) -> int:
    """How many different blocked words stand in the text as whole words."""
    if words is None:
        return 0
    folded = fold(text)
    found = set()
    for match in words.finditer(folded):
        before, after = folded[max(match.start() - 1, 0) : match.start()], folded[match.end() : match.end() + 1]
        if not _continues_word(before) and not _continues_word(after):
            found.add(" ".join(match.group().split()))
    return len(found)


def _continues_word(sign: str) -> bool:
    """Whether a sign beside a word makes it another word although regular expressions see none: Indic vowel signs.

    Accents and underlines that can be hung on any letter do not, or hanging one on would get round the list.
    """
    if not sign or sign == "\u034f" or "\ufe00" <= sign <= "\ufe0f":
        return False
    return unicodedata.category(sign).startswith("M") and unicodedata.combining(sign) in {0, 7, 9}


def _judge_blocked_domains(case: _Case) -> _Finding:
    found = sum(_is_blocked(domain, case.rules) for domain in {fold_domain(name) for name in case.facts.domains})
    if not found:
        return _Finding(Reason("blocked_domains", 0, 0, False, "No link leads to a blocked site."))
    text = f"Blocked sites that links lead to: {found}."
    return _Finding(Reason("blocked_domains", found, 0, True, text), case.rules.blocked_domains_action)


def _is_blocked(domain: str, rules: Rules) -> bool:
    """The most specific entry decides, so that one list can make exceptions to the other at any depth."""
    if not rules.blocked_domains:
        return False
    labels = domain.split(".")[-127:]  # what a name can have (RFC 1035); longer ones are made to waste time
    for start in range(len(labels)):
        suffix = ".".join(labels[start:])
        if suffix in rules.allowed_domains:
            return False
        if suffix in rules.blocked_domains:
            return True
    return False


def _judge_links(case: _Case) -> _Finding:
    links, limit = case.facts.links, case.rules.links_allowed
    if limit is None:
        return _Finding(Reason("links_allowed", links, None, False, f"Links in the text: {links}; there is no limit."))
    text = f"Links in the text: {links}; allowed without a look: {limit}."
    if links <= limit:
        return _Finding(Reason("links_allowed", links, limit, False, text))
    if case.is_trusted:
        return _Finding(Reason("links_allowed", links, limit, False, f"{text} The author is trusted."))
    return _Finding(Reason("links_allowed", links, limit, True, text), "hold")


def _judge_model(case: _Case) -> _Finding:
    if case.scores is not None:
        return _Finding(Reason("model_unavailable", False, None, False, "A model scored this comment."))
    text = "No model was available to score this comment, so a person decides."
    return _Finding(Reason("model_unavailable", True, None, True, text), "hold")


def _judge_encoder(case: _Case) -> _Finding:
    if case.facts.encoder_available:
        text = "No part of the model failed."
        return _Finding(Reason("encoder_unavailable", False, None, False, text))
    text = "The part of the model that reads for meaning was not available; the part that reads for words was used."
    return _Finding(Reason("encoder_unavailable", True, None, True, text))


def _judge_lexical_tier(case: _Case) -> _Finding:
    if case.may_reject or not any(case.reaches_reject(code) for code in CODES):
        text = "No score was kept from rejecting."
        return _Finding(Reason("lexical_tier_holds", False, None, False, text))
    text = "A score is over a reject line, but without reading for meaning the model may not reject; a person decides."
    return _Finding(Reason("lexical_tier_holds", True, None, True, text), "hold")


def _judge_category(case: _Case, code: str) -> _Finding:
    hold, reject = case.pairs[code].hold, case.pairs[code].reject
    score, label = case.score(code), _LABELS[code]
    if score is None:
        return _judge_unscored(case, code)
    tagged = " Stricter lines apply to this post's tags." if case.pairs[code] != case.base[code] else ""
    if reject.is_reached_by(score):
        text = f"{label}: {_compare(score, reject)}{tagged}"
        return _Finding(Reason(code, score, reject.threshold, True, text), "reject" if case.may_reject else "hold")
    if not hold.is_set:
        return _Finding(Reason(code, score, reject.threshold, False, f"{label}: {_compare(score, reject)}{tagged}"))
    text = f"{label}: {_compare(score, hold)}{tagged}"
    if not hold.is_reached_by(score):
        return _Finding(Reason(code, score, hold.threshold, False, text))
    if case.is_trusted:
        return _Finding(Reason(code, score, hold.threshold, False, f"{text} The author is trusted."))
    # Why the comment is held and not rejected is only worth saying where it is held.
    return _Finding(Reason(code, score, hold.threshold, True, f"{text}{_note(reject)}"), "hold")


def _judge_unscored(case: _Case, code: str) -> _Finding:
    hold, reject = case.pairs[code].hold, case.pairs[code].reject
    limit = hold.threshold if hold.is_set else reject.threshold
    if case.scores is None:
        return _Finding(Reason(code, None, limit, False, f"{_LABELS[code]}: not scored."))
    if code in MAY_ABSTAIN and case.scores[code] is None:
        text = f"{_LABELS[code]}: there is too little to compare the comment with."
        return _Finding(Reason(code, None, limit, False, text))
    text = f"{_LABELS[code]}: the score is not a number, so a person decides."
    return _Finding(Reason(code, None, limit, True, text), "hold")


def _compare(score: float, line: ResolvedLine) -> str:
    if line.threshold is None:
        return f"{score:.3f}; there is no {line.action} line.{_note(line)}"
    # Three digits are enough for a person unless they hide the difference.
    digits = 3 if f"{score:.3f}" != f"{line.threshold:.3f}" else 6
    relation = "reaches" if line.is_reached_by(score) else "is under"
    return f"{score:.{digits}f} {relation} the {line.action} line of {line.threshold:.{digits}f}.{_note(line)}"


def _note(line: ResolvedLine) -> str:
    return f" {line.note}" if line.note else ""


def _judge_abstention(case: _Case) -> _Finding:
    silent = [code for code in CODES if code in MAY_ABSTAIN and case.scores is not None and case.scores[code] is None]
    if not silent:
        return _Finding(Reason("abstained", False, None, False, "Every category was scored, or none was."))
    text = f"Not scored for want of something to compare with: {', '.join(_LABELS[code] for code in silent)}."
    if all(case.policy.settings.categories[code].when_abstained == "publish" for code in silent):
        return _Finding(Reason("abstained", True, None, False, text))
    if case.is_trusted:
        return _Finding(Reason("abstained", True, None, False, f"{text} The author is trusted."))
    return _Finding(Reason("abstained", True, None, True, text), "hold")


def _judge_first_time(case: _Case) -> _Finding:
    published = case.facts.author_published
    if published:
        text = f"Earlier comments of this author that were published here: {published}."
        return _Finding(Reason("first_time", published, 1, False, text))
    text = (
        "It is not known whether this author has been published here before."
        if published is None
        else "No earlier comment of this author has been published here."
    )
    if case.rules.first_time == "publish":
        return _Finding(Reason("first_time", published, None, False, text))
    if case.is_trusted:
        return _Finding(Reason("first_time", published, 1, False, f"{text} The author is trusted."))
    # An unknown past is held too: who cannot be recognised cannot have been let through before.
    return _Finding(Reason("first_time", published, 1, True, text), "hold")


def _judge_campaign(case: _Case) -> _Finding:
    size, limit = case.facts.campaign_size, case.rules.near_identical_allowed
    text = f"Nearly identical comments seen lately: {size}."
    if limit is None:
        return _Finding(Reason("campaign", size, None, False, f"{text} There is no limit."))
    if size <= limit:
        return _Finding(Reason("campaign", size, limit, False, text))
    # Trusted authors too: a flood under a trusted name is a stolen account more often than not.
    return _Finding(Reason("campaign", size, limit, True, f"{text} Allowed without a look: {limit}."), "hold")


def _judge_rate(name: str, whose: str, rate: Rate | None, recent: tuple[int, ...]) -> _Finding:
    """Trusted authors too, for the same reason as a campaign. What is not known is no flood."""
    if rate is None:
        return _Finding(Reason(name, None, None, False, f"There is no limit on how many comments {whose} come in."))
    if len(recent) != len(WINDOWS):
        return _Finding(Reason(name, None, rate.most, False, f"It is not known how many comments {whose} came in."))
    count = recent[list(WINDOWS).index(rate.per)] + 1
    text = f"Comments {whose} within the last {rate.per}, this one included: {count}; allowed: {rate.most}."
    if count <= rate.most:
        return _Finding(Reason(name, count, rate.most, False, text))
    return _Finding(Reason(name, count, rate.most, True, text), "hold")
