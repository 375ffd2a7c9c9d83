"""A contest is complete: both answered all that was asked, under lines of their own."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from moderation.categories import CODES
from moderation.comment import Comment, Facts, Scores
from moderation.encoder import WIDTH
from moderation.errors import DataError
from moderation.heads import Vectors
from moderation.model import DENSE
from moderation.policy import Policy, default_policy_toml
from moderation.training.anchors import Figures
from moderation.training.contest import (
    Case,
    Contest,
    Contestant,
    Rows,
    Sides,
    Training,
    lines_of,
    passed_cases,
    without_texts,
)
from moderation.training.rows import BehaviourCase, fingerprint
from moderation.training.trials import lined_policy


def rows(count, sites=()):
    return Rows(np.zeros((count, len(CODES))), [()] * count, np.array(["0" * 16] * count), sites)


def contestant(name="one", frozen=3, held_out=2, passed=()):
    scores = [np.full((count, len(CODES)), 0.5) for count in (frozen, held_out)]
    return Contestant(name, *scores, MappingProxyType({}), frozenset(passed))


def contest(**changes):
    asked = {"frozen": rows(3), "held_out": rows(2, ["a", "b"]), "cases": [Case("c1", "distress", "f")]}
    return Contest(
        **{**asked, "champion": contestant(), "challenger": contestant("two"), "training": Training(1), **changes}
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"challenger": contestant("two", frozen=2)}, r"two must be scored on all frozen rows: \(3, 8\), not \(2, 8\)"),
        ({"champion": contestant("one", held_out=1)}, "one must be scored on all held_out rows"),
        ({"held_out": rows(2)}, "2 held-out rows need the site of each, not 0"),
        ({"challenger": contestant("two", passed=["c9"])}, "two passed cases that nobody asked: c9"),
        ({"cases": [Case("c1", "distress", "f")] * 2}, "two behaviour cases have the same id"),
    ],
)
def test_answers_must_fit_the_questions(changes, words):
    assert contest()
    with pytest.raises(DataError, match=words):
        contest(**changes)


def test_members_are_the_rows_of_each_slice_and_all_of_them():
    some = replace(rows(3), slices=[("short", "set:a"), (), ("short",)])
    assert {name: member.tolist() for name, member in some.members.items()} == {
        "": [True, True, True],
        "set:a": [True, False, False],
        "short": [True, False, True],
    }


def test_a_source_stands_for_the_set_where_slices_name_none():
    figures = Figures(
        Vectors(
            np.zeros((0, WIDTH + 3), np.float32),
            np.zeros(0, np.int64),
            np.zeros(2, np.float32),
            np.zeros((2, 1), np.float32),
            np.zeros((2, WIDTH + 1), np.float32),
        ),
        np.zeros((2, len(DENSE)), np.float32),
        np.zeros((2, len(CODES))),
        np.zeros((2, len(CODES))),
        np.ones(2),
        np.array(["jigsaw", "comments"]),
        [("short",), ("set:topic-blogs", "long")],
        np.array(["1" * 16, "2" * 16]),
    )
    found = Rows.of(figures, ["a", None])
    assert found.slices == [("set:jigsaw", "short"), ("set:topic-blogs", "long")]
    assert (found.sites, len(found)) == (["a", None], 2)


def test_a_line_that_nothing_is_known_about_is_reached_by_every_score_and_none_by_no_score():
    lines = lines_of(Policy.parse(default_policy_toml()))
    assert lines["hostile", "hold"] < 0
    assert lines["hostile", "reject"] == lines["profanity", "hold"] == np.inf


def test_cases_pass_as_in_the_evaluation_and_leave_their_texts_behind():
    cases = [
        BehaviourCase(name, Comment(text=f"Text {name}."), {"profanity": side}, "distress", "why")
        for name, side in (("a", "low"), ("b", "high"))
    ]
    low = Scores(0.1, 0.1, None, 0.1, 0.1, 0.1, 0.1, 0.1)
    facts = Facts(tier="full")
    assert without_texts(cases)[0] == Case("a", "distress", fingerprint("text A"))
    assert passed_cases(cases, [(low, facts), (low, facts)], lined_policy({"format": 1, "tiers": {}})) == {"a"}


def test_the_share_of_the_rarer_side():
    assert Sides(1, 3).rarer_share == Sides(3, 1).rarer_share == 0.25
    assert Sides().rarer_share == 0
