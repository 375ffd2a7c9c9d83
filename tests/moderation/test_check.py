"""Whom a check of labels finds at odds: sites with norms of their own, planted bad accounts, labels in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from moderation.categories import CODES
from moderation.comment import Comment
from moderation.training.accounts import Accounts, distrust, weigh_accounts
from moderation.training.agreement import Flood, Odds, find_odds, find_suspects
from moderation.training.check import Check, check_labels
from moderation.training.labels import Label, Trust

KINDS = {
    "fine": ((), 0.6),
    "rude": (("hostile", "insult", "profanity"), 0.15),
    "cold": (("hostile",), 0.1),
    "spam": (("spam",), 0.15),
}
RUDE = frozenset({"hostile", "insult", "profanity"})
STRICT, ROUGH = "https://strict.example", "https://rough.example"


@dataclass(frozen=True)
class Moderator:
    """Slips on a share of the comments; or approves all (``lazy``), or everything bad and rejects what is good."""

    name: str
    slips: float = 0.0
    way: str = "honest"

    def judge(self, true: frozenset[str], chance: np.random.Generator) -> frozenset[str]:
        if self.way == "lazy":
            return frozenset()
        if self.way == "hostile":
            return frozenset() if true else frozenset({"spam"})
        if chance.random() >= self.slips:
            return true
        return frozenset() if true else frozenset({str(chance.choice(["spam", "hostile"]))})


ADA, BEN, CHI, DAN = Moderator("Ada", 0.02), Moderator("Ben", 0.03), Moderator("Chi", 0.04), Moderator("Dan", 0.03)
EVE, FAY = Moderator("Eve", 0.02), Moderator("Fay", 0.05)
LAZY, MALLORY = Moderator("Lazy", way="lazy"), Moderator("Mallory", way="hostile")


def make_labels(seed, *parts):
    """Labels of sites, each ``(site, welcome, moderators, how many)``, and what a model says of their comments."""
    chance = np.random.default_rng(seed)
    labels, said = [], {}
    for site, welcome, moderators, count in parts:
        for number in range(count):
            kind = str(chance.choice([*KINDS], p=[share for _, share in KINDS.values()]))
            logits = chance.normal(-3, 1.6, len(CODES))
            logits[[CODES.index(code) for code in KINDS[kind][0]]] += 5
            moderator = moderators[chance.integers(len(moderators))]
            found = moderator.judge(frozenset(KINDS[kind][0]) - welcome, chance)
            values = dict.fromkeys(sorted(found), 1) or {code: 0 for code in CODES if code != "off_topic"}
            comment = Comment(f"{site} {number}", id=f"{number}", site=site)
            labels.append(Label(comment, values, moderator.name, comment.digest()))
            said[comment.text] = logits
    return labels, lambda asked: np.array([said[label.comment.text] for label in asked])


def weigh(labels, features, trust=None):
    def look(some):
        return check_labels(some, lambda text: [hash(text)], features)

    return weigh_accounts(labels, look(labels), look, trust or Trust())


@pytest.mark.parametrize("seed", range(4))
def test_honest_moderators_of_a_site_with_its_own_norm_are_believed(seed):
    """Nobody judges both sites, and what one of them rejects is welcome on the other."""
    labels, features = make_labels(
        seed, (STRICT, frozenset(), (ADA, BEN, CHI, DAN), 440), (ROUGH, RUDE, (EVE, FAY), 260)
    )
    assert weigh(labels, features) == Accounts()


@pytest.mark.parametrize("seed", range(4))
def test_bad_accounts_are_found_who_judge_on_both_sites_beside_good_ones(seed):
    everybody = (ADA, BEN, CHI, DAN, LAZY, MALLORY)
    labels, features = make_labels(seed, (STRICT, frozenset(), everybody, 400), (ROUGH, RUDE, everybody, 400))
    found = weigh(labels, features)
    assert found.left_out.keys() == {"Lazy", "Mallory"}
    assert found.kept == {}


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_account_is_found_on_one_of_two_sites(seed):
    labels, features = make_labels(
        seed, (STRICT, frozenset(), (ADA, BEN, CHI, DAN, MALLORY), 500), (ROUGH, RUDE, (EVE, FAY), 260)
    )
    assert weigh(labels, features).left_out.keys() == {"Mallory"}


def test_labels_in_another_order_are_in_doubt_alike():
    labels, features = make_labels(1, (STRICT, frozenset(), (ADA, BEN, MALLORY), 300))

    def doubts(some):
        found = check_labels(some, lambda text: [hash(text)], features)
        return [(doubt.label.comment.id, doubt.category) for doubt in found.doubts], found.contradicted

    assert doubts(labels)[0]
    assert doubts(labels) == doubts(labels[::-1])


def test_who_is_alone_on_a_site_is_held_against_nobody():
    many = {"Ada": (200, 4), "Ben": (200, 6)}
    assert find_odds({"a": many, "b": {"Eve": (100, 60)}}) == []
    [odds] = find_odds({"a": {**many, "Eve": (100, 60)}, "b": {"Eve": (50, 0)}})
    assert (odds.moderator, odds.comments, odds.contradicted) == ("Eve", 100, 60)


def test_what_is_usual_is_that_of_the_own_sites():
    calm = {"Ada": (200, 4), "Ben": (200, 6), "Chi": (200, 4)}
    assert find_odds({"a": calm, "b": {"Eve": (200, 60), "Fay": (200, 60)}}) == []
    assert [odds.moderator for odds in find_odds({"a": {**calm, "Eve": (200, 60), "Fay": (200, 60)}})] == ["Eve", "Fay"]
    # A little on each of two sites adds up.
    little = {"Ada": (100, 2), "Ben": (100, 3), "Chi": (100, 2), "Eve": (60, 6)}
    assert find_odds({"a": little}) == []
    assert [odds.moderator for odds in find_odds({"a": little, "b": little})] == ["Eve"]


def test_nobody_is_held_against_one_who_has_judged_hardly_anything():
    assert find_odds({None: {"Ada": (100, 8), "Ben": (3, 0)}}) == []
    assert [odds.moderator for odds in find_odds({None: {"Ada": (100, 30), "Ben": (300, 6)}})] == ["Ada"]


def test_a_site_has_an_intercept_of_its_own():
    chance = np.random.default_rng(4)
    truth = np.repeat([0, 1], 200)
    features = chance.normal(truth[:, None] * 4.0, 1, (400, 2))
    sites = np.array(["a", "b"] * 200)
    given = np.where(sites == "b", 0, truth)

    def doubted(**more):
        return sum(each.is_confident for each in find_suspects(features, given, **more))

    assert doubted(sites=sites.tolist()) < doubted() / 2


# --- who is left out, and who is kept --------------------------------------------------------------------------------


def label(who, site, number):
    comment = Comment(f"{site} {who} {number}", id=f"{who} {number}", site=site)
    return Label(comment, {"spam": 0}, who, comment.digest())


def found(contradicted=(), floods=()):
    odds = [Odds(who, 100, 50, 0.05) for who in contradicted]
    flood = [Flood(who, 300, 300, 300, 0.5) for who in floods]
    return Check(0, 0, {}, [], [], [], [], [], flood, [], odds)


ALL = [label(who, site, n) for who, site in (("Ada", "a"), ("Ben", "a"), ("Eve", "b"), ("Fay", "b")) for n in range(3)]


def test_accounts_that_are_all_a_site_has_are_kept_and_named():
    accounts = weigh_accounts(ALL, found(["Ada", "Eve", "Fay"]), lambda _: found(), Trust())
    assert accounts.left_out.keys() == {"Ada"}
    assert {site: [*who] for site, who in accounts.kept.items()} == {"b": ["Eve", "Fay"]}
    assert accounts.kept["b"]["Eve"] == "the model contradicts 50 of its 100 comments"
    assert accounts.apply(Trust(moderators={"Ben": 0.5})).moderators == {"Ben": 0.5, "Ada": 0.0}


def test_a_flood_on_a_site_where_nobody_else_labels_is_kept():
    labels = [each for each in ALL if each.moderator != "Fay"]
    assert weigh_accounts(labels, found(floods=["Eve"]), lambda _: found(), Trust()).kept.keys() == {"b"}
    assert weigh_accounts(ALL, found(floods=["Eve"]), lambda _: found(), Trust()).left_out.keys() == {"Eve"}


def test_the_last_account_of_a_site_found_in_a_later_look_brings_back_the_first():
    looked = []

    def look(rest):
        looked.append({each.moderator for each in rest})
        return found(["Fay"])

    accounts = weigh_accounts(ALL, found(["Eve"]), look, Trust())
    assert looked[0] == {"Ada", "Ben", "Fay"}
    assert (accounts.left_out, {site: [*who] for site, who in accounts.kept.items()}) == ({}, {"b": ["Eve", "Fay"]})


def test_whom_somebody_has_named_in_trust_toml_is_no_question_any_more():
    named = found(["Ada", "Eve", "Fay"])
    believed = Trust(moderators={"Eve": 1.0, "Fay": 1.0})
    assert weigh_accounts(ALL, named, lambda _: found(), believed).kept == {}
    assert distrust(named, believed).keys() == {"Ada"}
    # Who counts for nothing is nobody that the site has left.
    assert weigh_accounts(ALL, named, lambda _: found(), Trust(moderators={"Fay": 0.0})).kept.keys() == {"b"}
