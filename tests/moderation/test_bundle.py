"""A bundle is believed only when every byte, shape and score is what its manifest says."""

import json
import shutil

import numpy as np
import pytest

from moderation.bundle import FILES, current_bundle, load_bundle, publish_bundle
from moderation.comment import Comment
from moderation.errors import BundleCorrupt, BundleError, BundleMissing, BundleUnsupported
from moderation.training.train import train_bundle


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A copy of the bundle that a test may spoil."""
    return shutil.copytree(tiny_bundle, tmp_path / "models" / tiny_bundle.name)


def test_a_bundle_loads_and_scores(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    scores, facts = bundle.assess([Comment("Thank you, this helped me a lot.")])[0]
    assert 0 <= scores.hostile <= 1
    assert scores.off_topic is None
    assert (facts.bundle, facts.tier) == (tiny_bundle.name, "lexical")


def test_scores_are_those_of_the_model_that_was_fitted(tiny_bundle):
    """Nothing is lost on the way to disk: the probes say so for the scores, this for what the bundle is."""
    probes = [json.loads(line) for line in (tiny_bundle / "probes.jsonl").read_text().splitlines()]
    assert len(probes) >= 20
    scored = load_bundle(tiny_bundle).model.score([Comment.from_dict(probe["comment"]) for probe in probes])
    assert [scores.to_dict() for scores in scored] == [probe["scores"] for probe in probes]


def test_the_same_rows_give_the_same_bytes(tiny_bundle, tiny_ingredients, tmp_path):
    again = train_bundle(tiny_ingredients, tmp_path, jobs=2)
    assert again.name == tiny_bundle.name
    for name in ("manifest.json", *FILES):
        assert (again / name).read_bytes() == (tiny_bundle / name).read_bytes(), name


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_in_any_file_is_noticed(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleCorrupt, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_missing_file_is_noticed(copy, name):
    (copy / name).unlink()
    with pytest.raises(BundleCorrupt, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_truncated_file_is_noticed(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_a_flipped_byte_in_the_manifest_is_noticed(copy):
    """The folder's name is the manifest's hash, so even a change of a licence in it shows."""
    content = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(content.replace('"python"', '"pythos"'))
    with pytest.raises(BundleCorrupt, match="hash"):
        load_bundle(copy)


def test_a_newer_format_is_refused_with_what_to_do(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format": 99, "unheard_of": True}))
    with pytest.raises(BundleUnsupported, match=r"99.*update"):
        load_bundle(copy)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"format": "1"}', "{" * 100_000, "\xff"])
def test_a_manifest_that_is_none_is_refused(copy, content):
    (copy / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(BundleCorrupt):
        load_bundle(copy)


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(BundleMissing):
        load_bundle(tmp_path / "nothing")
    with pytest.raises(BundleMissing, match="no bundle is published"):
        current_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", "..", "../elsewhere", "/etc", "comments-000000000000"])
def test_current_never_leads_out_of_its_folder(tmp_path, name):
    (tmp_path / "current").write_text(name + "\n")
    with pytest.raises(BundleMissing):
        current_bundle(tmp_path)


def test_publishing_names_the_bundle_and_remembers(copy):
    publish_bundle(copy, note="first")
    publish_bundle(copy, note="again")
    assert current_bundle(copy.parent) == copy
    history = [json.loads(line) for line in (copy.parent / "published.jsonl").read_text().splitlines()]
    assert [entry["note"] for entry in history] == ["first", "again"]
    assert all(entry["bundle"] == copy.name for entry in history)


def test_what_does_not_load_is_not_published(copy):
    (copy / "MODEL_CARD.md").write_text("other")
    with pytest.raises(BundleCorrupt):
        publish_bundle(copy, note="broken")
    assert not (copy.parent / "current").exists()


def test_a_bundle_holds_no_pickle_and_no_text_of_training_rows(tiny_bundle, tiny_ingredients):
    everything = b"".join((tiny_bundle / name).read_bytes() for name in FILES)
    assert np.lib.format.MAGIC_PREFIX not in everything
    assert not [path for path in tiny_bundle.iterdir() if path.suffix in {".pkl", ".pickle", ".joblib", ".npz"}]
    for row in tiny_ingredients.dataset.train:
        if len(row.comment.text) > 40:
            assert json.dumps(row.comment.text, ensure_ascii=False)[1:-1].encode() not in everything
