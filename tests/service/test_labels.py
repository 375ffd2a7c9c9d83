"""Labels out of the store: what becomes one, where it says it comes from, and what never does. On both databases."""

from __future__ import annotations

import pytest

from moderation.categories import CODES
from moderation.comment import Neighbour
from moderation.training.labels import last_words, read_label
from service.priority import measure
from service.store import AuditDraw, Judge, Judgement, Target
from service.store.labels import labels_of

REJECT = Judgement("reject", ("spam",), score_shown=True)
APPROVE = Judgement("approve", score_shown=False)
ADA, BEN = Judge("Ada", "review"), Judge("Ben", "review")
GOOD = {code: 0 for code in CODES if code != "off_topic"}


@pytest.fixture
def site(store):
    return store.add_site("https://blog.example")


@pytest.fixture
def decide(store, site):
    def decide_one(judge, judgement, *stored):
        targets = [Target(each.decision.digest, each.id) for each in stored]
        return store.verdicts.decide(site, judge, judgement, targets)

    return decide_one


@pytest.fixture
def read(store):
    """Every label that the store gives, as the library reads it."""
    return lambda site=None: [read_label(line) for line in store.labels.read(site)]


def test_a_verdict_becomes_a_label_that_says_everything_about_itself(site, put, decide, read):
    parent = Neighbour("c0", "What do you think?")
    stored = put(site, "c1", "Cheap watches", author="eve", post="p1", parent=parent, thread=(parent,), lang="en")
    (verdict,) = decide(ADA, REJECT, stored)
    (label,) = read()

    assert label.comment.digest() == label.digest == stored.decision.digest
    assert (label.comment.id, label.comment.site, label.comment.text) == ("c1", "https://blog.example", "Cheap watches")
    assert (label.comment.post.title, label.comment.author.name) == ("Title of p1", "Name of eve")
    assert (label.comment.parent, label.comment.thread) == (parent, (parent,))
    assert (label.labels, label.verdict) == ({"spam": 1}, "reject")
    assert (label.moderator, label.source, label.at) == ("Ada", "verdict", verdict.at)
    assert (label.bundle, label.tier, label.action) == ("bundle-1", "lexical", "hold")
    assert (label.score_shown, label.inclusion_probability) == (True, 1.0)
    assert (label.scores["spam"], label.scores["off_topic"]) == (0.6, None)


def test_the_longest_name_from_elsewhere_makes_a_label(site, put, decide, read):
    decide(Judge("site:" + "n" * 200, "perspective"), REJECT, put(site, "c1"))

    assert [label.moderator for label in read()] == ["site:" + "n" * 195]


def test_what_the_machine_did_and_nobody_looked_at_is_no_label(store, site, put, read):
    for number, action in enumerate(("publish", "hold", "reject")):
        put(site, f"c{number}", action=action)
    store.readers.report(site, "c0", "r" * 64, "spam", reopen_at=9, measure=measure)
    store.readers.appeal(site, "c2", "Please", measure=measure)

    assert read() == []


@pytest.mark.parametrize(
    ("action", "categories", "cleared", "scores", "expected"),
    [
        ("approve", (), (), dict.fromkeys(CODES, 0.1), dict.fromkeys(CODES, 0)),
        ("approve", (), (), dict.fromkeys(CODES, 0.1) | {"off_topic": None}, GOOD),
        ("approve", (), (), None, GOOD),
        ("approve", (), ("spam",), dict.fromkeys(CODES, 0.1), {"spam": 0}),
        ("reject", ("spam", "hostile"), (), dict.fromkeys(CODES, 0.1), {"hostile": 1, "spam": 1}),
        ("reject", ("hostile",), ("insult",), dict.fromkeys(CODES, 0.1), {"hostile": 1, "insult": 0}),
        ("reject", ("off_topic",), (), None, {"off_topic": 1}),
        ("reject", (), (), dict.fromkeys(CODES, 0.9), {}),
    ],
)
def test_what_a_verdict_says_of_each_category(action, categories, cleared, scores, expected):
    assert labels_of(action, categories, scores, cleared) == expected


def test_the_last_word_of_each_is_there_and_the_last_one_counts(site, put, decide, read):
    stored = put(site, "c1")
    for judge, judgement in ((ADA, REJECT), (BEN, APPROVE), (ADA, APPROVE), (BEN, REJECT)):
        decide(judge, judgement, stored)
    labels = read()

    assert [(label.moderator, label.verdict) for label in labels] == [("Ada", "approve"), ("Ben", "reject")]
    assert [(label.moderator, label.labels) for label in last_words(labels)] == [("Ben", {"spam": 1})]


