"""Lines with a guarantee: given when the labels show them, refused when not, and kept as often as promised."""

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from moderation.bounds import clopper_pearson
from moderation.errors import DataError
from moderation.goals import read_goal
from moderation.guarantee import OwnLabels, lines_among, own_evidence, resolve
from moderation.judged import Judged, Stratum, estimate
from moderation.policy import Policy


def judged(*kinds, strata=()):
    """Rows of kinds: (how many, score, is bad, inclusion, stratum)."""
    rows = [row for count, *row in kinds for _ in range(count)]
    score, bad, inclusion, stratum = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Judged(np.array(score), np.array(bad, dtype=bool), np.array(inclusion), np.array(stratum), strata=strata)


def rejects(clean, wrong=0, score=0.9):
    return judged((clean, score, True, 0.05, "rejected"), (wrong, score, False, 0.05, "rejected"))


def test_299_audited_rejects_without_an_error_show_99_percent():
    promise = resolve(rejects(299), "precision >= 0.99")
    assert (promise.line, promise.labels, promise.missing, promise.holds) == (0.9, 299, 0, True)
    assert promise.bound == pytest.approx(0.05 ** (1 / 299))
    assert promise.sentence == (
        'The goal "precision >= 0.99" holds from 0.9 on: of the comments that score 0.9 or more, at least 99.00% are '
        "bad, as far as 299 labels show with 95 % confidence."
    )


@pytest.mark.parametrize(("clean", "missing"), [(298, 1), (120, 179), (1, 298), (0, 299)])
def test_with_fewer_it_says_how_many_are_missing(clean, missing):
    promise = resolve(rejects(clean), "precision >= 0.99")
    assert (promise.line, promise.missing, promise.is_enough) == (None, missing, False)
    assert f"at least {missing} more audit label" in promise.sentence
    assert promise.sentence.endswith("Until it is, a person decides.")


def test_an_error_takes_473():
    """The binomial distribution: of 473 at 1 %, at most one fails with probability 0.0498; of 472, 0.0502."""
    assert resolve(rejects(472, 1), "precision >= 0.99").line == 0.9
    promise = resolve(rejects(471, 1), "precision >= 0.99")
    assert (promise.line, promise.missing, promise.is_enough) == (None, 1, True)


def test_where_too_many_are_wrong_more_labels_will_not_help():
    promise = resolve(rejects(400, 60), "precision >= 0.99")
    assert (promise.line, promise.missing, promise.is_enough) == (None, None, True)
    assert "more labels alone will not help" in promise.sentence


def test_another_confidence_asks_for_other_numbers():
    """ln(0.01) / ln(0.99) = 458.2; at 90 %: ln(0.1) / ln(0.99) = 229.1."""
    assert resolve(rejects(458), "precision >= 0.99", confidence=0.99).missing == 1
    assert resolve(rejects(459), "precision >= 0.99", confidence=0.99).line == 0.9
    assert resolve(rejects(230), "precision >= 0.99", confidence=0.9).line == 0.9


def test_the_lowest_line_whose_promise_holds_is_given():
    rows = judged(
        (400, 0.95, True, 1, "held"),
        (300, 0.8, True, 1, "held"),
        (100, 0.6, True, 1, "held"),
        (90, 0.6, False, 1, "held"),
    )
    assert resolve(rows, "precision >= 0.99").line == 0.8
    assert resolve(rows, "precision >= 0.8").line == 0.6


def test_lines_are_chosen_among_those_given():
    rows = judged((400, 0.95, True, 1, "held"), (100, 0.5, False, 1, "held"))
    assert resolve(rows, "precision >= 0.99", lines=[0.2, 0.7, 0.9]).line == 0.7


def test_a_share_of_good_comments_is_an_upper_bound():
    """1,000 good ones of which 3 are over 0.8: Clopper and Pearson's upper end is 0.00773."""
    rows = judged((997, 0.1, False, 1, "all"), (3, 0.8, False, 1, "all"), (50, 0.9, True, 1, "all"))
    promise = resolve(rows, "at most 1 % of good comments", lines=[0.05, 0.5])
    assert (promise.line, promise.labels) == (0.5, 1000)
    assert promise.bound == pytest.approx(beta.ppf(0.95, 4, 997))
    assert "of good comments, at most 0.78% score 0.5 or more" in promise.sentence
    assert resolve(rows, "at most 0.7 % of good comments", lines=[0.05, 0.5]).line is None


