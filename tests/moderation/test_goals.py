"""Goals on a curve worked out by hand."""

import math

import pytest

from moderation.errors import InvalidPolicy
from moderation.goals import (
    Evidence,
    Goal,
    Point,
    read_goal,
    read_operating_points,
    resolve,
    resolve_pair,
    rows_without_error,
)

# threshold, recall, false positive rate, its upper bound
CURVE = Evidence(
    negatives=1000,
    points=(
        Point(0.1, 0.95, 0.150, 0.200),
        Point(0.3, 0.90, 0.030, 0.050),
        Point(0.5, 0.80, 0.006, 0.010),
        Point(0.7, 0.60, 0.001, 0.004),
        Point(0.9, 0.30, 0.000, 0.003),
        Point(0.95, 0.10, 0.000, 0.003),
    ),
)
# Precision at a live rate of one half is recall / (recall + upper): the halves cancel.
# 0.1: 0.95/1.15 = 0.826   0.3: 0.90/0.95 = 0.947   0.5: 0.80/0.81  = 0.9877
# 0.7: 0.60/0.604 = 0.9934 0.9: 0.30/0.303 = 0.9901 0.95: 0.10/0.103 = 0.9709


def resolved(sentence, action="hold", live_rate=0.5, evidence=CURVE):
    return resolve(
        read_goal(sentence), tier="full", category="spam", action=action, live_rate=live_rate, evidence=evidence
    )


@pytest.mark.parametrize(
    ("sentence", "kind", "target"),
    [
        ("precision >= 0.99", "precision", 0.99),
        ("  Precision>=.99 ", "precision", 0.99),
        ("precision ≥ 99 %", "precision", 0.99),
        ("precision >= 99.5%", "precision", 0.995),
        ("recall >= 0.9", "recall", 0.9),
        ("recall >= 1", "recall", 1.0),
        ("at most 1 % of good comments", "good_share", 0.01),
        ("at most 1% of good comments", "good_share", 0.01),
        ("At  most 0.7 %  of good\tcomments", "good_share", 0.007),
        ("at most 0.01 of good comments", "good_share", 0.01),
    ],
)
def test_goals_are_read_whatever_the_spaces_and_capitals(sentence, kind, target):
    goal = read_goal(sentence)
    assert (goal.kind, goal.target) == (kind, target)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "precision",
        "precision > 0.99",
        "precision >= 1",
        "precision >= 0",
        "precision >= 100 %",
        "recall >= 0",
        "recall >= 1.1",
        "recall >= 0,9",
        "at most 0 % of good comments",
        "at most 100 % of good comments",
        "at most 1 of good comments",
        "at most 1 % of all comments",
        "0.5",
        "precision >= 0.99 and more",
    ],
)
def test_what_is_not_a_goal_is_refused_with_an_example(sentence):
    with pytest.raises(ValueError, match=r'such as "|write "'):
        read_goal(sentence)


@pytest.mark.parametrize(
    ("sentence", "live_rate", "threshold"),
    [
        # 0.1 and 0.3 fall short of 0.98, 0.5 has 0.9877.
        ("precision >= 0.98", 0.5, 0.5),
        ("precision >= 0.99", 0.5, 0.7),
        # With one comment in five: 0.2*0.60 / (0.2*0.60 + 0.8*0.004) = 0.974; 0.5 gives 0.16/0.168 = 0.952.
        ("precision >= 0.95", 0.2, 0.5),
        ("precision >= 0.97", 0.2, 0.7),
        # The largest threshold that keeps the recall, not the first one.
        ("recall >= 0.9", 0.5, 0.3),
        ("recall >= 0.75", 0.5, 0.5),
        # The bound counts, not the measured rate: 0.6 % were measured at 0.5, up to 1 % is possible.
        ("at most 1 % of good comments", 0.5, 0.5),
        ("at most 0.6 % of good comments", 0.5, 0.7),
        ("at most 20 % of good comments", 0.5, 0.1),
    ],
)
def test_a_goal_becomes_the_threshold_worked_out_by_hand(sentence, live_rate, threshold):
    line = resolved(sentence, live_rate=live_rate)
    assert (line.threshold, line.supported, line.note, line.missing_rows) == (threshold, True, "", None)


