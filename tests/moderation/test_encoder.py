"""What the encoder reads points back into the comment; what it sees hangs on the text alone, wherever that stands."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.comment import Author, Comment, Post
from moderation.encoder import _SENTENCE_END, MAX_WINDOWS, STRIDE_TOKENS, WIDTH, WINDOW_TOKENS, Encoder
from moderation.errors import EncoderUnavailable
from moderation.readable import MAX_PASSAGES, Readable, make_readable, read_post, read_signature, tell_english
from moderation.shipped import shipped_folder

ABUSE = "You are a worthless idiot and nobody will ever love you, so go away and rot."
HARMLESS = "The oven should be hot before the loaf goes in, and the crust turns brown after half an hour. "


def plain(text):
    return Readable(text, range(len(text)))


def original(readable, text, part):
    """What of the comment's own text became ``part`` of the readable one."""
    start = readable.text.index(part)
    return text[readable.origins[start] : readable.origins[start + len(part) - 1] + 1]


@pytest.fixture(scope="module")
def files():
    found = sorted(shipped_folder("models").glob("encoder-*"))
    if not found:
        pytest.skip("no encoder is shipped: there is no folder models/encoder-*")
    return found[0] / "encoder.onnx", found[0] / "tokenizer.json"


@pytest.fixture(scope="module")
def encoder(files):
    return Encoder.load(*files, threads=1)


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


@pytest.mark.parametrize("text", ["ok", "Thank you", "Nice recipe, thanks", "danke", "merci beaucoup"])
def test_of_a_few_words_plain_letters_are_enough(text):
    assert tell_english(text) == 1


@pytest.mark.parametrize(
    "pictures",
    ["\U0001f40d\U0001f437\U0001f921", "\U0001f525" * 9, "\U0001f44f\u2764\ufe0f\U0001f602", "\U0001f1e9\U0001f1ea"],
)
def test_pictures_alone_can_be_read(encoder, pictures):
    """Their names are English."""
    assert encoder.windows(make_readable(pictures))[0].english == 1


@pytest.mark.parametrize("text", ["\U0001f602\U0001f602 du bist so dumm \U0001f602", "\U0001f621 seu lixo \U0001f621"])
def test_but_they_do_not_make_english_of_what_stands_beside_them(encoder, text):
    assert encoder.windows(make_readable(text))[0].english < 0.2


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


# --- windows


def test_a_short_text_is_one_window(encoder):
    [window] = encoder.windows(plain("word " * (WINDOW_TOKENS - 2)))
    assert len(window.ids) == WINDOW_TOKENS


def test_an_empty_text_is_one_window_without_tokens(encoder):
    [window] = encoder.read(make_readable("\u200b"))
    assert window.marks.shape == (0,)
    assert window.spans.shape == (0, 2)
    assert window.class_vector.shape == (WIDTH,)