def test_recall_gives_the_highest_line():
    rows = judged((95, 0.9, True, 1, "all"), (5, 0.3, True, 1, "all"), (500, 0.1, False, 1, "all"))
    promise = resolve(rows, "recall >= 0.85")
    assert (promise.line, promise.labels) == (0.9, 100)
    assert promise.bound == pytest.approx(beta.ppf(0.05, 95, 6))
    assert resolve(rows, "recall >= 0.95").line == 0.3
    assert resolve(rows, "recall >= 1").missing is None


def test_weights_count():
    """Of the rows 96 % are bad, but the good ones stand for twenty each: of the comments it is 55 %."""
    rows = judged((480, 0.9, True, 1, "held"), (20, 0.9, False, 0.05, "rejected"))
    assert estimate(rows, 0.9).precision == pytest.approx(480 / 880)
    assert resolve(rows, "precision >= 0.9").line is None
    assert resolve(rows, "precision >= 0.35").line == 0.9


def test_what_lies_under_a_line_does_not_make_it_uncertain():
    """That published comments are drawn more seldom matters to a line that they may reach."""
    rows = judged((299, 0.95, True, 0.05, "rejected"), (40, 0.2, False, 0.01, "published"))
    assert resolve(rows, "precision >= 0.99").line is None
    strata = (Stratum("rejected", 0.05), Stratum("published", 0.01, highest=0.5))
    known = judged((299, 0.95, True, 0.05, "rejected"), (40, 0.2, False, 0.01, "published"), strata=strata)
    assert resolve(known, "precision >= 0.99").line == 0.95


def test_what_nobody_looks_at_cannot_be_promised():
    strata = (Stratum("rejected", 0.05), Stratum("held", 1, highest=0.9), Stratum("published", 0, highest=0.5))
    rows = judged((700, 0.95, True, 0.05, "rejected"), (500, 0.7, True, 1, "held"), strata=strata)
    recall = resolve(rows, "recall >= 0.5")
    assert recall.line is None
    assert "are never drawn for an audit" in recall.sentence
    assert resolve(rows, "precision >= 0.99", lines=[0.3]).line is None
    assert resolve(rows, "precision >= 0.99", lines=[0.95]).line == 0.95


def test_a_precision_is_rescaled_to_the_rate_of_today():
    rows = judged(
        (1000, 0.9, True, 1, "all"), (2, 0.9, False, 1, "all"), (1000, 0.1, False, 1, "all"), (100, 0.1, True, 1, "all")
    )
    bounds = [resolve(rows, "precision >= 0.9", live_rate=rate).bound for rate in (0.02, 0.1, 0.5)]
    # Odds: those shown among the labels, times those of today, over those at the upper end of the labels' own rate.
    high = 1 - beta.ppf(0.005, 1002, 1101)
    there = beta.ppf(1 - 0.955, 1000, 3)
    odds = there / (1 - there) * (0.1 / 0.9) / (high / (1 - high))
    assert bounds[1] == pytest.approx(odds / (1 + odds))
    assert bounds == sorted(bounds)
    assert resolve(rows, "precision >= 0.97", live_rate=0.5).line == 0.9
    assert resolve(rows, "precision >= 0.97", live_rate=0.02).line is None
    # Where bad and good ones are told apart by score, shares among either do not depend on how many there are.
    assert resolve(rows, "recall >= 0.8", live_rate=0.02) == resolve(rows, "recall >= 0.8")


def test_without_any_label_it_says_what_it_takes():
    for goal, missing in (("precision >= 0.99", 299), ("at most 1 % of good comments", 299), ("recall >= 0.9", 29)):
        promise = resolve(judged(), goal, live_rate=0.1)
        assert (promise.line, promise.bound, promise.missing) == (None, None, missing)
        assert "nothing is judged yet" in promise.sentence


@pytest.mark.parametrize("option", [{"confidence": 1.0}, {"confidence": 0.0}, {"live_rate": 0.0}, {"live_rate": 1.0}])
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(ValueError, match="between 0 and 1"):
        resolve(rejects(10), "precision >= 0.9", **option)


