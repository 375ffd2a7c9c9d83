"""What a bundle says of its making, and both tiers side by side."""

import json
from xml.etree import ElementTree as ET

import pytest

from moderation.bundle import encoder_folder
from moderation.training.card import write_card
from moderation.training.dataset import Report
from moderation.training.fuse import FULL_RECIPES
from moderation.training.plots import draw_losses
from moderation.training.train import LIBRARIES, read_encoder_facts

FACTS = {"base": {"name": "a base", "licence": "Apache-2.0"}, "steps": 7}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def full_bundle(tiny_bundle):
    if encoder_folder(tiny_bundle) is None:
        pytest.skip("no encoder is shipped with this checkout")
    return tiny_bundle


def test_the_manifest_names_every_library_that_scores_depend_on(tiny_bundle):
    assert set(read(tiny_bundle / "manifest.json")["made_with"]) == {"python", *LIBRARIES}
    assert {"numpy", "onnxruntime", "tokenizers"} <= set(LIBRARIES)


def test_the_manifest_says_how_the_full_tier_was_fitted_and_on_which_encoder(full_bundle):
    trained_on = read(full_bundle / "manifest.json")["trained_on"]
    assert trained_on["full_recipes"] == {code: repr(recipe) for code, recipe in FULL_RECIPES.items()}
    assert len(trained_on["encoder"]["digest"]) == 64


def test_both_tiers_are_measured_on_the_same_rows(full_bundle):
    evaluation = read(full_bundle / "evaluation.json")
    alone = evaluation["lexical"]
    assert set(evaluation["tiers"]) == {"full"}
    measured = {(item["set"], item["slice"], item["category"]): item for item in evaluation["sets"]}
    assert measured
    for item in alone["sets"]:
        other = measured.pop((item["set"], item["slice"], item["category"]))
        assert (item["rows"], item["positives"]) == (other["rows"], other["positives"])
        assert "roc" not in item
    assert measured == {}
    cases = {name: item["cases"] for name, item in evaluation["behaviour"]["slices"].items()}
    assert {name: item["cases"] for name, item in alone["behaviour"]["slices"].items()} == cases
    assert {item["auc"] for item in alone["sets"]} != {item["auc"] for item in evaluation["sets"]}


def test_the_card_shows_both_tiers(full_bundle):
    evaluation = read(full_bundle / "evaluation.json")
    card = (full_bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    (item, *_), (alone, *_) = evaluation["sets"], evaluation["lexical"]["sets"]
    assert f"| {item['set']} | {item['slice']} | {item['category']} | {item['auc']:.4f} | {alone['auc']:.4f} |" in card
    one_tier = {name: part for name, part in evaluation.items() if name != "lexical"}
    assert "lexical alone" not in write_card([], Report({}, {}, {}, {}, {}, {}, {}), one_tier)


class TestEncoderFacts:
    """How an encoder was made is known from its folder, and stays known when it is stored beside a bundle."""

    def test_are_what_lies_beside_it(self, tmp_path):
        (tmp_path / "encoder.json").write_text(json.dumps(FACTS))
        assert read_encoder_facts(tmp_path) == FACTS

    def test_are_what_a_bundle_says_that_names_it(self, tmp_path):
        for name, folder in (("comments-1", "encoder-a"), ("comments-2", "encoder-b"), ("comments-3", None)):
            (tmp_path / name).mkdir()
            manifest = {
                "encoder": folder and {"folder": folder},
                "trained_on": {"encoder": {"digest": "d", **FACTS, "steps": name}},
            }
            (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        assert read_encoder_facts(tmp_path / "encoder-b") == {**FACTS, "steps": "comments-2"}

    def test_are_none_where_nobody_says(self, tmp_path):
        assert read_encoder_facts(tmp_path) == {}


def test_the_losses_are_drawn_once_for_each_step():
    """The log of a run that was taken up again has some steps twice."""
    lines = [{"step": step, "of": 100, "class": 1 / step, "topic": 2.0} for step in range(20, 101, 20)]
    svg = draw_losses(lines)
    assert draw_losses([*lines[:3], {"step": 80, "of": 100, "class": 9.0}, *lines[3:]]) == svg
    assert "var(--" not in svg
    assert ET.fromstring(svg).tag.endswith("svg")
    assert [name for name in ("class", "marks", "topic") if f"loss of {name}" in svg] == ["class", "topic"]
