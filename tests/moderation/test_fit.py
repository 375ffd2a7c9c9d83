"""Fitting uses each row for what is known of it, and measures thresholds on rows that the heads have not seen."""

from dataclasses import replace

import numpy as np
import pytest
from joblib import Memory
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from moderation.bundle import load_bundle
from moderation.categories import CODES
from moderation.comment import Author, Comment, Neighbour, Post
from moderation.errors import DataError
from moderation.policy import Policy, default_policy_toml
from moderation.training.fit import RECIPES, _weigh_facts, fit_model, vary
from moderation.training.points import NATURAL_RATE
from moderation.training.rows import Row
from moderation.training.table import Lesson

WHOLE = Comment(
    "Great post!",
    author=Author(name="Cheap loans", url="https://loans.example"),
    post=Post(title="Trees"),
    parent=Neighbour(text="What?"),
    thread=(Neighbour(text="What?"),),
)


def test_spam_rows_are_varied_and_weigh_the_same_in_all():
    row = Row("blog", "1", WHOLE, {"spam": 1}, "blog:a", weight=0.6)
    varied = vary([row])
    assert [other.comment for other in varied] == [
        replace(WHOLE, parent=None, thread=None),
        replace(WHOLE, parent=None, thread=None, author=None),
        Comment("Great post!"),
    ]
    assert sum(other.weight for other in varied) == pytest.approx(row.weight)
    assert len({other.id for other in varied}) == 3


def test_other_labels_stay_with_the_row_as_it_was():
    """A copy without its post must not teach that on-topic comments have none."""
    row = Row("blog", "1", WHOLE, {"spam": 0, "off_topic": 0, "hostile": 0}, "blog:a")
    first, *copies = vary([row])
    assert first.labels == {"off_topic": 0, "hostile": 0}
    assert (first.comment, first.weight) == (WHOLE, 1.0)
    assert [copy.labels for copy in copies] == [{"spam": 0}] * 3


def test_a_campaign_weighs_as_the_root_of_its_size():
    rows = [Row("blog", str(n), WHOLE, {"spam": 1}, "blog:a", extra={"cluster": "7"}) for n in range(9)]
    assert sum(row.weight for row in vary(rows)) == pytest.approx(3)


def test_rows_without_a_spam_label_are_left_alone():
    rows = [Row("set", "1", WHOLE, {"hostile": 1}, "set:1")]
    assert vary(rows) == rows


def test_operating_points_are_shares_that_fall_as_thresholds_rise(tiny_bundle):
    points = load_bundle(tiny_bundle).operating_points
    assert set(points["tiers"]["lexical"]) == set(CODES)
    for code, measured in points["tiers"]["lexical"].items():
        rows = measured["points"]
        assert measured["positives"] > 0, code
        for name in ("recall", "false_positive_rate", "false_positive_rate_upper"):
            values = [row[name] for row in rows]
            assert values == sorted(values, reverse=True), (code, name)
        thresholds = [row["threshold"] for row in rows]
        assert thresholds == sorted(set(thresholds)), code
        assert all(row["false_positive_rate"] <= row["false_positive_rate_upper"] for row in rows)


def test_the_default_policy_reads_the_operating_points(tiny_bundle):
    policy = Policy.parse(default_policy_toml(), load_bundle(tiny_bundle).operating_points)
    assert policy.line("lexical", "hostile", "hold").threshold is not None


def test_scores_are_calibrated_on_the_rows_they_were_calibrated_on(tiny_bundle, tiny_ingredients):
    """The mean probability of the validation rows is their share of bad ones, for every head of every tier.

    Where a natural rate is known, the rows weigh as if the bad ones came at that rate.
    """
    rows = tiny_ingredients.dataset.validation
    model = load_bundle(tiny_bundle).model
    for tier in (model, model.lexical_tier()):
        scored = tier.score([row.comment for row in rows])
        for code in ("hostile", "spam", "insult"):
            known = [
                (row.labels[code], scores[code]) for row, scores in zip(rows, scored, strict=True) if code in row.labels
            ]
            labels, values = np.array(known).T
            share = labels.mean()
            rate = NATURAL_RATE.get(code, share)
            weights = np.where(labels == 1, rate / share, (1 - rate) / (1 - share))
            assert np.average(values, weights=weights) == pytest.approx(rate, abs=0.02), code


def test_a_category_without_both_labels_is_refused_by_name(tiny_ingredients):
    dataset = tiny_ingredients.dataset
    rows = tuple(replace(row, labels={**row.labels, "threat": 0}) for row in dataset.train)
    with pytest.raises(DataError, match="threat"):
        fit_model(replace(dataset, train=rows))


def test_cached_features_give_the_same_model(tiny_ingredients, tmp_path):
    memory = Memory(tmp_path, verbose=0)
    first, second = (fit_model(tiny_ingredients.dataset, memory=memory) for _ in range(2))
    assert np.array_equal(first.model.heads.dense_weights, second.model.heads.dense_weights)
    assert first.operating_points == second.operating_points


def test_facts_that_carry_over_gain_on_words_learned_by_heart():
    """Every blog has words of its own, which tell its spam in training and nobody else's."""
    chance = np.random.default_rng(0)
    target = chance.integers(0, 2, 400).astype(float)
    groups = np.arange(400) // 20
    own = np.zeros((400, 40))
    own[np.arange(400), groups * 2 + target.astype(int)] = 1  # a word for the spam of each blog, another for the rest

    def share_of_facts(facts):
        """What the facts count for beside the words, fitted once and weighed again."""
        facts = facts[:, None].astype(np.float32)
        seen = sparse.csr_matrix(np.hstack([own, facts * 0.1]))
        head = LogisticRegression(C=30.0, solver="liblinear", random_state=0).fit(seen, target)
        of_words, of_facts = np.abs(head.coef_[0, :-1]).max(), head.coef_[0, -1] * 0.1
        lesson = Lesson(np.arange(400), target, np.ones(400), np.zeros(400, int), 1)
        factor, again, _ = _weigh_facts(head, seen, facts, lesson, groups, 4, 0.1)
        return of_facts / of_words, (of_facts * factor + again[0]) / (of_words * factor)

    once, again = share_of_facts(target + chance.normal(0, 1, 400))
    assert again > 2 * once > 0
    assert abs(share_of_facts(chance.normal(0, 1, 400))[1]) < again / 3


def test_facts_are_weighed_again_for_spam_alone():
    assert [code for code in CODES if RECIPES[code].stacked] == ["spam"]
