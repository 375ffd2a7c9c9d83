"""The goals and the page: from figures to words that are true, and a page that needs nothing else."""

import importlib.util
import re
from html.parser import HTMLParser

import pytest

from moderation.training import report
from moderation.training.card import write_card
from moderation.training.dataset import Report
from moderation.training.headline import GOALS, headlines
from moderation.training.report import ReportUnavailable, write_report

POINT = {
    "over": 20, "recall": 0.5, "recall_low": 0.4, "recall_high": 0.6, "precision": 0.9, "false_positive_rate": 0.02,
    "false_positive_rate_low": 0.01, "false_positive_rate_high": 0.03,
}  # fmt: skip
MEASURED = {
    "rows": 100, "positives": 50, "abstained": 0, "auc": 0.92, "auc_low": 0.9, "auc_high": 0.94,
    "average_precision": 0.91, "recall_at_1_percent": 0.5,
}  # fmt: skip
EVALUATION = {
    "format": 2,
    "bundle": "comments-<script>",
    "tiers": {"full": 100},
    "lines": {"full": {"hostile": {"hold": 0.8, "reject": None}}},
    "calibrated_on": {"full": {"hostile": {"rows": 3_000, "share": 0.2, "base_rate": 0.1}}},
    "sets": [
        {
            "set": "kaggle-insults", "slice": "", "category": "hostile", **MEASURED, "at_hold": POINT,
            "roc": [[0, 0], [0.1, 0.8], [1, 1]], "precision_recall": [[0.1, 1], [1, 0.5]],
            "spread": {"bad": [0, 10, 40], "good": [40, 10, 0]},
        }
    ],
    "calibration": [
        {
            "set": "jigsaw", "slice": "natural-rate", "category": "hostile", "rows": 800, "base_rate": 0.1,
            "mean_score": 0.11, "brier": 0.05, "ece": 0.02,
            "bins": [{"rows": 700, "score": 0.03, "share": 0.02}, {"rows": 100, "score": 0.7, "share": 0.65}],
        }
    ],
    "held": [{"set": "xstest", "slice": "", "rows": 250, "held": 20, "share": 0.08, "share_low": 0.05,
              "share_high": 0.12, "reasons": {"threat": 20}}],
    "behaviour": {
        "slices": {"distress": {"cases": 2, "passed": 1, "needs_meaning": 0}},
        "failed": [{"id": "behaviour-distress-001", "categories": ["hostile"], "needs": None}],
    },
    "attacks": [{"attack": "leet", "rows": 100, "auc_before": 0.92, "auc": 0.89, "loss": 0.03, "loss_low": 0.02,
                 "loss_high": 0.04, "recall_before": 0.5, "recall": 0.4}],
    "spelling": {"pairs": 9, "clean": 0.5, "perturbed": 0.4, "lost": 0.1, "lost_low": 0.05, "lost_high": 0.15},
    "copied": [{"slice": "", "rows": 9, "recall_at_1_percent": 0.95, "recall_low": 0.7, "recall_high": 1.0,
                "recall_at_hold": 0.9}],
    "identities": {
        "harmless_rows": 9, "harmless_mean": 0.1, "largest_gap": 0.04, "largest_from_mean": 0.02,
        "identities": [
            {"identity": "old", "rows": 5, "harmless_mean": 0.08, "subgroup": 0.9, "bpsn": 0.9, "bnsp": None},
            {"identity": "deaf", "rows": 4, "harmless_mean": 0.12, "subgroup": None, "bpsn": 0.8, "bnsp": 0.9},
        ],
    },
    "why": {"rows": 9, "unmarked": 2, "pointed_at": 6, "f1": 0.61, "f1_low": 0.5, "f1_high": 0.7},
    "peers": {
        "about": {"one": "a <peer>"},
        "skipped": {"two": "apt-get install two"},
        "compared": [
            {"peer": "one", "set": "kaggle-insults", "slice": "", "category": "hostile", "rows": 9, "auc": 0.8,
             "our_auc": 0.9, "recall_at_1_percent": 0.1, "our_recall_at_1_percent": 0.2},
            {"peer": "one", "set": "xstest", "slice": "", "category": "hostile", "rows": 9,
             "share_over_its_line": 0.3},
        ],
    },
}  # fmt: skip
# What bundles of the first version hold.
EARLIER = {
    "sets": [{"set": "kaggle-insults", "slice": "", "category": "hostile", **MEASURED}],
    "held": [{"set": "xstest", "slice": "", "rows": 250, "held": 20, "share": 0.08}],
    "behaviour": EVALUATION["behaviour"],
}
del EARLIER["sets"][0]["average_precision"]


