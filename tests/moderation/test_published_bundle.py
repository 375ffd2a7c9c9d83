"""The bundle that is shipped: intact, as good as it says, and with the manners that its behaviour cases ask for."""

import json
import os
from pathlib import Path

import pytest

from moderation.bundle import load_bundle
from moderation.comment import Comment, Neighbour, Post
from moderation.policy import Policy, default_policy_toml
from moderation.record import current_bundle
from moderation.shipped import shipped_folder
from moderation.training.evaluate import evaluate
from moderation.training.rows import read_behaviour
from moderation.training.train import gather

DATA_DIR = os.environ.get("MODERATION_DATA_DIR")
# What the published bundle reaches or exceeds: (set, slice, category) -> ROC AUC. Raise it with a better bundle.
FLOORS = {
    ("kaggle-insults", "", "hostile"): 0.915,
    ("jigsaw", "", "hostile"): 0.943,
    ("hatemoji-check", "", "hostile"): 0.85,
    ("spam-blogs", "", "spam"): 0.975,
    ("topic-blogs", "moved-random", "off_topic"): 0.93,
}


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(current_bundle(shipped_folder("models")))


@pytest.fixture(scope="module")
def evaluation(bundle):
    return json.loads((bundle.path / "evaluation.json").read_text(encoding="utf-8"))


def test_its_own_figures_reach_the_floors(evaluation):
    measured = {(item["set"], item["slice"], item["category"]): item["auc"] for item in evaluation["sets"]}
    assert {key: measured[key] for key, floor in FLOORS.items() if measured[key] < floor} == {}


@pytest.mark.skipif(DATA_DIR is None, reason="the public data sets are not here: MODERATION_DATA_DIR is not set")
def test_it_scores_what_it_says_on_real_frozen_rows(bundle, evaluation):
    """The figures in the bundle are measurements, not claims: measured again, they come out the same."""
    names = ("jigsaw-predibase", "kaggle-insults")
    frozen = gather(shipped_folder("training_data"), Path(DATA_DIR or ""), only=names).dataset.frozen
    for assess, figures, exact in tiers(bundle, evaluation):
        again = evaluate(assess, bundle.operating_points, frozen, [], with_trials=False)["sets"]
        before = {(item["set"], item["slice"], item["category"]): item for item in figures["sets"]}
        assert {item["set"] for item in again} == {"jigsaw", "kaggle-insults"}
        for item in again:
            said = before[item["set"], item["slice"], item["category"]]
            if exact:
                assert {name: item[name] for name in said} == said
            else:
                assert [item[name] for name in ("rows", "positives")] == [said[name] for name in ("rows", "positives")]
                assert item["auc"] == pytest.approx(said["auc"], abs=0.003)
                assert item["average_precision"] == pytest.approx(said["average_precision"], abs=0.01)


def test_its_behaviour_figures_are_those_of_the_cases(bundle, evaluation):
    folder = shipped_folder("training_data") / "behaviour"
    cases = [case for path in sorted(folder.glob("*.jsonl")) for case in read_behaviour(path)]
    for assess, figures, exact in tiers(bundle, evaluation):
        again = evaluate(assess, bundle.operating_points, {}, cases)["behaviour"]
        if exact:
            assert again == figures["behaviour"]
        else:
            one, other = ({case["id"] for case in found["failed"]} for found in (again, figures["behaviour"]))
            assert len(one ^ other) <= len(cases) / 100


def tiers(bundle, evaluation):
    """Each tier with its figures, and whether they must come out the same to the last digit.

    The encoder computes in 8 and 32 bits at once, and processors round the latter differently (decision 2): nearly the
    same scores elsewhere, a handful of them on the other side of a line.
    """
    yield bundle.model.lexical_tier().assess, evaluation.get("lexical", evaluation), True
    if bundle.model.full is not None:
        yield bundle.assess, evaluation, False


@pytest.mark.parametrize(
    "name",
    [
        "distress",
        "self-disclosure",
        "self-talk",
        "one-word",
        "violent-words",
        "genuine-advice",
    ],
)
def test_harmless_people_pass(evaluation, name):
    """What must not happen on sensitive ground does not."""
    measured = evaluation["behaviour"]["slices"][name]
    assert measured["passed"] == measured["cases"]


@pytest.mark.parametrize("name", ["counter-speech", "identity-mention"])
def test_who_answers_hate_or_says_who_they_are_is_hardly_ever_held(evaluation, name):
    """One of twelve is, who quotes much of what they answer, or is done with everybody: it must not become more."""
    measured = evaluation["behaviour"]["slices"][name]
    assert measured["cases"] - measured["passed"] <= 1


POST = Post(
    title="Learning to ask for help",
    text=(
        "It took me ten years to say the word depression to a doctor. This post is about the group that meets in the "
        "library on Thursdays, what we talk about there, and why none of us is paid to listen."
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "I was drunk most evenings of that year and nobody at work knew. The group was where I first said it aloud.",
        "Typo in the second line, it should say Tuesdays.",
        "Thanks for answering, I would be glad to hear how it goes on. Is the library easy to reach by bus?",
        "The health service let us all down, and the people in charge should be ashamed of the waiting lists.",
    ],
)
def test_comments_under_a_post_on_mental_health_are_published(bundle, text):
    policy = Policy.parse(default_policy_toml(), bundle.operating_points)
    comment = Comment(text, post=POST, parent=Neighbour(text="Does it help?"))
    [(scores, facts)] = bundle.assess([comment])
    assert policy.decide(comment, scores, facts).action == "publish"
