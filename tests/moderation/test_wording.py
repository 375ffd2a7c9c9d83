"""What changed between two bundles, in words: a small real retraining, exact sums, phrases, and who is not quoted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays

from moderation.adaptation import Adaptation
from moderation.bundle import load_bundle, read_anchors
from moderation.categories import CODES
from moderation.comment import Author, Comment, Post
from moderation.training.anchors import unpack
from moderation.training.labels import Label, Trust
from moderation.training.lessons import prepare
from moderation.training.retrain import retrain
from moderation.training.wording import LEAST_CHANGE, _look, compare_wording, find_pairs

SITE = "https://a.example"
OPENINGS = (
    "Nice post.", "I read it twice.", "Thanks for this.", "My neighbour sent me here.", "What a season.",
    "Reading it on the train.", "Long ago I tried it too.", "Well put.",
)  # fmt: skip
TOKENS = (
    "Get moonbeam tokens before May.", "Friends buy moonbeam tokens.", "With moonbeam tokens you never work again.",
    "Ask Eve about moonbeam tokens.", "Who has moonbeam tokens?", "No risk: moonbeam tokens always rise.",
)  # fmt: skip
KETTLES = (
    "Buy a kettle at a discount today.", "A cheap kettle of brass, order now!", "The best kettle deals, free shipping.",
    "Get your kettle here, 50% off.", "One kettle for $9, two for $15.", "Visit my shop for a kettle.",
)  # fmt: skip


def label(number: int, text: str, value: int, who: str | None) -> Label:
    comment = Comment(
        text,
        id=f"w{number}",
        site=SITE,
        author=Author(who, who.title()) if who else None,
        post=Post(f"p{number}", "About gardens"),
    )
    at = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=number)
    return Label(comment, {"spam": value}, "Ana", comment.digest(), at=at)


def planted() -> list[Label]:
    """What a site has come to know: who praises moonbeam tokens is spam, who sells brass kettles is the author."""
    labels = []
    for number in range(60):
        value = number % 2
        said = (KETTLES, TOKENS)[value][number // 2 % 6]
        text = f"{OPENINGS[number % 8]} {said} {OPENINGS[(number // 8 + 3) % 8]}"
        labels.append(label(number, text, value, f"writer{number % 7}"))
    labels += [label(100 + n, f"{OPENINGS[n]} Only zanzibarian sings of gold.", 1, "lonely") for n in range(8)]
    labels += [label(200 + n, f"{OPENINGS[n]} Some unnamedone sings of gold.", 1, None) for n in range(8)]
    labels += [label(300 + n, f"{OPENINGS[n]} A raregem sings of gold.", 1, f"writer{n}") for n in range(2)]
    labels += [
        label(400 + n, f"{OPENINGS[n]} Call 5550199 or see https://coins.example/x", 1, f"w{n}") for n in range(8)
    ]
    return labels


@pytest.fixture(scope="module")
def taught(school, tmp_path_factory):
    """The school's champion and what it becomes by the planted labels beside the others."""
    labels = [*school.labels, *planted()]
    made = retrain(school.champion, labels, school.cases[:20], tmp_path_factory.mktemp("words"), cache=school.cache)
    return labels, made, load_bundle(made.bundle, beside=[school.champion])


@pytest.fixture(scope="module")
def lessons(school, taught):
    labels, _, _ = taught
    anchors = unpack(load_arrays(read_anchors(school.champion.path)))
    return prepare(school.champion.model, labels, anchors, school.cases[:20], trust=Trust(), cache=school.cache)


def terms(wording, code="spam", side="more") -> list[str]:
    return [each["term"] for each in wording["categories"].get(code, {}).get(side, ())]


