"""Hostile comments in languages other than English; a test part of each is frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from moderation.training.adapters.reading import (
    BENIGN,
    Draft,
    csv_lines,
    named,
    short_hash,
    spread,
    without_placeholders,
)

_GERMEVAL_2018 = {
    "OTHER": {**BENIGN, "profanity": 0},
    "PROFANITY": {"profanity": 1},
    "INSULT": {"hostile": 1, "insult": 1},
    "ABUSE": {"hostile": 1, "identity_attack": 1},
}


def germeval2018(paths: Sequence[Path]) -> Iterator[Draft]:
    """German tweets: OTHER, or an offence of the kind INSULT, ABUSE or PROFANITY.

    INSULT (of a person) -> hostile and insult; ABUSE (a person as member of a group) -> hostile and identity_attack;
    PROFANITY (swearing at nobody) -> profanity only; OTHER -> not hostile, nor any part of it. Three columns without
    quoting or header; ``|LBR|`` is a line break. The test file is frozen.
    """
    for path in paths:
        frozen_set = "germeval2018" if "test" in path.name else None
        for line in csv_lines(path, delimiter="\t", quoted=False, names=("text", "coarse", "fine")):
            raw = line["text"]
            labels = _GERMEVAL_2018.get(line["fine"])
            if labels is None:
                raise line.error("has an unknown kind of offence")
            identity = short_hash(raw)
            yield Draft(
                identity,
                without_placeholders(raw.replace("|LBR|", " ")),
                labels,
                f"germeval2018:{identity}",
                frozen_set=frozen_set,
                slices=("lang-de",),
                raw=raw,
                lang="de",
            )


def germeval2021(paths: Sequence[Path]) -> Iterator[Draft]:
    """German comments on a talk show's Facebook page; toxic = would make others leave, including sarcasm and shouting.

    Sub1_Toxic -> hostile, both ways. The test file is frozen.
    """
    for path in paths:
        for line in csv_lines(path):
            identity, raw = line["comment_id"], line["comment_text"]
            yield Draft(
                identity,
                without_placeholders(raw),
                {"hostile": line.flag("Sub1_Toxic")},
                f"germeval2021:{identity}",
                frozen_set="germeval2021" if "Test" in path.name else None,
                slices=("lang-de",),
                raw=raw,
                lang="de",
            )


def told_br(paths: Sequence[Path]) -> Iterator[Draft]:
    """Brazilian tweets, three raters each, who could mark six kinds of toxicity; a column holds the number of votes.

    Two votes for one kind count: insult -> hostile and insult; homophobia, racism, misogyny, xenophobia -> hostile and
    identity_attack; obscene -> profanity. No vote for any kind -> not hostile, nor any part of it, and no profanity.
    A kind with a single vote is unknown. A tenth, by hash, is frozen.
    """
    identity_kinds = ("homophobia", "racism", "misogyny", "xenophobia")
    for line in csv_lines(named(paths, "ToLD-BR.csv")):
        votes = {name: line.measure(name) for name in (*identity_kinds, "insult", "obscene")}
        attack = max(votes[name] for name in identity_kinds)
        labels: dict[str, int] = {}
        if not any(votes.values()):
            labels = {**BENIGN, "profanity": 0}
        for code, count in (("insult", votes["insult"]), ("identity_attack", attack), ("profanity", votes["obscene"])):
            if count >= 2:
                labels[code] = 1
                if code != "profanity":
                    labels["hostile"] = 1
        if not labels:
            continue
        raw = line["text"]
        identity = short_hash(raw)
        yield Draft(
            identity,
            without_placeholders(raw),
            labels,
            f"told-br:{identity}",
            frozen_set="told-br" if spread(identity) < 0.1 else None,
            slices=("lang-pt",),
            raw=raw,
            lang="pt",
        )


def korean(paths: Sequence[Path]) -> Iterator[Draft]:
    """Korean comments on entertainment news: hate, offensive or none, and whether a bias against a group shows.

    hate -> hostile, with a bias also identity_attack; offensive -> hostile; none -> not hostile, nor any part of it,
    unless a bias shows (then the attack is unknown). The dev file is frozen.
    """
    for path in paths:
        for line in csv_lines(path, delimiter="\t", quoted=False):
            kind, biased = line["hate"], line["bias"] != "none"
            if kind == "none":
                labels = {code: value for code, value in BENIGN.items() if code != "identity_attack" or not biased}
            elif kind == "hate" and biased:
                labels = {"hostile": 1, "identity_attack": 1}
            else:
                labels = {"hostile": 1}
            identity = short_hash(line["comments"])
            yield Draft(
                identity,
                line["comments"],
                labels,
                f"korean-hate-speech:{identity}",
                frozen_set="korean-hate-speech" if path.name == "dev.tsv" else None,
                slices=("lang-ko",),
                lang="ko",
            )


def cold(paths: Sequence[Path]) -> Iterator[Draft]:
    """Chinese posts on race, region and gender; label 1 = offensive.

    1 -> hostile; 0 -> not hostile, nor any part of it (this includes speech against prejudice). The test file also says
    whom: 1 a person -> insult, 2 a group -> identity_attack. The test file is frozen.
    """
    for path in paths:
        for line in csv_lines(path):
            labels = {"hostile": 1} if line.flag("label") else dict(BENIGN)
            fine = line.fields.get("fine-grained-label")
            if fine in ("1", "2"):
                labels["insult" if fine == "1" else "identity_attack"] = 1
            identity = short_hash(line["TEXT"])
            yield Draft(
                identity,
                line["TEXT"],
                labels,
                f"cold-zh:{identity}",
                frozen_set="cold-zh" if path.name == "test.csv" else None,
                slices=("lang-zh", f"topic-{line['topic']}"),
                lang="zh",
            )
