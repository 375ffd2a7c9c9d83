"""Copies of genuine comments with a link: a spammer's is spam, a reader's is not, and heads keep links of their own."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.comment import MAX_TEXT_CHARS, Author, Comment
from moderation.signals import find_links
from moderation.training import copies as copies_module
from moderation.training.copies import (
    GENUINE_SHARE,
    MADE_UP_SHARE,
    SPAM_SHARE,
    WEIGHT,
    make_up_link,
    put_link,
    with_copies,
)
from moderation.training.dataset import HEAD_BLOGS, is_for_heads
from moderation.training.rows import Row

KEPT = min(HEAD_BLOGS)
SIDES = ("open", KEPT)
MANY = 1_500


def spam(blog, count=20):
    """Rows of as many campaigns, whose links name them."""
    return [
        Row(
            "blog-threads",
            f"s-{blog}-{number}",
            Comment("Nice post", author=Author(name=f"Loans {number}", url=f"https://spam-{blog}-{number}.example/x")),
            {"spam": 1},
            f"blog:{blog}",
            extra={"cluster": f"{blog} {number}"},
        )
        for number in range(count)
    ]


def genuine(blog, count=MANY):
    """Rows of readers; each fortieth has a link."""
    return [
        Row(
            "blog-threads",
            f"g-{blog}-{number}",
            Comment(
                f"I measured that {number} times {{myself}} and it was not so"
                + (f", see https://reader-{blog}-{number}.example/notes" if number % 40 == 0 else "")
            ),
            {"spam": 0, "off_topic": 0, "hostile": 0},
            f"blog:{blog}",
            weight=0.8,
            extra={"label": "ham"},
        )
        for number in range(count)
    ]


ROWS = [row for blog in SIDES for row in (*spam(blog), *genuine(blog))]
BY_ID = {row.id: row for row in ROWS}
COPIES = with_copies(ROWS)[len(ROWS) :]


def put_in(copy):
    """The links of a copy that the row it was made from lacks."""
    before = find_links(BY_ID[copy.id.removesuffix("~copy")].comment.text)
    author = copy.comment.author
    links = [*find_links(copy.comment.text), *([author.url] if author and author.url else [])]
    return [link for link in links if link not in before]


def is_real(copy):
    """Whether the link is one of the rows', and not made up."""
    return any(f"{kind}-{blog}-" in link for kind in ("spam", "reader") for blog in SIDES for link in put_in(copy))


def test_the_rows_stay_as_they_are_in_front_and_the_same_rows_give_the_same_copies():
    assert with_copies(ROWS)[: len(ROWS)] == ROWS
    assert with_copies(ROWS)[len(ROWS) :] == COPIES
    assert len({row.id for row in [*ROWS, *COPIES]}) == len(ROWS) + len(COPIES)


def test_what_a_row_becomes_does_not_hang_on_the_order_of_the_rows():
    turned = with_copies(ROWS[::-1])[len(ROWS) :]
    assert sorted(turned, key=lambda row: row.id) == sorted(COPIES, key=lambda row: row.id)


def test_a_copy_says_nothing_but_whether_it_is_spam():
    for copy in COPIES:
        row = BY_ID[copy.id.removesuffix("~copy")]
        assert set(copy.labels) == {"spam"}
        assert copy.weight == row.weight * WEIGHT
        assert (copy.group, copy.source) == (row.group, row.source)
        assert copy.extra == {**row.extra, "copy": copy.extra["copy"]}


def test_as_many_rows_are_copied_as_the_shares_say():
    labels = Counter(copy.labels["spam"] for copy in COPIES)
    assert labels[1] / MANY / 2 == pytest.approx(SPAM_SHARE, abs=0.03)
    assert labels[0] / MANY / 2 == pytest.approx(GENUINE_SHARE, abs=0.03)
    of_spam = [is_real(copy) for copy in COPIES if copy.labels["spam"]]
    assert of_spam.count(False) / len(of_spam) == pytest.approx(MADE_UP_SHARE, abs=0.04)
    where = Counter(copy.extra["copy"] for copy in COPIES)
    assert set(where) == {"author", "text"}
    assert where["author"] / len(COPIES) == pytest.approx(1 / 3, abs=0.03)


def test_where_a_copy_says_its_link_is_there_it_is():
    for copy in COPIES:
        row = BY_ID[copy.id.removesuffix("~copy")]
        if copy.extra["copy"] == "author":
            assert copy.comment.text == row.comment.text
            assert copy.comment.author.url
            assert copy.comment.author.name
        else:
            assert copy.comment.author == row.comment.author
            assert len(copy.comment.text) > len(row.comment.text)
            assert set(row.comment.text.split()) <= set(copy.comment.text.split())