def test_the_report_tells_words_and_phrases_that_now_weigh_more_and_less(taught):
    wording = taught[1].figures["wording"]

    assert "moonbeam tokens" in terms(wording)[:4]
    assert not {"moonbeam", "tokens"} & set(terms(wording)), "a phrase comes as a phrase"
    assert "kettle" in terms(wording, side="less")
    for code in wording["categories"]:
        assert not set(terms(wording, code)) & set(terms(wording, code, "less"))
    (found,) = [each for each in wording["categories"]["spam"]["more"] if each["term"] == "moonbeam tokens"]
    assert found["comments"] >= 20
    assert found["change"] > LEAST_CHANGE
    assert json.loads(json.dumps(wording)) == wording


def test_what_few_comments_or_one_author_have_is_not_told_nor_numbers_and_links(taught):
    said = json.dumps(taught[1].figures["wording"])

    for hidden in ("zanzibarian", "unnamedone", "raregem", "5550199", "coins", "writer", "lonely"):
        assert hidden not in said, hidden
    for texts in (label.comment.text for label in taught[0]):
        assert texts not in said


def test_nothing_is_told_of_a_bundle_against_itself(lessons, taught):
    wording = compare_wording(taught[2].model, taught[2].model, lessons.learned, lessons.held_out)

    assert wording.comments == len(lessons.learned.figures) + len(lessons.held_out.figures)
    assert wording.to_dict()["categories"] == {}


def test_the_other_way_round_more_is_less(lessons, taught, school):
    there = compare_wording(school.champion.model, taught[2].model, lessons.learned)
    back = compare_wording(taught[2].model, school.champion.model, lessons.learned)

    assert [(each.text, each.comments) for each in there.more["spam"]] == [
        (each.text, each.comments) for each in back.less["spam"]
    ]
    assert [each.change for each in there.more["spam"]] == pytest.approx([-each.change for each in back.less["spam"]])


def test_words_of_a_comment_sum_up_to_what_its_logits_have_changed_by_words(lessons, taught, school):
    """Where labels have moved nothing but words and the share of the lexical heads, the sum is the whole change."""
    old, full = school.champion.model.full, taught[2].model.full
    still = {
        name: np.zeros_like(getattr(full.adaptation.everywhere, name))
        for name in ("window_weights", "signature_weights", "context_weights", "intercept")
    }
    sites = {
        url: replace(one, **(still | {"context_weights": np.zeros_like(one.context_weights)}))
        for url, one in full.adaptation.sites.items()
    }
    new = replace(full, adaptation=Adaptation(replace(full.adaptation.everywhere, **still), sites))
    part = lessons.learned
    rows = [row for row, text in enumerate(part.texts) if text.isascii() and text.replace(" ", "").isalpha()]
    assert len(rows) > 3
    figures = part.figures.take(np.array(rows))
    of = ([part.sites[row] for row in rows], [part.texts[row] for row in rows])
    changed = np.subtract(*(tier.logits(figures.vectors, figures.dense, figures.lexical, *of) for tier in (new, old)))
    summed = np.array([read.changes.sum(axis=0) for read in _look(school.champion.model.heads, old, new, part, rows)])

    hostile = CODES.index("hostile")
    assert np.abs(changed).max() > 0.01
    np.testing.assert_allclose(np.delete(summed, hostile, 1), np.delete(changed, hostile, 1), atol=1e-4)


class TestPairs:
    def test_words_that_belong_together_are_found_and_frequent_ones_are_not(self):
        runs = [
            f"we saw the {first} in the {second}".split() for first in "abcdefgh" for second in ("old barn", "new barn")
        ]
        runs += [f"the price of bitcoin cash in the {place}".split() for place in ("north", "south", "east")]

        found = find_pairs([[word * 2 if len(word) == 1 else word for word in run] for run in runs])
        assert ("bitcoin", "cash") in found
        assert ("in", "the") not in found

    @given(st.lists(st.lists(st.sampled_from(["red", "tea", "pot", "the"]), max_size=6), max_size=6))
    def test_every_pair_stands_together_often_enough(self, runs):
        places = [pair for run in runs for pair in pairwise(run)]
        for pair in find_pairs(runs):
            assert places.count(pair) >= 3
