"""Relatedness compares words that mean something, abstains where nothing can be said, and never depends on order."""

import numpy as np
import pytest

from moderation.comment import Comment, Neighbour, Post
from moderation.topic import BITS, MIN_WORDS, NAMES, TopicModel, learn_idf, stems

BREAD = Post(
    title="Sourdough for beginners",
    text="Mix flour, water and salt. The starter makes the dough rise slowly. Bake the loaf in a hot oven until brown.",
    tags=("baking", "bread"),
)
TEXTS = [BREAD.text, "The engine of the car needs oil and the brakes need care.", "We went for a walk in the hills."]
RELATED = Comment("My dough did not rise at all, was the starter too cold for the flour?", post=BREAD)
UNRELATED = Comment("The engine of my car makes a strange noise, should I change the oil now?", post=BREAD)


@pytest.fixture(scope="module")
def model():
    return TopicModel(learn_idf([(text, "en") for text in TEXTS]))


def features(model, comment):
    found = model.features(comment)
    assert found is not None
    return dict(zip(NAMES, found, strict=True))


def test_a_comment_about_the_post_is_closer_to_it(model):
    near, far = features(model, RELATED), features(model, UNRELATED)
    for name in ("post_cosine", "post_containment", "passage_cosine", "rare_shared"):
        assert near[name] > far[name], name


def test_words_are_compared_by_their_stems():
    assert stems("baking baked bakes") == stems("bake bake bake")
    assert stems("Bäume bäumen", "german")[0] == stems("bäume bäume", "german")[0]


@pytest.mark.parametrize(
    "comment",
    [
        Comment("word " * 20),
        Comment("word " * 20, post=Post(id="p1")),
        Comment("word " * 20, post=Post(title="", text="")),
        Comment("word " * (MIN_WORDS - 1), post=BREAD),
        Comment("😀 😀 😀 😀 😀 😀 😀 😀 😀", post=BREAD),
    ],
)
def test_it_abstains_where_nothing_can_be_said(model, comment):
    assert model.features(comment) is None


def test_eight_words_are_enough(model):
    assert model.features(Comment("word " * MIN_WORDS, post=BREAD)) is not None


def test_a_long_post_is_compared_by_its_best_passage(model):
    padded = Post(title=BREAD.title, text=("The car and the engine and the oil. " * 200) + BREAD.text)
    found = features(model, Comment(RELATED.text, post=padded))
    assert found["passage_cosine"] > found["post_cosine"]


def test_parent_and_thread_count_on_their_own(model):
    reply = Comment(
        UNRELATED.text,
        post=BREAD,
        parent=Neighbour(text="Does your car need oil?"),
        thread=(Neighbour(text="Let us walk"), Neighbour(text="an engine problem")),
    )
    found = features(model, reply)
    assert found["has_parent"] == found["has_thread"] == 1
    assert found["parent_cosine"] > 0
    assert found["thread_cosine"] > 0


def test_the_order_of_words_does_not_matter(model):
    backwards = Comment(" ".join(reversed(RELATED.text.split())), post=BREAD)
    assert model.features(backwards) == pytest.approx(model.features(RELATED))


def test_markup_in_a_post_is_not_read_as_words(model):
    marked = Post(title=BREAD.title, text=f"<p class='engine oil'>{BREAD.text}</p>", tags=BREAD.tags)
    assert model.features(Comment(UNRELATED.text, post=marked)) == pytest.approx(model.features(UNRELATED))


def test_words_in_every_text_weigh_nothing():
    idf = learn_idf([("the tree", None), ("the river", "en"), ("the hill", "en-GB")])
    assert idf.shape == (1 << BITS,)
    assert idf[stems("the")[0]] == 0
    assert idf[stems("tree")[0]] > 0
    assert np.isfinite(idf).all()
