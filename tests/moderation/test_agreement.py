"""Coefficients by hand and by NLTK, planted mistakes found, copies, floods and hostile accounts."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from nltk.metrics.agreement import AnnotationTask

from moderation.bundle import load_bundle
from moderation.comment import Comment
from moderation.record import current_bundle
from moderation.shipped import shipped_folder
from moderation.training.agreement import (
    FLOOD_DAY,
    LEAST_OF_EACH,
    MOST_AN_HOUR,
    agree,
    count_outvoted,
    find_contradictions,
    find_floods,
    find_odds,
    find_suspects,
    group_copies,
    log_odds,
    measure_agreement,
)
from moderation.training.labels import Label
from moderation.training.rows import read_behaviour, read_seed

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def label(identity, value, moderator="Ada", *, seconds=None, text=None, code="spam", **more) -> Label:
    comment = Comment(text or f"The words of {identity}", id=str(identity))
    at = None if seconds is None else NOON + timedelta(seconds=seconds)
    return Label(comment, {code: value}, moderator, comment.digest(), at=at, **more)


def ratings(table):
    """One letter per moderator and comment; a blank is no label."""
    return [
        (who, number, int(said)) for who, row in table.items() for number, said in enumerate(row) if said != " "
    ]  # fmt: skip


# --- agreement -------------------------------------------------------------------------------------------------------


def test_kappa_and_alpha_equal_an_example_worked_by_hand():
    """Of 50 comments both say 1 to 20 and 0 to 15. By chance they would agree on half: (.7 - .5) / (1 - .5) = .4.

    Of the 100 labels 55 are 1 and 45 are 0, and 15 comments have one of each: 1 - 99 * 15 / (55 * 45) = .4.
    """
    found = agree("spam", ratings({"Ada": "1" * 25 + "0" * 25, "Ben": "1" * 20 + "0" * 5 + "1" * 10 + "0" * 15}))
    (pair,) = found.pairs

    assert (found.category, found.comments, found.alpha) == ("spam", 50, pytest.approx(0.4))
    assert (pair.first, pair.second, pair.comments, pair.same) == ("Ada", "Ben", 50, 35)
    assert pair.kappa == pytest.approx(0.4)


def test_alpha_equals_the_example_of_its_author():
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), binary data: 1 - 19 * 4 / (14 * 6) = .095."""
    found = agree("spam", ratings({"Meg": "0100000010", "Owen": "1110010000"}))

    assert found.alpha == pytest.approx(1 - 76 / 84)
    assert round(found.alpha, 3) == 0.095
    assert found.is_too_low


def test_with_gaps_and_three_people_it_is_what_nltk_says():
    table = {"Ada": "0110 1001 11", "Ben": "01 01100 101", "Cem": "1  0010110 1"}
    found = agree("spam", ratings(table))
    shared = [row for row in ratings(table) if sum(row[1] == other[1] for other in ratings(table)) > 1]
    task = AnnotationTask(data=shared)

    assert found.alpha == pytest.approx(task.alpha())
    for pair in found.pairs:
        both = [row for row in shared if row[0] in (pair.first, pair.second)]
        both = [row for row in both if sum(row[1] == other[1] for other in both) == 2]
        assert pair.kappa == pytest.approx(AnnotationTask(data=both).kappa_pairwise(pair.first, pair.second))
        assert pair.comments == len(both) / 2


def test_where_all_say_the_same_or_nobody_shares_nothing_is_defined():
    assert agree("spam", ratings({"Ada": "0000", "Ben": "0000"})).alpha is None
    assert not agree("spam", ratings({"Ada": "0000", "Ben": "0000"})).is_too_low
    alone = agree("spam", ratings({"Ada": "01  ", "Ben": "  01"}))
    assert (alone.comments, alone.alpha, alone.pairs) == (0, None, ())


def test_few_comments_alarm_nobody():
    assert not agree("spam", ratings({"Ada": "010101010", "Ben": "101010101"})).is_too_low
    assert agree("spam", ratings({"Ada": "0101010101", "Ben": "1010101010"})).is_too_low


