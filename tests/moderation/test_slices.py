"""Rows made up for a trial: the same each time, what they say they are, and valid comments."""

import pytest

from moderation.comment import Author, Comment, Post
from moderation.signals import find_links
from moderation.training.disguise import ATTACKS
from moderation.training.rows import Row
from moderation.training.slices import copy_genuine, disguise_rows, sample

POSTS = tuple(Post(id=str(number), title=f"Title {number}", text="About trains {and} boats.") for number in range(3))


def genuine(count=60, posts=POSTS):
    return [
        Row(
            "made",
            str(number),
            Comment(
                f"I took that train {{once}} in the year {number}.",
                post=posts[number % len(posts)],
                author=Author(name="Ines", url="https://ines.example"),
            ),
            {"spam": 0},
            "blog:one",
            extra={"label": "ham"},
        )
        for number in range(count)
    ]


def test_copies_are_spam_with_one_link_and_another_author():
    rows = genuine()
    copies = copy_genuine(rows)
    assert len(copies) == len(rows)
    assert copies == copy_genuine(rows)
    for row, copy in zip(rows, copies, strict=True):
        place, where = copy.slices
        assert copy.labels == {"spam": 1}
        assert row.comment.text in copy.comment.text
        assert copy.comment.author.name != "Ines"
        assert (copy.comment.post == row.comment.post) == (place == "own-post")
        if where == "author-url":
            assert copy.comment.text == row.comment.text
            assert copy.comment.author.url
        else:
            assert copy.comment.author.url is None
            assert "." in copy.comment.text.replace(row.comment.text, "")


def test_copies_are_of_every_kind_in_the_shares_that_were_promised():
    slices = [copy.slices for copy in copy_genuine(genuine(900))]
    assert 0.42 < sum("other-post" in of_copy for of_copy in slices) / 900 < 0.58
    assert 0.27 < sum("author-url" in of_copy for of_copy in slices) / 900 < 0.4
    texts = [copy.comment.text for copy in copy_genuine(genuine(900))]
    assert sum(bool(find_links(text)) for text in texts) > 400


def test_owners_spam_and_comments_without_a_post_are_not_copied():
    row, *_ = genuine(1)
    owner = Row("made", "o", row.comment, {"spam": 0}, "blog:one", extra={"label": "owner"})
    spam = Row("made", "s", row.comment, {"spam": 1}, "blog:one")
    bare = Row("made", "b", Comment("No post here."), {"spam": 0}, "blog:one")
    assert copy_genuine([owner, spam, bare]) == []


def test_a_blog_with_one_post_gives_copies_under_that_post():
    assert {copy.slices[0] for copy in copy_genuine(genuine(posts=POSTS[:1]))} == {"own-post"}


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_changes_texts_and_nothing_else(kind):
    rows = genuine()
    attacked = disguise_rows(rows, kind)
    assert attacked == disguise_rows(rows, kind)
    assert [row.id for row in attacked] == [row.id for row in rows]
    assert [row.labels for row in attacked] == [row.labels for row in rows]
    assert sum(one.comment.text != two.comment.text for one, two in zip(rows, attacked, strict=True)) > 30


def test_a_sample_is_fixed_keeps_the_order_and_does_not_depend_on_the_rest():
    rows = genuine(200)
    chosen = sample(rows, 50)
    assert len(chosen) == 50
    assert chosen == [row for row in rows if row in chosen] == sample(rows[::-1], 50)[::-1]
    assert sample(rows, 200) == rows
