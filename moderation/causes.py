"""The facts that mattered, said to a moderator: what was found, what it added to a score, and a sentence.

What each feature added comes from :mod:`moderation.explain`. Here features that say alike become one fact, and facts
become sentences with their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from moderation import topic
from moderation.signals import Signal

_YES_OR_NO = frozenset(
    {
        "link_last",
        "link_home",
        "author_url",
        "author_url_deep",
        "author_name_odd",
        "author_name_in_url",
        "link_only",
        "author_name_has_link",
        "name_random",
        "title_repeated",
        "mixed_scripts",
        "trackback",
        "honeypot",
    }
)
_SHARES = frozenset(
    {
        *("link_share", "link_alone", "link_known", "link_random", "random_words"),
        *("capitals", "repeated_words", "repeated_lines", "broken_lines", "foreign_script"),
    }
)


@dataclass(frozen=True, slots=True)
class Cause:
    """A fact that mattered: what was found, what it added to the head's logit, and a sentence for a moderator."""

    name: str
    value: float
    contribution: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The four fields, ready for JSON."""
        return asdict(self)


def signal_causes(measured: Sequence[Signal], added: Sequence[float]) -> list[Cause]:
    """Signals with what each of them added."""
    has_words = any(signal.name == "words" and signal.value for signal in measured)
    return [
        Cause(signal.name, signal.value, round(float(share), 4), _say(signal))
        for signal, share in zip(measured, added, strict=True)
        # What is not there is no fact to be shown, nor is how long no words are.
        if signal.value and (signal.name != "word_length" or has_words)
    ]


def topic_causes(values: Mapping[str, float], added: Mapping[str, float]) -> list[Cause]:
    """How near a comment is to what stands around it, by feature: features that say alike are one fact."""
    sums: dict[str, float] = {}
    for name in (*topic.NAMES, *topic.VECTOR_NAMES):
        if name in added:
            kind = _topic_kind(name, values)
            sums[kind] = sums.get(kind, 0.0) + float(added[name])
    said = _say_topic(values)
    return [Cause(kind, *said[kind][:1], round(total, 4), said[kind][1]) for kind, total in sums.items()]


def _topic_kind(name: str, values: Mapping[str, float]) -> str:
    """Which fact a feature of relatedness belongs to. Without a parent or thread, theirs repeat the passage's."""
    for kind in ("parent", "thread"):
        if kind in name:
            return f"{kind}_nearness" if values[f"has_{kind}"] else "passage_nearness"
    if name.startswith("title"):
        return "title_nearness"
    if "shared" in name or "containment" in name:
        return "shared_words"
    if name in {"comment_words", "post_words"}:
        return "word_counts"
    return "tags_said" if name == "tag_share" else "passage_nearness"


def _say_topic(values: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """Value and sentence of each fact about relatedness."""
    near = values.get("vector_best", values["passage_cosine"])
    parent = values.get("vector_parent", values["parent_cosine"])
    thread = values.get("vector_thread_best", values["thread_cosine"])
    shared = round(math.expm1(values["shared_words"] * 4))
    words, post = round(math.expm1(values["comment_words"] * 5)), round(math.expm1(values["post_words"] * 8))
    numbers = {
        "passage_nearness": (near, f"the closest passage of the post is {_near(near)}"),
        "title_nearness": (values["title_cosine"], f"by its words the title is {_near(values['title_cosine'])}"),
        "parent_nearness": (parent, f"the comment that it answers is {_near(parent)}"),
        "thread_nearness": (thread, f"the closest earlier comment is {_near(thread)}"),
        "shared_words": (shared, f"{shared or 'no'} {'word' if shared == 1 else 'words'} shared with the post"),
        "tags_said": (values["tag_share"], f"{values['tag_share']:.0%} of the post's tags are said"),
        "word_counts": (words, f"{words:,} words, held against a post of {post:,}"),
    }
    return {name: (round(value, 4), text) for name, (value, text) in numbers.items()}


def _near(value: float) -> str:
    word = "near" if value >= 0.5 else "not far" if value >= 0.3 else "far"
    return f"{word} ({value:.2f}, where 1 is the same)"


def _say(signal: Signal) -> str:
    """A signal's sentence with its number, where the sentence does not say it already."""
    if signal.name == "word_length":
        return f"words of {signal.value * 10:.1f} letters on average"
    if signal.name in _YES_OR_NO or signal.text[0].isdigit():
        return signal.text
    return f"{signal.text}: {signal.value:.0%}" if signal.name in _SHARES else f"{signal.text}: {signal.value:,.0f}"