def test_a_slip_in_a_rare_category_says_nothing():
    """Nobody agrees by more than chance on four comments of eighty, and nobody has disagreed on the others."""
    rare = {"Ada": "0" * 80, "Ben": "0" * 76 + "1111"}
    assert agree("threat", ratings(rare)).alpha == pytest.approx(0, abs=0.05)
    assert not agree("threat", ratings(rare)).is_too_low
    assert agree("threat", ratings(rare | {"Ben": "0" * 75 + "11111"})).is_too_low


def test_agreement_is_by_category_from_the_last_word_of_each_without_answers_to_objections():
    labels = [
        label("c1", 1, "Ada", seconds=1),
        label("c1", 0, "Ada", seconds=2),
        label("c1", 0, "Ben", seconds=3),
        label("c2", 1, "Ada"),
        label("c2", 0, "Ben", source="appeal_overturned"),
        label("c3", 1, "Ada", code="hostile"),
        label("c3", 1, "Ben"),
    ]
    (spam,) = measure_agreement(labels)

    assert (spam.category, spam.comments, spam.pairs[0].same) == ("spam", 1, 1)


# --- suspected labels ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    """Scores of the published bundle, by words alone: without its encoder it is there at once."""
    models = tmp_path_factory.mktemp("models")
    shipped = current_bundle(shipped_folder("models"))
    shutil.copytree(shipped, models / shipped.name)
    model = load_bundle(models / shipped.name).model.lexical_tier()
    return lambda comments: [scores.to_dict() for scores in model.score(comments)]


