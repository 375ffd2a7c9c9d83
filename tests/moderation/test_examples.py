"""What the encoder learns from: never a row kept for the heads, in an order that a seed fixes, topic pairs apart."""

import json
import random
from collections import Counter

import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from moderation.encoder import make_readable
from moderation.training import examples as examples_module
from moderation.training.dataset import HEAD_BLOGS, is_for_heads
from moderation.training.examples import (
    ClassExample,
    class_examples,
    plan,
    show_passage,
    topic_examples,
    vary_text,
)
from moderation.training.rows import Row

SUBJECTS = ("bread", "trees", "engines", "rivers", "chess", "wool", "bees", "maps", "clocks", "kites")


def single(number, **labels):
    return Row("kaggle-insults", str(number), Comment(f"comment number {number}"), labels, f"kaggle-insults:{number}")


def on_post(blog, number, times=1):
    subject = SUBJECTS[number % len(SUBJECTS)]
    post = Post(
        id=f"{blog}/{number}", title=f"All about {subject}", text=f"This post {number} is about {subject}. " * 9
    )
    return [
        Row(
            "blog-threads",
            f"{blog}/{number}/{time}",
            Comment(f"I have been thinking about {subject} for {time + 2} years and more", post=post),
            {"off_topic": 0},
            f"blog:{blog}",
        )
        for time in range(times)
    ]


def blog_rows(*blogs, posts=10, times=3):
    return [row for blog in blogs for number in range(posts) for row in on_post(blog, number, times)]


def planned(classes, pairs, **changed):
    asked = {"epochs": 1.0, "class_size": 8, "topic_size": 5, "topic_epochs": 1.0, "seed": 0, **changed}
    return plan(classes, pairs, **asked)


ROWS = [single(number, hostile=number % 2) for number in range(300)]


def test_nothing_kept_for_the_heads_gets_into_examples():
    kept = [row for row in ROWS if is_for_heads(row)]
    assert 15 < len(kept) < 90
    texts = {example.text for example in class_examples(ROWS)}
    assert texts == {row.comment.text for row in ROWS} - {row.comment.text for row in kept}


def test_whole_blogs_are_kept_for_the_heads():
    theirs = min(HEAD_BLOGS)
    rows = blog_rows(theirs, "open-blog")
    assert {pair.blog for pair in topic_examples(rows)} == {"blog:open-blog"}
    spam = [
        Row("blog", str(n), Comment(f"buy {n}"), {"spam": 1}, f"blog:{blog}") for n, blog in enumerate(("x", theirs))
    ]
    assert [example.text for example in class_examples(spam)] == ["buy 0"]


def test_rows_that_only_say_whether_they_are_on_topic_are_no_class_examples():
    [row] = on_post("open-blog", 1)
    assert class_examples([row]) == []
    both = Row(row.source, row.id, row.comment, {"off_topic": 0, "spam": 0}, row.group)
    assert [example.labels for example in class_examples([both])] == [{"spam": 0.0}]


def test_languages_that_the_vocabulary_lacks_are_left_to_the_words():
    row = Row("told-br", "1", Comment("texto"), {"hostile": 1}, "set:open")
    assert class_examples([row]) == []


def test_a_moved_comment_is_no_pair_and_neither_is_one_of_no_blog():
    [row] = on_post("open-blog", 1)
    moved = Row(row.source, "2", row.comment, {"off_topic": 1}, row.group)
    seed = Row("seed", "3", row.comment, {"off_topic": 0}, "seed:3")
    assert len(topic_examples([row, moved, seed])) == 1


def test_a_campaign_counts_as_the_root_of_its_size():
    rows = [Row("blog", str(n), Comment(f"buy {n}"), {"spam": 1}, "blog:a", extra={"cluster": "7"}) for n in range(9)]
    assert sum(example.weight for example in class_examples(rows)) == pytest.approx(3)


def test_the_share_of_raters_is_the_target_where_they_were_asked():
    extra = {"marked": json.dumps([[0, 5, 0.7]]), "toxic_share": "0.6"}
    rows = [
        Row("toxic-spans", str(n), Comment("idiot here"), {"hostile": 1}, f"toxic-spans:{n}", extra=extra)
        for n in range(9)
    ]
    example = class_examples(rows)[0]
    assert example.labels["hostile"] == 0.6
    assert example.marked == ((0, 5, 0.7),)


# --- the plan


def test_a_seed_fixes_the_plan():
    classes, pairs = class_examples(ROWS), topic_examples(blog_rows("one", "two"))
    assert planned(classes, pairs) == planned(classes, pairs)
    assert planned(classes, pairs) != planned(classes, pairs, seed=1)


def test_an_epoch_shows_each_example_as_often_as_its_source_says():
    classes = class_examples(ROWS)
    shown = Counter(index for batch in planned(classes, []) for index in batch.indices)
    assert set(shown.values()) == {int(examples_module.TIMES["kaggle-insults"])}
    assert set(shown) == set(range(len(classes)))


def test_half_an_epoch_shows_half():
    classes = [ClassExample(f"text {n}", "any", {"hostile": 0.0}, 1.0, None) for n in range(2_000)]
    shown = sum(len(batch.indices) for batch in planned(classes, [], epochs=0.5))
    assert shown == pytest.approx(1_000, abs=100)


