"""What a page shows as evidence: marked words, facts, scores against lines, links, and changes of a text."""

from __future__ import annotations

import difflib
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from moderation.categories import CATEGORIES
from moderation.comment import Decision
from moderation.explain import Explanation, explain_decision
from moderation.goals import LinePair
from moderation.policy import Policy
from moderation.policy_schema import fold
from moderation.signals import find_links, urlsplit_safe
from moderation.spans import Span
from service.api import Parts
from service.live_model import Live
from service.store import Brief, Site

_KEPT = 2000
_MOST_LINKS = 20
_MOST_WORDS = 3000
_STRONG = (0.25, 0.5, 0.75)
_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text. ``mark`` is 0 for plain text, else 1 to 4: how strongly it raised the score."""

    text: str
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of a text that is the same in two versions, only in the old one, or only in the new one."""

    text: str
    kind: str  # same, gone, new


@dataclass(frozen=True, slots=True)
class Link:
    """An address in a comment, shown as text: ``host`` is where browsers go, ``readable`` how a disguised one looks."""

    address: str
    host: str
    readable: str | None
    where: str  # text, author


@dataclass(frozen=True, slots=True)
class Bar:
    """A score of a category with the lines of the policy; ``score`` is ``None`` where the model abstained."""

    label: str
    score: float | None
    hold: float | None
    reject: float | None


class Explanations:
    """Explanations of decisions, kept for the next look. Thread-safe; holds offsets and facts, no text of comments."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._found: OrderedDict[tuple[str, str], Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, live: Live, decision: Decision) -> Explanation | None:
        """What was found before; ``None`` where it has to be computed."""
        if live.bundle is None or decision.decision_id is None:
            return None
        key = live.bundle.name, decision.decision_id
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def explain(self, parts: Parts, decision: Decision) -> Explanation | None:
        """Explain a decision with the model in force; ``None`` without a model, or where the text is not kept."""
        live = parts.live_model.pair_of(decision.bundle)
        found = self.get(live, decision)
        if found is not None or live.bundle is None or decision.decision_id is None:
            return found
        kept = parts.store.judged_comment(decision.decision_id)
        if kept is None:
            return None
        found = explain_decision(live.bundle.model, kept[0], decision)
        with self._lock:
            self._found[live.bundle.name, decision.decision_id] = found
            while len(self._found) > self._kept:
                self._found.popitem(last=False)
        return found


def mark(text: str, spans: Sequence[Span]) -> list[Piece]:
    """A text in pieces, those that spans point at with their mark. Spans outside of the text are left out."""
    pieces: list[Piece] = []
    done = 0
    for span in spans:
        if not done <= span.start < span.end <= len(text):
            continue
        if span.start > done:
            pieces.append(Piece(text[done : span.start]))
        strength = 1 + sum(span.strength >= step for step in _STRONG)
        pieces.append(Piece(text[span.start : span.end], strength))
        done = span.end
    if done < len(text):
        pieces.append(Piece(text[done:]))
    return pieces


def compare(old: str, new: str) -> list[Change]:
    """What changed between two versions of a text, by words; of very long ones all of both."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    if max(len(before), len(after)) > _MOST_WORDS:
        return [Change(old, "gone"), Change(new, "new")]
    changes: list[Change] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            changes.append(Change("".join(before[start:end]), "same"))
            continue
        if end > start:
            changes.append(Change("".join(before[start:end]), "gone"))
        if new_end > new_start:
            changes.append(Change("".join(after[new_start:new_end]), "new"))
    return changes


def find_repeated(parts: Parts, allowed: Sequence[Site], row: int, decision: Decision) -> list[tuple[str, Brief]]:
    """What a comment (its row in the store) repeats, where a decision found that it does; each with a heading."""
    reading = parts.store.reading
    looks = (("copied", "It repeats", reading.original), ("known_spam", "Rejected as spam before", reading.known_spam))
    said = {reason.name for reason in decision.reasons if reason.value}
    found = [(title, look(allowed, row)) for name, title, look in looks if name in said]
    return [(title, brief) for title, brief in found if brief is not None]


def list_links(text: str, author_url: str | None) -> list[Link]:
    """Every address that a comment would have a reader follow, each once, the first twenty."""
    found = dict.fromkeys(find_links(text), "text")
    if author_url:
        found.setdefault(author_url, "author")
    return [_read_link(address, where) for address, where in list(found.items())[:_MOST_LINKS]]


def _read_link(address: str, where: str) -> Link:
    host, _ = urlsplit_safe(address)
    # A name in letters that look like others is told apart by the form that browsers resolve.
    try:
        plain = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        plain = host
    try:
        readable = plain.encode().decode("idna") if "xn--" in plain else None
    except UnicodeError:
        readable = None
    return Link(address, plain, readable, where)


def bars(live: Live, parts: Parts, site: Site, decision: Decision, tags: Sequence[str]) -> list[Bar]:
    """Every score of a decision, with the lines of the policy that decided."""
    if decision.scores is None:
        return []
    policy = live.readable_policy(decision.policy, parts.store.policy_toml, site.url)
    scores = decision.scores
    return [Bar(each.label, scores[each.code], *_lines(policy, decision, each.code, tags)) for each in CATEGORIES]


def _lines(
    policy: Policy | None, decision: Decision, code: str, tags: Sequence[str]
) -> tuple[float | None, float | None]:
    if policy is None or decision.tier is None:
        return None, None
    pair: LinePair = policy.lines[decision.tier, code]
    folded = {fold(tag) for tag in tags}
    for stricter, lines in policy.stricter:
        if folded & stricter:
            pair = pair.strictest(lines[decision.tier, code])
    return pair.hold.threshold, pair.reject.threshold
