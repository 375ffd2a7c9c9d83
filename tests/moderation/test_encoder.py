"""What the encoder reads points back into the comment; what it sees hangs on the text alone, wherever that stands."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.encoder import _SENTENCE_END, MAX_WINDOWS, STRIDE_TOKENS, WIDTH, WINDOW_TOKENS, Encoder
from moderation.errors import EncoderUnavailable
from moderation.readable import make_readable
from moderation.shipped import shipped_folder
from tests.moderation.test_readable import ABUSE, HARMLESS, PIECES, plain


@pytest.fixture(scope="module")
def files():
    found = sorted(shipped_folder("models").glob("encoder-*"))
    if not found:
        pytest.skip("no encoder is shipped: there is no folder models/encoder-*")
    return found[0] / "encoder.onnx", found[0] / "tokenizer.json"


@pytest.fixture(scope="module")
def encoder(files):
    return Encoder.load(*files, threads=1)


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
