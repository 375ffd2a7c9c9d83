"""Who has to look at a comment, why and how soon: pure functions, tried with whatever hypothesis finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.categories import CODES
from moderation.comment import Decision, Reason, Scores
from service.priority import HARM, draw_audit, is_near, measure, reasons_to_look
from service.store import AuditDraw

probabilities = st.floats(0, 1)


def decide(action="publish", reasons=(), **scores) -> Decision:
    values = dict.fromkeys(CODES, 0.0) | scores
    return Decision(action, Scores(**values), tuple(reasons), "d", "b", "p", "full")


def test_every_category_has_its_harm():
    assert set(HARM) == set(CODES)


@given(st.fixed_dictionaries(dict.fromkeys(CODES, probabilities)))
def test_what_is_sorted_by_stays_in_its_range(scores):
    priority = measure(decide(**scores))

    assert priority.category in CODES
    assert 0 <= priority.score <= 1
    assert 0 <= priority.harm <= max(HARM.values())
    assert 0 <= priority.teaching <= 1


@given(probabilities, probabilities)
def test_a_higher_score_is_never_less_harm(one, other):
    low, high = sorted((one, other))

    assert measure(decide(spam=low)).harm <= measure(decide(spam=high)).harm


def test_the_worst_category_leads_and_doubt_teaches():
    threat = measure(decide(spam=0.9, threat=0.3))
    doubt = measure(decide(spam=0.5))

    assert (threat.category, threat.score, threat.harm) == ("threat", 0.3, 1.5)
    assert (doubt.teaching, measure(decide(spam=0.99)).teaching < 0.05) == (1.0, True)


def test_without_scores_a_comment_comes_before_most():
    unscored = measure(Decision("hold", None, (), "d", None, "p", None))

    assert (unscored.category, unscored.teaching) == (None, 1.0)
    assert unscored.harm > measure(decide(spam=1.0)).harm


@pytest.mark.parametrize(
    ("score", "line", "near"),
    [
        (0.5, 0.5, True),
        (0.44, 0.5, True),
        (0.43, 0.5, False),
        (0.56, 0.5, True),
        (0.99, 0.987, False),
        (0.988, 0.987, True),
        (0.0, 0.1, False),
        (1.0, 1.0, False),
    ],
)
def test_nearness_is_on_the_scale_of_odds(score, line, near):
    assert is_near(score, line) is near


@given(probabilities, probabilities)
def test_nearness_has_no_direction(one, other):
    assert is_near(one, other) == is_near(other, one)


def test_reasons_say_why():
    over = Reason("spam", 0.6, 0.5, True, "Spam: over.")
    under = Reason("spam", 0.48, 0.5, False, "Spam: under.")
    far = Reason("spam", 0.1, 0.5, False, "Spam: far under.")
    honeypot = Reason("honeypot", True, None, True, "Filled in.")
    first = Reason("first_time", 0, 1, False, "Known.")

    def names(action, *reasons):
        return [(why.name, why.detail) for why in reasons_to_look(decide(action, reasons), None)]

    assert names("hold", over, honeypot, far) == [("held", "spam"), ("held", "honeypot")]
    assert names("hold") == [("held", None)]
    assert names("publish", under, far, first) == [("near_line", "spam")]
    assert names("reject", Reason("spam", 0.51, 0.5, True, "Over.")) == [("near_line", "spam")]
    assert names("reject", Reason("spam", 0.99, 0.5, True, "Over."), under) == []
    assert names("reject", honeypot, under) == []
    (drawn,) = reasons_to_look(decide("publish", [far]), AuditDraw("publish", 0.015, "s", 0.015))
    assert (drawn.name, drawn.detail, drawn.value) == ("audit", "publish", 0.015)
    assert "1.50%" in drawn.text


def test_chance_draws_its_share_and_the_seed_tells_again():
    seeds = [f"seed {n}" for n in range(20_000)]
    drawn = [seed for seed in seeds if draw_audit("publish", 0.05, seed, is_queued=False)]

    # Four standard deviations of a binomial of 20,000 at 5 %.
    assert abs(len(drawn) - 1000) < 125
    assert drawn == [seed for seed in seeds if draw_audit("publish", 0.05, seed, is_queued=False)]
    assert all(draw_audit("reject", 0.06, seed, is_queued=False) for seed in drawn)
    assert draw_audit("publish", 0.05, drawn[0], is_queued=False) == AuditDraw("publish", 0.05, drawn[0], 0.05)
    assert draw_audit("publish", 0.05, drawn[0], is_queued=True) == AuditDraw("publish", 0.05, drawn[0], 1.0)


@given(st.text(max_size=32))
def test_a_share_of_all_draws_all_a_share_of_none_none_and_held_ones_are_not_drawn(seed):
    assert draw_audit("reject", 1.0, seed, is_queued=False) is not None
    assert draw_audit("reject", 0.0, seed, is_queued=False) is None
    assert draw_audit("hold", 1.0, seed, is_queued=False) is None
