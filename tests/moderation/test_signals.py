"""Signals are facts: what they count is there, and what is not there they do not count."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import Author, Comment, Post
from moderation.normalise import normalise
from moderation.signals import NAMES, features, find_links, link_facts, measure


def signals_of(text, **fields):
    comment = Comment(text, **fields)
    return {signal.name: signal.value for signal in measure(comment, normalise(text))}


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://example.org/a?b=c and http://x.example", 2),
        ("www.example.org is mine", 1),
        ("visit cheap-pills.com today, or casino.xyz/win", 2),
        ("[url=https://a.example]x[/url]", 1),
        ('<a href="https://a.example/x">x</a>', 1),
        ("use node.js, main.py, README.md or foo.bar()", 0),
        ("I said so.Then I left e.g. for the U.S. at 5.30", 0),
        ("mail someone@example.com", 0),
        ("object.info(x) and self.us()", 0),
        ("I love ASP.NET Core and asp.net too", 0),
        ("great post.In fact nice.Click here, System.in is it.us", 0),
        ("go to mysite.online/shop now", 1),
    ],
)
def test_links_are_what_a_reader_could_follow(text, links):
    assert len(find_links(text)) == links


def test_domains_are_hosts_without_www_each_once():
    comment = Comment(
        "https://www.A.example/x http://a.example:80/y ftp://b.example", author=Author(url="https://c.example")
    )
    assert link_facts(comment) == (3, ("a.example", "b.example", "c.example"))


def test_hosts_that_no_name_server_knows_are_left_out():
    """A name of ten thousand labels is made to waste the time of whoever compares it with a list."""
    long = "http://" + "a." * 20_000 + "com"
    assert link_facts(Comment(long)) == (1, ())
    assert link_facts(Comment("http://www.com/")) == (1, ("www.com",))


@pytest.mark.parametrize("url", ["http://[", "://", "http://a:b:c", "   ", "http://\u2100.example", "http:///x"])
def test_a_url_that_is_none_is_no_fault(url):
    links, domains = link_facts(Comment("text", author=Author(url=url)))
    assert links == 0
    assert all(isinstance(domain, str) for domain in domains)


def test_author_signals():
    found = signals_of("hi", author=Author(name="cheap viagra 24", url="https://viagra.example/buy/now"))
    assert found["author_url"] == found["author_url_deep"] == found["author_name_odd"] == 1
    assert found["author_name_in_url"] == 1
    assert found["author_name_words"] == 3
    plain = signals_of("hi", author=Author(name="Ada L. O’Brien"))
    assert plain["author_url"] == plain["author_name_odd"] == plain["author_name_in_url"] == 0


@pytest.mark.parametrize("word", ["uijcchmmxw", "qpnhovssk", "xkzvbnqj"])
def test_letters_drawn_at_random_are_told_from_words(word):
    found = signals_of(f"see {word} here: http://{word}.test", author=Author(name=word))
    assert found["random_words"] == found["link_random"] == found["name_random"] == 1


@pytest.mark.parametrize("word", ["strengths", "Schlittschuh", "przepraszam", "javascript", "kubectl", "MacIntyre"])
def test_hard_words_are_words(word):
    found = signals_of(f"see {word} http://{word}.example", author=Author(name=word))
    assert found["random_words"] == found["link_random"] == found["name_random"] == 0


def test_names_glued_together_look_made_up():
    assert signals_of("hi", author=Author(name="JamesGusty"))["name_random"] == 1
    assert signals_of("hi", author=Author(name="James Gusty"))["name_random"] == 0
    assert signals_of("hi http://a1b2c3d4e5.example")["link_random"] == 1


def test_words_of_a_trade_count_where_the_post_does_not_use_them():
    text = "cheap levitra at the casino http://poker.example"
    assert signals_of(text)["trade_words"] == 4
    assert signals_of(text, author=Author(name="Viagra"))["trade_words"] == 5
    about = Post(title="A night at the casino", text="We played poker for cheap prizes.")
    assert signals_of(text, post=about)["trade_words"] == 1


def test_the_same_link_in_many_notations():
    text = "http://a.example [url=http://a.example]a[/url] <a href='http://a.example'>a</a>"
    found = signals_of(text)
    assert (found["bbcode_links"], found["markup_links"], found["link_repeats"]) == (1, 2, 2)


def test_a_repeated_title():
    post = Post(title="Notes on trees in Vim")
    assert signals_of("notes on trees in vim abc http://x.example", post=post)["title_repeated"] == 1
    assert signals_of("I take notes on trees, too", post=post)["title_repeated"] == 0
    assert signals_of("Trees!", post=Post(title="Trees"))["title_repeated"] == 0


def test_capitals_need_some_letters_to_mean_anything():
    assert signals_of("WHY ARE YOU SHOUTING")["capitals"] == 1
    assert signals_of("OK")["capitals"] == 0


def test_repetition_inside_one_comment():
    assert signals_of("buy now " * 20)["repeated_words"] > 0.9
    assert signals_of("a longer line here\n" * 4)["repeated_lines"] == 0.75
    assert signals_of("every word here stands only once in this text")["repeated_words"] == 0


def test_how_little_is_said_beside_links():
    post, author = Post(title="Notes on trees"), Author(name="qwxrtt")
    assert signals_of("http://a.example - pills http://a.example", post=post)["link_alone"] == pytest.approx(7 / 8)
    dressed_up = "Notes on trees\n[url=http://a.example/]qwxrtt[/url]\naqwxrtt http://a.example/"
    assert signals_of(dressed_up, post=post, author=author)["link_alone"] == 1
    assert signals_of("I found this very helpful on the same thing: http://a.example")["link_alone"] == 0
    assert signals_of("pills")["link_alone"] == 0, "no link stands alone where there is none"


def test_nothing_said_beside_links():
    post, author = Post(title="Notes on trees"), Author(name="qwxrtt")
    dressed_up = "Notes on trees\n[url=http://a.example/]qwxrtt[/url]\naqwxrtt http://a.example/"

    assert signals_of("http://a.example/ \n www.a.example (http://a.example/#)")["link_only"] == 1
    assert signals_of(dressed_up, post=post, author=author)["link_only"] == 1
    assert signals_of("pills http://a.example")["link_only"] == 0
    assert signals_of("https://github.com/a/b")["link_only"] == 0, "readers send each other there without a word"
    assert signals_of("https://github.com/a/b")["link_alone"] == 0
    assert signals_of("https://github.com/a/b https://a.example")["link_only"] == 1, "one good link excuses no other"
    own = Post(url="https://blog.example/post")
    assert signals_of("https://blog.example/post#3", post=own)["link_only"] == 0
    assert signals_of("Notes on trees", post=post)["link_only"] == 0


def test_what_tells_of_words_is_measured_without_links():
    said = "Hello Anna, that is what I have been looking for! Is it?"
    names = (
        "words",
        "word_length",
        "capitals",
        "repeated_words",
        "stretched",
        "disguised",
        "questions",
        "random_words",
    )
    plain = signals_of(said)
    found = signals_of(
        f"{said} http://www.xqzjk7b2.example/?A=1 http://www.xqzjk7b2.example/?A=1 www.xqzjk7b2.example/?B"
    )

    assert found["links"] == 3
    assert [found[name] for name in names] == [plain[name] for name in names]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://a.example/\u304c\u3068\u3066\u3082\u53c2\u8003\u306b\u306a\u308a\u307e\u3057\u305f", 6),
        ("https://a.example/x\u975e\u5e38\u597d\u7684\u6587\u7ae0", 3),
        ("www.a.com\uff0c\u975e\u5e38\u597d", 2),
    ],
)
def test_what_stands_right_behind_an_address_in_a_script_without_spaces_is_said(text, words):
    found = signals_of(text)
    assert (found["links"], found["words"], found["link_only"]) == (1, words, 0)


def test_of_no_words_nothing_is_said_by_their_length():
    assert signals_of("http://a.example/")["word_length"] == signals_of("?!")["word_length"] == 0.45


def test_lines_that_break_in_the_middle_of_a_sentence():
    assert (
        signals_of("I see your page needs fresh\ncontent. Writing takes\ntime, but there is a tool.")["broken_lines"]
        == 1
    )
    assert signals_of("First point.\nSecond point,\nwhich goes on.\n\nthird")["broken_lines"] == 0.5
    assert signals_of("one line alone")["broken_lines"] == 0


@pytest.mark.parametrize(
    ("text", "words", "mixed"),
    [
        ("\u3046\u3061\u306e\u732b\u3082\u540c\u3058\u3053\u3068\u3092\u3057\u307e\u3059\u3002", 7, 0),
        ("\u30b3\u30fc\u30d2\u30fc\u3092\u98f2\u3080\u3001\u4f50\u3005\u6728\u3055\u3093", 7, 0),
        ("\u6211\u5bb6\u7684\u732b\u4e5f\u8fd9\u6837", 4, 0),
        ("\u732b\u306fPython\u304c\u597d\u304d", 4, 1),
        (
            "\u0e01\u0e34\u0e19\u0e02\u0e49\u0e32\u0e27\u0e2b\u0e23\u0e37\u0e2d\u0e22\u0e31\u0e07\u0e04\u0e23\u0e31\u0e1a",
            7,
            0,
        ),
        ("\u6f22\u5b57 \ud55c\uad6d\uc5b4", 2, 0),
        ("\uc6b0\ub9ac \uace0\uc591\uc774\ub3c4 \uadf8\ub798\uc694", 3, 0),
        ("\u044d\u0442\u043e Python", 2, 1),
    ],
    ids=[
        "Japanese",
        "long vowels and a repeated sign",
        "Chinese",
        "Latin among Japanese",
        "Thai",
        "Hanja and Hangul",
        "Korean",
        "Latin among Cyrillic",
    ],
)
def test_scripts_that_are_written_together_and_without_spaces(text, words, mixed):
    """Japanese uses three scripts in a sentence, and a sentence is not one long word."""
    found = signals_of(text)
    assert (found["words"], found["mixed_scripts"]) == (words, mixed)
    assert found["word_length"] <= 0.6


@pytest.mark.parametrize("name", ["\u5c71\u7530\u592a\u90ce", "\u7530\u4e2d\u4e00", "\u0e2a\u0e21\u0e0a\u0e32\u0e22"])
def test_a_name_without_spaces_beside_a_link_says_nothing(name):
    said = signals_of(f"{name} https://shop.example", author=Author(name=name))
    assert said["link_alone"] == signals_of("Anna https://shop.example", author=Author(name="Anna"))["link_alone"] == 1


def test_a_title_without_spaces_beside_a_link_says_nothing():
    title = "\u3053\u3068\u3057\u306e\u5ead"
    said = signals_of(f"\u4eba{title} https://shop.example", post=Post(title=title, text="x"))
    assert said["link_alone"] == 1 - 1 / 8


def test_a_japanese_comment_is_at_home_under_a_japanese_post():
    post = Post(
        title="\u3053\u3068\u3057\u306e\u5ead",
        text="\u3053\u3068\u3057\u306f\u30c8\u30de\u30c8\u3092\u690d\u3048\u305f\u3002",
    )
    assert signals_of("\u5199\u771f\u304c\u304d\u308c\u3044\u3067\u3059\u306d", post=post)["foreign_script"] == 0


def test_foreign_script_is_relative_to_the_post_not_to_english():
    russian, english = Post(text="Сегодня о деревьях"), Post(text="Today about trees")
    assert signals_of("Спасибо за статью", post=russian)["foreign_script"] == 0
    assert signals_of("Спасибо за статью", post=english)["foreign_script"] == 1
    assert signals_of("Спасибо за статью")["foreign_script"] == 0


def test_disguises_are_counted():
    assert signals_of("you 1d10t")["disguised"] == 1


@given(st.text(min_size=1).filter(str.strip), st.text(max_size=30), st.text(max_size=30))
def test_every_text_gives_all_signals_finite(text, name, url):
    cleaned = [value.replace("\x00", "").encode("utf-8", "replace").decode() for value in (text, name, url)]
    if not cleaned[0].strip():
        return
    comment = Comment(cleaned[0], author=Author(name=cleaned[1], url=cleaned[2]))
    found = measure(comment, normalise(comment.text))
    assert tuple(signal.name for signal in found) == NAMES
    assert all(math.isfinite(value) and value >= 0 for value in features(found))
