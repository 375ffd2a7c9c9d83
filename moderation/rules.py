"""The rules of a policy, each judged for one comment: what was found, what that asks for, and a sentence.

What is over which line is one of them. Each gives a reason whether it fired or not, always in the order of ``REASONS``.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from moderation.categories import CATEGORIES, CODES, MAY_ABSTAIN
from moderation.comment import Action, Author, Comment, Facts, Reason, Scores, Tier
from moderation.goals import LinePair, ResolvedLine
from moderation.policy_schema import WINDOWS, PolicySettings, Rate, Rules, fold, fold_domain

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
    "copied",
    "known_spam",
    "author_rate",
    "site_rate",
)
"""The closed list of reason names, in the order in which a decision lists them."""

_LABELS = {category.code: category.label for category in CATEGORIES}


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason and what it asks for; ``publish`` asks for nothing."""

    reason: Reason
    action: Action = "publish"


class Case:
    """One comment with everything that the judging functions look at more than once.

    ``words`` are the policy's blocked words, compiled. ``base`` are the lines of every category in the tier that scored
    the comment, ``pairs`` those that count under this post's tags.
    """

    __slots__ = (
        *("author", "base", "comment", "facts", "is_trusted"),
        *("may_reject", "pairs", "scores", "settings", "words"),
    )

    def __init__(
        self,
        comment: Comment,
        scores: Scores | None,
        facts: Facts,
        tier: Tier,
        *,
        settings: PolicySettings,
        words: re.Pattern[str] | None,
        base: Mapping[str, LinePair],
        pairs: Mapping[str, LinePair],
    ) -> None:
        self.comment = comment
        self.scores = scores
        self.facts = facts
        self.settings = settings
        self.words = words
        self.base = base
        self.pairs = pairs
        self.may_reject = tier == "full" and facts.encoder_available
        author = comment.author or Author()
        self.author = {fold(name) for name in (author.id, author.name) if name}
        self.is_trusted = bool(self.author & self.rules.trusted_authors)

    @property
    def rules(self) -> Rules:
        """The rules that need no model."""
        return self.settings.rules

    def score(self, code: str) -> float | None:
        """The score as it is stored, six digits, so that a decision replayed from the store is the same."""
        value = None if self.scores is None else self.scores[code]
        return round(value, 6) if value is not None and math.isfinite(value) else None

    def reaches_reject(self, code: str) -> bool:
        """Whether a score is over the line from which it would reject."""
        score = self.score(code)
        return score is not None and self.pairs[code].reject.is_reached_by(score)


def judge(case: Case) -> tuple[Finding, ...]:
    """What every rule finds in a comment."""
    return (
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
        _judge_copied(case),
        _judge_known_spam(case),
        _judge_rate("author_rate", "of this author", case.rules.author_rate, case.facts.author_recent),
        _judge_rate("site_rate", "on this site", case.rules.site_rate, case.facts.site_recent),
    )


