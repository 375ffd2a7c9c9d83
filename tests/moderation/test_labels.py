"""Labels as lines of files, what counts of them, and what they become to learn from. All texts are made up."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.batch import UnreadableInput
from moderation.categories import CODES
from moderation.comment import Author, Comment, Neighbour, Post
from moderation.errors import DataError, InvalidRow
from moderation.training.labels import (
    TRUST,
    Label,
    Trust,
    as_rows,
    last_words,
    merge_labels,
    read_label,
    read_labels,
    read_trust,
    write_labels,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCORES = {code: None if code == "off_topic" else 0.25 for code in CODES}
FULL = Comment(
    "Nice bread, see my shop",
    id="c1",
    site="https://blog.example",
    author=Author("a1", "Ada", "https://ada.example"),
    post=Post("p1", "Baking", "Flour and water", tags=("bread",)),
    parent=Neighbour("c0", "Thanks"),
    thread=(Neighbour("c0", None),),
    lang="en",
    hints={"honeypot": False},
)


def label(identity="c1", value=1, moderator="Ada", minutes=None, **more) -> Label:
    comment = Comment(f"The words of {identity}", id=identity, site="https://blog.example")
    at = None if minutes is None else NOON + timedelta(minutes=minutes)
    return Label(comment, {"spam": value}, moderator, comment.digest(), at=at, **more)


def test_a_label_survives_a_file(tmp_path):
    whole = Label(
        FULL, {"spam": 1}, "Ada", FULL.digest(), "verdict", "reject", NOON, "comments-1", "full", False, "publish",
        SCORES, 0.02,
    )  # fmt: skip
    count = write_labels(tmp_path / "labels" / "a.jsonl", [whole, label()])

    assert list(read_labels(tmp_path / "labels" / "a.jsonl")) == [whole, label()]
    assert (count, (tmp_path / "labels" / "a.jsonl").stat().st_mode & 0o077) == (2, 0)
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a.jsonl"]


def test_a_table_says_the_same(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "id,text,author.name,post.tags,labels.spam,labels.hostile,moderator,score_shown,inclusion_probability,at\n"
        'c1,"Nice\nbread",Ada,"a, b",1,,Ben,false,0.02,2026-01-31T13:00:00+01:00\n'
        "c2,Well said,,,0,0,,,,\n"
        "c3,Well said,,,maybe,,Ben,,,\n"
    )
    first, second, third = read_labels(path, defaults={"moderator": "old system", "site": "https://blog.example"})

    assert first.comment == Comment(
        "Nice\nbread", id="c1", site="https://blog.example", author=Author(name="Ada"), post=Post(tags=("a", "b"))
    )
    assert (first.labels, first.moderator, first.score_shown) == ({"spam": 1}, "Ben", False)
    assert (first.inclusion_probability, first.at, first.source) == (0.02, NOON, "import")
    assert (second.labels, second.moderator) == ({"hostile": 0, "spam": 0}, "old system")
    assert second.digest == second.comment.digest()
    assert (third.path, third.line, third.message) == (str(path), 5, "the label of spam must be 0 or 1")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": {}}, "at least one category"),
        ({"labels": {"rude": 1}}, "'rude' is not a category"),
        ({"labels": {"spam": True}}, "the label of spam must be 0 or 1"),
        ({"labels": {"spam": 2}}, "must be 0 or 1"),
        ({"labels": [1]}, "labels must be an object"),
        ({"moderator": None}, "moderator must say who judged"),
        ({"moderator": "  "}, "moderator must say who judged"),
        ({"source": "By hand"}, "source must be a word"),
        ({"verdict": "maybe"}, "verdict must be approve or reject"),
        ({"at": "yesterday"}, "at must be a moment"),
        ({"digest": "abc"}, "64 hex digits"),
        ({"score_shown": "yes"}, "score_shown must be true or false"),
        ({"inclusion_probability": 0}, "above 0"),
        ({"inclusion_probability": float("nan")}, "above 0"),
        ({"scores": {"spam": 0.2}}, "scores lack hostile"),
        ({"scores": SCORES | {"spam": 2}}, "from 0 to 1"),
        ({"action": "delete"}, "publish or hold or reject"),
        ({"text": ""}, "text: is empty"),
        ({"colour": "red"}, "colour: is not a known field"),
        ({"do_not_store": True}, "may not be kept"),
    ],
)
def test_what_is_no_label_is_refused_with_file_and_line_and_the_others_are_kept(tmp_path, changes, says):
    good = {"text": "Well said", "labels": {"spam": 0}, "moderator": "Ada"}
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (good, good | changes, good)) + "{\n\n[1]\n")
    before, bad, after, *broken = read_labels(path)

    assert isinstance(bad, InvalidRow)
    assert str(bad).startswith(f"{path}:2: ")
    assert says in bad.message
    assert before == after
    assert [row.line for row in broken] == [4, 5, 6]


def test_a_file_that_is_not_there_or_has_other_columns_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("text,rating\nx,1\n")
    with pytest.raises(UnreadableInput, match="rating"):
        list(read_labels(tmp_path / "a.csv"))
    with pytest.raises(UnreadableInput, match="cannot read"):
        list(read_labels(tmp_path / "none.jsonl"))
    (found,) = read_labels(tmp_path / "a.csv", ignore_unknown=True)
    assert "labels must say something" in found.message


def test_a_rejection_that_does_not_say_as_what_is_kept_without_labels():
    found = read_label({"text": "Well", "labels": {}, "verdict": "reject", "moderator": "Ada"})

    assert (found.labels, found.verdict) == ({}, "reject")
    assert as_rows([found]) == []


def test_the_last_word_counts_whoever_has_it_and_in_whatever_order_it_came():
    first, flip, other = label(minutes=1), label(value=0, minutes=2), label(value=1, moderator="Ben", minutes=3)

    assert last_words([first, flip]) == [flip]
    assert last_words([flip, first]) == [flip]
    assert last_words([other, first, flip]) == [other]
    assert last_words([label("c2"), flip]) == [label("c2"), flip]
    # Without times the one that came last; what has a time is newer than what has none.
    assert last_words([label(value=1), label(value=0)]) == [label(value=0)]
    assert last_words([first, label(value=0, moderator="Ben")]) == [first]


def test_what_is_taken_back_is_gone_and_an_earlier_word_of_somebody_else_counts_again():
    first, second = label(minutes=1), label(value=0, moderator="Ben", minutes=2)
    undo = replace(second, labels={}, source="undo", at=NOON + timedelta(minutes=3))

    assert last_words([first, second, undo]) == [first]
    assert last_words([second, undo]) == []
    assert last_words([second, undo, replace(second, at=undo.at + timedelta(minutes=1))])[0].labels == {"spam": 0}


def test_another_text_under_the_same_id_is_another_comment():
    edited = Comment("New words", id="c1", site="https://blog.example")
    assert len(last_words([label(), Label(edited, {"spam": 0}, "Ada", edited.digest())])) == 2


def test_how_likely_a_look_was_outlives_the_word_of_somebody_else():
    audited = label(minutes=1, inclusion_probability=0.02)
    (found,) = last_words([audited, label(value=0, moderator="Ben", minutes=2)])

    assert (found.labels, found.moderator, found.inclusion_probability) == ({"spam": 0}, "Ben", 0.02)


def test_a_second_import_changes_nothing_and_a_flip_replaces():
    kept, added, replaced = merge_labels([], [label("c1"), label("c2"), label("c1")])
    assert (kept, added, replaced) == ([label("c1"), label("c2")], 2, 0)
    assert merge_labels(kept, [label("c1"), label("c2")]) == (kept, 0, 0)

    flipped, added, replaced = merge_labels(kept, [label("c1", 0)])
    assert ([each.labels["spam"] for each in flipped], added, replaced) == ([1, 0], 0, 1)
    dated = [label("c1", 1, minutes=5)]
    assert merge_labels(dated, [label("c1", 0, minutes=1)]) == (dated, 0, 0)
    assert merge_labels(kept, [label("c1", 0, moderator="Ben")])[1:] == (1, 0)


def test_rows_weigh_what_is_trusted_and_posts_stay_together():
    post = Post("p1", "Baking")
    labels = [
        Label(replace(FULL, id=identity, post=post), {"spam": 1}, who, f"{number:064}", source)
        for number, (identity, who, source) in enumerate(
            [
                ("c1", "Ada", "verdict"),
                ("c2", "Ada", "appeal_overturned"),
                ("c3", "Eve", "verdict"),
                ("c4", "Ada", "new"),
            ]
        )
    ]
    rows = as_rows(labels, Trust(moderators={"Eve": 0.0}))

    assert [(row.weight, row.extra["from"]) for row in rows] == [
        (1.0, "verdict"),
        (1.5, "appeal_overturned"),
        (0.7, "new"),
    ]
    assert {row.group for row in rows} == {"label:https://blog.example:p1"}
    assert len({row.id for row in rows}) == 3


def test_trust_can_be_set(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text('[sources]\nimport = 0.2\n[moderators]\n"Eve" = 0\n')
    trust = read_trust(path)

    assert trust.of(label()) == 0.2
    assert trust.of(label(source="verdict")) == TRUST["verdict"]
    assert trust.of(label(moderator="Eve")) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[sources]\nguess = 1", "no source 'guess'"),
        ("[sources]\nimport = -1", "from 0 to 10"),
        ('[moderators]\nEve = "little"', "from 0 to 10"),
        ("sources = 1", "from 0 to 10"),
        ("[source]\nimport = 1", "no table 'source'"),
        ("[sources", "cannot read"),
    ],
)
def test_trust_that_cannot_be_meant_is_refused(tmp_path, content, says):
    (tmp_path / "trust.toml").write_text(content)
    with pytest.raises(DataError, match=says):
        read_trust(tmp_path / "trust.toml")
