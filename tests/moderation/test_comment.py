"""A comment that exists is valid; what is judged has one digest; decisions read back as they were written."""

import dataclasses
import hashlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.categories import CODES
from moderation.comment import MAX_TEXT_CHARS, Author, Comment, Neighbour, Post, Scores
from moderation.errors import CommentTooLarge, InvalidComment

FULL = {
    "text": "A fair point.",
    "id": "c1",
    "kind": "reply",
    "author": {"id": "a1", "name": "Ada", "url": "https://ada.example"},
    "post": {
        "id": "p1",
        "title": "On trees",
        "text": "Trees grow.",
        "url": "https://blog.example/p1",
        "tags": ["wood"],
    },
    "parent": {"id": "c0", "text": "Do they?"},
    "thread": [{"id": "c0", "text": "Do they?"}],
    "lang": "en",
    "url": "https://blog.example/p1#c1",
    "created_at": "2026-01-01T00:00:00Z",
    "do_not_store": True,
    "hints": {"honeypot": False},
}


def test_every_field_is_taken_from_json():
    comment = Comment.from_dict(FULL)
    assert dataclasses.asdict(comment) == {
        **FULL, "site": None, "thread": ({"id": "c0", "text": "Do they?"},), "post": {**FULL["post"], "tags": ("wood",)}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "comment"),
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n\t"}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"text": "a\ud800b"}, "text"),
        ({"text": "a", "txt": "b"}, "txt"),
        ({"text": "a", "author": "Ada"}, "author"),
        ({"text": "a", "author": {"email": "a@b.example"}}, "author.email"),
        ({"text": "a", "author": {"name": "a\ud800"}}, "author.name"),
        ({"text": "a", "post": {"tags": "wood"}}, "post.tags"),
        ({"text": "a", "post": {"tags": [1]}}, "post.tags"),
        ({"text": "a", "thread": {}}, "thread"),
        ({"text": "a", "thread": ["b"]}, "thread"),
        ({"text": "a", "do_not_store": "yes"}, "do_not_store"),
        ({"text": "a", "hints": {"honeypot": "yes"}}, "hints"),
    ],
)
def test_what_breaks_the_contract_is_refused_by_the_name_of_the_field(data, field):
    with pytest.raises(InvalidComment) as caught:
        Comment.from_dict(data)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "build",
    [
        lambda: Comment("a" * (MAX_TEXT_CHARS + 1)),
        lambda: Comment("a", post=Post(text="a" * 1_000_001)),
        lambda: Comment("a", thread=(Neighbour(text="b"),) * 21),
        lambda: Author(name="a" * 1001),
        lambda: Post(tags=("a",) * 101),
    ],
)
def test_what_is_too_long_is_refused_not_cut(build):
    with pytest.raises(CommentTooLarge):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Post(tags="wood"),
        lambda: Comment("a", kind=None),
        lambda: Comment("a", kind=""),
        lambda: Comment("a", author={"name": "Ada"}),
        lambda: Comment("a", thread=("b",)),
        lambda: Comment("a", parent="b"),
    ],
)
def test_what_is_no_value_of_ours_is_refused_in_python_too(build):
    with pytest.raises(InvalidComment):
        build()


def test_lists_become_tuples():
    assert Post(tags=["wood"]).tags == ("wood",)
    assert Comment("a", thread=[Neighbour(text="b")]).thread == (Neighbour(text="b"),)


@pytest.mark.parametrize("text", ["a" * MAX_TEXT_CHARS, "\u200b", "😀", "\u202eabc", "שלום"])
def test_odd_but_real_texts_are_comments(text):
    assert Comment(text).text == text


def test_the_digest_is_the_hash_of_the_documented_json():
    """Written out in full: other implementations must be able to compute it."""
    canonical = (
        '{"author_name":"Ada","author_url":"https://ada.example","kind":"reply","lang":"en","parent_text":"Do they?",'
        '"post_tags":["wood"],"post_text":"Trees grow.","post_title":"On trees","text":"A fair point.",'
        '"thread_texts":["Do they?"]}'
    )
    assert json.loads(canonical)
    assert Comment.from_dict(FULL).digest() == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("name", ["text", "kind", "lang"])
def test_the_digest_changes_with_what_is_judged(name):
    comment = Comment.from_dict(FULL)
    assert dataclasses.replace(comment, **{name: "other"}).digest() != comment.digest()


@pytest.mark.parametrize("name", ["id", "site", "url", "created_at"])
def test_the_digest_does_not_change_with_what_is_not_judged(name):
    comment = Comment.from_dict(FULL)
    assert dataclasses.replace(comment, **{name: "other"}).digest() == comment.digest()


def test_a_comment_travels_between_processes():
    comment = Comment.from_dict(FULL)
    assert pickle.loads(pickle.dumps(comment)) == comment
    assert len({comment, Comment.from_dict(FULL)}) == 1


probability = st.floats(0, 1)


@given(st.fixed_dictionaries(dict.fromkeys(CODES, probability) | {"off_topic": st.none() | probability}))
def test_scores_read_back_as_written(values):
    scores = Scores.from_dict(values)
    written = scores.to_dict()
    assert list(written) == list(CODES)
    assert Scores.from_dict(written).to_dict() == written


def test_only_off_topic_may_abstain():
    values = dict.fromkeys(CODES, 0.5)
    assert Scores.from_dict({**values, "off_topic": None}).off_topic is None
    with pytest.raises(ValueError, match="spam"):
        Scores.from_dict({**values, "spam": None})
    with pytest.raises(KeyError):
        Scores.from_dict(values)["kindness"]
