"""The cases written for this project: seed rows teach, behaviour cases check, and the two must not share text."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from moderation.categories import CODES
from moderation.comment import Comment
from moderation.training.train import gather

DATA_DIR = os.environ.get("MODERATION_DATA_DIR")
TRAINING_DATA = Path(__file__).resolve().parents[2] / "training_data"
FILES = sorted(TRAINING_DATA.glob("seed/*.jsonl")) + sorted(TRAINING_DATA.glob("behaviour/*.jsonl"))

# Rates of a slice are read one by one, so that each needs enough cases for one miss not to look like many.
AT_LEAST = {
    "blunt-disagreement": 12,
    "code": 12,
    "correction": 12,
    "counter-speech": 12,
    "distress": 25,
    "emoji": 24,
    "genuine-advice": 16,
    "genuine-praise": 25,
    "help-links": 24,
    "identity-attack": 12,
    "identity-mention": 25,
    "institution-anger": 25,
    "languages": 12,
    "link-spam": 12,
    "links-genuine": 12,
    "long": 12,
    "machine-praise": 12,
    "mental-health-posts": 12,
    "negated-insult": 12,
    "obfuscated": 12,
    "off-topic": 25,
    "one-word": 12,
    "plain-insult": 25,
    "polite-cruelty": 25,
    "praise-spam": 25,
    "questions": 12,
    "quoted-insult": 12,
    "reclaimed-word": 12,
    "self-disclosure": 25,
    "self-talk": 12,
    "severe": 12,
    "threat": 25,
    "trackback": 12,
    "untargeted-profanity": 25,
    "violent-words": 24,
}
SHARED_WORDS = 8
EACH_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_all(kind: str) -> list[dict[str, Any]]:
    return [row for path in FILES if path.parent.name == kind for row in read(path)]


def fingerprint(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def written(row: dict[str, Any]) -> list[str]:
    """Every free text of a row: a post shared by both folders would leak as surely as a comment."""
    comment = row["comment"]
    texts = [comment["text"], comment.get("parent", {}).get("text"), comment.get("post", {}).get("text")]
    return [text for text in texts if text]


def word_runs(text: str, length: int = SHARED_WORDS) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


@EACH_FILE
def test_every_row_has_its_fields_and_a_comment_the_library_accepts(path: Path) -> None:
    answers = "labels" if path.parent.name == "seed" else "expect"
    for row in read(path):
        where = f"{path.name}: {row.get('id')}"
        assert set(row) - {"needs"} == {"id", "comment", answers, "slice", "why"}, where
        assert row["slice"] == path.stem, where
        assert re.fullmatch(rf"{path.parent.name}-{path.stem}-\d{{3,}}", row["id"]), where
        assert row["why"].strip(), where
        assert Comment.from_dict(row["comment"]).text, where


@EACH_FILE
def test_every_row_states_known_categories_and_known_answers(path: Path) -> None:
    seed = path.parent.name == "seed"
    for row in read(path):
        stated = row["labels" if seed else "expect"]
        assert stated, row["id"]
        assert set(stated) <= set(CODES), row["id"]
        for answer in stated.values():
            # `True == 1`, so the type is asked for as well.
            assert (type(answer) is int and answer in (0, 1)) if seed else answer in ("low", "high"), row["id"]
        if "needs" in row:
            assert not seed, row["id"]
            assert row["needs"] == "meaning", row["id"]


@pytest.mark.parametrize("kind", ["seed", "behaviour"])
def test_what_a_row_says_of_a_part_of_hostile_fits_what_it_says_of_hostile(kind: str) -> None:
    """Swearing without a target is no hostility, but every other kind under hostile is."""
    answers, yes = ("labels", 1) if kind == "seed" else ("expect", "high")
    for row in read_all(kind):
        stated = row[answers]
        parts = [code for code in ("insult", "threat", "identity_attack", "severe") if stated.get(code) == yes]
        assert not parts or stated.get("hostile") == yes, row["id"]


def test_off_topic_is_stated_only_where_there_is_a_post_to_compare_with() -> None:
    for row in read_all("seed") + read_all("behaviour"):
        stated = row.get("labels", row.get("expect"))
        if "off_topic" in stated:
            assert row["comment"].get("post", {}).get("text"), row["id"]
        if stated.get("off_topic") in (1, "high"):
            assert len(row["comment"]["text"].split()) >= 12, row["id"]


def test_ids_are_unique_over_both_folders() -> None:
    counts = Counter(row["id"] for row in read_all("seed") + read_all("behaviour"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_both_folders_are_large_enough_and_every_slice_reaches_its_minimum() -> None:
    behaviour = Counter(row["slice"] for row in read_all("behaviour"))
    assert behaviour.total() >= 300
    assert len(read_all("seed")) >= 450
    assert {name: behaviour[name] for name, least in AT_LEAST.items() if behaviour[name] < least} == {}
    assert set(behaviour) == set(AT_LEAST), "a new slice needs its minimum here"
    assert {row["slice"] for row in read_all("seed")} == set(AT_LEAST), "a slice is taught as well as checked"


@pytest.mark.parametrize("kind", ["seed", "behaviour"])
def test_a_text_stands_twice_only_under_another_post(kind: str) -> None:
    seen = Counter(
        (fingerprint(row["comment"]["text"]) or row["comment"]["text"], row["comment"].get("post", {}).get("title"))
        for row in read_all(kind)
    )
    assert [key for key, count in seen.items() if count > 1] == []


def test_no_behaviour_text_is_a_seed_text() -> None:
    """Fingerprints of letters and digits only; texts without any are compared as they are."""
    taught = {fingerprint(text) or text: row["id"] for row in read_all("seed") for text in written(row)}
    shared = [
        (row["id"], taught[fingerprint(text) or text])
        for row in read_all("behaviour")
        for text in written(row)
        if (fingerprint(text) or text) in taught
    ]
    assert shared == []


def test_no_run_of_eight_words_is_shared_between_the_folders() -> None:
    taught: dict[tuple[str, ...], str] = {}
    for row in read_all("seed"):
        for text in written(row):
            taught.update(dict.fromkeys(word_runs(text), row["id"]))
    shared = {
        (row["id"], taught[run], " ".join(run))
        for row in read_all("behaviour")
        for text in written(row)
        for run in word_runs(text) & taught.keys()
    }
    assert shared == set()


@pytest.mark.skipif(DATA_DIR is None, reason="the public data sets are not here: MODERATION_DATA_DIR is not set")
def test_no_row_repeats_what_stands_in_a_public_set() -> None:
    """Rows are written, not remembered: spam above all consists of sentences that went round the world.

    A saying of six words may stand anywhere; six such runs, or a third of a row that has more than one, may not.
    """
    ours = defaultdict(set)
    size = {}
    for row in read_all("seed") + read_all("behaviour"):
        runs = word_runs(row["comment"]["text"], 6)
        size[row["id"]] = len(runs)
        for run in runs:
            ours[run].add(row["id"])
    shared = defaultdict(set)
    dataset = gather(TRAINING_DATA, Path(DATA_DIR or "")).dataset
    for rows in (dataset.train, dataset.validation, *dataset.frozen.values()):
        for row in rows:
            if row.source not in {"seed", "templates"}:
                for run in word_runs(row.comment.text, 6) & ours.keys():
                    for name in ours[run]:
                        shared[name].add(run)
    assert {name for name, runs in shared.items() if len(runs) > 5 or len(runs) > max(1, size[name] / 3)} == set()


def test_long_harmless_cases_are_long() -> None:
    for row in read_all("behaviour") + read_all("seed"):
        if row["slice"] == "long":
            assert 600 <= len(row["comment"]["text"]) <= 2000, (row["id"], len(row["comment"]["text"]))


def test_links_lead_only_to_domains_that_cannot_exist() -> None:
    for row in read_all("seed") + read_all("behaviour"):
        comment = row["comment"]
        for text in [*written(row), comment.get("author", {}).get("url") or ""]:
            for host in re.findall(r"https?://([^/\s>\[\]\")]+)", text):
                assert re.search(r"\.(example|test|invalid)$", host.rstrip(".,;!?")), (row["id"], host)
