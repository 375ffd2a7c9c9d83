"""A model scores any comment, the same alone and among others, whatever the machine's libraries do later."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.bundle import load_bundle
from moderation.comment import Author, Comment, Post

POST = Post(title="On trees", text="Trees grow slowly in the hills and need light, water and time to do so.")


@pytest.fixture(scope="module")
def model(tiny_bundle):
    return load_bundle(tiny_bundle).model


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
def test_odd_texts_score(model, text):
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


def test_a_model_is_made_of_plain_arrays(model):
    """No object of scikit-learn or any other learner, so no release of one can change or refuse what a bundle says."""
    found, waiting = set(), [model]
    while waiting:
        value = waiting.pop()
        found.add(type(value).__module__.split(".")[0])
        if type(value).__module__.startswith("moderation"):
            names = getattr(value, "__dataclass_fields__", None) or vars(value)
            waiting += [getattr(value, name) for name in names]
        elif isinstance(value, dict):
            waiting += value.values()
    assert found <= {"moderation", "numpy", "builtins", "functools"}
