"""Who has to look at a comment, why, and how soon. Pure: the same decision and the same chance give the same answer."""

from __future__ import annotations

import hashlib
import math

from moderation.categories import CODES
from moderation.comment import Action, Decision
from service.store import AuditDraw, Priority, Why

HARM = {
    "hostile": 3.0,
    "spam": 1.0,
    "off_topic": 0.5,
    "insult": 2.0,
    "threat": 5.0,
    "identity_attack": 4.0,
    "profanity": 1.0,
    "severe": 5.0,
}
"""How bad one published comment of a category is, against spam. A convention to sort by, not a measurement."""

NEAR_LOGITS = 0.25
"""A score is near a line within this distance on the scale of log odds: 0.44 to 0.56 of a line at 0.5."""

_UNSCORED = Priority(None, 1.0, 1.5, 1.0)
"""Without a score a comment is taken to be hostile by the toss of a coin: it comes before most that have one."""

_SIDES = {"publish": "under", "reject": "over"}


def measure(decision: Decision) -> Priority:
    """What the queue sorts a comment by. Expected harm is that of the worst category, probability times harm.

    A verdict teaches most where the model is least sure: 1 at a probability of 0.5, 0 at 0 and 1.
    """
    scores = decision.scores.to_dict() if decision.scores else {}
    known = {code: score for code, score in scores.items() if score is not None and math.isfinite(score)}
    if not known:
        return _UNSCORED
    category = max(known, key=lambda code: HARM[code] * known[code])
    teaching = max(4 * score * (1 - score) for score in known.values())
    return Priority(category, known[category], HARM[category] * known[category], teaching)


def reasons_to_look(decision: Decision, draw: AuditDraw | None) -> tuple[Why, ...]:
    """Why a person is to look at a comment that was just decided; empty where nobody needs to."""
    whys: list[Why] = []
    fired = [reason for reason in decision.reasons if reason.fired]
    if decision.action == "hold":
        whys += [Why("held", reason.name, _number(reason.value), reason.text) for reason in fired]
        if not whys:
            whys.append(Why("held", None, None, "Held for a moderator."))
    else:
        side = _SIDES[decision.action]
        for reason in decision.reasons:
            score, line = _number(reason.value), _number(reason.limit)
            # Of a rejected comment only the line that rejected it is interesting, of a published one any.
            is_of_interest = reason.name in CODES and reason.fired == (decision.action == "reject")
            if is_of_interest and score is not None and line is not None and is_near(score, line):
                whys.append(Why("near_line", reason.name, score, f"Just {side} the line. {reason.text}"))
    if draw is not None:
        done = {"publish": "published", "reject": "rejected"}[draw.action]
        text = f"Picked by chance from what was {done}: {draw.share:.2%} are looked at."
        whys.append(Why("audit", draw.action, draw.share, text))
    return tuple(whys)


def draw_audit(action: Action, share: float, seed: str, *, is_queued: bool) -> AuditDraw | None:
    """Chance picks a published or rejected comment where the seed's hash, as a number in 0 to 1, is under ``share``.

    Returns ``None`` where it does not. ``is_queued`` says that a person looks at it in any case, so that it was certain
    to be looked at.
    """
    if action == "hold" or not _unit(seed) < share:
        return None
    return AuditDraw(action, share, seed, 1.0 if is_queued else share)


def draw_second_look(verdict_id: str, share: float) -> bool:
    """Whether chance has a verdict looked at again: its id's hash, as a number in 0 to 1, is under ``share``."""
    return _unit(f"second look at {verdict_id}") < share


def is_near(score: float, line: float) -> bool:
    """Whether a score (0 to 1) is so near a line that it could as well have been on its other side."""
    if not (0 < score < 1 and 0 < line < 1):
        return False
    return abs(_logit(score) - _logit(line)) <= NEAR_LOGITS


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _unit(seed: str) -> float:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big") / 2**56


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]  # just checked