def compile_words(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Blocked words as a pattern that finds them as whole words; ``None`` where there are none."""
    if not words:
        return None
    alternatives = "|".join(r"\s+".join(map(re.escape, word.split())) for word in words)
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")


def _judge_banned_author(case: Case) -> Finding:
    if not case.author & case.rules.banned_authors:
        return Finding(Reason("banned_author", False, None, False, "The author is not on the list of banned authors."))
    return Finding(Reason("banned_author", True, None, True, "The author is on the list of banned authors."), "reject")


def _judge_trusted_author(case: Case) -> Finding:
    if not case.is_trusted:
        return Finding(
            Reason("trusted_author", False, None, False, "The author is not on the list of trusted authors.")
        )
    text = "The author is on the list of trusted authors: hold lines, the link limit and first-time rules do not apply."
    return Finding(Reason("trusted_author", True, None, True, text))


def _judge_honeypot(case: Case) -> Finding:
    action = case.rules.honeypot
    if not case.comment.hints.get("honeypot"):
        return Finding(Reason("honeypot", False, None, False, "The hidden field that only programs fill in is empty."))
    if action == "publish":
        text = "The hidden field that only programs fill in was filled in; this policy does not mind."
        return Finding(Reason("honeypot", True, None, False, text))
    return Finding(
        Reason("honeypot", True, None, True, "The hidden field that only programs fill in was filled in."), action
    )


def _judge_blocked_words(case: Case) -> Finding:
    found = _count_blocked_words(case.words, case.comment.text)
    if not found:
        return Finding(Reason("blocked_words", 0, 0, False, "No blocked word is in the text."))
    text = f"Blocked words in the text: {found}."
    return Finding(Reason("blocked_words", found, 0, True, text), case.rules.blocked_words_action)


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


def _judge_blocked_domains(case: Case) -> Finding:
    found = sum(_is_blocked(domain, case.rules) for domain in {fold_domain(name) for name in case.facts.domains})
    if not found:
        return Finding(Reason("blocked_domains", 0, 0, False, "No link leads to a blocked site."))
    text = f"Blocked sites that links lead to: {found}."
    return Finding(Reason("blocked_domains", found, 0, True, text), case.rules.blocked_domains_action)


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


def _judge_links(case: Case) -> Finding:
    links, limit = case.facts.links, case.rules.links_allowed
    if limit is None:
        return Finding(Reason("links_allowed", links, None, False, f"Links in the text: {links}; there is no limit."))
    text = f"Links in the text: {links}; allowed without a look: {limit}."
    if links <= limit:
        return Finding(Reason("links_allowed", links, limit, False, text))
    if case.is_trusted:
        return Finding(Reason("links_allowed", links, limit, False, f"{text} The author is trusted."))
    return Finding(Reason("links_allowed", links, limit, True, text), "hold")


def _judge_model(case: Case) -> Finding:
    if case.scores is not None:
        return Finding(Reason("model_unavailable", False, None, False, "A model scored this comment."))
    text = "No model was available to score this comment, so a person decides."
    return Finding(Reason("model_unavailable", True, None, True, text), "hold")


def _judge_encoder(case: Case) -> Finding:
    if case.facts.encoder_available:
        text = "No part of the model failed."
        return Finding(Reason("encoder_unavailable", False, None, False, text))
    text = "The part of the model that reads for meaning was not available; the part that reads for words was used."
    return Finding(Reason("encoder_unavailable", True, None, True, text))


def _judge_lexical_tier(case: Case) -> Finding:
    if case.may_reject or not any(case.reaches_reject(code) for code in CODES):
        text = "No score was kept from rejecting."
        return Finding(Reason("lexical_tier_holds", False, None, False, text))
    text = "A score is over a reject line, but without reading for meaning the model may not reject; a person decides."
    return Finding(Reason("lexical_tier_holds", True, None, True, text), "hold")


def _judge_category(case: Case, code: str) -> Finding:
    hold, reject = case.pairs[code].hold, case.pairs[code].reject
    score, label = case.score(code), _LABELS[code]
    if score is None:
        return _judge_unscored(case, code)
    tagged = " Stricter lines apply to this post's tags." if case.pairs[code] != case.base[code] else ""
    if reject.is_reached_by(score):
        text = f"{label}: {_compare(score, reject)}{tagged}"
        return Finding(Reason(code, score, reject.threshold, True, text), "reject" if case.may_reject else "hold")
    if not hold.is_set:
        return Finding(Reason(code, score, reject.threshold, False, f"{label}: {_compare(score, reject)}{tagged}"))
    text = f"{label}: {_compare(score, hold)}{tagged}"
    if not hold.is_reached_by(score):
        return Finding(Reason(code, score, hold.threshold, False, text))
    if case.is_trusted:
        return Finding(Reason(code, score, hold.threshold, False, f"{text} The author is trusted."))
    # Why the comment is held and not rejected is only worth saying where it is held.
    return Finding(Reason(code, score, hold.threshold, True, f"{text}{_note(reject)}"), "hold")


def _judge_unscored(case: Case, code: str) -> Finding:
    hold, reject = case.pairs[code].hold, case.pairs[code].reject
    limit = hold.threshold if hold.is_set else reject.threshold
    if case.scores is None:
        return Finding(Reason(code, None, limit, False, f"{_LABELS[code]}: not scored."))
    if code in MAY_ABSTAIN and case.scores[code] is None:
        text = f"{_LABELS[code]}: there is too little to compare the comment with."
        return Finding(Reason(code, None, limit, False, text))
    text = f"{_LABELS[code]}: the score is not a number, so a person decides."
    return Finding(Reason(code, None, limit, True, text), "hold")


def _compare(score: float, line: ResolvedLine) -> str:
    if line.threshold is None:
        return f"{score:.3f}; there is no {line.action} line.{_note(line)}"
    # Three digits are enough for a person unless they hide the difference.
    digits = 3 if f"{score:.3f}" != f"{line.threshold:.3f}" else 6
    relation = "reaches" if line.is_reached_by(score) else "is under"
    return f"{score:.{digits}f} {relation} the {line.action} line of {line.threshold:.{digits}f}.{_note(line)}"


def _note(line: ResolvedLine) -> str:
    return f" {line.note}" if line.note else ""


def _judge_abstention(case: Case) -> Finding:
    silent = [code for code in CODES if code in MAY_ABSTAIN and case.scores is not None and case.scores[code] is None]
    if not silent:
        return Finding(Reason("abstained", False, None, False, "Every category was scored, or none was."))
    text = f"Not scored for want of something to compare with: {', '.join(_LABELS[code] for code in silent)}."
    if all(case.settings.categories[code].when_abstained == "publish" for code in silent):
        return Finding(Reason("abstained", True, None, False, text))
    if case.is_trusted:
        return Finding(Reason("abstained", True, None, False, f"{text} The author is trusted."))
    return Finding(Reason("abstained", True, None, True, text), "hold")


def _judge_first_time(case: Case) -> Finding:
    published = case.facts.author_published
    if published:
        text = f"Earlier comments of this author that were published here: {published}."
        return Finding(Reason("first_time", published, 1, False, text))
    text = (
        "It is not known whether this author has been published here before."
        if published is None
        else "No earlier comment of this author has been published here."
    )
    if case.rules.first_time == "publish":
        return Finding(Reason("first_time", published, None, False, text))
    if case.is_trusted:
        return Finding(Reason("first_time", published, 1, False, f"{text} The author is trusted."))
    # An unknown past is held too: who cannot be recognised cannot have been let through before.
    return Finding(Reason("first_time", published, 1, True, text), "hold")


def _judge_campaign(case: Case) -> Finding:
    size, limit = case.facts.campaign_size, case.rules.near_identical_allowed
    text = f"Nearly identical comments seen lately: {size}."
    if limit is None:
        return Finding(Reason("campaign", size, None, False, f"{text} There is no limit."))
    if size <= limit:
        return Finding(Reason("campaign", size, limit, False, text))
    # Trusted authors too: a flood under a trusted name is a stolen account more often than not.
    return Finding(Reason("campaign", size, limit, True, f"{text} Allowed without a look: {limit}."), "hold")


def _judge_copied(case: Case) -> Finding:
    if not case.facts.copied:
        text = "No earlier comment of another author is known that says the same without the link."
        return Finding(Reason("copied", False, None, False, text))
    text = "Repeats an earlier comment of another author, with a link added."
    if case.rules.copies == "publish":
        return Finding(Reason("copied", True, None, False, f"{text} This policy does not mind."))
    # Trusted authors too: whoever takes somebody's words may take a trusted name as well.
    return Finding(Reason("copied", True, None, True, text), "hold")


def _judge_known_spam(case: Case) -> Finding:
    if not case.facts.known_spam:
        return Finding(Reason("known_spam", False, None, False, "Nothing like it is known as spam here."))
    text = "Says again what was rejected as spam here."
    action: Action = case.rules.known_spam
    if action == "publish":
        return Finding(Reason("known_spam", True, None, False, f"{text} This policy does not mind."))
    # Trusted authors too: what they said was rejected all the same.
    return Finding(Reason("known_spam", True, None, True, text), action)


def _judge_rate(name: str, whose: str, rate: Rate | None, recent: tuple[int, ...]) -> Finding:
    """Trusted authors too, for the same reason as a campaign. What is not known is no flood."""
    if rate is None:
        return Finding(Reason(name, None, None, False, f"There is no limit on how many comments {whose} come in."))
    if len(recent) != len(WINDOWS):
        return Finding(Reason(name, None, rate.most, False, f"It is not known how many comments {whose} came in."))
    count = recent[list(WINDOWS).index(rate.per)] + 1
    text = f"Comments {whose} within the last {rate.per}, this one included: {count}; allowed: {rate.most}."
    if count <= rate.most:
        return Finding(Reason(name, count, rate.most, False, text))
    return Finding(Reason(name, count, rate.most, True, text), "hold")
