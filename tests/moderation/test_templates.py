"""Sentences put together from parts: as often harmless as hostile for every kind of person, and always the same."""

import re
from collections import defaultdict

import pytest

from moderation.training import templates
from moderation.training.rows import Row
from moderation.training.templates import HARMLESS_EACH, HOSTILE_EACH, SOURCE, WEIGHT, template_rows

ROWS = list(template_rows())
# Where the first letter misleads: one is heard where it is not written, or written where it is not heard.
WITH_AN = ("honest", "unemployed", "lgbt", "lgbtq")


def articles():
    """Every "a" or "an" with the word behind it, in small letters."""
    return [found for row in ROWS for found in re.findall(r"\b(an?) ([a-z][\w-]+)", row.comment.text.lower())]


def test_a_seed_fixes_the_rows():
    assert list(template_rows()) == ROWS
    assert {row.comment.text for row in template_rows(seed=1)} != {row.comment.text for row in ROWS}


def test_no_text_and_no_name_comes_twice():
    assert len({row.comment.text for row in ROWS}) == len({row.id for row in ROWS}) == len(ROWS)


def test_a_row_says_where_it_is_from_and_weighs_little():
    assert {(row.source, row.weight) for row in ROWS} == {(SOURCE, WEIGHT)}
    assert all(isinstance(row, Row) and not re.search(r"[{}]", row.comment.text) for row in ROWS)


def test_forms_are_the_groups_so_that_no_kind_of_person_is_kept_apart():
    """One form never has both labels, and is said of many kinds of people."""
    labels, texts = defaultdict(set), defaultdict(set)
    for row in ROWS:
        labels[row.group].add(row.labels["hostile"])
        texts[row.group].add(row.comment.text)
    of_kinds = [group for group in labels if "kind" in group]
    assert len(of_kinds) == len(templates._HARMLESS) + len(templates._HOSTILE)
    assert len(labels) == len(of_kinds) + len(templates._HARMLESS_NAMED) + len(templates._HOSTILE_NAMED)
    assert all(len(found) == 1 for found in labels.values())
    assert min(len(texts[group]) for group in of_kinds) > 20


@pytest.mark.parametrize("kind", templates._KINDS)
def test_every_kind_of_person_is_in_harmless_and_in_hostile_sentences(kind):
    named = re.compile(rf"(?<![\w-]){re.escape(kind)}(?![\w-])", re.IGNORECASE)
    labels = [row.labels["hostile"] for row in ROWS if "kind" in row.group and named.search(row.comment.text)]
    assert labels.count(0) >= 0.8 * HARMLESS_EACH
    assert labels.count(1) >= 0.8 * HOSTILE_EACH


def test_what_is_said_of_a_kind_is_an_attack_on_identity_and_of_a_name_an_insult():
    for row in ROWS:
        if row.labels["hostile"] == 0:
            assert not any(row.labels.values())
        elif "kind" in row.group:
            assert row.labels == {"hostile": 1, "identity_attack": 1}
        else:
            assert (row.labels["insult"], row.labels["identity_attack"]) == (1, 0)


def test_a_and_an_stand_where_they_are_said():
    for article, word in articles():
        vowel = word in WITH_AN or (word[0] in "aeio" and word != "european")
        assert article == ("an" if vowel else "a"), word