def test_spam_gets_links_of_spam_or_made_up_ones_and_the_genuine_those_of_readers():
    """Each from its own side: what the heads are fitted on has no link that the encoder has seen, nor the other way."""
    found = Counter()
    for copy in COPIES:
        blog = copy.group.removeprefix("blog:")
        assert is_for_heads(copy) == (blog == KEPT)
        for link in put_in(copy):
            side = next(
                (f"{kind}-{of}" for kind in ("spam", "reader") for of in SIDES if f"{kind}-{of}-" in link), None
            )
            kind = "spam" if copy.labels["spam"] else "reader"
            assert side in ({f"{kind}-{blog}", None} if copy.labels["spam"] else {f"{kind}-{blog}"}), link
            found[side] += 1
    assert min(found[f"{kind}-{blog}"] for kind in ("spam", "reader") for blog in SIDES) > 100


def test_a_campaign_and_a_host_give_one_link_each():
    twins = [replace(row, id=f"{row.id}-{n}") for row in spam("open", 2) for n in range(50)]
    page = "https://only.example"
    host = [Row("blog-threads", f"h{n}", Comment(f"See {page}/{n}"), {"spam": 0}, "blog:open") for n in range(50)]
    assert len(copies_module._links(twins, 1)[False]) == 2
    assert copies_module._links(host, 0)[False] == [(f"{page}/0", "only.example")]


def test_only_comments_of_blogs_that_are_no_spam_are_copied():
    [row] = genuine("open", 1)
    odd = [
        replace(row, labels={"hostile": 0}),
        replace(row, labels={"spam": 1}),
        replace(row, group="kaggle-insults:1"),
        replace(row, comment=Comment("word " * (MAX_TEXT_CHARS // 8))),
    ]
    rows = [replace(each, id=f"{number}-{n}") for n, each in enumerate(odd) for number in range(60)]
    assert [copy for copy in with_copies([*spam("open"), *rows]) if "copy" in copy.extra] == []


def test_without_any_link_there_are_no_copies():
    rows = [row for row in genuine("open", 200) if not find_links(row.comment.text)]
    assert with_copies(rows) == rows


def test_copies_of_long_comments_are_still_comments():
    """A comment would refuse a text beyond its limit."""
    long = [
        replace(row, comment=Comment(f"{number} " + "word " * ((MAX_TEXT_CHARS // 2 - 10) // 5)))
        for number, row in enumerate(genuine("open", 40))
    ]
    made = with_copies([*spam("open"), *genuine("open", 200), *long])
    assert sum(row.id.endswith("~copy") and len(row.comment.text) > 20_000 for row in made) > 10


def test_links_that_no_author_could_have_are_put_nowhere():
    long = [
        Row("blog-threads", f"l{n}", Comment(f"Buy https://{host}/{path}"), {"spam": spam_label}, "blog:open")
        for n, (host, path, spam_label) in enumerate(
            [
                ("long-way.example", "y" * 4_500, 1),
                ("long-way.example", "y" * 4_500, 0),
                ("z" * 1_500 + ".example", "", 0),
            ]
        )
    ]
    copies = with_copies([*long, *(row for row in genuine("open", 300) if not find_links(row.comment.text))])[303:]
    assert copies
    assert not any("yyyy" in str(copy.comment) or "zzzz" in str(copy.comment) for copy in copies if copy.id[0] == "g")


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_a_made_up_link_is_one_that_a_reader_could_follow_and_names_what_it_sells(seed):
    url, words = make_up_link(random.Random(seed))
    assert find_links(f"see {url} now") == [url]
    assert words in copies_module._TRADES
    assert (url, words) == make_up_link(random.Random(seed))


def test_made_up_links_are_many():
    assert len({make_up_link(random.Random(seed))[0] for seed in range(1_000)}) > 900


def test_a_link_is_put_into_the_text_or_behind_the_name_and_nothing_else_changes():
    comment = Comment("It took me {two} weeks, 100% of them in rain", author=Author(name="Ines"), kind="comment")
    seen = Counter()
    for seed in range(300):
        changed, where = put_link(comment, "https://a-shop.example/x", "cheap loans", random.Random(seed))
        seen[where] += 1
        if where == "author":
            assert replace(changed, author=comment.author) == comment
            assert changed.author.url == "https://a-shop.example/x"
            seen[changed.author.name] += 1
        else:
            assert replace(changed, text=comment.text) == comment
            assert "a-shop.example/x" in changed.text
    assert 60 < seen["author"] < 140
    assert seen["cheap loans"] > 10
    assert seen["Ines"] > 10
