"""Relatedness compares words that mean something, abstains where nothing can be said, and never depends on order."""

import numpy as np
import pytest

from moderation.comment import Comment, Neighbour, Post
from moderation.topic import (
    BITS,
    MIN_WORDS,
    NAMES,
    VECTOR_NAMES,
    TopicModel,
    compare_vectors,
    learn_idf,
    parent_left_post,
    stems,
)

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


@pytest.mark.parametrize("post", [Post(title=" ", text="<p></p>"), Post(title="\U0001f600"), Post(text="...")])
def test_it_abstains_under_a_post_without_words(model, post):
    assert model.features(Comment("word " * 20, post=post)) is None


def direction(*numbers):
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


def compare(comment, passages, parent=None, thread=None):
    values = compare_vectors(comment, np.stack(passages), parent, None if thread is None else np.stack(thread))
    return dict(zip(VECTOR_NAMES, values, strict=True))


EAST, NORTH, UP = direction(1, 0, 0), direction(0, 1, 0), direction(0, 0, 1)


def test_the_best_passage_counts_as_do_two_and_all():
    near = direction(1, 1, 0)
    found = compare(EAST, [NORTH, EAST, near, UP])
    assert found["has_passages"] == 1
    assert found["vector_best"] == pytest.approx(1)
    assert found["vector_second"] == pytest.approx((1 + near[0]) / 2)
    assert found["vector_mean"] == pytest.approx((1 + near[0]) / 4)
    assert found["vector_above_mean"] == pytest.approx(found["vector_best"] - found["vector_mean"])


def test_the_order_of_passages_and_thread_does_not_matter():
    random = np.random.default_rng(0)
    passages = [direction(*random.normal(size=3)) for _ in range(5)]
    thread = [direction(*random.normal(size=3)) for _ in range(7)]
    forwards, backwards = compare(EAST, passages, NORTH, thread), compare(EAST, passages[::-1], NORTH, thread[::-1])
    assert forwards == pytest.approx(backwards)


def test_without_parent_and_thread_these_are_as_near_as_the_post():
    found = compare(EAST, [direction(1, 1, 0), NORTH])
    for name in ("vector_parent", "vector_parent_post", "vector_thread_best", "vector_thread_mean", "vector_around"):
        assert found[name] == found["vector_best"], name


def test_parent_and_thread_are_compared_on_their_own():
    found = compare(EAST, [NORTH], direction(1, 1, 0), [UP, EAST])
    assert found["vector_best"] == 0
    assert found["vector_parent"] == pytest.approx(found["vector_parent_post"])
    assert found["vector_parent"] == pytest.approx(2**-0.5)
    assert found["vector_thread_best"] == pytest.approx(1)
    assert found["vector_thread_mean"] == pytest.approx(0.5)
    assert found["vector_around"] == pytest.approx(1)


def test_one_passage_is_enough():
    found = compare(EAST, [EAST])
    assert found["vector_best"] == found["vector_second"] == found["vector_mean"] == 1
    assert found["vector_above_mean"] == 0


@pytest.mark.parametrize(
    ("comment", "parent", "disagree"),
    [
        (NORTH, NORTH, True),  # stays with the parent, which has left the post
        (EAST, NORTH, False),  # back on the post
        (UP, NORTH, False),  # with neither
        (NORTH, direction(1, 1, 0), False),  # the parent is still about the post
        (NORTH, None, False),  # off topic with no parent to follow
    ],
)
def test_parent_and_post_may_disagree(comment, parent, disagree):
    related = np.array([compare_vectors(comment, EAST[None], parent, None)], np.float32)
    assert parent_left_post(related).tolist() == [disagree]


def test_rows_without_a_post_have_no_disagreement():
    assert parent_left_post(np.zeros((3, len(VECTOR_NAMES)), np.float32)).tolist() == [False] * 3
