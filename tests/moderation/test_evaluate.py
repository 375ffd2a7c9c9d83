"""The figures mean what their names say: worked by hand where that is possible, against the library where not."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from moderation.bundle import load_bundle
from moderation.categories import CODES
from moderation.comment import Author, Comment, Facts, Post, Scores
from moderation.training.card import write_card
from moderation.training.dataset import Report
from moderation.training.evaluate import auc_interval, count_comments, evaluate, recall_at_false_positives
from moderation.training.peers import Peer, Peers
from moderation.training.points import clopper_pearson_upper
from moderation.training.rows import BehaviourCase, Row


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=6, max_size=60))
def test_the_auc_is_scikit_learns_and_lies_in_its_interval(pairs):
    labels = np.array([1, 0, *(label for label, _ in pairs)], float)
    scores = np.array([3, 5, *(score for _, score in pairs)], float)
    auc, low, high = auc_interval(labels, scores)
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    assert low - 0.05 <= auc <= high + 0.05


def test_the_interval_shrinks_with_more_rows():
    random = np.random.default_rng(3)
    widths = []
    for count in (100, 10_000):
        labels = np.arange(count) % 2.0
        _, low, high = auc_interval(labels, labels + random.normal(0, 1, count))
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_recall_at_false_positives_by_hand():
    """Good rows score 0.1 to 1.0. One in ten may be over the line, so it is above 0.9: half of the bad rows pass it."""
    good = np.arange(1, 11) / 10
    bad = np.array([0.95, 0.91, 0.9, 0.2])
    labels = np.array([0] * 10 + [1] * 4, float)
    scores = np.concatenate([good, bad])
    assert recall_at_false_positives(labels, scores, 0.1) == 0.5
    assert recall_at_false_positives(labels, scores, 0.0) == 0.0


def test_the_upper_bound_is_that_of_clopper_and_pearson():
    """Without an event it has a closed form; 299 trials bound the share by one in a hundred (the "rule of three")."""
    assert clopper_pearson_upper(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert clopper_pearson_upper(0, 299) < 0.01 < clopper_pearson_upper(0, 298)
    assert clopper_pearson_upper(5, 5) == 1


def test_a_bundle_is_measured_on_sets_slices_and_cases(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    rude, kind = "you are a worthless idiot, shut up", "thank you for this lovely post"
    rows = [
        Row("made", f"{label}-{n}", Comment(f"{text} {n}"), {"hostile": label}, f"g{n}")
        for label, text in ((1, rude), (0, kind))
        for n in range(25)
    ]
    cases = [
        BehaviourCase("kind", Comment(kind), {"hostile": "low"}, "made", "kindness passes"),
        BehaviourCase("wrong", Comment(kind), {"hostile": "high"}, "made", "this one must fail", "meaning"),
    ]
    figures = evaluate(bundle.assess, bundle.operating_points, {"made": rows, "xstest": rows[25:]}, cases)
    [measured] = figures["sets"]
    assert (measured["set"], measured["category"], measured["rows"], measured["positives"]) == (
        "made",
        "hostile",
        50,
        25,
    )
    assert measured["auc"] > 0.9
    [held] = figures["held"]
    assert (held["set"], held["rows"]) == ("xstest", 25)
    assert figures["behaviour"]["slices"]["made"] == {"cases": 2, "passed": 1, "needs_meaning": 1}
    assert [failed["id"] for failed in figures["behaviour"]["failed"]] == ["wrong"]
    card = write_card((), Report({}, {}, {}, {}, {}, {}, {}), figures)
    assert f"{measured['auc']:.4f}" in card


# What a model of one word does: "vile" is hostile, a link is spam, and it always abstains from off_topic.
WORDS = {"vile": 0.95, "hidden": 0.4}
LINES = {
    "positives": 1_000,
    "negatives": 1_000,
    "points": [
        {"threshold": 0.5, "recall": 0.9, "false_positive_rate": 0.005, "false_positive_rate_upper": 0.01},
        {"threshold": 0.9, "recall": 0.6, "false_positive_rate": 0.0, "false_positive_rate_upper": 0.003},
    ],
}
POINTS = {"format": 1, "tiers": {"full": dict.fromkeys(CODES, LINES)}}
SAFE = dict.fromkeys(("insult", "threat", "identity_attack", "profanity", "severe"), 0.0)


def make_assess(seen, tier="full"):
    def assess(comments):
        seen.extend(comments)
        results = []
        for comment in comments:
            hostile = max((score for word, score in WORDS.items() if word in comment.text), default=0.05)
            has_link = "http" in comment.text or ".com" in comment.text or bool(comment.author and comment.author.url)
            scores = Scores(hostile=hostile, spam=0.97 if has_link else 0.01, off_topic=None, **SAFE)
            results.append((scores, Facts(tier=tier)))
        return results

    return assess


def row(number, text, labels, **more):
    return Row("made", str(number), Comment(text), labels, f"g{number}", **more)


def two_kinds(count=40, part=()):
    return [
        row(number, f"{'vile' if number % 2 else 'kind'} words {number}", {"hostile": number % 2}, slices=part)
        for number in range(count)
    ]


def sets():
    """One row set per trial, so small that every figure can be worked out by hand."""
    pairs = [
        row(
            f"{kind}-{n}",
            f"{word} {n}",
            {"hostile": 1},
            slices=(kind,),
            extra={"pair": str(n)},
        )
        for n in range(10)
        for kind, word in (("clean", "vile"), ("perturbed", "vile" if n < 7 else "hidden"))
    ]
    blog = [
        Row(
            "made",
            f"b{n}",
            Comment(f"On the {n}th day", author=Author(name="Ann"), post=Post(id=str(n % 2), title=f"Post {n % 2}")),
            {"spam": 0},
            "blog:one",
        )
        for n in range(30)
    ]
    # The second of them is called hostile by itself; what is off topic, and what is short, is not taken.
    long = [
        *(row(f"t{n}", f"{'vile' if n == 1 else 'Kind'} trees grow slowly. " * 25, {"off_topic": 0}) for n in range(4)),
        row("t4", "vile trees grow slowly. " * 25, {"off_topic": 1}),
        row("t5", "vile trees grow slowly.", {"off_topic": 0}),
    ]
    spam = [row(f"s{n}", f"Buy at http://shop{n}.example", {"spam": 1}) for n in range(30)]
    identities = [
        row(f"i{n}", f"{'vile' if n % 2 else word} person {n}", {"hostile": n % 2}, slices=(f"identity-{name}",))
        for n in range(20)
        for name, word in (("old", "kind"), ("young", "hidden"))
    ]
    spans = [
        row("w1", "vile words", {}, extra={"spans": "[0, 1, 2, 3]"}),
        row("w2", "kind words", {}, extra={"spans": "[]"}),
    ]
    return {
        "bias-madlibs": identities,
        "counsel-chat": [row(n, "kind words", {"hostile": 0}, slices=("answer",)) for n in range(5)]
        + [row(5, "vile words", {"hostile": 0}, slices=("question",))],
        "fox-news": two_kinds(400),
        "kaggle-insults": two_kinds(),
        "noisyhate": pairs,
        "spam-blogs": blog + spam,
        "topic-blogs": long,
        "toxic-spans-why": spans,
    }


@pytest.fixture(scope="module")
def measured():
    """Everything measured of the model of one word, and what it was asked."""
    seen = []
    peer = Peer("coin", "always the same", "hostile", lambda comments: [0.5] * len(comments), line=0.5)
    cases = [
        BehaviourCase("d1", Comment("I feel vile today"), {"hostile": "low"}, "distress", "says so of itself"),
        BehaviourCase("d2", Comment("I cannot sleep"), {"hostile": "low"}, "distress", "says so of itself"),
    ]
    figures = evaluate(
        make_assess(seen),
        POINTS,
        sets(),
        cases,
        why=lambda comment: set(range(4)) if "vile" in comment.text else set(),
        peers=Peers((peer,), {"other": "install it"}),
    )
    return figures, seen, cases


def test_every_set_is_scored_once(measured):
    figures, seen, cases = measured
    assert len(seen) == count_comments(sets(), cases)
    assert figures["tiers"] == {"full": sum(len(rows) for name, rows in sets().items() if name != "toxic-spans-why")}


def test_lines_are_those_of_the_tier_that_answered(measured):
    figures, _, _ = measured
    [kaggle] = [item for item in figures["sets"] if item["set"] == "kaggle-insults"]
    assert figures["lines"]["full"]["hostile"]["hold"] == 0.5
    assert (kaggle["at_hold"]["recall"], kaggle["at_hold"]["false_positive_rate"]) == (1, 0)
    assert kaggle["average_precision"] == 1
    assert figures["calibrated_on"]["full"]["spam"] == {"rows": 2_000, "share": 0.5, "base_rate": 0.5}


def test_a_tier_without_measurements_holds_everything():
    """Lines fail towards a person, and the figures show it."""
    figures = evaluate(make_assess([], "lexical"), POINTS, {"xstest": two_kinds()}, [])
    assert figures["held"][0]["share"] == 1


def test_the_rate_that_scores_are_calibrated_to_is_what_training_says():
    points = {"format": 1, "tiers": {"full": {"hostile": {**LINES, "calibrated_to": 0.1}}}}
    figures = evaluate(make_assess([]), points, {}, [])
    assert figures["calibrated_on"]["full"]["hostile"] == {"rows": 2_000, "share": 0.5, "base_rate": 0.1}


def test_spelling_that_hides_words_loses_what_it_hides(measured):
    spelling = measured[0]["spelling"]
    assert (spelling["pairs"], spelling["clean"], spelling["perturbed"]) == (10, 1, 0.7)
    assert spelling["lost"] == pytest.approx(0.3)


def test_attacks_are_compared_on_the_same_rows(measured):
    attacks = measured[0]["attacks"]
    assert {item["attack"] for item in attacks} == {"zero-width", "look-alikes", "spaced", "leet", "doubled"}
    for item in attacks:
        assert item["auc_before"] == 1
        assert item["loss"] == pytest.approx(1 - item["auc"], abs=1e-4)


def test_abuse_is_buried_in_long_genuine_comments(measured):
    figures, seen, _ = measured
    assert figures["buried"] == {"rows": 20, "middle": 1, "end": 1, "around": 4, "held_around": 0.25}
    buried = [comment.text for comment in seen if "trees" in comment.text and "words" in comment.text]
    assert sum(text.endswith(f"vile words {text.split()[-1]}") for text in buried) not in {0, 20}


def test_what_is_buried_is_measured_beside_what_is_found_alone():
    rows = [row(n, f"vile words {n}", {"hostile": 1}) for n in range(20)] + [row("k", "kind words", {"hostile": 0})]
    around = [row("t", "kind trees grow slowly. " * 25, {"off_topic": 0})]

    def assess(comments):
        return make_assess([])([Comment(comment.text[:30] + comment.text[-1:]) for comment in comments])

    found = evaluate(assess, POINTS, {"kaggle-insults": rows, "topic-blogs": around}, [])["buried"]
    assert (found["rows"], found["middle"], found["end"], found["held_around"]) == (20, 0, 0, 0)


def test_copies_with_a_link_are_caught_by_a_model_that_sees_links(measured):
    copied = {item["slice"]: item for item in measured[0]["copied"]}
    assert copied[""]["rows"] == 30 == copied["own-post"]["rows"] + copied["other-post"]["rows"]
    assert copied[""]["recall_at_1_percent"] == 1


def test_the_gap_between_identities_is_that_of_their_mean_scores(measured):
    identities = measured[0]["identities"]
    assert identities["largest_gap"] == pytest.approx(0.35)
    by_name = {item["identity"]: item for item in identities["identities"]}
    assert by_name["young"]["harmless_mean"] == pytest.approx(0.4)
    assert by_name["old"]["subgroup"] == 1


def test_held_is_counted_by_slice_and_reason(measured):
    held = {(item["set"], item["slice"]): item for item in measured[0]["held"]}
    assert (held["counsel-chat", ""]["held"], held["counsel-chat", "answer"]["held"]) == (1, 0)
    assert held["counsel-chat", "question"]["reasons"] == {"hostile": 1}
    assert held["behaviour", "distress"]["share"] == 0.5


def test_why_is_measured_text_by_text(measured):
    assert measured[0]["why"]["f1"] == 1
    assert measured[0]["why"]["unmarked"] == 1


def test_calibration_is_measured_where_the_rate_is_natural(measured):
    [fox] = [item for item in measured[0]["calibration"] if item["set"] == "fox-news"]
    assert (fox["rows"], fox["base_rate"]) == (400, 0.5)
    assert fox["ece"] == pytest.approx(0.05)
    assert {item["set"] for item in measured[0]["calibration"]} == {"fox-news"}


def test_a_peer_and_ours_are_measured_on_the_same_rows(measured):
    peers = measured[0]["peers"]
    compared = {item["set"]: item for item in peers["compared"]}
    assert (compared["kaggle-insults"]["auc"], compared["kaggle-insults"]["our_auc"]) == (0.5, 1)
    assert compared["counsel-chat"]["share_over_its_line"] == 1
    assert peers["skipped"] == {"other": "install it"}


def test_figures_are_plain_hold_no_text_and_come_out_the_same(measured):
    figures, _, cases = measured
    again = evaluate(make_assess([]), POINTS, sets(), cases)
    written = json.dumps(figures)
    assert json.loads(written) == figures
    assert "vile" not in written
    assert "words" not in written
    for section in ("sets", "held", "attacks", "buried", "copied", "identities", "behaviour"):
        assert again[section] == figures[section]
    assert "why" not in again
    assert "peers" not in again