def test_a_topic_batch_holds_one_blog_and_each_post_once():
    pairs = topic_examples(blog_rows("one", "two", "three", posts=9, times=4))
    batches = [batch for batch in planned([], pairs) if batch.kind == "topic"]
    assert batches
    for batch in batches:
        posts = [pairs[index].post for index in batch.indices]
        assert len({pairs[index].blog for index in batch.indices}) == 1
        assert len(set(posts)) == len(posts) >= 4
    shown = Counter(index for batch in batches for index in batch.indices)
    assert max(shown.values()) == 1


def test_topic_batches_are_spread_among_the_others():
    classes, pairs = class_examples(ROWS), topic_examples(blog_rows("one", "two", times=6))
    kinds = [batch.kind for batch in planned(classes, pairs)]
    halves = kinds[: len(kinds) // 2], kinds[len(kinds) // 2 :]
    assert abs(halves[0].count("topic") - halves[1].count("topic")) <= 1


# --- what is shown


def show(example, seed):
    return vary_text(example, random.Random(seed))


def test_marked_stretches_move_with_the_readable_text():
    """Before the marked word stands what normalising and reading make shorter or longer."""
    text = "\U0001f4a9 s\u200bo https://example.com/" + "x" * 300 + " you  i.d.i.o.t and fool"
    start = text.index("i.d.i.o.t")
    marked = ((start, start + 9, 0.8), (len(text) - 4, len(text), 0.4))
    example = ClassExample(text, "toxic-spans", {"hostile": 0.8}, 1.0, marked)
    found = [shown for shown in (show(example, seed) for seed in range(40)) if shown[1] is not None]
    assert found
    for readable, moved in found:
        assert readable == make_readable(text).text
        assert [(readable[first:last], share) for first, last, share in moved] == [("idiot", 0.8), ("fool", 0.4)]


def test_a_text_without_marks_that_raters_saw_has_none_and_not_unknown():
    example = ClassExample("nothing to see", "toxic-spans", {"hostile": 0.0}, 1.0, ())
    assert {show(example, seed)[1] for seed in range(60)} == {(), None}  # None where it was disguised
    unknown = ClassExample("nothing to see", "seed", {"hostile": 0.0}, 1.0, None)
    assert {show(unknown, seed)[1] for seed in range(60)} == {None}


def test_a_disguised_or_swapped_text_has_no_marks():
    text = "those muslims are idiots"
    example = ClassExample(text, "toxic-spans", {"hostile": 0.9}, 1.0, ((18, 24, 0.9),))
    seen = [show(example, seed) for seed in range(200)]
    changed = [marked for readable, marked in seen if readable != text]
    assert len(changed) > 20
    assert all(marked is None for marked in changed)
    assert sum(readable == text for readable, _ in seen) > 100


def test_a_passage_stands_for_the_post_and_at_times_the_thread():
    earlier = "an earlier comment of more than eight words about the bread"
    post = Post(title="All about bread", text="Flour and water. " * 90)
    comment = Comment("my dough did not rise at all, was it the flour", post=post, thread=(Neighbour(text=earlier),))
    [pair] = topic_examples([Row("blog-threads", "1", comment, {"off_topic": 0}, "blog:open")])
    shown = Counter(show_passage(pair, random.Random(seed)) for seed in range(300))
    assert set(shown) == {*pair.passages, earlier}
    assert 0.1 < shown[earlier] / 300 < 0.3


def test_a_passage_that_shares_the_words_of_the_comment_is_shown_more_often():
    text = "oak " * 80 + "bread " * 80
    post = Post(id="p", title="Notes", text=text)
    row = Row(
        "blog-threads", "1", Comment("my bread never rises and the bread burns", post=post), {"off_topic": 0}, "blog:a"
    )
    [pair] = topic_examples([row])
    assert pair.likeness[1] > pair.likeness[0]
    shown = Counter(show_passage(pair, random.Random(number)) for number in range(200))
    assert shown[pair.passages[1]] > 150


def test_talk_is_no_spam_and_keeps_its_own_labels():
    found = class_examples(ROWS)
    talk = [example for example in found if example.labels.get("spam") == 0]
    assert 0 < len(talk) < len(found) / 2
    assert all("hostile" in example.labels for example in talk)


def test_a_copy_with_a_link_in_its_text_is_spam_and_one_behind_the_name_is_left_out():
    spam = [
        Row(
            "blog-pr-moderation",
            f"s{number}",
            Comment(f"Nice {number}", author=Author(name="Loans", url=f"https://loans-{number}.example")),
            {"spam": 1},
            "blog:a",
            extra={"cluster": str(number)},
        )
        for number in range(5)
    ]
    ham = [
        Row("blog-pr-moderation", f"h{number}", Comment(f"I measured it {number} times myself"), {"spam": 0}, "blog:a")
        for number in range(60)
    ]
    found = class_examples([*spam, *ham])
    copies = [example.text for example in found if example.labels["spam"] == 1 and "measured" in example.text]
    assert copies
    assert all("https://loans-" in text for text in copies)
