"""What may be trained on: exclusion, equal and nearly equal rows, splits that do not leak, moved comments."""

import hashlib
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import Author, Comment, Neighbour, Post
from moderation.errors import DataError, InvalidRow
from moderation.training.dataset import (
    VALIDATION_BLOGS,
    Row,
    build_dataset,
    fingerprint,
    load_exclude,
    move_comments,
    read_behaviour,
    read_seed,
)
from moderation.training.sources import load_catalogue, read_rows

DATA_DIR = os.environ.get("MODERATION_DATA_DIR")
TRAINING_DATA = Path(__file__).parents[2] / "training_data"
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "frost",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "ledge",
    "maple",
    "north",
    "ocean",
    "prairie",
    "quill",
    "ridge",
]


def text_of(number, length=12):
    """A text like no other: words drawn by a generator of its own."""
    return " ".join(random.Random(number).choices(WORDS, k=length)) + f" {number}"


def row(number=0, text=None, **changes):
    fields = {"source": "set", "id": f"set:{number}", "labels": {"hostile": 0}, "group": f"set:{number}"}
    fields["comment"] = changes.pop("comment", None) or Comment(text=text or text_of(number))
    return Row(**(fields | changes))


def learning(dataset):
    return [*dataset.train, *dataset.validation]


def on_blog(blog, posts=4, comments=3):
    """On-topic rows of one blog; every comment's thread names its post."""
    rows = []
    for at in range(posts):
        post = Post(id=f"{blog}-{at}", title=WORDS[at], text=f"{WORDS[at]} {WORDS[at + 1]} about {WORDS[at]}")
        for place in range(comments):
            comment = Comment(
                text=text_of(f"{blog}{at}{place}"), post=post, thread=(Neighbour(text=f"said under {post.id}"),)
            )
            name = f"{blog}:{at}:{place}"
            rows.append(row(name, comment=comment, labels={"off_topic": 0}, group=f"blog:{blog}", slices=("own-post",)))
    return rows


# --- fingerprints and exclusion --------------------------------------------------------------------------------------