def found_of_planted(features, truth, seed) -> float:
    """The share of planted flips, one in twenty, in the most doubtful tenth."""
    chance = np.random.default_rng(seed)
    flips = chance.choice(len(truth), round(0.05 * len(truth)), replace=False)
    given = np.array(truth)
    given[flips] ^= 1
    suspects = find_suspects(features, given, seed=seed)
    assert len(suspects) == len(truth)
    worst = {suspect.index for suspect in suspects[: len(truth) // 10]}
    return len(worst.intersection(flips.tolist())) / len(flips)


@pytest.mark.parametrize("code", ["hostile", "spam", "threat"])
def test_planted_flips_are_found_among_seed_rows(score, code):
    files = sorted((shipped_folder("training_data") / "seed").glob("*.jsonl"))
    rows = [row for path in files for row in read_seed(path)][::10]
    rows = [row for row in rows if code in row.labels]
    features = log_odds(score([row.comment for row in rows]))

    shares = [found_of_planted(features, [row.labels[code] for row in rows], seed) for seed in (1, 2, 3)]
    assert min(shares) >= 0.6, shares


@pytest.mark.parametrize("code", ["hostile", "spam"])
def test_planted_flips_are_found_among_comments_that_nothing_was_trained_on(score, code):
    files = sorted((shipped_folder("training_data") / "behaviour").glob("*.jsonl"))
    cases = [case for path in files for case in read_behaviour(path) if code in case.expect]
    truth = [int(case.expect[code] == "high") for case in cases]
    features = log_odds(score([case.comment for case in cases]))

    shares = [found_of_planted(features, truth, seed) for seed in (1, 2, 3)]
    assert min(shares) >= 0.6, shares


def test_the_most_doubtful_comes_first_and_says_why():
    chance = np.random.default_rng(1)
    truth = np.repeat([0, 1], 100)
    features = chance.normal(truth[:, None] * 4.0, 1, (200, 2))
    given = truth.copy()
    given[150] = 0
    first, *others = find_suspects(features, given)

    assert (first.index, first.given, first.is_confident) == (150, 0, True)
    assert first.margin == pytest.approx(1 - 2 * first.probability)
    assert first.margin < -0.5
    assert [each.margin for each in others] == sorted(each.margin for each in others)
    assert sum(each.is_confident for each in others) < 5


def test_copies_of_one_mistake_do_not_confirm_each_other():
    chance = np.random.default_rng(2)
    truth = np.repeat([0, 1], 100)
    # Eighty columns in which a copy knows its own kind again.
    features = np.hstack([truth[:, None] * 3 + chance.normal(0, 1, (200, 1)), chance.normal(0, 1, (200, 80))])
    features[100:110, 1:] = features[100, 1:]
    given, groups = truth.copy(), np.arange(200)
    given[100:110], groups[100:110] = 0, 100

    def doubted(**more) -> int:
        return sum(each.is_confident for each in find_suspects(features, given, **more) if 100 <= each.index < 110)

    assert doubted(groups=groups) > doubted()


def test_of_too_few_labels_nothing_is_said():
    features = np.zeros((40, 2))
    assert find_suspects(features, [1] * (LEAST_OF_EACH - 1) + [0] * (41 - LEAST_OF_EACH)) == []
    assert find_suspects(features, [1] * 20 + [0] * 20, groups=[0] * 20 + [*range(1, 21)]) == []
    assert find_suspects(np.zeros((0, 2)), []) == []


# --- copies, floods, odds --------------------------------------------------------------------------------------------


def bands(text):
    """Texts are alike that share a word."""
    return [hash(word) for word in text.split()]


def test_near_duplicates_with_opposite_labels_are_named():
    labels = [
        label("c1", 1, text="watches cheap"),
        label("c2", 0, "Ben", text="cheap bread"),
        label("c3", 1, text="bread butter"),
        label("c4", 1, text="elsewhere"),
        label("c5", 0, text="nowhere"),
        label("c6", 0, text="x", code="off_topic"),
        label("c7", 1, text="x", code="off_topic"),
    ]
    groups = group_copies(labels, bands)
    (found,) = find_contradictions(labels, groups)

    assert len({groups[0], groups[1], groups[2]}) == 1
    assert len({groups[0], groups[3], groups[4]}) == 3
    assert found.category == "spam"
    assert [each.comment.id for each in found.yes] == ["c1", "c3"]
    assert [each.comment.id for each in found.no] == ["c2"]


def test_an_account_that_gives_most_of_what_there_is_in_one_day_floods():
    slow = [label(number, 0, "Ada", seconds=number * 3600) for number in range(400)]
    burst = [label(f"e{number}", 1, "Eve", seconds=number * 120) for number in range(FLOOD_DAY)]
    (flood,) = find_floods(slow + burst)

    assert (flood.moderator, flood.labels, flood.day) == ("Eve", FLOOD_DAY, FLOOD_DAY)
    assert flood.hour == 30
    assert flood.share == pytest.approx(1 / 3)
    assert find_floods(slow + burst[1:]) == []
    assert find_floods(slow * 3 + burst) == []
    # Alone nobody drowns anybody.
    assert find_floods(burst) == []


def test_nobody_reads_that_quickly_unless_it_was_decided_in_one_go():
    quick = [label(number, 0, seconds=number * 4) for number in range(MOST_AN_HOUR + 1)]
    (flood,) = find_floods(quick)

    assert flood.hour == MOST_AN_HOUR + 1
    assert find_floods(quick[1:]) == []
    assert find_floods([label(number, 0, seconds=number * 4, source="batch") for number in range(1000)]) == []
    assert find_floods([label(number, 0) for number in range(1000)]) == []


def test_an_account_that_everybody_else_contradicts_stands_out():
    chance = np.random.default_rng(3)
    labels = []
    for number in range(200):
        truth = int(chance.random() < 0.3)
        for who in chance.choice(["Ada", "Ben", "Cem", "Dee", "Eve"], 3, replace=False):
            wrong = 0.9 if who == "Eve" else 0.05
            labels.append(label(number, truth ^ int(chance.random() < wrong), str(who)))
    counts = count_outvoted(labels)[None]
    (found,) = find_odds({None: counts})

    assert found.moderator == "Eve"
    assert found.contradicted / found.comments > 0.8
    assert found.others < 0.2
    assert find_odds({None: {who: count for who, count in counts.items() if who != "Eve"}}) == []


def test_who_makes_the_others_look_bad_too_is_found():
    """Every fourth comment of good accounts is contradicted, by bad ones: nobody can be so three times as often."""
    good = {"Ada": (111, 21), "Ben": (120, 27), "Chi": (123, 25), "Dan": (124, 39)}
    assert [odds.moderator for odds in find_odds({None: {**good, "Eve": (114, 75)}})] == ["Eve"]
    assert find_odds({None: good}) == []


def test_one_who_contradicts_the_only_other_is_no_worse_than_that_one():
    labels = [label(number, value, who) for number in range(50) for who, value in (("Ada", 0), ("Ben", 1))]
    assert find_odds(count_outvoted(labels)) == []
    assert find_odds({}) == []
    assert find_odds({None: {"Ada": (100, 60)}}) == []
