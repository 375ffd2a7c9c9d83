"""What the encoder learns from: never a row kept for the heads, in an order that a seed fixes, topic pairs apart."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from moderation.comment import Author, Comment, Neighbour, Post
from moderation.readable import make_readable
from moderation.training import examples as examples_module
from moderation.training.dataset import HEAD_BLOGS, is_for_heads
from moderation.training.examples import (
    ClassExample,
    class_examples,
    plan,
    show_passage,
    signature_examples,
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
    ours = Row("seed", "1", Comment("tonto"), {"hostile": 1}, "seed:a", slices=("languages",))
    assert class_examples([row, ours]) == []
    assert class_examples([replace(ours, slices=("plain-insult",))])


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
    times = examples_module.TIMES["kaggle-insults"]
    assert set(shown.values()) <= {int(times), int(times) + 1}  # half a time is once for half of the rows
    assert shown.total() == pytest.approx(times * len(classes), rel=0.1)
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
    assert shown[earlier] / 300 == pytest.approx(examples_module.NEIGHBOUR_SHARE, abs=0.08)


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


def spam_rows(count=5, **more):
    return [
        Row(
            "blog-pr-moderation",
            f"s{number}",
            Comment(f"Nice {number}", author=Author(name="Loans", url=f"https://loans-{number}.example")),
            {"spam": 1},
            "blog:a",
            extra={"cluster": str(number)},
            **more,
        )
        for number in range(count)
    ]


def measured(count=60, blog="a", end=""):
    """Comments of readers, with or without something behind what they say."""
    return [
        Row("blog-pr-moderation", f"h{n}", Comment(f"I measured it {n} times myself{end}"), {"spam": 0}, f"blog:{blog}")
        for n in range(count)
    ]


def test_a_copy_with_a_link_in_its_text_is_spam_and_one_behind_the_name_is_left_out():
    ham = measured()
    found = class_examples([*spam_rows(), *ham])
    copies = [example.text for example in found if example.labels["spam"] == 1 and "measured" in example.text]
    assert 5 < len(copies) < 40
    assert not set(copies) & {row.comment.text for row in ham}
    assert all("." in text for text in copies)
    assert len(found) == 5 + 60 + len(copies)


def test_a_copy_with_a_readers_link_is_no_spam():
    """Else that there is a link would tell, and not where it leads."""
    linked = Row("blog-threads", "r", Comment("As https://reader.example/tea says"), {"spam": 0}, "blog:a")
    found = class_examples([*spam_rows(), linked, *measured(200)])
    links = [example for example in found if "reader.example" in example.text and "measured" in example.text]
    assert len(links) > 5
    assert {example.labels["spam"] for example in links} == {0.0}


# --- signatures


def test_a_signature_is_an_example_with_the_spam_label_and_nothing_else():
    rows = [*spam_rows(), Row("blog-threads", "r", Comment("See https://reader.example/tea"), {"spam": 0}, "blog:a")]
    rows.append(Row("blog-threads", "n", Comment("No link at all"), {"spam": 0}, "blog:a"))
    rows.append(Row("blog-threads", "u", Comment("See https://other.example/tea"), {"hostile": 0}, "blog:a"))
    found = {example.text: example for example in signature_examples(rows)}
    assert {"reader.example/tea", *(f"Loans | loans-{number}.example" for number in range(5))} <= set(found)
    assert not any("other.example" in text for text in found)
    assert all(text for text in found)
    assert found["reader.example/tea"].labels == {"spam": 0.0}
    assert found["Loans | loans-1.example"].labels == {"spam": 1.0}
    assert {(example.source, example.marked) for example in found.values()} == {("signature", None)}


def test_signatures_of_rows_kept_for_the_heads_teach_the_encoder_nothing():
    theirs = min(HEAD_BLOGS)
    open_rows = [*spam_rows(), *measured(200)]
    kept = [
        Row(row.source, f"k{row.id}", replace(row.comment, author=Author(name="Kept", url=f"https://kept-{n}.example")),
            row.labels, f"blog:{theirs}", extra={"cluster": f"k{n}"})
        for n, row in enumerate([*spam_rows(), *measured(200)])
    ]  # fmt: skip
    texts = {example.text for example in signature_examples([*open_rows, *kept])}
    assert texts == {example.text for example in signature_examples(open_rows)}
    assert not any("kept" in text.lower() for text in texts)


def test_copies_have_signatures_too_those_behind_the_name_as_well():
    ham = measured(200)
    lines = signature_examples([*spam_rows(), *ham])
    assert len(lines) > 5 + 60
    assert any(" | " in example.text and "Loans" not in example.text for example in lines)


def test_one_signature_counts_as_the_root_of_its_times_and_is_no_less_than_a_campaign():
    owner = Author(name="Ines", url="https://ines.example")
    rows = [Row("seed", str(n), Comment(f"Thanks {n}", author=owner), {"spam": 0}, "seed:1") for n in range(16)]
    [line] = signature_examples(rows)
    assert (line.text, line.weight) == ("Ines | ines.example", 4.0)
    campaign = [replace(row, labels={"spam": 1}, extra={"cluster": "7"}) for row in rows[:9]]
    assert [(each.labels["spam"], each.weight) for each in signature_examples(campaign)] == [(1.0, pytest.approx(3))]
    # Nine rows of one campaign, each with a link of its own, weigh as much together.
    several = [
        replace(row, comment=replace(row.comment, author=Author(name="x", url=f"https://{n}.example")))
        for n, row in enumerate(campaign)
    ]
    found = signature_examples(several)
    assert len(found) == 9
    assert sum(each.weight for each in found) == pytest.approx(3)


def test_a_line_seen_with_both_labels_is_an_example_of_each():
    [spam] = spam_rows(1)
    both = signature_examples([spam, replace(spam, id="other", labels={"spam": 0}, group="seed:1", source="seed")])
    assert sorted(each.labels["spam"] for each in both) == [0.0, 1.0]
    assert len({each.text for each in both}) == 1


def test_a_signature_is_shown_as_it_is():
    """Neither disguised nor with other groups in it: nobody spells the address of a shop otherwise."""
    example = ClassExample("muslim men | muslims.example", "signature", {"spam": 1.0}, 1.0, None)
    assert {show(example, seed) for seed in range(60)} == {(example.text, None)}
