"""Which comments are copies of others with a link added, and which only look like it."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import Author, Comment, Post
from moderation.copied import MIN_LETTERS, Earlier, brings_link, find_copied, find_known_spam, has_enough, strip_added

WORDS = "The river path floods every winter, so the council should raise it before the new bridge opens in spring."
ANN = Author(name="Ann")
BEN = Author(name="Ben")
LINK = "https://cheap-pills.example/buy"


def copies(text: str, author: Author | None = BEN, *, original: str = WORDS, by: Author = ANN, **more) -> bool:
    return find_copied(Comment(text, author=author, **more), [Earlier(original, by)]) == 0


@pytest.mark.parametrize(
    "text",
    [
        f"{WORDS} {LINK}",
        f"{LINK}\n{WORDS}",
        f'{WORDS} <a href="{LINK}" rel="nofollow">cheap pills online</a>',
        f"{WORDS}\n[url={LINK}]cheap pills online[/url]",
        f"{WORDS} [cheap pills online]({LINK})",
        f"{WORDS} cheap-pills.shop",
        f"{WORDS} (more at cheap-pills.io/buy)",
        WORDS.replace("winter", f"{LINK} winter"),
        WORDS.replace("council", f'<a href="{LINK}">council</a>'),
        f"{WORDS.upper()} {LINK}",
        WORDS.replace("path", "pa\u200bth").replace("o", "\u043e") + LINK.join("  "),
        f"{WORDS.replace('every winter', 'each winter')} {LINK}",
        f"> {WORDS}\n{LINK}",
    ],
    ids=[
        *("after", "before", "html", "bbcode", "markdown", "bare", "bare with a path", "inside", "around a word"),
        *("capitals", "disguised", "a word changed", "quoted, and nothing said"),
    ],
)
def test_the_same_words_with_a_link_are_a_copy(text):
    assert copies(text)


def test_a_link_behind_the_name_is_added_too():
    assert copies(WORDS, Author(name="Ben", url=LINK))
    assert copies(WORDS, Author(name="Ann", url=LINK))
    assert not copies(WORDS, Author(name="Ben"))
    assert not copies(WORDS, Author(name="Ben", url="http://website"))
    assert not copies(WORDS, Author(name="Ben", url=LINK), by=Author(name="Ann", url="http://www.cheap-pills.example"))


@pytest.mark.parametrize(
    "text",
    [
        WORDS,
        f"{WORDS} I have said so for years, and nobody at the town hall would listen. See {LINK} for my letters.",
        f"> {WORDS}\nNo, it should not: {LINK}",
        f"&gt; {WORDS}\nNo, it should not: {LINK}",
        f"<blockquote>{WORDS}</blockquote> No! {LINK}",
        f"[quote=Ann]{WORDS}[/quote] No! {LINK}",
        f'"{WORDS}"\n\nNo! {LINK}',
        f"\u201c{WORDS}\u201d\nNo! {LINK}",
        f"The river path floods every winter. {LINK}",
        f"The council published its plans for the bridge and the path along the river here: {LINK}",
    ],
    ids=[
        *("no link", "quoted and answered", "quoted by lines", "by entities", "html", "bbcode", "marks", "curly marks"),
        *("the beginning alone", "about the same"),
    ],
)
def test_no_copy(text):
    assert not copies(text)


def test_whoever_quotes_and_has_a_page_copies_nothing():
    assert not copies(f'"{WORDS}"\n\nOr not.', Author(name="Ben", url="https://ben.example"))


def test_a_host_that_was_there_before_is_not_added():
    assert not copies(f"{WORDS} http://www.cheap-pills.example/", original=f"{WORDS} {LINK}")
    assert copies(f"{WORDS} https://other.example/", original=f"{WORDS} {LINK}")
    assert not copies(f"{WORDS} {LINK}", by=Author(name="Ann", url="https://cheap-pills.example"))


def test_a_link_to_the_site_itself_is_not_added():
    text = f"{WORDS} https://blog.example/post#comment-7"

    assert copies(text)
    assert not copies(text, site="https://blog.example")
    assert not copies(text, url="https://blog.example/post")
    assert not copies(text, post=Post(url="https://blog.example/post"))
    assert brings_link(Comment(text))
    assert not brings_link(Comment(text, site="https://blog.example"))


@pytest.mark.parametrize(
    ("author", "by", "expected"),
    [
        (Author(id="1", name="Ben"), Author(id="1", name="Ann"), False),
        (Author(id="2", name="Ann"), Author(id="1", name="Ann"), True),
        (Author(name="Ann"), Author(id="1", name="Ann"), False),
        (Author(name="ANN "), Author(name="Ann"), False),
        (Author(name="Ann", url="https://new.example"), Author(name="Ann"), True),
        (None, Author(), True),
        (None, Author(name="Ann"), True),
    ],
)
def test_who_the_same_author_is(author, by, expected):
    assert copies(f"{WORDS} {LINK}", author, by=by) is expected


def test_whoever_said_it_first_may_add_a_link_and_nobody_else():
    first, repeated, unlike = Earlier(WORDS, ANN), Earlier(WORDS, BEN), Earlier("Something quite different", ANN)

    assert find_copied(Comment(f"{WORDS} {LINK}", author=ANN), [first, repeated]) is None
    assert find_copied(Comment(f"{WORDS} {LINK}", author=ANN), [repeated, first]) == 0
    assert find_copied(Comment(f"{WORDS} {LINK}", author=BEN), [first, repeated]) == 0
    assert find_copied(Comment(f"{WORDS} {LINK}", author=BEN), [Earlier(f"{WORDS} {LINK}", ANN), first]) == 1
    assert find_copied(Comment(f"{WORDS} {LINK}", author=ANN), [unlike, repeated]) == 1
    assert find_copied(Comment(f"{WORDS} {LINK}", author=ANN), []) is None


def test_what_many_people_write_is_nobodys():
    few = "Thanks for this great post, it helped"
    assert not copies(f"{few} {LINK}", original=few)
    letters = "unbelievablylongwordsthataretoofewtobeasentence anotherone"
    assert not copies(f"{letters} {LINK}", original=letters)
    assert not copies(f"{few}, and I have some more to say about all of that {LINK}", original=few)


def test_languages_without_spaces_have_words_too():
    text = "昨日読んだ記事の中で一番役に立つ内容でしたので友人にも紹介したいと思いますこれからも楽しみにしております"
    assert len(text) > MIN_LETTERS
    assert copies(f"{text} {LINK}", original=text)


@given(st.text(st.characters(), max_size=400))
def test_every_text_can_be_stripped_and_read(text):
    stripped = strip_added(text)

    has_enough(stripped)
    assert strip_added(text) == stripped
    if text.strip() and "\x00" not in text and text.isprintable():
        assert not copies(text, original=text)


_SENTENCE = st.lists(st.text("abcdefghijklmnoprstuvwy", min_size=2, max_size=9), min_size=12, max_size=60).map(" ".join)


@given(_SENTENCE, st.sampled_from(["{t} {u}", "{u} {t}", '{t}\n<a href="{u}">more of it</a>', "[url={u}]x[/url] {t}"]))
def test_whatever_was_said_a_link_makes_a_copy_of_it_for_others_alone(text, form):
    copied = form.format(t=text, u=LINK)

    assert copies(copied, original=text) is has_enough(text)
    assert not copies(copied, ANN, original=text)
    assert not copies(text, original=copied)


@given(_SENTENCE, _SENTENCE)
def test_others_words_are_no_copy(one, other):
    if len(set(one.split()) & set(other.split())) * 3 < min(len(set(one.split())), len(set(other.split()))):
        assert not copies(f"{one} {LINK}", original=other)


@pytest.mark.parametrize(
    "piece", ["[url", "<a ", "a.", "<blockquote>", "[quote]", '"' + "a" * 19, "\n>", "www.", "-.", "aa.", "a", " \t"]
)
def test_texts_that_are_made_to_waste_time_do_not(piece):
    text = piece * (49_000 // len(piece))
    began = perf_counter()
    find_copied(Comment(f"{text} {LINK}"), [Earlier(text, ANN)])

    assert perf_counter() - began < 1


def is_said_again(text, author: Author | None = BEN, *, spam: str = WORDS, by: Author = ANN, **more) -> bool:
    return find_known_spam(Comment(text, author=author, **more), [Earlier(spam, by, is_spam=True)]) == 0


@pytest.mark.parametrize(
    ("text", "spam", "expected"),
    [
        (WORDS, WORDS, True),
        (WORDS.upper(), WORDS, True),
        (f"{WORDS} {LINK}", WORDS, True),
        (f"Hello! {WORDS}", WORDS, True),
        (f"{WORDS} {LINK}/now", f"{WORDS} {LINK}", True),
        (f"{WORDS} https://elsewhere.example", f"{WORDS} {LINK}", True),
        (f"More of this at {LINK} ! {WORDS}", WORDS, True),
        (WORDS, f"{WORDS} {LINK}", True),
        (f"> {WORDS}\nI could not disagree more with what you say here.", WORDS, False),
        (f"{WORDS} I have said so for years, and nobody at the town hall would listen.", WORDS, False),
        (f"{WORDS} That is what we all said.", WORDS, False),  # no link, so more than a link's words is an answer
        # Too few words for a copy: the very same ones, and the same address.
        (
            "So cheap, you would not believe it! https://shop.example/a",
            "So cheap, you would not believe it! http://www.shop.example/a/",
            True,
        ),
        (
            "So cheap, you would not believe it! https://shop.example/b",
            "So cheap, you would not believe it! https://shop.example/a",
            False,
        ),
        ("This song: https://video.example/watch?v=A", "This song: https://video.example/watch?v=B", False),
        ("So cheap, you would not believe it!", "So cheap, you would not believe it! https://shop.example/a", False),
        ("So very cheap! https://shop.example/a", "So cheap, you would not believe it! https://shop.example/a", False),
        ("I rate this 1 out of 10 https://shop.example/a", "I rate this 9 out of 10 https://shop.example/a", False),
        ("https://shop.example/a", "https://shop.example/a", True),
        ("https://shop.example/a", "https://elsewhere.example/b", False),
        ("Great article, thanks for sharing!", "Great article, thanks for sharing!", False),
    ],
)
def test_what_says_spam_again(text, spam, expected):
    assert is_said_again(text, spam=spam) is expected


def test_few_words_of_the_same_author_are_the_same():
    assert is_said_again("Great article, thanks for sharing!", ANN, spam="Great article - thanks for sharing")
    assert not is_said_again("Great article, thanks for sharing!", BEN, spam="Great article, thanks for sharing!")


def test_links_behind_names_count_like_those_in_the_text():
    shop = Author(name="Eve", url=LINK)

    assert is_said_again(
        "Nice post, thank you for it", replace(shop, name="Eva"), spam="Nice post, thank you for it!", by=shop
    )
    assert is_said_again(f"Nice post, thank you for it {LINK}", spam="Nice post, thank you for it!", by=shop)
    assert not is_said_again("Nice post, thank you for it!", spam="Nice post, thank you for it!", by=shop)


@pytest.mark.parametrize("url", ["http://", "n/a", "http://website", "#"])
def test_what_leads_nowhere_is_no_address(url):
    by = Author(name="Eve", url=url)

    assert not is_said_again(
        "Nice post, thank you for it!", replace(by, name="Jane"), spam="Nice post, thank you for it!", by=by
    )


def test_a_link_to_the_site_itself_is_none():
    text = "So nice to read! https://blog.example/post"

    assert is_said_again(text, spam=text)
    assert not is_said_again(text, spam=text, site="https://blog.example")


def test_the_last_word_on_the_same_counts():
    spam, ham = Earlier(WORDS, BEN, is_spam=True), Earlier(WORDS, ANN)
    other = Earlier("Something quite different", BEN, is_spam=True)

    assert find_known_spam(Comment(WORDS), [other, spam, ham]) == 1
    assert find_known_spam(Comment(WORDS), [other, ham, spam]) is None
    assert find_known_spam(Comment(f"{WORDS} {LINK}"), [ham, spam]) is None, "a new link of one's own"
    linked = Earlier(f"{WORDS} {LINK}", BEN, is_spam=True)
    assert find_known_spam(Comment(f"{WORDS} {LINK}"), [ham, linked]) == 1
    assert find_known_spam(Comment(f"{WORDS} {LINK}"), [replace(linked, is_spam=False), linked]) is None
    assert find_known_spam(Comment(WORDS), [other]) is None
    assert find_known_spam(Comment(WORDS), []) is None


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=80).filter(str.strip)


@given(_TEXT, _TEXT)
def test_any_texts_can_be_compared_with_spam(text, spam):
    assert find_known_spam(Comment(text), [Earlier(spam, ANN, is_spam=True)]) in {None, 0}
    assert find_known_spam(Comment(text, author=ANN), [Earlier(text, ANN, is_spam=True)]) == 0
    assert find_known_spam(Comment(text, author=ANN), [Earlier(text, ANN)]) is None
