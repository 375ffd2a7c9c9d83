"""The figures mean what their names say: worked by hand where that is possible, against the library where not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from moderation.bundle import load_bundle
from moderation.comment import Comment
from moderation.training.card import write_card
from moderation.training.dataset import Report
from moderation.training.evaluate import auc_interval, evaluate, recall_at_false_positives
from moderation.training.fit import clopper_pearson_upper
from moderation.training.rows import BehaviourCase, Row


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=6, max_size=60))
def test_the_auc_is_scikit_learns_and_lies_in_its_interval(pairs):
    labels = np.array([1, 0, *(label for label, _ in pairs)], float)
    scores = np.array([3, 5, *(score for _, score in pairs)], float)
    auc, low, high = auc_interval(labels, scores)
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    assert low - 0.05 <= auc <= high + 0.05


def test_the_interval_shrinks_with_more_rows():
    random = np.random.default_rng(3)
    widths = []
    for count in (100, 10_000):
        labels = np.arange(count) % 2.0
        _, low, high = auc_interval(labels, labels + random.normal(0, 1, count))
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_recall_at_false_positives_by_hand():
    """Good rows score 0.1 to 1.0. One in ten may be over the line, so it is above 0.9: half of the bad rows pass it."""
    good = np.arange(1, 11) / 10
    bad = np.array([0.95, 0.91, 0.9, 0.2])
    labels = np.array([0] * 10 + [1] * 4, float)
    scores = np.concatenate([good, bad])
    assert recall_at_false_positives(labels, scores, 0.1) == 0.5
    assert recall_at_false_positives(labels, scores, 0.0) == 0.0


def test_the_upper_bound_is_that_of_clopper_and_pearson():
    """Without an event it has a closed form; 299 trials bound the share by one in a hundred (the "rule of three")."""
    assert clopper_pearson_upper(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert clopper_pearson_upper(0, 299) < 0.01 < clopper_pearson_upper(0, 298)
    assert clopper_pearson_upper(5, 5) == 1


def test_a_bundle_is_measured_on_sets_slices_and_cases(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    rude, kind = "you are a worthless idiot, shut up", "thank you for this lovely post"
    rows = [
        Row("made", f"{label}-{n}", Comment(f"{text} {n}"), {"hostile": label}, f"g{n}")
        for label, text in ((1, rude), (0, kind))
        for n in range(25)
    ]
    cases = [
        BehaviourCase("kind", Comment(kind), {"hostile": "low"}, "made", "kindness passes"),
        BehaviourCase("wrong", Comment(kind), {"hostile": "high"}, "made", "this one must fail", "meaning"),
    ]
    figures = evaluate(bundle.assess, bundle.operating_points, {"made": rows, "xstest": rows[25:]}, cases)
    [measured] = figures["sets"]
    assert (measured["set"], measured["category"], measured["rows"], measured["positives"]) == (
        "made",
        "hostile",
        50,
        25,
    )
    assert measured["auc"] > 0.9
    [held] = figures["held"]
    assert (held["set"], held["rows"]) == ("xstest", 25)
    assert figures["behaviour"]["slices"]["made"] == {"cases": 2, "passed": 1, "needs_meaning": 1}
    assert [failed["id"] for failed in figures["behaviour"]["failed"]] == ["wrong"]
    card = write_card((), Report({}, {}, {}, {}, {}, {}, {}), figures)
    assert f"{measured['auc']:.4f}" in card