def test_precision_is_rescaled_to_the_live_rate():
    """Half found, 1 % of good comments caught, one comment in ten bad: 0.05 / (0.05 + 0.009)."""
    assert math.isclose(Point(0.5, 0.5, 0.005, 0.01).precision(0.1), 0.05 / 0.059)


def test_a_point_that_finds_nothing_has_no_precision():
    assert Point(1.0, 0.0, 0.0, 0.0).precision(0.5) == 0.0


@pytest.mark.parametrize(("share", "rows"), [(0.99, 299), (0.95, 59), (0.9, 29), (0.999, 2995), (0.5, 5)])
def test_rows_without_an_error_that_show_a_share(share, rows):
    """The smallest n with share ** n <= 0.05."""
    assert rows_without_error(share) == rows
    assert share**rows <= 0.05 < share ** (rows - 1)


def test_an_unsupported_reject_goal_gives_no_line_and_says_how_many_rows_are_missing():
    line = resolved("precision >= 0.99", action="reject", live_rate=0.05)
    assert (line.threshold, line.supported, line.missing_rows) == (None, False, 299)
    assert "at least 299 more audited comments" in line.note
    assert "a person decides" in line.note
    assert not line.is_reached_by(1.0)


def test_an_unsupported_precision_goal_holds_at_the_closest_threshold():
    """At 0.05 the best precision is that of 0.7: 0.03 / (0.03 + 0.0038) = 0.888; of 0.9 and higher it is lower."""
    line = resolved("precision >= 0.99", live_rate=0.05)
    assert (line.threshold, line.supported) == (0.7, False)
    assert "0.888" in line.note


def test_an_unsupported_share_holds_at_the_closest_threshold_and_counts_missing_good_comments():
    """0.9 and 0.95 are equally close, so the lower one; 0.1 % takes 2,995 clean rows, 1,000 are there."""
    line = resolved("at most 0.1 % of good comments")
    assert (line.threshold, line.supported, line.missing_rows) == (0.9, False, 1995)
    assert "at least 1995 more measured good comments" in line.note


def test_more_rows_cannot_help_where_good_comments_are_caught_at_every_threshold():
    always_wrong = Evidence(1000, (Point(0.5, 0.9, 0.2, 0.25), Point(0.9, 0.8, 0.1, 0.12)))
    line = resolved("at most 1 % of good comments", evidence=always_wrong)
    assert (line.threshold, line.missing_rows) == (0.9, None)
    assert "12.00%" in line.note


def test_an_unsupported_recall_holds_at_the_lowest_threshold():
    """For recall the closest threshold is the one that holds most, which is also the way towards a person."""
    line = resolved("recall >= 0.99")
    assert (line.threshold, line.supported, line.missing_rows) == (0.1, False, None)


@pytest.mark.parametrize("evidence", [None, Evidence(0, ())])
def test_without_measurements_a_hold_goal_holds_everything_and_a_reject_goal_rejects_nothing(evidence):
    hold = resolved("at most 1 % of good comments", evidence=evidence)
    reject = resolved("precision >= 0.99", action="reject", evidence=evidence)
    assert hold.threshold is None
    assert hold.is_reached_by(0.0)
    assert "every comment is held" in hold.note
    assert reject.threshold is None
    assert not reject.is_reached_by(1.0)
    assert (reject.supported, reject.missing_rows) == (False, 299)


def pair(hold, reject, evidence=CURVE, live_rate=0.5):
    return resolve_pair(
        {"hold": hold, "reject": reject}, tier="full", category="spam", live_rate=live_rate, evidence=evidence
    )


