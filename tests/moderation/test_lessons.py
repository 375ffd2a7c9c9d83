"""Which labels are learned from, which are held out, and which are neither; what is said of them without any text."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from moderation.categories import CODES
from moderation.comment import Post
from moderation.errors import DataError
from moderation.training.labels import Trust, as_rows
from moderation.training.lessons import describe, labels_digest, prepare, score_labels
from moderation.training.rows import fingerprint


@pytest.fixture
def cache(school, tmp_path):
    """A cache that knows the labels of the school."""
    for path in school.cache.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def teach(school, anchors, cache):
    few = replace(anchors, kept=anchors.kept.take(np.arange(10)))

    def prepared(labels, **more):
        options = {"cases": school.cases, "trust": Trust(), "cache": cache} | more
        return prepare(school.champion.model, labels, options.pop("anchors", few), **options)

    return prepared


@pytest.fixture
def whole(school, teach):
    return teach(school.labels)


def prints(labels):
    return {fingerprint(label.comment.text) for label in labels}


def test_every_label_is_learned_from_or_held_out_or_left_out(school, whole):
    assert len(whole.learned.figures) + len(whole.held_out.figures) + sum(whole.left_out.values()) == len(school.labels)
    assert 0.1 < len(whole.held_out.figures) / len(school.labels) < 0.3
    assert whole.prints == set(whole.learned.figures.prints.tolist())


def test_what_models_are_measured_on_is_left_out(school, teach, anchors, whole):
    learned, held = whole.learned.figures.prints[0], whole.held_out.figures.prints[0]
    frozen = anchors.frozen.take(np.array([0, 1]))
    leaked = replace(anchors, frozen=replace(frozen, prints=np.array([learned, held])))
    found = teach(school.labels, anchors=leaked)
    assert found.left_out["a row that models are measured on"] >= 2
    for part in (found.learned, found.held_out):
        assert not {learned, held} & set(part.figures.prints.tolist())
    assert learned not in found.prints
    on_validation = replace(
        anchors, validation=replace(anchors.validation.take(np.array([0])), prints=np.array([learned]))
    )
    assert learned not in teach(school.labels, anchors=on_validation).prints


def test_behaviour_cases_are_left_out(school, teach):
    case = replace(school.cases[0], comment=school.labels[0].comment)
    found = teach(school.labels, cases=[case])
    assert fingerprint(case.comment.text) not in found.prints | set(found.held_out.figures.prints.tolist())


def test_the_same_text_is_never_on_both_sides(school, teach, whole):
    held = next(label for label in school.labels if prints([label]) & set(whole.held_out.figures.prints.tolist()))
    copies = [
        replace(held, comment=replace(held.comment, id=f"copy-{number}", text=f"  {held.comment.text.upper()}!"))
        for number in range(12)
    ]
    found = teach([*school.labels, *copies])
    assert found.left_out["the same text as one held out"] > 0
    assert not found.prints & set(found.held_out.figures.prints.tolist())


def test_comments_of_a_post_are_on_one_side(school, teach):
    posts = [
        replace(label, comment=replace(label.comment, post=Post(f"p{number % 12}", "A post")))
        for number, label in enumerate(school.labels[:96])
    ]
    found = teach(posts)
    of_text = {fingerprint(label.comment.text): label.comment.post.id for label in posts}
    learned, held = (
        {of_text[text] for text in part.figures.prints.tolist()} for part in (found.learned, found.held_out)
    )
    assert learned
    assert not learned & held


def test_the_order_of_labels_does_not_matter(school, teach, whole):
    turned = list(school.labels)
    random.Random(1).shuffle(turned)
    again = teach(turned)
    for one, other in ((whole.learned, again.learned), (whole.held_out, again.held_out)):
        assert one.texts == other.texts
        assert one.sites == other.sites
        np.testing.assert_array_equal(one.figures.labels, other.figures.labels)
        np.testing.assert_array_equal(one.figures.vectors.windows, other.figures.vectors.windows)
    assert labels_digest(turned, Trust()) == labels_digest(school.labels, Trust())


def test_what_changes_a_lesson_changes_the_digest(school):
    labels, trust = school.labels, Trust()
    first = labels[0]
    (code, value), *_ = first.labels.items()
    others = [
        labels_digest(labels[1:], trust),
        labels_digest([replace(first, labels={code: 1 - value}), *labels[1:]], trust),
        labels_digest([replace(first, comment=replace(first.comment, site="https://c.example")), *labels[1:]], trust),
        labels_digest(labels, Trust(moderators={"Ana": 0.5})),
    ]
    assert len({*others, labels_digest(labels, trust)}) == 5


def test_too_few_labels_are_refused_and_nothing_of_them_stays(school, teach, cache):
    assert list(cache.iterdir())
    with pytest.raises(DataError, match=r"labels are too few to learn from; at least 20"):
        teach(school.labels[:15])
    assert list(cache.iterdir()) == []


def test_an_account_of_no_trust_has_no_last_word(school):
    label = school.labels[0]
    later = replace(label, moderator="Mallory", labels={"spam": 1, "hostile": 1}, at=None)
    said = [replace(label, at=None), later]
    (row,) = as_rows(said, Trust(moderators={"Mallory": 0.0}))
    assert row.labels == label.labels
    (other,) = as_rows(said)
    assert other.labels == {"spam": 1, "hostile": 1}


def test_off_topic_is_not_known_where_nothing_can_be_said(school, teach, whole):
    labels = [replace(label, labels={"off_topic": 1}) for label in school.labels]
    bare = [replace(label, comment=replace(label.comment, post=None, parent=None)) for label in labels]
    assert np.isnan(teach(bare).learned.figures.labels).all()
    assert not np.isnan(whole.learned.figures.labels).all()


def test_scores_are_those_of_the_model(school, cache):
    some = [*school.labels[:6], replace(school.labels[7], labels={}, verdict="reject")]
    odds = score_labels(school.champion.model, some, cache=cache)
    for row, scores in zip(odds, school.champion.model.score([label.comment for label in some]), strict=True):
        expected = [scores[code] for code in CODES]
        if row.any():
            assert 1 / (1 + np.exp(-row)) == pytest.approx(
                [0.5 if value is None else value for value in expected], abs=1e-5
            )
    assert odds[:6].any(axis=1).all()
    assert not odds[6].any()


def test_what_is_said_of_labels_is_counts_without_text_and_name(school, whole):
    facts = describe(whole, school.labels, Trust())
    said = json.dumps(facts)
    assert facts["said"] == len(school.labels)
    assert facts["learned"] == sum(facts["by_site"].values()) == len(whole.learned.figures)
    assert facts["sides"]["spam"][0] == int((whole.learned.figures.labels[:, CODES.index("spam")] == 1).sum())
    assert facts["until"] == max(label.at for label in school.labels).isoformat()
    assert not [word for word in ("Ana", "Ben", "Cho", school.labels[0].comment.text) if word in said]
