"""A bundle is believed only when every byte, shape and score is what its manifest says.

Its encoder is the exception: where that cannot be believed, the bundle answers without it and says why.
"""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from moderation.bundle import ENCODER_FILES, FILES, encoder_folder, load_bundle
from moderation.comment import Comment, Post
from moderation.errors import BundleCorrupt, BundleError, BundleMissing, BundleUnsupported
from moderation.record import current_bundle
from moderation.releases import publish_bundle
from moderation.training.train import train_bundle


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    """A copy of the bundle, with its encoder, that a test may spoil."""
    if encoder_folder(tiny_bundle) is not None:
        shutil.copytree(encoder_folder(tiny_bundle), tmp_path / "models" / encoder_folder(tiny_bundle).name)
    return shutil.copytree(tiny_bundle, tmp_path / "models" / tiny_bundle.name)


@pytest.fixture
def encoder(copy):
    """The folder of the copy's encoder."""
    if encoder_folder(copy) is None:
        pytest.skip("no encoder is shipped with this checkout")
    return encoder_folder(copy)


def read_probes(bundle):
    return [json.loads(line) for line in (bundle / "probes.jsonl").read_text(encoding="utf-8").splitlines()]


def forge(bundle, **changed):
    """The bundle with another entry of its manifest, every hash made right again; its new folder."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in FILES:
        content = (bundle / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    content = json.dumps({**manifest, **changed}, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    (bundle / "manifest.json").write_bytes(content)
    return bundle.rename(bundle.with_name(f"comments-{hashlib.sha256(content).hexdigest()[:12]}"))


def forge_scores(bundle, tier):
    """The bundle with a probe that must get another score in a tier; its new folder."""
    probes = read_probes(bundle)
    probes[0]["scores"][tier]["hostile"] = 1 - probes[0]["scores"][tier]["hostile"]
    (bundle / "probes.jsonl").write_text("".join(json.dumps(probe) + "\n" for probe in probes))
    return forge(bundle)


def test_a_bundle_loads_and_scores(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    scores, facts = bundle.assess([Comment("Thank you, this helped me a lot.")])[0]
    assert 0 <= scores.hostile <= 1
    assert scores.off_topic is None
    tier = "lexical" if encoder_folder(tiny_bundle) is None else "full"
    assert (facts.bundle, facts.tier, facts.encoder_available) == (tiny_bundle.name, tier, True)
    assert bundle.fault is None


def test_scores_of_each_tier_are_those_of_the_model_that_was_fitted(tiny_bundle):
    """Nothing is lost on the way to disk: the probes say so for the scores, this for what the bundle is."""
    probes = read_probes(tiny_bundle)
    assert len(probes) >= 20
    bundle = load_bundle(tiny_bundle)
    models = {"lexical": bundle.model.lexical_tier(), "full": bundle.model}
    comments = [Comment.from_dict(probe["comment"]) for probe in probes]
    for tier in bundle.manifest["tiers"]:
        scored = [scores.to_dict() for scores in models[tier].score(comments)]
        assert scored == [probe["scores"][tier] for probe in probes], tier


def test_what_the_encoder_reads_counts(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    if bundle.model.full is None:
        pytest.skip("no encoder is shipped with this checkout")
    comment = Comment("The second half lost me, could you say more?", post=Post(title="Bread", text="Flour and water."))
    full, lexical = bundle.model.score([comment]), bundle.model.lexical_tier().score([comment])
    assert full != lexical


def test_the_same_rows_give_the_same_bytes(tiny_bundle, tiny_ingredients, tmp_path):
    again = train_bundle(tiny_ingredients, tmp_path, encoder=encoder_folder(tiny_bundle), jobs=2)
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


class TestEncoder:
    """Its lexical tier answers as it should, says that it is the lexical one, and the fault says what is wrong."""

    @staticmethod
    def assert_answers_without_encoder(path, fault):
        bundle = load_bundle(path)
        assert fault in bundle.fault
        probes = read_probes(path)
        assessed = bundle.assess([Comment.from_dict(probe["comment"]) for probe in probes])
        assert {(facts.tier, facts.encoder_available) for _, facts in assessed} == {("lexical", False)}
        assert [scores.to_dict() for scores, _ in assessed] == [probe["scores"]["lexical"] for probe in probes]

    def test_a_missing_folder(self, copy, encoder):
        shutil.rmtree(encoder)
        self.assert_answers_without_encoder(copy, "encoder.onnx")

    @pytest.mark.parametrize("name", ENCODER_FILES)
    def test_a_missing_file(self, copy, encoder, name):
        (encoder / name).unlink()
        self.assert_answers_without_encoder(copy, name)

    @pytest.mark.parametrize("name", ENCODER_FILES)
    def test_a_flipped_byte(self, copy, encoder, name):
        content = bytearray((encoder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (encoder / name).write_bytes(content)
        self.assert_answers_without_encoder(copy, name)

    @pytest.mark.parametrize("name", ENCODER_FILES)
    def test_a_truncated_file(self, copy, encoder, name):
        content = (encoder / name).read_bytes()
        (encoder / name).write_bytes(content[: len(content) // 2])
        self.assert_answers_without_encoder(copy, name)

    @pytest.mark.parametrize("name", ENCODER_FILES)
    def test_a_file_that_is_something_else_and_has_the_right_hash(self, copy, encoder, name):
        (encoder / name).write_bytes(b"{}")
        files = {
            name: {"sha256": hashlib.sha256((encoder / name).read_bytes()).hexdigest(),
                   "bytes": (encoder / name).stat().st_size}
            for name in ENCODER_FILES
        }  # fmt: skip
        self.assert_answers_without_encoder(
            forge(copy, encoder={"folder": encoder.name, "files": files}), "the encoder cannot be loaded"
        )

    @pytest.mark.usefixtures("encoder")
    def test_other_scores_than_where_it_was_made(self, copy):
        self.assert_answers_without_encoder(forge_scores(copy, "full"), "other scores")

    def test_no_name_leads_out_of_the_folder(self, copy, encoder):
        files = json.loads((copy / "manifest.json").read_text())["encoder"]["files"]
        (encoder.parent / "elsewhere").mkdir()
        for number, name in enumerate(("../elsewhere", "/etc", "", "encoder-0123456789ab/..")):
            forged = shutil.copytree(copy, copy.with_name(f"comments-{number}"))
            forged = forge(forged, encoder={"folder": name, "files": files})
            with pytest.raises(BundleUnsupported, match="encoder"):
                load_bundle(forged)
            with pytest.raises(BundleUnsupported, match="encoder"):
                encoder_folder(forged)

    def test_tiers_and_encoder_go_together(self, copy, encoder):  # noqa: ARG002  # skips without one
        with pytest.raises(BundleUnsupported, match="tiers"):
            load_bundle(forge(copy, encoder=None))

    def test_it_is_stored_once_and_its_name_is_of_its_content(self, tiny_bundle, encoder):
        assert [path.name for path in tiny_bundle.parent.glob("encoder-*")] == [encoder.name]
        assert sorted(path.name for path in encoder.iterdir()) == sorted(ENCODER_FILES)


def test_other_scores_of_the_lexical_tier_are_refused(copy):
    with pytest.raises(BundleUnsupported, match="lexical tier, hostile"):
        load_bundle(forge_scores(copy, "lexical"))


def test_an_older_format_is_refused_with_what_to_do(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(BundleUnsupported, match=r"older format 1.*train it again"):
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


class Choking:
    """A model that cannot stand some comments, as one with a fault in it might."""

    def __init__(self, model):
        self._model = model

    def assess(self, comments):
        if any("choke" in comment.text for comment in comments):
            raise RuntimeError(f"cannot read {comments[0].text}")
        return [
            (replace(scores, spam=float("nan")) if "nan" in comment.text else scores, facts)
            for comment, (scores, facts) in zip(comments, self._model.assess(comments), strict=True)
        ]


def test_a_comment_that_the_model_cannot_stand_is_left_to_a_person_and_takes_no_others_with_it(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    broken = replace(bundle, model=Choking(bundle.model))
    comments = [Comment("fine"), Comment("choke https://example.org"), Comment("nan"), Comment("ok")]
    told = []

    found = broken.assess_or_hold(comments, told.append)

    assert [scores is None for scores, _ in found] == [False, True, True, False]
    assert [found[0], found[3]] == bundle.assess([comments[0], comments[3]])
    assert (found[1][1].links, found[1][1].domains) == (1, ("example.org",))
    assert set(told) == {"RuntimeError", "a score is not finite"}


@pytest.mark.parametrize("key", ["context", "windows", "dense"])
def test_a_bundle_made_for_other_columns_is_refused_with_what_to_do(copy, key):
    columns = json.loads((copy / "manifest.json").read_text())[key]
    path = forge(copy, **{key: columns[::-1]})
    with pytest.raises(BundleUnsupported, match="train it again"):
        load_bundle(path)