class TestOneSentence:
    """Of a longer text the sentence with the strongest mark is read once more, by itself."""

    def test_it_comes_last_and_is_that_sentence(self, encoder):
        text = HARMLESS * 3 + ABUSE + " " + HARMLESS
        *windows, alone = encoder.read(make_readable(text))
        assert [window.alone for window in windows] == [False] * len(windows)
        assert alone.alone
        assert text[alone.spans[0, 0] : alone.spans[-1, 1]] == ABUSE
        [by_itself] = encoder.read(make_readable(ABUSE))
        assert alone.class_vector == pytest.approx(by_itself.class_vector)

    @pytest.mark.parametrize("text", [ABUSE, ABUSE * 2, "word " * 48, "", "\n" * 100], ids=range(5))
    def test_a_short_text_has_none(self, encoder, text):
        assert not any(window.alone for window in encoder.read(make_readable(text)))

    @pytest.mark.parametrize(("before", "after"), [(0, 4), (2, 2), (4, 0), (0, 12), (7, 5), (12, 0)])
    def test_of_a_sentence_that_is_longer_still_it_is_what_stands_around_the_mark(self, encoder, before, after):
        harmless = HARMLESS.replace(".", "").replace("\n", " ")
        text = harmless * before + "you worthless idiot " + harmless * after
        *windows, alone = encoder.read(make_readable(text))
        assert len(windows) > (before + after > 4)
        assert alone.alone
        assert len(alone.marks) in range(22, 27)
        assert "you worthless idiot" in text[alone.spans[0, 0] : alone.spans[-1, 1]]

    @pytest.mark.parametrize("words", range(0, 140, 7))
    def test_a_sentence_across_the_edge_of_a_window_is_read_whole(self, encoder, words):
        abuse = "So you there are nothing but a worthless idiot and everybody here knows it."
        text = "word " * words + ". " + abuse + " " + HARMLESS * 6
        *_, alone = encoder.read(make_readable(text))
        assert alone.alone
        assert text[alone.spans[0, 0] : alone.spans[-1, 1]] == abuse

    def test_pictures_whose_names_are_many_tokens_are_not_cut_to_nothing(self, encoder):
        for text in ("\U0001f502" * 40, "\U0001f502 \U0001f937 " * 40, "you idiot " + "\U0001f502\U0001f937" * 40):
            assert all(len(window.marks) for window in encoder.read(make_readable(text)))

    @pytest.mark.parametrize(
        "text", ["." * 50_000 + "x", "!?)" * 16_000, ".'" * 25_000, "\u2026" * 16_000], ids=range(4)
    )
    def test_signs_that_end_nothing_are_read_once(self, text):
        """Read from each of them to the last, these take minutes."""
        assert not list(_SENTENCE_END.finditer(text))

    def test_lines_and_full_stops_of_other_scripts_end_a_sentence(self, encoder):
        text = HARMLESS.replace(".", "") * 3 + "\nyou worthless idiot\n" + HARMLESS
        alone = encoder.read(make_readable(text))[-1]
        assert text[alone.spans[0, 0] : alone.spans[-1, 1]] == "you worthless idiot"

    @settings(deadline=None, max_examples=40)
    @given(st.lists(PIECES | st.sampled_from([". ", "!\n", ABUSE, HARMLESS, "\u3002"]), max_size=12).map("".join))
    def test_its_spans_lie_in_the_text_whatever_that_is(self, encoder, text):
        *_, last = encoder.read(make_readable(text))
        assert ((last.spans >= 0) & (last.spans <= len(text))).all()


@pytest.mark.parametrize("tokens", [WINDOW_TOKENS - 1, 222, 223, 500, 1_000])
def test_windows_overlap_and_leave_nothing_out(encoder, tokens):
    readable = plain("a " * tokens)
    windows = encoder.windows(readable)
    starts = [int(window.spans[0, 0]) // 2 for window in windows]
    steps = np.diff(starts)
    assert starts[0] == 0
    assert (steps > 0).all()
    assert (steps <= STRIDE_TOKENS).all()
    assert {tuple(span) for window in windows for span in window.spans.tolist()} == {
        (2 * number, 2 * number + 1) for number in range(tokens)
    }
    assert all(len(window.ids) == WINDOW_TOKENS for window in windows)


def test_the_longest_text_takes_a_limited_number_of_windows_with_both_ends(encoder):
    text = "a " * 25_000
    windows = encoder.windows(plain(text))
    assert len(windows) == MAX_WINDOWS
    assert windows[0].spans[0, 0] == 0
    assert windows[-1].spans[-1, 1] == len(text) - 1


@settings(max_examples=25, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=12).map("".join))
def test_tokens_point_into_the_original(encoder, text):
    for window in encoder.windows(make_readable(text)):
        assert len(window.ids) == len(window.spans) + 2
        assert ((window.spans[:, 0] >= 0) & (window.spans[:, 0] < window.spans[:, 1])).all()
        assert (window.spans <= len(text)).all()


def test_each_window_says_how_english_it_is(encoder):
    """A foreign passage in a long English text takes nothing from the windows around it."""
    german = "Das ist wirklich ein langer Satz auf Deutsch ohne jeden Sinn. "
    windows = encoder.windows(plain(HARMLESS * 20 + german * 40 + HARMLESS * 20))
    english = [window.english for window in windows]
    assert english[0] == english[-1] == 1
    assert min(english) == 0
    [alone] = encoder.windows(plain("\u200b"))
    assert alone.english == 1


# --- vectors


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a.class_vector, b.class_vector)
        and np.array_equal(a.topic_vector, b.topic_vector)
        and np.array_equal(a.marks, b.marks)
        and np.array_equal(a.spans, b.spans)
        and a.english == b.english
        for a, b in zip(one, other, strict=True)
    )


TEXTS = [make_readable(text) for text in (HARMLESS * 30, ABUSE, "ok", HARMLESS, "", "\U0001f4a9" * 3)]