GOOD = {"score": [0.5, 0.6], "is_bad": [0, 1], "inclusion_probability": [1, 0.1], "stratum": ["held", "published"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [0.5]}, "same length"),
        ({"score": [[0.5, 0.6]]}, "same length"),
        ({"site": ["a"]}, "same length"),
        ({"score": [0.5, math.nan]}, "not scored"),
        ({"is_bad": [0, 0.5]}, "0 or 1"),
        ({"inclusion_probability": [0, 1]}, "above 0"),
        ({"inclusion_probability": [1, 1.5]}, "above 0"),
        ({"inclusion_probability": [1, math.nan]}, "above 0"),
        ({"strata": (Stratum("held", 1),)}, "'published' is not among"),
        ({"strata": (Stratum("held", 1), Stratum("published", 0.5))}, "less likely"),
        ({"strata": (Stratum("held", 1), Stratum("published", 0.1, highest=0.5))}, "scores higher"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(change, message):
    Judged(**GOOD)
    with pytest.raises(DataError, match=message):
        Judged(**GOOD | change)


def test_rows_of_one_site():
    rows = Judged(**GOOD, site=["a", "b"])
    assert rows.of_site("b").score.tolist() == [0.6]
    assert rows.of_site("b").strata == rows.strata
    with pytest.raises(DataError, match="not known"):
        Judged(**GOOD).of_site("b")


def test_estimates_by_hand():
    """Bad: 2 held over the line, 1 published under it that stands for 10. Good: 1 held over it, 3 published: 30."""
    rows = judged(
        (2, 0.8, True, 1, "held"),
        (1, 0.8, False, 1, "held"),
        (1, 0.2, True, 0.1, "published"),
        (3, 0.1, False, 0.1, "p"),
    )
    found = estimate(rows, 0.5)
    expected = (2 / 3, 2 / 12, 1 / 31, 12 / 43)
    assert (found.precision, found.recall, found.good_share, found.rate) == pytest.approx(expected)
    assert math.isnan(estimate(rows, 0.9).precision)


def test_lines_are_made_from_scores_alone_and_lie_closer_at_the_top():
    lines = lines_among(np.linspace(0, 1, 5000))
    assert len(lines) <= 200
    assert (lines[0], lines[-1]) == (1.0, 0.0)
    assert lines[0] - lines[10] < lines[-11] - lines[-1]
    assert lines_among([0.3, 0.3, 0.1]).tolist() == [0.3, 0.1]


ROWS = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.booleans(), st.sampled_from([(1.0, "held"), (0.05, "rejected")])
    ),
    max_size=80,
)
GOALS = st.sampled_from(["precision >= 0.6", "recall >= 0.5", "at most 30 % of good comments"])


def from_rows(rows):
    return judged(*((1, score, bad, *drawn) for score, bad, drawn in rows))


@given(ROWS, GOALS, st.sampled_from(["betting", "bernstein"]), st.sampled_from([None, 0.1, 0.7]))
@settings(deadline=None, max_examples=50)
def test_an_answer_makes_sense_whatever_the_rows(rows, goal, method, live_rate):
    promise = resolve(from_rows(rows), goal, method=method, live_rate=live_rate)
    assert promise.bound is None or 0 <= promise.bound <= 1
    assert promise.line in {None, *(score for score, _, _ in rows)}
    assert promise.holds == (promise.missing == 0)
    assert not promise.holds or promise.is_enough
    assert promise.labels <= len(rows)


