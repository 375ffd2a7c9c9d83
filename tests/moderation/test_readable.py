"""What the encoder is given points back into the comment, is short, and says whether it is English."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.comment import Author, Comment, Post
from moderation.readable import MAX_PASSAGES, Readable, make_readable, read_post, read_signature, tell_english

ABUSE = "You are a worthless idiot and nobody will ever love you, so go away and rot."
HARMLESS = "The oven should be hot before the loaf goes in, and the crust turns brown after half an hour. "


def plain(text):
    return Readable(text, range(len(text)))


def original(readable, text, part):
    """What of the comment's own text became ``part`` of the readable one."""
    start = readable.text.index(part)
    return text[readable.origins[start] : readable.origins[start + len(part) - 1] + 1]


# --- readable text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("good \U0001f44d", "thumbs up sign"),
        ("\U0001f4a9", "pile of poo"),
        ("\U0001f44d\U0001f3ff", "dark skin"),
        ("\u2764\ufe0f", "heavy black heart"),
        ("\U0001f469\u200d\U0001f52c", "woman  microscope"),
        ("\U0001f1ec\U0001f1e7", "g  b"),
    ],
)
def test_pictures_are_read_by_their_names(text, said):
    assert said in make_readable(text).text


def test_a_row_of_one_picture_is_emphasis_and_no_more():
    two, ten = make_readable("\U0001f4a9" * 2).text, make_readable("\U0001f4a9" * 10).text
    assert two == ten
    assert ten.count("pile of poo") == 2
    assert make_readable("\U0001f4a9").text.count("pile of poo") == 1


def test_a_name_points_at_its_picture():
    text = "you \U0001f4a9 head"
    readable = make_readable(text)
    assert original(readable, text, "pile of poo") == "\U0001f4a9"
    assert original(readable, text, "head") == "head"


def test_a_long_address_keeps_its_host_and_loses_its_tail():
    text = f"see https://example.com/{'a' * 30}/{'b' * 200} for more"
    readable = make_readable(text)
    assert "https://example.com/" in readable.text
    assert len(readable.text) < 100
    assert original(readable, text, "for more") == "for more"


def test_a_short_address_and_plain_words_stay_as_they_are():
    text = "see https://example.com/page for more"
    assert make_readable(text) == plain(text)


def test_disguises_are_undone_before_reading():
    assert make_readable("i\u200bd\u200bi\u200bo\u200bt").text == "idiot"


PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["\U0001f4a9", "\U0001f44d\U0001f3ff", "\u2764\ufe0f", "\u200b", "b@stard", "f u c k", "sooooo", "\ufb03", " "]
    ),
    st.integers(0, 200).map(lambda length: f"https://example.com/{'x' * length}"),
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_origins_always_point_into_the_original(text):
    readable = make_readable(text)
    origins = list(readable.origins)
    assert len(origins) == len(readable.text)
    assert all(0 <= origin < len(text) for origin in origins)
    assert origins == sorted(origins)


# --- posts


def test_a_post_is_read_in_passages_behind_its_title():
    texts = read_post(Post(title="On  bread", text="<p>" + HARMLESS * 20 + "</p>"))
    assert len(texts) > 1
    assert all(text.startswith("On bread. ") for text in texts)
    assert " ".join(text.removeprefix("On bread. ") for text in texts) == " ".join((HARMLESS * 20).split())


def test_of_a_long_post_passages_are_read_from_all_over_it():
    words = [f"w{number}" for number in range(20_000)]
    texts = read_post(Post(text=" ".join(words)))
    assert len(texts) == MAX_PASSAGES
    assert "w0 " in texts[0]
    assert texts[-1].endswith("w19999")


@pytest.mark.parametrize("post", [Post(), Post(id="p1"), Post(title=" ", text="<p></p>")])
def test_an_empty_post_has_no_passages(post):
    assert read_post(post) == ()


def test_a_title_alone_is_a_passage():
    assert read_post(Post(title="On bread")) == ("On bread",)


def test_a_post_without_spaces_is_cut_by_characters():
    text = "".join(chr(0x4E00 + number % 500) for number in range(4_000))
    passages = read_post(Post(text=text))
    assert len(passages) == 5
    assert "".join(passages).replace(" ", "") == text


def test_a_long_post_is_read_whole_up_to_its_passages():
    words = [f"w{number}" for number in range(500)]
    said = " ".join(read_post(Post(text=" ".join(words))))
    assert said.split() == words


def test_hundreds_of_pictures_do_not_push_words_out_of_sight():
    readable = make_readable("\U0001f600\U0001f601" * 5_000 + " you fool")
    assert readable.text.endswith("you fool")
    assert len(readable.text) < 40_000


# --- English or not