def test_what_was_taken_back_is_none_and_the_word_before_counts_again(store, site, put, decide, read):
    stored = put(site, "c1")
    decide(ADA, APPROVE, stored)
    (flip,) = decide(ADA, REJECT, stored)
    store.verdicts.undo(site, flip.id, "Ada")
    assert [label.verdict for label in read()] == ["approve"]

    (first,) = [verdict for verdict in store.verdicts.of_comment(site, "c1") if verdict.undone_at is None]
    store.verdicts.undo(site, first.id, "Ada")
    assert read() == []


def test_an_edit_makes_another_text_and_the_old_one_keeps_its_label(site, put, decide, read):
    decide(ADA, REJECT, put(site, "c1", "Cheap watches"))
    decide(BEN, APPROVE, put(site, "c1", "A nice article"))

    assert [(label.comment.text, label.labels) for label in last_words(read())] == [
        ("Cheap watches", {"spam": 1}),
        ("A nice article", GOOD),
    ]


def test_where_a_label_comes_from(store, site, put, decide, read):
    def report(stored):
        store.readers.report(site, stored.id, "r" * 64, "spam", reopen_at=1, measure=measure)
        return stored

    def appeal(stored):
        store.readers.appeal(site, stored.id, "Please", measure=measure)
        return stored

    decide(ADA, REJECT, report(put(site, "confirmed", action="publish")))
    decide(ADA, APPROVE, report(put(site, "dismissed", action="publish")))
    decide(ADA, REJECT, appeal(put(site, "upheld", action="reject")))
    decide(ADA, APPROVE, appeal(put(site, "overturned", action="reject")))
    decide(Judge("site:Zoe", "api"), REJECT, put(site, "elsewhere"))
    decide(ADA, REJECT, put(site, "one"), put(site, "two"))
    later = put(site, "later")
    decide(ADA, REJECT, later)
    report(later)

    assert {label.comment.id: label.source for label in read()} == {
        "confirmed": "report_confirmed",
        "dismissed": "verdict",
        "upheld": "appeal_upheld",
        "overturned": "appeal_overturned",
        "elsewhere": "platform",
        "one": "batch",
        "two": "batch",
        "later": "verdict",
    }


def test_how_likely_a_look_was(site, put, decide, read):
    decide(ADA, APPROVE, put(site, "drawn", action="publish", draw=AuditDraw("publish", 0.02, "5eed", 0.02)))
    decide(ADA, APPROVE, put(site, "asked", action="publish"))

    assert {label.comment.id: label.inclusion_probability for label in read()} == {"drawn": 0.02, "asked": None}


def test_who_speaks_again_had_looked_as_likely_all_the_same(site, put, decide, read):
    drawn = put(site, "drawn", action="publish", draw=AuditDraw("publish", 0.02, "s", 0.02))
    decide(ADA, APPROVE, drawn)
    decide(ADA, REJECT, drawn)

    (label,) = read()
    assert (label.labels["spam"], label.inclusion_probability) == (1, 0.02)


def test_what_was_erased_or_is_not_kept_gives_none_and_neither_do_its_copies(store, site, put, decide, read):
    first = put(site, "c1", "Words to be erased", author="eve")
    known = Neighbour("c1", "Words to be erased")
    decide(ADA, APPROVE, first, put(site, "c2", "An answer", parent=known, thread=(known,)))
    decide(ADA, APPROVE, put(site, "c3", "More words of the author", author="eve"))
    store.erasure.erase_comment(site, "c1", "site")
    (answer, other) = read()

    assert (answer.comment.id, answer.comment.parent, answer.comment.thread) == (
        "c2",
        Neighbour("c1"),
        (Neighbour("c1"),),
    )
    assert other.comment.id == "c3"
    assert "to be erased" not in str(list(store.labels.read()))
    store.erasure.erase_author(site, "eve", "r" * 64, "site")
    assert [label.comment.id for label in read()] == ["c2"]
    assert store.labels.erased() == {("https://blog.example", "c1"), ("https://blog.example", "c3")}
    put(site, "c2", "An answer", do_not_store=True)
    assert read() == []


def test_what_is_forgotten_by_age_gives_none(store, site, put, decide, read):
    decide(ADA, APPROVE, put(site, "c1"))
    store.erasure.forget_before(site, store.now())

    assert read() == []


def test_sites_apart_and_more_than_one_page(store, site, put, decide, read, monkeypatch):
    monkeypatch.setattr("service.store.labels._AT_ONCE", 3)
    other = store.add_site("https://other.example")
    for number in range(7):
        decide(ADA, REJECT, put(site, f"c{number}", post="p1"))
    stored = put(other, "c0")
    store.verdicts.decide(other, ADA, APPROVE, [Target(stored.decision.digest, "c0")])

    assert [label.comment.id for label in read(site)] == [f"c{number}" for number in range(7)]
    assert [label.comment.site for label in read(other)] == ["https://other.example"]
    assert len(read()) == 8
