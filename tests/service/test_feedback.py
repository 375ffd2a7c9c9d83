"""What callers say later about a text that they cannot name by an id of ours."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from moderation.comment import Comment
from service.errors import CommentErased
from service.store import Judge, Judgement, Store

SPAM = Judgement("reject", ("spam",))
NOT_SPAM = Judgement("approve", cleared=("spam",))
AKISMET = Judge("site:ann", "akismet")
TEXT = "Look at http://a.example/x and http://b.example/y now!"


@pytest.fixture
def desk(shared_service, request):
    parts = shared_service.parts
    site = parts.store.add_site(f"https://feedback-{abs(hash(request.node.name))}.example")
    return SimpleNamespace(site=site, workflow=parts.workflow, feedback=parts.feedback, store=parts.store)


def statuses(desk, *ids) -> list[str]:
    found = desk.store.find_comments(desk.site, ids)
    return [found[each].status for each in ids]


def test_the_same_text_is_found_and_among_several_the_one_that_shares_most(desk):
    for name, said in (
        ("c1", {"community": "a", "token": "1"}),
        ("c2", {"community": "a", "token": "2"}),
        ("c3", {"community": "b", "token": "3"}),
    ):
        desk.workflow.submit(desk.site, Comment(TEXT, id=name), handles=said)
    desk.feedback.give(desk.site, Comment(TEXT), AKISMET, SPAM, handles={"community": "a", "token": "1"})
    desk.feedback.give(desk.site, Comment(TEXT), AKISMET, NOT_SPAM, handles={"community": "a"})

    assert statuses(desk, "c1", "c2", "c3") == ["rejected", "published", "held"]


def test_of_equal_ones_the_last_is_meant_and_an_id_says_it_all(desk):
    for name in ("c1", "c2"):
        desk.workflow.submit(desk.site, Comment(TEXT, id=name))
    desk.feedback.give(desk.site, Comment(TEXT), AKISMET, SPAM, handles={"token": "unknown"})
    assert statuses(desk, "c1", "c2") == ["held", "rejected"]
    desk.feedback.give(desk.site, Comment("Something else altogether", id="c1"), AKISMET, NOT_SPAM)
    assert statuses(desk, "c1", "c2") == ["published", "rejected"]


def test_what_was_never_judged_is_judged_and_becomes_a_label(desk):
    said = desk.feedback.give(desk.site, Comment(TEXT), AKISMET, SPAM)
    [label] = desk.store.labels.read(desk.site)

    assert said.comment.startswith("feedback-")
    assert (label["text"], label["labels"], label["moderator"]) == (TEXT, {"spam": 1}, "site:ann")
    assert label["scores"]
    again = desk.feedback.give(desk.site, Comment(TEXT), AKISMET, SPAM)
    assert (again.seen, again.comment) == (True, said.comment)


def test_a_text_that_is_not_kept_is_not_found(desk):
    desk.workflow.submit(desk.site, Comment(TEXT, id="c1", do_not_store=True), handles={"token": "1"})
    said = desk.feedback.give(desk.site, Comment(TEXT), AKISMET, NOT_SPAM, handles={"token": "1"})

    assert said.comment != "c1"
    assert desk.store.find_texts(desk.site, "0" * 64) == []


def test_a_comment_that_was_erased_is_not_spoken_of(desk):
    desk.workflow.submit(desk.site, Comment(TEXT, id="c1"))
    desk.workflow.erase(desk.site, "c1")

    with pytest.raises(CommentErased):
        desk.feedback.give(desk.site, Comment(TEXT, id="c1"), AKISMET, SPAM)


def test_handles_go_with_the_text(desk):
    desk.workflow.submit(desk.site, Comment(TEXT, id="c1"), handles={"token": "1"})
    [before] = find(desk.store, desk)
    desk.workflow.erase(desk.site, "c1")

    assert (len(before.handles[0].removeprefix("token:")), find(desk.store, desk)) == (64, [])


def test_what_must_match_tells_comments_of_the_same_text_apart(desk):
    strict = ("author", "page")
    carol = {"author": "Carol", "page": "/1", "blog": "b"}
    desk.workflow.submit(desk.site, Comment(TEXT, id="carol"), handles=carol)
    desk.workflow.submit(desk.site, Comment(TEXT, id="nobody"), handles={"blog": "b"})

    def find(**said) -> str | None:
        return desk.feedback.find(desk.site, Comment(TEXT), said, must_match=strict)

    assert find(**carol) == find(author="Carol") == find(author="Carol", blog="c") == "carol"
    assert find(author="Mallory", page="/1", blog="b") == find(author="Carol", page="/2") == "nobody"  # which may be it
    assert desk.feedback.find(desk.site, Comment(TEXT), {"author": "Mallory", "page": "/1"}) == "carol"

    said = desk.feedback.give(desk.site, Comment(TEXT, id="new"), AKISMET, SPAM, handles=carol, must_match=strict)
    assert said.comment == "carol"
    desk.workflow.erase(desk.site, "nobody")
    assert find(author="Mallory") is None
    other = {"author": "Mallory", "page": "/2"}
    said = desk.feedback.give(desk.site, Comment(TEXT, id="new"), AKISMET, SPAM, handles=other, must_match=strict)
    assert said.comment == "new"


def find(store: Store, desk) -> list:
    return store.find_texts(desk.site, desk.feedback._hashes.text(TEXT))