@pytest.mark.parametrize(
    "text",
    [
        HARMLESS,
        ABUSE,
        "The caf\u00e9 on the corner makes a fine cr\u00e8me br\u00fbl\u00e9e and I love it.",
        "Wow, Chlo\u00eb, you really are the worst na\u00efve clich\u00e9 I have read!!!",
        "i dont think thats what he said lol",
        "I\u2019ve never seen this before, you\u2019re right.",
        "THIS IS NOT WHAT YOU SAID IT WAS",
        "y0u are such an 1d10t and a l0ser, you f00l",
        "see https://example.com/page for more of it",
        # Without any small word, but nothing speaks for another language.
        "stupid ugly fat worthless pig",
        "casino poker slots betting bonus viagra",
        "Excellent tutorial, worked perfectly first time!",
    ],
)
def test_english_sentences_are_told_to_be_english(text):
    assert tell_english(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Das ist wirklich ein sehr sch\u00f6ner Beitrag und ich danke daf\u00fcr.",
        "Du bist der letzte Dreck und niemand mag dich hier.",
        "N\u00e3o concordo com o que voc\u00ea disse sobre esse assunto, mas obrigado.",
        "Muito obrigado pelo texto, gostei bastante das receitas e vou fazer em casa.",
        "Stai zitto, deficiente, fai schifo a tutti.",
        "Eres un payaso y nadie te aguanta",
        "Donc vous avez des preuves ou c'est encore du vent ?",
        "Jullie hebben er gewoon geen verstand van",
        "Och det som inte stod i artikeln?",
        "Nikt nie czyta tego bloga, bo jest bardzo nudny",
        "Hi\u00e7 okumadan sana inanan kim var ki",
        "Jangan percaya orang ini, dia tidak bisa apa apa",
        "Tum kuch nahi jaante ho bhai, ye galat hai",
        "\u8fd9\u7bc7\u6587\u7ae0\u5199\u5f97\u5f88\u597d\uff0c\u8c22\u8c22\u4f60\u3002",
        "\u042d\u0442\u043e \u043e\u0447\u0435\u043d\u044c \u043f\u043b\u043e\u0445\u043e.",
        "\u043f\u0440\u0438\u0432\u0435\u0442",
        "\u8c22\u8c22",
        "\u0634\u0643\u0631\u0627",
    ],
    ids=["german", "german abuse", "portuguese", "portuguese 2", "italian", "spanish", "french", "dutch", "swedish",
         "polish", "turkish", "indonesian", "hindi in latin letters", "chinese", "russian", "russian word",
         "chinese word", "arabic word"],
)  # fmt: skip
def test_other_languages_and_scripts_are_told_not_to_be(text):
    assert tell_english(text) < 0.2


@pytest.mark.parametrize(
    "text", ["", "  ", "\U0001f600\U0001f600", "123 456", "?!...", "\u2764\ufe0f \U0001f4a9", "_ __"]
)
def test_a_text_without_words_is_nothing_that_could_not_be_read(text):
    assert tell_english(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("cheap pills http://www.a.com/", "www.pills.com pills.com", "hosting https://a.com/de/ https://b.com/se"),
        *("pills anna@gmail.com", "BUY PILLS.COM", "cheap watches tienda.es", "cheap pills, write to das@gmail.com"),
    ],
)
def test_endings_of_addresses_are_no_words_of_another_language(text):
    assert tell_english(text) == 1


@pytest.mark.parametrize("text", ["ok", "Thank you", "Nice recipe, thanks", "danke", "merci beaucoup"])
def test_of_a_few_words_plain_letters_are_enough(text):
    assert tell_english(text) == 1


@settings(deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from(["the", "und", "\u8fd9", "you", "'", " ", "\u2019s"])).map("".join)
)
def test_how_english_is_a_share_of_any_text(text):
    assert 0 <= tell_english(text) <= 1


@given(st.integers(0, 40), st.integers(5, 40), st.integers(0, 40))
def test_the_more_of_its_small_words_are_english_the_surer(english, other, neither):
    """Words that are of no language in particular make nothing less sure."""

    def tell(english, neither):
        return tell_english("the " * english + "nicht " * other + "berlin " * neither)

    assert tell(english, neither) <= tell(english + 1, neither)
    assert tell(english, neither) <= tell(english, neither + 1)
    assert tell(0, 0) == 0


# --- signatures


def signed(text="Well said.", name="Anna", url="https://www.annas-garden.example/shop"):
    return read_signature(Comment(text, author=Author(name=name, url=url)))


def test_without_any_address_there_is_no_signature():
    assert read_signature(Comment("Well said.")) == ""
    assert signed(url=None) == signed(url="") == ""


def test_a_signature_is_the_name_then_the_address_of_the_author_then_links():
    text = "See https://en.wikipedia.org/wiki/Moss and http://b.example/x now"
    assert signed(text) == "Anna | annas-garden.example/shop | en.wikipedia.org/wiki/Moss | b.example/x"
    assert signed(text, name=None) == "annas-garden.example/shop | en.wikipedia.org/wiki/Moss | b.example/x"
    assert read_signature(Comment("or at moss-shop.com today")) == "moss-shop.com"


def test_an_address_is_said_once_with_or_without_its_scheme_and_www():
    text = "http://annas-garden.example/shop https://annas-garden.example/shop http://www.annas-garden.example/shop"
    assert signed(text) == "Anna | annas-garden.example/shop"


def test_three_addresses_at_most_and_none_too_long():
    text = " ".join(f"https://site-{number}.example/{'ab' * 250}" for number in range(9))
    name, *addresses = signed(text, name="ab" * 450).split(" | ")
    assert name == "ab" * 40
    assert [address[:14] for address in addresses] == ["annas-garden.e", "site-0.example", "site-1.example"]
    assert max(map(len, addresses)) == 80


@settings(deadline=None, max_examples=50)
@given(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=30), st.text(max_size=60))
def test_any_signature_is_one_short_line_and_always_the_same(text, name, url):
    text, name, url = (part.replace("\x00", "").encode("utf-8", "replace").decode() for part in (text, name, url))
    comment = Comment(f"x {text}", author=Author(name=name, url=url))
    line = read_signature(comment)
    assert line == read_signature(Comment(f"x {text}", author=Author(name=name, url=url)))
    assert bool(line) or not url.strip()
    assert len(line) < 4 * 80 * 40