def test_one_pass_gives_both_vectors_and_a_mark_for_each_token(encoder):
    [window] = encoder.read(make_readable(ABUSE))
    assert window.class_vector.shape == window.topic_vector.shape == (WIDTH,)
    assert np.linalg.norm(window.topic_vector) == pytest.approx(1, abs=1e-4)
    assert len(window.marks) == len(window.spans)
    assert ((window.marks >= 0) & (window.marks <= 1)).all()


def test_reading_again_gives_the_same(encoder):
    assert all(same(encoder.read(text), encoder.read(text)) for text in TEXTS)


def test_a_text_gives_the_same_alone_and_among_others(encoder):
    alone = [encoder.read(text) for text in TEXTS]
    for order in (list(range(len(TEXTS))), [3, 0, 5, 1, 4, 2]):
        together = encoder.read_many([TEXTS[index] for index in order])
        assert all(same(windows, alone[index]) for windows, index in zip(together, order, strict=True))


def test_several_threads_give_the_same_in_the_same_order(encoder, files):
    texts = TEXTS * 4
    several = Encoder.load(*files, threads=4).read_many(texts)
    assert all(same(one, other) for one, other in zip(several, encoder.read_many(texts), strict=True))


def test_abuse_in_a_long_text_has_a_window_that_sees_it(encoder):
    """After two thousand harmless words the window around it is the one most like the abuse read alone."""
    before = HARMLESS * 120
    text = before + ABUSE + " " + HARMLESS * 3
    windows = encoder.read(make_readable(text))
    alone = encoder.read(make_readable(HARMLESS * 4 + ABUSE))[0].class_vector
    likeness = [
        float(window.class_vector @ alone / np.linalg.norm(window.class_vector) / np.linalg.norm(alone))
        for window in windows
    ]
    spans = windows[int(np.argmax(likeness))].spans
    assert spans[0, 0] < len(before) + len(ABUSE)
    assert spans[-1, 1] > len(before)


def test_topic_vectors_are_those_of_the_first_window(encoder):
    texts = [HARMLESS * 30, "ok", HARMLESS * 30]
    vectors = encoder.topic_vectors(texts)
    assert vectors.shape == (3, WIDTH)
    assert np.array_equal(vectors[0], encoder.read(plain(texts[0]))[0].topic_vector)
    assert np.array_equal(vectors[0], vectors[2])


def test_class_vectors_are_those_of_the_first_window_alone_and_among_others(encoder):
    texts = [HARMLESS * 30, "Anna | annas-garden.example", "ok"]
    vectors = encoder.class_vectors(texts)
    assert vectors.shape == (3, WIDTH)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, encoder.read(plain(text))[0].class_vector)
        assert np.array_equal(vector, encoder.class_vectors([text])[0])


def test_a_comment_is_nearer_to_its_subject_than_to_another(encoder):
    comment, bread, cars = encoder.topic_vectors(
        [
            "My dough did not rise, was the flour too old?",
            "Baking sourdough bread at home: flour, water, salt and a starter.",
            "How to change the oil of a car engine and check the brakes.",
        ]
    )
    assert comment @ bread > comment @ cars


# --- what cannot be loaded


@pytest.mark.parametrize("broken", ["missing", "cut", "other"])
def test_a_broken_model_says_so(files, tmp_path, broken):
    path = tmp_path / "encoder.onnx"
    if broken != "missing":
        path.write_bytes(files[0].read_bytes()[:100_000] if broken == "cut" else b"no model")
    with pytest.raises(EncoderUnavailable):
        Encoder.load(path, files[1])


@pytest.mark.parametrize("vocabulary", [b"", b"{}", b"\xff"])
def test_a_broken_vocabulary_says_so(files, vocabulary):
    with pytest.raises(EncoderUnavailable):
        Encoder.load(files[0], vocabulary)


def test_without_any_file_the_encoder_is_unavailable():
    with pytest.raises(EncoderUnavailable, match="cannot be loaded"):
        Encoder.load(Path("nowhere.onnx"), Path("nowhere.json"))


def test_nothing_is_left_on_the_machine_and_nobody_is_told(files, tmp_path):
    """ONNX Runtime would leave an id and what it has to report in the folders of the user and of temporary files."""
    said = (
        "import sys\nfrom pathlib import Path\nfrom moderation.encoder import Encoder\n"
        "from moderation.readable import make_readable\n"
        "Encoder.load(Path(sys.argv[1]), Path(sys.argv[2])).read(make_readable('Thanks'))"
    )
    # Under CI it keeps quiet by itself.
    around = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}}
    around |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", said, *map(str, files[:2])], env=around, check=True)
    assert list(tmp_path.rglob("*")) == []
