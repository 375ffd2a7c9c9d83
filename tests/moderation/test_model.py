"""A model scores any comment, the same alone and among others, whatever the machine's libraries do later."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.bundle import load_bundle
from moderation.comment import Author, Comment, Neighbour, Post
from moderation.encoder import WIDTH, Encoder
from moderation.errors import EncoderUnavailable
from moderation.model import gather_vectors, read_vectors
from moderation.readable import make_readable, read_signature

POST = Post(title="On trees", text="Trees grow slowly in the hills and need light, water and time to do so.")


@pytest.fixture(scope="module")
def whole(tiny_bundle):
    """The model with every tier that it has."""
    return load_bundle(tiny_bundle).model


@pytest.fixture(scope="module")
def full(whole):
    if whole.full is None:
        pytest.skip("no encoder is shipped with this checkout")
    return whole


@pytest.fixture(scope="module", params=["lexical", "full"])
def model(request, whole):
    """The model, once as each tier."""
    return whole.lexical_tier() if request.param == "lexical" else request.getfixturevalue("full")


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200c\u200d",
        "\u202eever siht\u202c",
        "😀😀😀",
        # The shapes on which a careless pattern would read from every place to the end of the text.
        "a" * 50_000,
        "word " * 10_000,
        "a@" * 25_000,
        "a." * 25_000,
        "<a " * 16_000,
        "a(" * 25_000,
        " " * 49_999 + "x",
        "\n    x" * 8_000,
        "http://" * 7_000,
        "1" * 50_000,
        "1 " * 25_000,
        "\u0301" * 50_000,
        "a\u200b" * 25_000,
        "ⅷ ﷺ ﬃ ℡",
        "İİİ",
        "مرحبا بالعالم",
        "\ud7a3\u1100\u1161\u11a8",
        "\U0010ffff",
    ],
)
def test_odd_texts_score(whole, text):
    assert_scores(whole.lexical_tier(), text)


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200c\u200d",
        "\u202eever siht\u202c",
        "😀😀😀",
        "a@" * 2_000,
        "http://" * 500,
        "\u0301" * 500,
        "ⅷ ﷺ ﬃ ℡ İİİ",
        "مرحبا بالعالم",
        "\U0010ffff",
        "word " * 10_000,
    ],
)
def test_odd_texts_score_with_the_encoder(full, text):
    assert_scores(full, text)


def assert_scores(model, text):
    [scores] = model.score([Comment(text, post=POST)])
    assert all(value is None or 0 <= value <= 1 for value in scores.to_dict().values())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5))
def test_a_comment_scores_the_same_alone_and_among_others(model, texts):
    comments = [Comment("x" + text.replace("\x00", "").encode("utf-8", "replace").decode()) for text in texts]
    together = [scores.to_dict() for scores in model.score(comments)]
    assert together == [model.score([comment])[0].to_dict() for comment in comments]


def test_off_topic_abstains_alone(model):
    bare, placed = model.score([Comment("word " * 10), Comment("word " * 10, post=POST)])
    assert bare.off_topic is None
    assert placed.off_topic is not None


def test_the_name_and_url_of_the_author_reach_spam_but_not_hostile(model):
    text = "Great article, thank you for sharing this with all of us"
    plain, keyword = model.score(
        [Comment(text), Comment(text, author=Author(name="cheap seo services", url="https://cheap-seo.example/buy"))]
    )
    assert keyword.spam > plain.spam
    assert keyword.hostile == plain.hostile


class TestEncoderUnavailable:
    """The lexical tier answers for what the encoder has not read, and the facts of those comments say so."""

    COMMENTS = (
        Comment("Thank you, that helped."),
        Comment("What a waste of time.", post=POST),
        Comment("I do not think so.", post=POST, parent=Neighbour(text="Oaks need more water than that.")),
    )

    def test_failing_at_once(self, full, monkeypatch):
        self.fail(monkeypatch, "read_many", after=0)
        assessed = full.assess(self.COMMENTS)
        lexical = full.lexical_tier().score(self.COMMENTS)
        assert [scores.to_dict() for scores, _ in assessed] == [scores.to_dict() for scores in lexical]
        assert {(facts.tier, facts.encoder_available) for _, facts in assessed} == {("lexical", False)}

    def test_failing_on_a_post_takes_no_comment_without_one_along(self, full, monkeypatch):
        self.fail(monkeypatch, "topic_vectors", after=0)
        tiers = [(facts.tier, facts.encoder_available) for _, facts in full.assess(self.COMMENTS)]
        assert tiers == [("full", True), ("lexical", False), ("lexical", False)]

    def test_failing_on_the_way(self, full, monkeypatch):
        comments = [Comment(f"Number {number}") for number in range(300)]
        before = full.assess(comments[:1])
        self.fail(monkeypatch, "read_many", after=1)
        assessed = full.assess(comments)
        tiers = [(facts.tier, facts.encoder_available) for _, facts in assessed]
        read = tiers.count(("full", True))
        assert 0 < read < 300
        assert tiers == [("full", True)] * read + [("lexical", False)] * (300 - read)
        assert assessed[0][0].to_dict() == before[0][0].to_dict()
        # One by one, as they were read again: in the last digit a sum may hang on how many comments are added up.
        lexical = full.lexical_tier()
        assert [scores for scores, _ in assessed[read:]] == [lexical.score([comment])[0] for comment in comments[read:]]

    def test_it_is_asked_again_next_time(self, full, monkeypatch):
        with monkeypatch.context() as patched:
            self.fail(patched, "read_many", after=0)
            full.assess(self.COMMENTS)
        assert {facts.tier for _, facts in full.assess(self.COMMENTS)} == {"full"}

    def test_the_lexical_tier_by_itself_lacks_nothing(self, whole):
        """A bundle without an encoder is no fault."""
        [(_, facts)] = whole.lexical_tier().assess(self.COMMENTS[:1])
        assert (facts.tier, facts.encoder_available) == ("lexical", True)

    @staticmethod
    def fail(monkeypatch, method, *, after):
        works, calls = getattr(Encoder, method), []

        def fail(encoder, texts):
            calls.append(len(texts))
            if len(calls) > after:
                raise EncoderUnavailable("out of memory")
            return works(encoder, texts)

        monkeypatch.setattr(Encoder, method, fail)


class TestVectors:
    """What the full heads see beside words and facts."""

    FOREIGN = Comment("Das ist wirklich ein sehr langer Satz, den hier niemand lesen kann und soll.")
    SIGNED = Comment("Thank you for this.", author=Author(name="Anna", url="https://annas-garden.example/"))

    def test_a_window_that_cannot_be_read_is_all_zeros(self, full):
        vectors = read_vectors([self.FOREIGN, self.SIGNED], full.full.encoder)
        assert vectors.foreign.tolist() == [1, 0]
        assert not vectors.windows[0].any()
        assert vectors.windows[1, -1] == 1

    def test_a_row_is_the_window_times_how_english_it_is(self, full):
        [window] = full.full.encoder.read(make_readable(self.SIGNED.text))
        half = replace(window, english=0.5)
        vectors = gather_vectors([self.SIGNED] * 2, [[window], [half]], full.full.encoder)
        assert vectors.windows[1] == pytest.approx(vectors.windows[0] / 2)
        assert vectors.windows[0, :WIDTH] == pytest.approx(window.class_vector)
        assert vectors.foreign.tolist() == [0, 0.5]

    def test_a_comment_is_as_foreign_as_its_windows_are_on_average(self, full):
        [window] = full.full.encoder.read(make_readable(self.SIGNED.text))
        windows = [replace(window, english=english) for english in (0.0, 0.5, 0.25)]
        vectors = gather_vectors([self.SIGNED], [windows], full.full.encoder)
        assert vectors.foreign.tolist() == [0.75]
        assert vectors.windows[:, -1].tolist() == [0, 0.5, 0.25]

    def test_a_signature_is_the_class_vector_of_its_line_and_a_one(self, full):
        bare = replace(self.SIGNED, author=Author(name="Anna"))
        signed, none = read_vectors([self.SIGNED, bare], full.full.encoder).signatures
        line = full.full.encoder.class_vectors([read_signature(self.SIGNED)])[0]
        assert signed.tolist() == [*line.tolist(), 1]
        assert not none.any()

    def test_a_foreign_comment_scores_the_same_whatever_the_window_weights_are(self, full):
        heads = full.full.heads
        louder = replace(heads, window_weights=heads.window_weights * 5 + 1)
        other = replace(full, full=replace(full.full, heads=louder))
        before, after = (
            [scores.to_dict() for scores in model.score([self.FOREIGN, self.SIGNED])] for model in (full, other)
        )
        assert before[0] == after[0]
        assert before[1] != after[1]


def test_a_model_is_made_of_plain_arrays(whole):
    """No object of scikit-learn or any other learner, so no release of one can change or refuse what a bundle says."""
    found, waiting = set(), [whole.lexical_tier(), *([whole.full.heads] if whole.full else [])]
    while waiting:
        value = waiting.pop()
        found.add(type(value).__module__.split(".")[0])
        if type(value).__module__.startswith("moderation"):
            names = getattr(value, "__dataclass_fields__", None) or vars(value)
            waiting += [getattr(value, name) for name in names]
        elif isinstance(value, dict):
            waiting += value.values()
    assert found <= {"moderation", "numpy", "builtins", "functools"}