@given(ROWS, GOALS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_rows_does_not_matter(rows, goal, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = resolve(from_rows(rows), goal), resolve(from_rows(shuffled), goal)
    assert (first.line, first.missing, first.labels) == (second.line, second.missing, second.labels)


@given(ROWS, st.data(), st.sampled_from([0.6, 0.8]))
@settings(deadline=None, max_examples=50)
def test_a_comment_that_turns_out_bad_never_raises_a_precision_line(rows, data, target):
    """Whatever else the labels say: the same comments, one more of them bad."""
    good = [place for place, row in enumerate(rows) if not row[1]]
    better = list(rows)
    if good:
        place = data.draw(st.sampled_from(good))
        better[place] = (rows[place][0], True, rows[place][2])
    before, after = (resolve(from_rows(each), f"precision >= {target}").line for each in (rows, better))
    assert before is None or (after is not None and after <= before)


@given(st.integers(0, 500), st.integers(0, 10), st.integers(1, 300))
@settings(deadline=None, max_examples=50)
def test_faultless_labels_never_take_a_line_away(clean, wrong, more):
    if resolve(rejects(clean, wrong), "precision >= 0.95").holds:
        assert resolve(rejects(clean + more, wrong), "precision >= 0.95").holds


@given(st.integers(0, 400), st.integers(0, 6))
@settings(deadline=None, max_examples=50)
def test_as_many_labels_as_are_missing_are_enough(clean, wrong):
    promise = resolve(rejects(clean, wrong), "precision >= 0.95")
    if promise.missing:
        assert resolve(rejects(clean + promise.missing, wrong), "precision >= 0.95").holds


def a_site(rng, *, of=4000, precision=0.899, reject=0.95):
    """Held from 0.5 on and rejected from ``reject`` on; over every line just ``precision`` of the comments are bad."""
    looks_bad = rng.random(of) < 0.15
    score = np.where(looks_bad, rng.beta(6, 1, of), rng.beta(1, 12, of))
    bad = looks_bad & (rng.random(of) < precision)
    kind = np.where(score >= reject, "rejected", np.where(score >= 0.5, "held", "published"))
    inclusion = np.select([kind == "rejected", kind == "published"], [0.2, 0.02], 1.0)
    seen = rng.random(of) < inclusion
    strata = (Stratum("held", 1, min(reject, 1.0)), Stratum("published", 0.02, 0.5))
    if reject < 1:
        strata += (Stratum("rejected", 0.2),)
    return Judged(score[seen], bad[seen], inclusion[seen], kind[seen], strata=strata)


@pytest.mark.parametrize("reject", [0.95, 2.0], ids=["uneven", "all held"])
def test_a_promise_that_no_line_keeps_is_given_as_seldom_as_said(reject):
    """Of 200 draws at most 5 %, and what chance adds to that."""
    rng = np.random.default_rng(2)
    given = sum(resolve(a_site(rng, reject=reject), "precision >= 0.9").holds for _ in range(200))
    assert given <= 0.05 * 200 + 2 * math.sqrt(200 * 0.05 * 0.95)


def test_the_best_of_many_lines_would_break_its_promise_more_often():
    """Why lines are tried one after the other: one of them passes by luck in more draws than are promised."""
    rng = np.random.default_rng(2)
    lucky = 0
    for _ in range(100):
        rows = a_site(rng, reject=2.0)
        over = [rows.is_bad[rows.score >= line] for line in lines_among(rows.score) if line >= 0.5]
        lucky += any(clopper_pearson(bad.sum(), len(bad)) >= 0.9 for bad in over)
    assert lucky > 15


def test_a_promise_that_lines_keep_is_given():
    rng = np.random.default_rng(3)
    lines = [resolve(a_site(rng, of=8000, precision=0.97), "precision >= 0.9").line for _ in range(20)]
    assert sum(line is not None for line in lines) >= 18


def test_weighted_estimates_are_unbiased_where_counting_is_not():
    rng = np.random.default_rng(4)
    weighted, counted = [], []
    for _ in range(300):
        rows = a_site(rng)
        weighted.append(estimate(rows, 0.9).good_share)
        counted.append(np.mean(rows.score[~rows.is_bad] >= 0.9))
    looks_bad = 0.15 * 0.101
    truth = (looks_bad * beta.sf(0.9, 6, 1) + 0.85 * beta.sf(0.9, 1, 12)) / (looks_bad + 0.85)
    error = np.std(weighted) / math.sqrt(300)
    assert abs(np.mean(weighted) - truth) < 3 * error
    assert abs(np.mean(counted) - truth) > 20 * error


def test_twenty_thousand_rows_and_two_hundred_lines_take_well_under_a_second():
    rng = np.random.default_rng(1)
    score = rng.random(20_000)
    rows = Judged(score, rng.random(20_000) < score**6, rng.uniform(0.01, 1, 20_000), np.full(20_000, "all"))
    for goal in ("precision >= 0.8", "recall >= 0.8", "at most 2 % of good comments"):
        start = time.process_time()
        resolve(rows, goal)
        assert time.process_time() - start < 0.5


def test_the_example_of_the_documents_prints_what_it_says(capsys):
    page = (Path(__file__).parents[2] / "docs" / "retraining.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "guarantee" in block]
    exec(code, {})
    printed, sentence = capsys.readouterr().out.splitlines()
    assert f"print(promise.line, promise.missing)  # {printed}\n" in code
    assert "at least 297 more audit labels" in sentence


# --- where a policy meets it


def operating_points():
    """Measured: at 0.5 and 0.8 nobody good is touched, at 0.2 one in twenty."""

    def point(threshold, recall, upper):
        rates = {"false_positive_rate": upper / 2, "false_positive_rate_upper": upper}
        return {"threshold": threshold, "recall": recall} | rates

    points = [point(0.2, 0.95, 0.05), point(0.5, 0.9, 0.00001), point(0.8, 0.6, 0.00001)]
    return {"format": 1, "tiers": {"full": {"spam": {"positives": 500, "negatives": 5000, "points": points}}}}


PRECISE = '[spam]\nreject = "precision >= 0.99"\n'


def policy(toml, rows, points):
    return Policy.parse(toml, points, own_evidence({("full", "spam"): rows}, points))


def test_enough_labels_go_before_the_bundle():
    rows = judged((400, 0.95, True, 0.05, "rejected"), (40, 0.6, False, 0.05, "rejected"))
    assert Policy.parse(PRECISE, operating_points()).line("full", "spam", "reject").threshold == 0.5
    line = policy(PRECISE, rows, operating_points()).line("full", "spam", "reject")
    assert (line.threshold, line.supported, line.note) == (0.8, True, "")
    assert line.own.labels == 400


def test_too_few_labels_leave_the_bundle_its_say():
    line = policy(PRECISE, rejects(50), operating_points()).line("full", "spam", "reject")
    assert (line.threshold, line.supported) == (0.5, True)
    assert line.own.missing == 249


def test_labels_that_are_enough_and_do_not_show_it_hold():
    of_it = policy(PRECISE, rejects(400, 10), operating_points())
    reject, hold = of_it.line("full", "spam", "reject"), of_it.line("full", "spam", "hold")
    assert (reject.threshold, reject.supported) == (None, False)
    assert "is not shown by this site's own labels" in reject.note
    # What would have been rejected is held, down to the lower of the two lines.
    assert hold.threshold == 0.5
    assert "stands in for the reject line" in hold.note


def test_a_few_labels_can_show_that_the_bundle_is_wrong_here():
    line = policy(PRECISE, rejects(20, 20), operating_points()).line("full", "spam", "reject")
    assert line.threshold is None
    assert "show that the measured line, 0.5, does not keep it" in line.note


def test_without_a_bundle_missing_labels_are_counted_from_those_there():
    line = policy(PRECISE, rejects(100), None).line("full", "spam", "reject")
    assert (line.threshold, line.supported, line.missing_rows) == (None, False, 199)
    assert "at least 199 more audit labels" in line.note


def test_a_hold_goal_follows_own_labels():
    toml = '[spam]\nhold = "at most 1 % of good comments"\n'
    rows = judged((2000, 0.1, False, 1, "all"), (40, 0.6, False, 1, "all"), (50, 0.9, True, 1, "all"))
    assert Policy.parse(toml, operating_points()).line("full", "spam", "hold").threshold == 0.5
    assert policy(toml, rows, operating_points()).line("full", "spam", "hold").threshold == 0.8


def test_a_number_stays_what_it_is():
    assert policy("[spam]\nreject = 0.7\n", rejects(400), None).line("full", "spam", "reject").threshold == 0.7


def test_a_line_is_missed_only_where_labels_show_it():
    goal = read_goal("precision >= 0.9")
    assert not OwnLabels(judged()).is_missed_at(goal, 0.5)
    assert not OwnLabels(rejects(50, 5)).is_missed_at(goal, 0.5)
    assert OwnLabels(rejects(50, 20)).is_missed_at(goal, 0.5)
    assert not OwnLabels(rejects(50, 20)).is_missed_at(goal, 0.95)
    weighted = judged(
        (300, 0.9, False, 1, "held"), (100, 0.9, False, 0.05, "rejected"), (3, 0.9, True, 0.05, "rejected")
    )
    assert OwnLabels(weighted).is_missed_at(goal, 0.5)
    # Where fewer are bad than among the labels, less precision is left.
    of_it = judged((95, 0.9, True, 1, "all"), (5, 0.9, False, 1, "all"), (100, 0.1, False, 1, "all"))
    assert not OwnLabels(of_it).is_missed_at(goal, 0.5)
    assert OwnLabels(of_it, live_rate=0.02).is_missed_at(goal, 0.5)
