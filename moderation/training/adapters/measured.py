"""Sets that are only measured on, never trained on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from moderation.comment import Neighbour, Post
from moderation.errors import InvalidRow
from moderation.training.adapters.reading import (
    BENIGN,
    Draft,
    Line,
    csv_lines,
    json_lines,
    named,
    short_hash,
    spread,
    without_tags,
)
from moderation.training.rows import mend

_CIVIL = {
    "hostile": "toxicity",
    "severe": "severe_toxicity",
    "profanity": "obscene",
    "identity_attack": "identity_attack",
    "insult": "insult",
    "threat": "threat",
}
_MADLIBS_ROWS = 5_000
_OPENAI_SLICES = {"S": "sexual", "H": "hate", "V": "violence", "HR": "harassment", "SH": "self-harm"}


def noisyhate(paths: Sequence[Path]) -> Iterator[Draft]:
    """Civil Comments in a clean and in a person's obfuscated spelling, in pairs (``extra["pair"]``).

    Each label is the share of raters who said so; >= 0.5 -> 1, else 0, as its makers do. toxicity -> hostile,
    severe_toxicity -> severe, obscene -> profanity, the others as named. Identities mentioned (share >= 0.5)
    are slices.
    """
    for path, column, kind in (
        (named(paths, "clean.csv"), "clean", "clean"),
        (named(paths, "pert.csv"), "perturbed_version", "perturbed"),
    ):
        for number, line in enumerate(csv_lines(path)):
            names = list(line.fields)
            identities = names[names.index("male") : names.index("other_disability") + 1]
            mentioned = tuple(f"identity-{name}" for name in identities if line.measure(name) >= 0.5)
            yield Draft(
                f"{kind}-{number}",
                line[column],
                {code: int(line.measure(name) >= 0.5) for code, name in _CIVIL.items()},
                f"noisyhate:{number}",
                frozen_set="noisyhate",
                slices=(kind, *mentioned),
                extra={"pair": str(number)},
            )


def bias_madlibs(paths: Sequence[Path]) -> Iterator[Draft]:
    """Sentences from templates with an identity filled in; BAD or NOT_BAD by the template, whatever the identity.

    -> hostile, both ways. 5,000 of them, by hash. Slices: the template and the identity.
    """
    lines = list(csv_lines(named(paths, "bias_madlibs_77k.csv")))
    identities = {line["Text"].partition(" ")[2] for line in lines if line["Template"] == "verb_adj"}
    for line in sorted(lines, key=lambda line: spread(line["Text"]))[:_MADLIBS_ROWS]:
        text, template = line["Text"], line["Template"]
        mentioned = [name for name in identities if f" {name} " in f" {text} "]
        slices = (
            (template, f"identity-{max(mentioned, key=lambda name: (len(name), name))}") if mentioned else (template,)
        )
        label = {"BAD": 1, "NOT_BAD": 0}.get(line["Label"])
        if label is None:
            raise line.error("is neither BAD nor NOT_BAD")
        identity = short_hash(text)
        yield Draft(
            identity, text, {"hostile": label}, f"bias-madlibs:{identity}", frozen_set="bias-madlibs", slices=slices
        )


def xstest(paths: Sequence[Path]) -> Iterator[Draft]:
    """Prompts with violent words: 250 harmless, 200 that a chat bot should refuse.

    safe -> not hostile, nor any part of it. An unsafe request is no hostile comment, so those are skipped.
    """
    for line in csv_lines(named(paths, "xstest_prompts.csv")):
        if line["label"] == "safe":
            yield Draft(
                line["id"],
                line["prompt"],
                BENIGN,
                f"xstest:{line['type']}",
                frozen_set="xstest",
                slices=(line["type"],),
            )


def counsel_chat(paths: Sequence[Path]) -> Iterator[Draft]:
    """Questions of people in distress to therapists, and the answers. None is hostile -> not, nor any part of it."""
    seen: set[str] = set()
    for line in csv_lines(named(paths, "20200325_counsel_chat.csv")):
        question = line["questionID"]
        for kind, column in (("question", "questionText"), ("answer", "answerText")):
            raw = line.fields.get(column) or ""
            text = without_tags(raw)
            identity = f"{kind}-{short_hash(text)}"
            if not text or identity in seen:
                continue
            seen.add(identity)
            yield Draft(
                identity,
                text,
                BENIGN,
                f"counsel-chat:{question}",
                frozen_set="counsel-chat",
                slices=(kind, f"topic-{line['topic']}"),
                raw=raw,
            )


def ethos(paths: Sequence[Path]) -> Iterator[Draft]:
    """YouTube and Reddit comments; isHate = share of raters who saw hate speech, with kinds for the hateful ones.

    >= 0.5 -> hostile and identity_attack, else 0 for both. violence >= 0.5 -> threat 1, 0 -> threat 0.
    """
    kinds = {line["comment"]: line for line in csv_lines(named(paths, "Multi_Label.csv"), delimiter=";")}
    for line in csv_lines(named(paths, "Binary.csv"), delimiter=";"):
        text = line["comment"]
        value = int(line.measure("isHate") >= 0.5)
        labels = {"hostile": value, "identity_attack": value}
        if text in kinds:
            violence = kinds[text].measure("violence")
            if violence >= 0.5 or violence == 0:
                labels["threat"] = int(violence >= 0.5)
        identity = short_hash(text)
        yield Draft(identity, text, labels, f"ethos:{identity}", frozen_set="ethos")


def openai_moderation(paths: Sequence[Path]) -> Iterator[Draft]:
    """Prompts with up to eight labels: sexual S, hate H, violence V, harassment HR, self-harm SH ... Missing is not 0.

    Hate or harassment -> hostile, both known to be absent -> not hostile; hate -> identity_attack; "hateful and
    threatening" -> threat, no violence -> no threat, violence alone leaves it unknown. Every label that is 1
    is a slice.
    """
    path = named(paths, "samples-1680.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = Line(path, number, json.loads(text))
            except ValueError as error:
                raise InvalidRow(str(path), number, f"is not JSON: {error}") from None
            given = {name: line.flag(name) for name in line.fields if name != "prompt"}
            labels: dict[str, int] = {}
            if 1 in (given.get("H"), given.get("HR"), given.get("H2")):
                labels["hostile"] = 1
            elif given.get("H") == 0 and given.get("HR") == 0:
                labels["hostile"] = 0
            if "H" in given:
                labels["identity_attack"] = given["H"]
            if given.get("H2") == 1:
                labels["threat"] = 1
            elif given.get("V") == 0:
                labels["threat"] = 0
            slices = tuple(name for code, name in _OPENAI_SLICES.items() if given.get(code) == 1)
            yield Draft(
                str(number),
                line["prompt"],
                labels,
                f"openai-moderation:{number}",
                frozen_set="openai-moderation",
                slices=slices,
            )


def fox_news(paths: Sequence[Path]) -> Iterator[Draft]:
    """Comments under ten news stories; label 1 = hateful -> hostile, 0 -> not hostile.

    The story's title and summary are the post, the comment before it the thread; the story is the group. Nothing is
    said about off_topic: the set shows whether hostile comments are mistaken for it.
    """
    for line in json_lines(named(paths, "fox-news-comments.json")):
        title, summary, before = line["title"], line["meta"], line["prev"]
        yield Draft(
            str(line.number),
            line["text"],
            {"hostile": line.flag("label")},
            f"fox-news:{short_hash(title)}",
            frozen_set="fox-news",
            post=Post(id=short_hash(title), title=mend(title), text=mend(summary) or None),
            thread=(Neighbour(text=mend(before)),) if before.strip() else (),
        )
