"""English sets of hostile and friendly comments that we train on (parts of some are frozen).

Every function reads one set and says in its docstring what that set's own label means and what we make of it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from moderation.comment import MAX_TEXT_CHARS, Neighbour
from moderation.errors import InvalidRow
from moderation.training.adapters.reading import (
    BENIGN,
    Draft,
    Line,
    csv_lines,
    named,
    short_hash,
    spread,
    text_lines,
    without_placeholders,
)
from moderation.training.rows import fingerprint, mend

_JIGSAW = {
    "hostile": "toxic",
    "severe": "severe_toxic",
    "profanity": "obscene",
    "threat": "threat",
    "insult": "insult",
    "identity_attack": "identity_hate",
}
_SPAN_TYPES = {
    "insult": "Insult",
    "profanity": "Profane/Obscene",
    "identity_attack": "Identity based Attack",
    "threat": "Threat",
}
_KIND_EMOTIONS = frozenset({"admiration", "caring", "gratitude", "joy", "love"})
_KIND_CAP = 4_000
_Stretch = tuple[int, int]


def jigsaw(paths: Sequence[Path]) -> Iterator[Draft]:
    """Wikipedia talk pages, six labels by majority of crowd raters.

    ``toxic`` = "rude, disrespectful or unreasonable, likely to make someone leave a discussion" -> hostile;
    ``severe_toxic`` -> severe, ``obscene`` -> profanity, ``identity_hate`` -> identity_attack, ``threat`` and
    ``insult`` as they are. All six are always known. Files named ``test*`` are frozen, and so is an id that stands
    in one of them and in a training file too. Rows with id 0 are machine-made noise and skipped.
    """
    drafts: dict[str, Draft] = {}
    for path in sorted(paths, key=lambda path: (not path.name.startswith("test"), path.as_posix())):
        frozen_set = "jigsaw" if path.name.startswith("test") else None
        slices = ("natural-rate",) if path.name.startswith("test.indist") else ()
        for line in csv_lines(path):
            identity = line["id"]
            if len(identity) != 16 or (identity in drafts and not (slices and drafts[identity].frozen_set)):
                continue
            labels = {code: line.flag(name) for code, name in _JIGSAW.items()}
            drafts[identity] = Draft(
                identity, line["comment_text"], labels, f"jigsaw:{identity}", frozen_set=frozen_set, slices=slices
            )
    yield from drafts.values()


def toxic_spans(paths: Sequence[Path]) -> Iterator[Draft]:
    """Civil Comments (news sites), several raters each, who marked toxic spans and their type, or "not toxic".

    Hostile when fewer than half of the raters said "not toxic". A type is 1 when at least half of the raters marked
    such a span, 0 when none did or the comment is not hostile, unknown between. Raters disagree on most
    comments: those where all say the same about toxicity have the slice ``unanimous``. The tenth with
    ``int(sha1(comment_id), 16) % 10 == 0`` is frozen as ``toxic-spans``; the texts of the shared task's test file are
    frozen as ``toxic-spans-why`` (with their character offsets, no labels) and never trained on. ``marked`` holds
    which stretches which share of the raters marked, whatever the type, as JSON ``[[start, end, share], ...]``, and
    ``toxic_share`` the share of the raters who did not say "not toxic".
    """
    why = set()
    for line in csv_lines(named(paths, "tsd_test.csv")):
        text = line["text"]
        why.add(fingerprint(text))
        identity = f"tsd-{short_hash(text)}"
        yield Draft(
            identity, text, {}, f"toxic-spans:{identity}", frozen_set="toxic-spans-why", extra={"spans": line["spans"]}
        )
    votes, marks = _span_votes(paths)
    for line in csv_lines(named(paths, "comments.csv")):
        identity, text = line["comment_id"], line["comment_text"]
        digest = hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()
        frozen_set = "toxic-spans" if int(digest, 16) % 10 == 0 else None
        if identity in votes and (frozen_set or fingerprint(text) not in why):
            found = votes[identity]
            yield Draft(
                identity,
                text,
                _span_labels(found),
                f"toxic-spans:{identity}",
                frozen_set=frozen_set,
                slices=("unanimous",) if _all_agree(found) else (),
                extra={
                    "marked": json.dumps(_shares_marked(marks[identity], found["raters"], len(text))),
                    "toxic_share": f"{1 - found['not toxic'] / found['raters']:.4f}",
                },
            )


def _span_votes(paths: Sequence[Path]) -> tuple[dict[str, Counter[str]], dict[str, list[list[_Stretch]]]]:
    """By comment: votes, and what each of the raters marked.

    Votes count the ``raters``, those who said ``not toxic``, and those who marked each type.
    """
    marked: dict[str, set[str]] = defaultdict(set)
    stretches: dict[str, list[_Stretch]] = defaultdict(list)
    for line in csv_lines(named(paths, "spans.csv")):
        marked[line["annotation"]].add(line["type"])
        stretches[line["annotation"]].append((int(line["start"]), int(line["end"])))
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    by_rater: dict[str, list[list[_Stretch]]] = defaultdict(list)
    for line in csv_lines(named(paths, "annotations.csv")):
        of_comment = votes[line["comment_id"]]
        of_comment["raters"] += 1
        of_comment["not toxic"] += line["not toxic"] == "True"
        of_comment.update(marked[line["annotation"]])
        by_rater[line["comment_id"]].append(stretches[line["annotation"]])
    return votes, by_rater


def _shares_marked(by_rater: Sequence[Sequence[_Stretch]], raters: int, length: int) -> list[tuple[int, int, float]]:
    """Stretches of characters that some rater marked, with the share of raters who did, in order."""
    counts = [0] * length
    for stretches in by_rater:
        for index in {index for start, end in stretches for index in range(start, min(end, length))}:
            counts[index] += 1
    shares: list[tuple[int, int, float]] = []
    start = 0
    for count, group in itertools.groupby(counts):
        end = start + sum(1 for _ in group)
        if count:
            shares.append((start, end, round(count / raters, 3)))
        start = end
    return shares


def _all_agree(votes: Counter[str]) -> bool:
    """Whether all raters said the same about toxicity."""
    return votes["not toxic"] in {0, votes["raters"]}


def _span_labels(votes: Counter[str]) -> dict[str, int]:
    hostile = int(votes["not toxic"] / votes["raters"] < 0.5)
    labels = {"hostile": hostile}
    for code, kind in _SPAN_TYPES.items():
        share = votes[kind] / votes["raters"]
        if not hostile or share == 0:
            labels[code] = 0
        elif share >= 0.5:
            labels[code] = 1
    return labels


def kaggle_insults(paths: Sequence[Path]) -> Iterator[Draft]:
    """Comments on blogs, news sites and forums; ``Insult`` = insulting to a participant of the conversation.

    -> hostile and insult, both ways. Insults at people outside the conversation are labelled 0 by the set's own rule;
    we keep that. ``test_with_solutions.csv`` is frozen.
    """
    for path in paths:
        frozen_set = "kaggle-insults" if path.name.startswith("test") else None
        for line in csv_lines(path):
            label, raw = line.flag("Insult"), line["Comment"]
            identity = short_hash(raw)
            yield Draft(
                identity,
                unescape_comment(raw),
                {"hostile": label, "insult": label},
                f"kaggle-insults:{identity}",
                frozen_set=frozen_set,
                raw=raw,
            )


_BYTES = re.compile(r"(?:\\+x[0-9a-fA-F]{2})+")
_UNICODE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_SIMPLE = re.compile(r"\\+([nrt'\"])")
_SIMPLE_MEANS = {"n": "\n", "r": "\n", "t": "\t", "'": "'", '"': '"'}


def unescape_comment(raw: str) -> str:
    r"""Undo outer quotes and escapes such as ``\n``, ``\\xa0`` and ``\u2019``, however often they were escaped."""
    text = raw.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    text = _BYTES.sub(_decode_bytes, text)
    text = _UNICODE.sub(_decode_unicode, text)
    text = _SIMPLE.sub(lambda match: _SIMPLE_MEANS[match[1]], text)
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\xa0", " ").strip()


def _decode_bytes(match: re.Match[str]) -> str:
    """A run of byte escapes: UTF-8 when it is valid UTF-8, else one Latin-1 character each."""
    data = bytes.fromhex("".join(re.findall(r"x([0-9a-fA-F]{2})", match[0])))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _decode_unicode(match: re.Match[str]) -> str:
    """One code point; halves of a surrogate pair are joined afterwards."""
    number = int(match[1] or match[2], 16)
    return chr(number) if number <= 0x10FFFF else "\ufffd"


def ruddit(paths: Sequence[Path]) -> Iterator[Draft]:
    """Reddit comments with an offensiveness score from -1 (supportive) to 1 by best-worst scaling.

    >= 0.35 -> hostile; <= 0 -> not hostile, nor any part of it; between: skipped. The thread is the group.
    """
    for line in csv_lines(named(paths, "ruddit_with_text.csv")):
        text = line["txt"]
        if text.strip() in ("", "[deleted]", "[removed]"):
            continue
        score = line.measure("offensiveness_score")
        if 0 < score < 0.35:
            continue
        labels = {"hostile": 1} if score > 0 else BENIGN
        yield Draft(line["comment_id"], text, labels, f"ruddit:{line['post_id']}")


def hatexplain(paths: Sequence[Path]) -> Iterator[Draft]:
    """Posts from Twitter and Gab, three raters each: hatespeech, offensive or normal.

    hatespeech -> hostile and identity_attack; offensive -> hostile, the rest unknown; normal -> not hostile, nor any
    part of it. A header line, then ``label<TAB>text`` (no CSV quoting). The test file is frozen.
    """
    meaning = {"hatespeech": {"hostile": 1, "identity_attack": 1}, "offensive": {"hostile": 1}, "normal": BENIGN}
    for path in paths:
        frozen_set = "hatexplain" if path.name == "test.csv" else None
        for number, text in text_lines(path):
            label, tab, raw = text.partition("\t")
            if number == 1 and label == "label":
                continue
            if not tab or label not in meaning:
                raise InvalidRow(str(path), number, "must be label, tab, text with a known label")
            identity = short_hash(raw)
            yield Draft(
                identity,
                without_placeholders(raw),
                meaning[label],
                f"hatexplain:{identity}",
                frozen_set=frozen_set,
                raw=raw,
            )


def edos(paths: Sequence[Path]) -> Iterator[Draft]:
    """Reddit and Gab posts, sexist or not, by trained annotators, with a category and a vector.

    sexist -> hostile and identity_attack; the category "threats, plans to harm and incitement" -> threat. "not
    sexist" may still be racist or insulting, so those rows say nothing and are skipped, in the frozen test split too.
    """
    for line in csv_lines(named(paths, "edos_labelled_aggregated.csv")):
        if line["label_sexist"] != "sexist":
            continue
        labels = {"hostile": 1, "identity_attack": 1}
        if line["label_category"].startswith("1."):
            labels["threat"] = 1
        identity, raw = line["rewire_id"], line["text"]
        frozen = line["split"] == "test"
        yield Draft(
            identity,
            without_placeholders(raw),
            labels,
            f"edos:{identity}",
            frozen_set="edos" if frozen else None,
            slices=(line["label_vector"],) if frozen else (),
            raw=raw,
        )


def misogyny(paths: Sequence[Path]) -> Iterator[Draft]:
    """Reddit entries from forums where misogyny is likely, by trained annotators, with a three-level taxonomy.

    Misogynistic: hostile and identity_attack; its personal attacks also insult, its threats also threat. Derogation
    and disrespectful "treatment" marked *implicit* is opinion rather than attack and is skipped. A personal attack
    without misogyny -> hostile and insult. "None of the categories" means no misogyny, no personal attack -> hostile 0
    and insult 0 (other hatred was not looked for: weight 0.5, the rest unknown). Counter-speech is skipped, as are
    entries that are mostly an image or whose text is cut. The thread is the group.
    """
    lines = list(csv_lines(named(paths, "final_labels.csv")))
    bodies = {line["entry_id"]: line["body"] for line in lines}
    for line in lines:
        labels = _misogyny_labels(line)
        if labels is None or line["image"]:
            continue
        yield Draft(
            f"{line['entry_id']}:{line.number}",
            line["body"],
            labels,
            f"misogyny-eacl2021:{line['link_id']}",
            weight=1.0 if labels["hostile"] else 0.5,
            parent=_neighbour(line["parent_id"], bodies),
        )


def _misogyny_labels(line: Line) -> dict[str, int] | None:
    kind, detail = line["level_2"], line["level_3"]
    if kind == "None_of_the_categories":
        return {"hostile": 0, "insult": 0}
    if kind == "Nonmisogynistic_personal_attack":
        return {"hostile": 1, "insult": 1}
    if line["level_1"] != "Misogynistic" or line["strength"].endswith("Implicit"):
        return None
    labels = {"hostile": 1, "identity_attack": 1}
    if kind == "Misogynistic_personal_attack":
        labels["insult"] = 1
    if detail.startswith("Threatening"):
        labels["threat"] = 1
    return labels


def _neighbour(identity: str, bodies: dict[str, str]) -> Neighbour | None:
    body = bodies.get(identity.partition("_")[2], "")
    return Neighbour(text=mend(body)) if body.strip() and len(body) <= MAX_TEXT_CHARS else None


def toxigen(paths: Sequence[Path]) -> Iterator[Draft]:
    """Machine-written statements about 13 groups; people scored how toxic each is, 1 to 5.

    >= 4 -> hostile and identity_attack; <= 2 -> not hostile, nor any part of it (mentions of a group without
    malice); between: skipped.
    """
    path = named(paths, "toxiGen.json")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRow(str(path), getattr(error, "lineno", 1), f"is not JSON: {error}") from None
    for number, fields in enumerate(records, start=1):
        line = Line(path, number, fields)
        score = line.measure("toxicity_score")
        if 2 < score < 4:
            continue
        labels = {"hostile": 1, "identity_attack": 1} if score >= 4 else BENIGN
        identity = short_hash(line["text"])
        yield Draft(identity, line["text"], labels, f"toxigen:{identity}")


def hatemoji(paths: Sequence[Path]) -> Iterator[Draft]:
    """HatemojiBuild: texts with emoji written to fool a model, each with a contrast of the other label.

    1 (hateful) -> hostile and identity_attack, "threatening language" also threat; 0 -> not hostile, nor any part of
    it. A text and its contrast are one group. HatemojiCheck, templates by functionality, is frozen.
    """
    for path in paths:
        if "HatemojiCheck" in path.as_posix():
            yield from _hatemoji_check(path)
            continue
        for line in csv_lines(path):
            identity, partner = line["entry_id"], line["matched_id"]
            labels = dict(BENIGN)
            if line.flag("label_gold"):
                labels = {"hostile": 1, "identity_attack": 1}
                if line["type"] == "threateninglanguage":
                    labels["threat"] = 1
            pair = min(int(number) for number in (identity, partner) if number.isdecimal())
            yield Draft(identity, line["text"], labels, f"hatemoji:{pair}")


def _hatemoji_check(path: Path) -> Iterator[Draft]:
    for line in csv_lines(path):
        labels = {"hostile": 1, "identity_attack": 1} if line.flag("label_gold") else BENIGN
        yield Draft(
            f"check-{line['case_id']}",
            line["text"],
            labels,
            f"hatemoji-check:{line['test_group_id']}",
            frozen_set="hatemoji-check",
            slices=(line["functionality"], line["set"]),
        )


def stormfront(paths: Sequence[Path]) -> Iterator[Draft]:
    """Sentences from a white-supremacist forum: hate = a deliberate attack on a group.

    hate -> hostile and identity_attack; noHate -> hostile 0 and identity_attack 0 at a low weight, because such a
    sentence was judged alone and often belongs to a hateful post. ``relation`` (hateful only together with its
    neighbours) and ``idk/skip`` are skipped. The post is the group.
    """
    for line in csv_lines(named(paths, "DERIVED_combined.csv")):
        label, identity = line["label"], line["file_id"]
        if label not in ("hate", "noHate"):
            continue
        value = int(label == "hate")
        yield Draft(
            identity,
            line["text"],
            {"hostile": value, "identity_attack": value},
            f"vicomtech-stormfront:{identity.partition('_')[0]}",
            weight=1.0 if value else 0.4,
        )


def paradetox(paths: Sequence[Path]) -> Iterator[Draft]:
    """Toxic sentences cut from other sets, with up to three rewrites that keep the meaning without the toxicity.

    toxic -> hostile; a rewrite -> hostile, insult and profanity 0. A sentence and its rewrites are one group.
    """
    for line in csv_lines(named(paths, "paradetox.tsv"), delimiter="\t", quoted=False):
        toxic = line["toxic"]
        identity = short_hash(toxic)
        group = f"paradetox:{identity}"
        yield Draft(identity, toxic, {"hostile": 1}, group)
        for column in ("neutral1", "neutral2", "neutral3"):
            text = line.fields.get(column)
            if text:
                yield Draft(f"{identity}-{short_hash(text)}", text, {"hostile": 0, "insult": 0, "profanity": 0}, group)


def goemotions(paths: Sequence[Path]) -> Iterator[Draft]:
    """Reddit comments with 28 emotions.

    Those whose only emotion is admiration, caring, gratitude, joy or love -> not hostile, nor any part of it (they may
    swear); at most 4,000 of them, chosen by hash. All other emotions say nothing about hostility and are skipped.
    """
    names = [name for _, name in text_lines(named(paths, "labels.txt"))]
    kind = {str(index) for index, name in enumerate(names) if name in _KIND_EMOTIONS}
    lines = csv_lines(named(paths, "train.tsv"), delimiter="\t", quoted=False, names=("text", "emotions", "id"))
    chosen = sorted((line for line in lines if line["emotions"] in kind), key=lambda line: spread(line["id"]))
    for line in chosen[:_KIND_CAP]:
        raw = line["text"]
        yield Draft(line["id"], without_placeholders(raw), BENIGN, f"goemotions:{line['id']}", raw=raw)