def states(evaluation):
    return {item.what: item.state for item in headlines(evaluation)}


def test_goals_are_reached_or_not_by_the_figures():
    found = states(EVALUATION)
    assert found["kaggle-insults, AUC of hostile"] == "reached"
    assert found["kaggle-insults, leet: AUC lost"] == "not reached"
    assert found["held by mistake, harmless prompts with violent words (xstest)"] == "not reached"
    assert found["genuine comment copied, link added: recall at the same threshold"] == "reached"
    assert found["calibration error (ECE) of the worst head at natural rates"] == "reached"
    assert found["spam on blogs never seen, AUC"] == "not measured"


def test_what_an_earlier_evaluation_lacks_is_not_measured():
    assert set(states({"sets": []}).values()) == {"not measured"}
    assert states(EARLIER)["kaggle-insults, AUC of hostile"] == "reached"
    assert len(states(EARLIER)) == len(GOALS)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_no_goal_is_reached_without_its_figure(goal):
    assert goal.find({}) is None


def test_the_card_says_which_goals_are_missed_and_what_rates_heads_were_calibrated_at():
    card = write_card((), Report({}, {}, {}, {}, {}, {}, {}), EVALUATION)
    assert "| kaggle-insults, leet: AUC lost | at most 0.020 | 0.030 | not reached |" in card
    assert "| full | hostile | 3,000 | 20.0% | 10.0% |" in card
    assert "encoder" in card


def test_the_card_of_an_earlier_evaluation_is_written_too():
    card = write_card((), Report({}, {}, {}, {}, {}, {}, {}), EARLIER)
    assert "not measured" in card
    assert "calibrated to" not in card


class Page(HTMLParser):
    """What matters of the page: addresses, ids, open elements."""

    def __init__(self):
        super().__init__()
        self.addresses, self.ids, self.open, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "poster"):
                self.addresses.append(value)
            elif name == "id":
                self.ids.append(value)
        if tag not in ("meta", "link", "br", "img", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "link", "br", "img", "hr"):
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("evaluation", [EVALUATION, EARLIER], ids=["whole", "earlier"])
def test_the_page_stands_alone(evaluation):
    """Nothing is fetched, every id is there once, every element is closed, colours are the page's own."""
    html = write_report(evaluation)
    page = Page()
    page.feed(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {address for address in page.addresses if not address.startswith("#")} == set()
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert not re.search(r"url\((?!#)|@import|<script", html)
    assert "prefers-color-scheme: dark" in html
    assert "#010101" not in html


def test_the_page_holds_every_section_and_escapes_what_it_shows():
    html = write_report(EVALUATION)
    for part in ("goals", "sets", "curves", "calibration", "spreads", "attacks", "why", "held", "identities"):
        assert f'<section id="{part}">' in html
    assert html.count("<svg") == 8
    assert html.count("<table") >= 10
    assert "behaviour-distress-001" in html
    assert "two</b> was skipped: apt-get install two" in html
    assert "<script" not in html
    assert "a &lt;peer&gt;" in html


def test_the_same_figures_give_the_same_page():
    assert write_report(EVALUATION) == write_report(EVALUATION)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ReportUnavailable, match=r"\.\[report\]"):
        report.check_report()
