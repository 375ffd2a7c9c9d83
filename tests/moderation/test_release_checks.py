"""What a person has decided about bundles is not undone by the gate: rollbacks and trials on a share of sites."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from moderation.comment import Comment
from moderation.record import InForce, Release
from moderation.training.known import keep_known
from moderation.training.labels import Label
from moderation.training.release_checks import Left, check_in_force, check_rolled_back

START = datetime(2026, 1, 1, tzinfo=UTC)
BACK = Release("comments-000000000000", "2026-02-01T12:00:00+00:00", "worse", by="Ada", is_rollback=True)
FACTS = {"said": 100, "until": (START + timedelta(hours=99)).isoformat()}


def words(count, *, dated=True):
    return [
        Label(Comment(f"number {hour}"), {"spam": 0}, "Ben", "", at=START + timedelta(hours=hour) if dated else None)
        for hour in range(count)
    ]


def left(**more):
    return Left("comments-111111111111", BACK, more.pop("labels", FACTS), **more)


@pytest.mark.parametrize(("count", "state"), [(90, "hold"), (100, "hold"), (109, "hold"), (110, "pass"), (300, "pass")])
def test_much_the_same_labels_wait_for_a_person(count, state):
    check = check_rolled_back("comments-222222222222", words(count), [left()], b"")
    assert (check.name, check.state) == ("rolled_back", state)
    if state == "hold":
        assert "comments-111111111111 was rolled back on 2026-02-01 by Ada" in check.sentence


def test_the_same_bundle_waits_whatever_its_labels():
    check = check_rolled_back("comments-111111111111", words(300), [left(labels={}), left()], b"")
    assert (check.state, "byte for byte" in check.sentence) == ("hold", True)


def test_nothing_is_held_for_what_was_overruled_or_had_no_labels():
    for each in ([], [left(is_overruled=True)], [left(labels={})]):
        assert check_rolled_back("comments-222222222222", words(100), each, b"").state == "pass"


@pytest.mark.parametrize(
    ("said", "facts", "new"),
    [
        (words(130, dated=False), FACTS, 30),
        (words(108, dated=False), FACTS, 8),
        (words(120), {"said": 300, "until": FACTS["until"]}, 20),
        (words(108), {"said": 100, "until": None}, 8),
    ],
)
def test_labels_without_a_time_are_new_where_there_are_more_of_them(said, facts, new):
    check = check_rolled_back("comments-222222222222", said, [left(labels=facts)], b"")
    assert check.figures.get("new", 30) == new
    assert check.state == ("pass" if new == 30 else "hold")


def test_by_hashes_an_import_of_older_labels_is_new_and_what_was_known_is_not():
    known = {**FACTS, "known": keep_known(words(100), b"secret")}
    older = [replace(each, at=START - timedelta(days=900), moderator="Eve") for each in words(100)]
    states = [
        check_rolled_back("comments-222222222222", said, [left(labels=known)], b"secret").state
        for said in (words(100), words(109), words(110), older)
    ]
    assert states == ["hold", "hold", "pass", "pass"]
    assert check_rolled_back("comments-222222222222", words(100), [left(labels=known)], b"another").state == "hold"


def test_what_serves_has_to_be_what_it_was_held_against():
    one, other = InForce("comments-333333333333"), InForce("comments-444444444444")
    trial = InForce(one.bundle, other.bundle, 0.2)
    assert check_in_force(one, one).state == "pass"
    for began, now, told in (
        (one, other, "comments-444444444444 serves by now"),
        (one, trial, "and comments-444444444444 on a share of sites"),
        (trial, one, "comments-333333333333 serves by now"),
        (trial, trial, "is tried on 20% of the sites"),
    ):
        check = check_in_force(began, now)
        assert (check.state, told in check.sentence) == ("hold", True), check.sentence