def test_a_number_needs_no_measurements():
    lines = pair([0.4], [0.8], evidence=None)
    assert (lines.hold.threshold, lines.reject.threshold) == (0.4, 0.8)
    assert lines.hold.supported
    assert lines.reject.supported


def test_no_line_is_made_where_none_is_stated():
    lines = pair([None], [None])
    assert not lines.is_set
    assert not lines.hold.is_reached_by(1.0)
    assert not lines.reject.is_reached_by(1.0)


def test_an_unsupported_reject_goal_alone_becomes_a_hold_line():
    lines = pair([None], [read_goal("precision >= 0.99")], live_rate=0.05)
    assert (lines.hold.threshold, lines.reject.threshold) == (0.7, None)
    assert "stands in for the reject line" in lines.hold.note


def test_between_crossed_goals_a_person_decides():
    """At most 0.4 % of good comments is reached at 0.7, precision 0.98 at 0.5 already."""
    lines = pair([read_goal("at most 0.4 % of good comments")], [read_goal("precision >= 0.98")])
    assert (lines.hold.threshold, lines.reject.threshold) == (0.5, 0.7)
    assert "crossed" in lines.hold.note
    assert "crossed" in lines.reject.note


def test_of_two_lines_the_lower_counts():
    lines = pair([0.5, 0.3], [None, read_goal("precision >= 0.99")])
    assert (lines.hold.threshold, lines.reject.threshold) == (0.3, 0.7)


def test_a_line_that_is_not_in_force_still_explains_itself():
    lines = pair([0.5, None], [None, read_goal("precision >= 0.99")], live_rate=0.05)
    assert (lines.reject.is_set, lines.reject.threshold, lines.reject.missing_rows) == (True, None, 299)


def test_a_stated_reject_number_is_not_replaced_by_an_unsupported_goal_beside_it():
    lines = pair([None, None], [read_goal("precision >= 0.99"), 0.4], live_rate=0.05)
    assert lines.reject.threshold == 0.4


def operating_points(points=None, **changes):
    point = {"threshold": 0.5, "recall": 0.8, "false_positive_rate": 0.0, "false_positive_rate_upper": 0.003}
    entry = {"positives": 100, "negatives": 1000, "points": [point] if points is None else points}
    return {"format": 1, "tiers": {"lexical": {"spam": entry}}} | changes


def test_operating_points_are_read_by_tier_and_category():
    found = read_operating_points(operating_points())
    assert found == {("lexical", "spam"): Evidence(1000, (Point(0.5, 0.8, 0.0, 0.003),))}
    assert read_operating_points(None) == {}


def test_operating_points_in_any_order_are_sorted():
    def point(threshold):
        return {"threshold": threshold, "recall": 0.5, "false_positive_rate": 0, "false_positive_rate_upper": 0}

    found = read_operating_points(operating_points([point(0.9), point(0.1)]))
    assert [item.threshold for item in found["lexical", "spam"].points] == [0.1, 0.9]


@pytest.mark.parametrize(
    "data",
    [
        operating_points(format=2),
        {},
        [],
        operating_points(tiers=[]),
        operating_points(tiers={"full": []}),
        operating_points(tiers={"full": {"spam": []}}),
        operating_points(tiers={"full": {"spam": {"points": "many"}}}),
        operating_points(tiers={"full": {"spam": {"points": [], "negatives": "all"}}}),
        operating_points([3]),
        operating_points([{"threshold": 0.5}]),
        operating_points(
            [{"threshold": math.nan, "recall": 0.5, "false_positive_rate": 0, "false_positive_rate_upper": 0}]
        ),
        operating_points([{"threshold": 0.5, "recall": 1.5, "false_positive_rate": 0, "false_positive_rate_upper": 0}]),
    ],
)
def test_operating_points_that_cannot_be_read_are_refused(data):
    with pytest.raises(InvalidPolicy, match="operating_points"):
        read_operating_points(data)


def test_the_sentence_is_kept_as_stated():
    assert read_goal("Precision  >=  99 %") == Goal("precision", 0.99, "Precision >= 99 %")