@given(st.text())
def test_fingerprint_is_that_of_the_published_definition(text):
    """SHA-1 of the lower-cased text with every [\\W_] removed, by the regular expression itself."""
    import re

    letters = re.sub(r"[\W_]", "", text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").lower())

    assert fingerprint(text) == hashlib.sha1(letters.encode()).hexdigest()[:16]


def test_excluded_texts_are_dropped_everywhere_also_by_their_text_as_published():
    exclude = {fingerprint("Never, this one"), fingerprint("as published")}
    rows = [
        row(1, "never THIS one!"),
        row(2, "never this one", frozen_set="a", group="x"),
        row(3, "decoded", extra={"raw_fingerprint": fingerprint("as published")}),
        row(4),
    ]

    dataset = build_dataset(rows, exclude)

    assert [item.id for item in learning(dataset)] == ["set:4"]
    assert dataset.frozen == {}
    assert dataset.report.dropped["excluded"] == {"set": 3}


def test_list_of_excluded_texts_must_hold_fingerprints(tmp_path):
    path = tmp_path / "exclude.txt"
    path.write_text(f"{fingerprint('a')}\n{fingerprint('b')}\n")
    assert load_exclude(path) == {fingerprint("a"), fingerprint("b")}

    path.write_text("a comment's text\n")
    with pytest.raises(DataError, match="not a fingerprint"):
        load_exclude(path)
    with pytest.raises(DataError, match="cannot read"):
        load_exclude(tmp_path / "none.txt")


def test_shipped_list_of_excluded_texts_is_readable():
    assert len(load_exclude(TRAINING_DATA / "exclude.txt")) == 2_657


# --- equal and nearly equal rows -------------------------------------------------------------------------------------


def test_equal_rows_become_the_first_with_labels_filled_in_and_contradictions_unknown():
    first = row(1, "The Same text", labels={"hostile": 1, "insult": 0})
    second = row(2, "the same TEXT!", labels={"hostile": 1, "insult": 1, "threat": 0}, slices=("s",))

    (merged,) = learning(build_dataset([first, second], ()))

    assert merged.id == first.id
    assert merged.labels == {"hostile": 1, "threat": 0}
    assert merged.slices == ("s",)


def test_row_whose_only_label_is_contradicted_is_dropped():
    rows = [row(1, "same", labels={"hostile": 1}), row(2, "same", labels={"hostile": 0})]

    dataset = build_dataset(rows, ())

    assert learning(dataset) == []
    assert dataset.report.dropped["no label left"] == {"set": 1}


def test_texts_that_differ_in_emoji_or_in_having_an_author_url_are_not_equal():
    linked = Comment(text="great post", author=Author(url="http://x.example"))
    rows = [
        row(1, "i 🔪 you"),
        row(2, "i 👏 you", labels={"hostile": 1}),
        row(3, "👍"),
        row(4, "🤮", labels={"hostile": 1}),
        row(5, "great post", labels={"spam": 0}),
        row(6, comment=linked, labels={"spam": 1}),
    ]

    # All in one group, so that the second of a pair is not dropped for being near a validation row.
    assert len(learning(build_dataset([replace(item, group="seed-like") for item in rows], ()))) == 6


def test_the_same_text_under_two_posts_says_two_things_about_its_topic():
    """Such pairs are written on purpose: only the post tells which of the two belongs."""
    places = [Comment(text_of("twice"), post=Post(title=title)) for title in ("On bread", "On cars")]
    rows = [
        row(number, comment=comment, labels={"off_topic": number}, source="seed", group=f"seed:{number}")
        for number, comment in enumerate(places)
    ]
    kept = [item for item in learning(build_dataset([], (), rows)) if "#" not in item.id]

    assert [(item.comment.post.title, item.labels) for item in kept] == [
        ("On bread", {"off_topic": 0}),
        ("On cars", {"off_topic": 1}),
    ]


def test_rows_nearly_equal_to_a_frozen_row_are_not_trained_on():
    words = WORDS[:16]
    frozen = row("f", " ".join(words), frozen_set="a")
    near = row(1, " ".join(["extra", *words[:14], "end"]))
    far = row(2, " ".join([*words[:4], text_of(9)]))
    short = row(3, "amber birch")

    dataset = build_dataset([frozen, near, far, short], ())

    assert {item.id for item in learning(dataset)} == {"set:2", "set:3"}
    assert dataset.report.dropped["near a frozen row"] == {"set": 1}


def test_half_of_a_text_spread_over_two_frozen_rows_is_not_near_to_either():
    words = [f"w{at}" for at in range(24)]
    frozen = [row("f", " ".join(words[:9]), frozen_set="a"), row("g", " ".join(words[12:21]), frozen_set="a")]

    dataset = build_dataset([*frozen, row(1, " ".join(words))], ())

    assert [item.id for item in learning(dataset)] == ["set:1"]


def test_nothing_is_trained_on_that_a_behaviour_case_asks():
    case = Comment(text=text_of("case"))

    assert learning(build_dataset([row(1, text_of("case").upper())], (), held_out=[case])) == []


def test_both_spellings_of_a_frozen_pair_stay_and_other_equal_frozen_rows_do_not():
    pair = [
        row(at, "one spelling", frozen_set="p", slices=(kind,), extra={"pair": "0"}) for at, kind in enumerate("ab")
    ]
    twice = [row(at, "stands twice", frozen_set="q") for at in range(2)]

    frozen = build_dataset([*pair, *twice], ()).frozen

    assert {name: len(rows) for name, rows in frozen.items()} == {"p": 2, "q": 1}


# --- splits ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10**6)), max_size=60, unique_by=lambda pair: pair[1]))
def test_groups_never_straddle_the_split(pairs):
    rows = [row(number, group=f"thread:{group}") for group, number in pairs]

    dataset = build_dataset(rows, ())

    assert not {item.group for item in dataset.train} & {item.group for item in dataset.validation}


def test_about_fifteen_in_a_hundred_groups_are_for_validation_and_our_own_rows_never_are():
    rows = [row(at, f"only {at}") for at in range(2_000)]
    own = [row(at, f"own {at}", source="seed", group=f"seed:{at}") for at in range(50)]

    dataset = build_dataset(rows, (), own)

    assert 0.12 < len(dataset.validation) / 2_000 < 0.18
    assert {item.source for item in dataset.validation} == {"set"}
    assert dataset.report.train["seed"] == 50


def test_validation_spam_that_leads_where_training_spam_leads_is_left_out():
    """Another text with the same shop behind it has been seen; a well-known host is no campaign."""
    blog = min(VALIDATION_BLOGS)

    def spam(number, blog, url):
        return row(number, text=f"words of number {number} {url}", labels={"spam": 1}, group=f"blog:{blog}")

    rows = [
        spam(1, "other", "https://shop.example/a"),
        spam(2, "other", "https://github.com/a"),
        spam(3, blog, "https://shop.example/another"),
        spam(4, blog, "https://github.com/b"),
        spam(5, blog, "https://fresh.example/"),
    ]

    dataset = build_dataset(rows, ())

    assert [item.id for item in dataset.validation] == [rows[3].id, rows[4].id]
    assert len(dataset.train) == 2
    assert dataset.report.dropped["leads where training spam leads"] == {rows[2].source: 1}


def test_blogs_are_split_whole_by_name():
    rows = [item for blog in ("made-mistakes", "another", "third") for item in on_blog(blog)]

    dataset = build_dataset(rows, ())

    assert {item.group for item in dataset.validation} == {"blog:made-mistakes"}
    assert {item.group for item in dataset.train} == {"blog:another", "blog:third"}


def test_spam_campaigns_of_frozen_and_validation_blogs_are_not_trained_on():
    def spam(number, blog, cluster, label=1, **changes):
        labels = {"spam": label}
        return row(number, labels=labels, group=f"blog:{blog}", extra={"cluster": cluster}, **changes)

    blog = min(VALIDATION_BLOGS)
    rows = [
        spam(1, "haacked", "frozen", frozen_set="spam-blogs"),
        spam(2, blog, "validation"),
        spam(3, blog, "frozen"),
        spam(4, "other", "frozen"),
        spam(5, "other", "validation"),
        spam(6, "other", "own"),
        spam(7, "other", "frozen", label=0),
    ]

    dataset = build_dataset(rows, ())

    assert [item.id for item in dataset.train] == ["set:6", "set:7"]
    assert [item.id for item in dataset.validation] == ["set:2"]


def test_same_rows_and_seed_give_the_same_data_set():
    rows = [*(row(at) for at in range(50)), *on_blog("one"), *on_blog("made-mistakes")]

    assert build_dataset(rows, (), seed=3).train == build_dataset(rows, (), seed=3).train
    assert build_dataset(rows, (), seed=3).train != build_dataset(rows, (), seed=4).train


def test_every_row_is_accounted_for():
    rows = [row(at, text_of(at % 40)) for at in range(60)]

    report = build_dataset(rows, {fingerprint(text_of(3))}, refused={"set": 2}).report.to_dict()

    kept = report["train"].get("set", 0) + report["validation"].get("set", 0)
    assert kept + sum(reason.get("set", 0) for reason in report["dropped"].values()) == report["read"]["set"] == 60
    assert report["refused"] == {"set": 2}
    assert json.loads(json.dumps(report)) == report


# --- moved comments --------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), nearest_share=st.sampled_from([0.0, 0.5, 1.0]))
def test_moved_comment_keeps_text_and_group_and_gets_another_post_of_its_blog_with_that_posts_thread(
    seed, nearest_share
):
    rows = on_blog("one") + on_blog("two")
    moved = move_comments(rows, seed, nearest_share)

    assert len(moved) == len(rows)
    for before, after in zip(sorted(rows, key=lambda r: r.id), sorted(moved, key=lambda r: r.id), strict=True):
        assert after.comment.text == before.comment.text
        assert after.group == before.group
        assert after.comment.post.id != before.comment.post.id
        assert after.comment.post.id.startswith(before.group.removeprefix("blog:"))
        assert after.comment.thread[0].text == f"said under {after.comment.post.id}"
        assert after.labels == {"off_topic": 1}
        assert "own-post" not in after.slices


def test_nearest_other_post_is_the_one_most_alike():
    posts = [("a", "tea green leaves kettle"), ("b", "green tea kettle cup"), ("c", "engine piston oil gear")]
    rows = [
        row(name, labels={"off_topic": 0}, group="blog:x", comment=Comment(text=name, post=Post(id=name, title=title)))
        for name, title in posts
    ]

    moved = {item.comment.text: item.comment.post.id for item in move_comments(rows, 0, 1.0)}

    assert (moved["a"], moved["b"]) == ("b", "a")


def test_blog_with_one_post_gives_no_moved_comments():
    assert move_comments(on_blog("one", posts=1), 0, 0.5) == []


def test_frozen_comments_are_measured_on_their_post_a_random_and_the_nearest_other():
    rows = [replace(item, frozen_set="topic-blogs") for item in on_blog("haacked")]

    measured = build_dataset(rows, ()).frozen["topic-blogs"]

    counts = {
        kind: sum(kind in item.slices for item in measured) for kind in ("own-post", "moved-random", "moved-nearest")
    }
    assert counts == dict.fromkeys(counts, 12)


# --- our own files ---------------------------------------------------------------------------------------------------

CASE = {"id": "c1", "comment": {"text": "a text", "post": {"title": "t"}}, "slice": "s", "why": "because"}


def write(path, *cases):
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return path


def test_seed_rows_are_read_with_their_slice_and_a_group_of_their_own(tmp_path):
    (found,) = read_seed(write(tmp_path / "s.jsonl", {**CASE, "labels": {"hostile": 1}}))

    assert (found.source, found.group, found.slices, found.labels) == ("seed", "seed:c1", ("s",), {"hostile": 1})
    assert found.comment.post.title == "t"


def test_behaviour_cases_keep_what_they_expect_and_need(tmp_path):
    expect = {"hostile": "low"}

    first, second = read_behaviour(
        write(
            tmp_path / "b.jsonl", {**CASE, "expect": expect}, {**CASE, "id": "c2", "expect": expect, "needs": "encoder"}
        )
    )

    assert (first.expect, first.needs, first.why, second.needs) == (expect, None, "because", "encoder")


@pytest.mark.parametrize(
    "bad",
    [
        "{not json",
        "[]",
        json.dumps({**CASE}),
        json.dumps({**CASE, "labels": {"hostile": 2}}),
        json.dumps({**CASE, "labels": {"hostile": True}}),
        json.dumps({**CASE, "labels": {"rude": 1}}),
        json.dumps({**CASE, "labels": {"hostile": 1}, "extra": 1}),
        json.dumps({**CASE, "labels": {"hostile": 1}, "why": " "}),
        json.dumps({**CASE, "labels": {"hostile": 1}, "comment": {"text": ""}}),
        json.dumps({**CASE, "labels": {"hostile": 1}, "id": "first"}),
    ],
)
def test_bad_seed_line_is_named(tmp_path, bad):
    good = json.dumps({**CASE, "id": "first", "labels": {"hostile": 0}})
    path = tmp_path / "s.jsonl"
    path.write_text(f"{good}\n\n{bad}\n")

    with pytest.raises(InvalidRow) as caught:
        list(read_seed(path))
    assert (caught.value.path, caught.value.line) == (str(path), 3)


# --- the real data ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA_DIR, reason="MODERATION_DATA_DIR names no folder with the public data sets")
def test_real_spam_blogs_share_no_campaign_or_group_with_training():
    catalogue = [source for source in load_catalogue(TRAINING_DATA / "sources.toml") if source.name.startswith("blog-")]
    rows = [item for source in catalogue for item in read_rows(source, Path(DATA_DIR))]

    dataset = build_dataset(rows, load_exclude(TRAINING_DATA / "exclude.txt"), nearest_share=0)

    groups = [{item.group for item in part} for part in (dataset.train, dataset.validation)]
    groups.append({item.group for part in dataset.frozen.values() for item in part})
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    assert groups[2] == {"blog:haacked", "blog:yasoob", "blog:wouterbulten"}
    campaigns = [
        {item.extra["cluster"] for item in part if item.labels.get("spam") == 1}
        for part in (dataset.train, dataset.validation, dataset.frozen["spam-blogs"])
    ]
    assert not (campaigns[0] & campaigns[1] | campaigns[0] & campaigns[2] | campaigns[1] & campaigns[2])
    assert min(map(len, campaigns)) > 100
