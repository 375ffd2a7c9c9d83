"""Labels in, a challenger and a verdict out: the shipped bundle all the way, and challengers that must not pass."""

import json
from dataclasses import replace

import numpy as np
import pytest

from moderation.adaptation import Adaptation
from moderation.bundle import FILES, load_bundle
from moderation.categories import CODES
from moderation.comment import Comment, Post
from moderation.errors import BundleMissing, DataError
from moderation.model import FullTier
from moderation.releases import Releases
from moderation.shipped import shipped_folder
from moderation.training.adapt import EVERYWHERE, Labelled, fit_everywhere
from moderation.training.anchors import read_figures
from moderation.training.doubt_check import count_doubted
from moderation.training.gate import CHECKS, judge
from moderation.training.known import New, find_new
from moderation.training.labels import Label, Trust, last_words
from moderation.training.lessons import Lessons, prepare, score_labels
from moderation.training.retrain import calibrate, hold_contest, is_learned, retrain
from moderation.training.rows import Row, fingerprint, read_behaviour, read_seed
from moderation.training.table import build_table, read_table
from moderation.training.trials import DISTRESS

SPAM, HOSTILE = CODES.index("spam"), CODES.index("hostile")
# So few labels that what is wrong with them does not show in any score.
FEW = 60


@pytest.fixture(scope="module")
def challenger(school):
    return load_bundle(school.round.bundle, beside=[school.champion])


def test_a_challenger_is_a_bundle_that_loads_with_everything_of_the_champion(school, challenger):
    assert challenger.fault is None
    assert challenger.model.full.adaptation is not None
    assert challenger.manifest["encoder"] == school.champion.manifest["encoder"]
    assert challenger.manifest["adapted_sites"] == ["https://a.example", "https://b.example"]
    for name in ("anchors.safetensors", "probes.jsonl"):
        both = [json.dumps(each.manifest["files"][name]) for each in (school.champion, challenger)]
        if name.startswith("anchors"):
            assert both[0] == both[1]
    old, new = school.champion.model.full.heads, challenger.model.full.heads
    assert np.array_equal(old.window_weights, new.window_weights)


def test_it_fits_labels_better_than_the_champion(school, challenger):
    comments = [label.comment for label in school.labels]
    losses = []
    for bundle in (school.champion, challenger):
        scores = bundle.model.score(comments)
        said = [
            (one[code], label.labels[code])
            for one, label in zip(scores, school.labels, strict=True)
            for code in ("spam", "hostile", "identity_attack")
            if code in label.labels
        ]
        losses.append(-np.mean([np.log(max(score if value else 1 - score, 1e-6)) for score, value in said]))
    assert losses[1] < losses[0]


def test_the_gate_has_asked_everything_and_the_report_has_figures_alone(school):
    gate, figures = school.round.gate, school.round.figures
    assert [check.name for check in gate.checks] == [check.__name__.removeprefix("check_") for check in CHECKS]
    states = {check.name: check.state for check in gate.checks}
    assert (states["flood"], states["leak"], states["answers"], states["gain"]) == ("pass",) * 4
    assert gate.verdict in ("PROMOTE", "HOLD"), str(gate)
    assert figures["labels"]["learned"] + figures["labels"]["held_out"] > 200
    for categories in figures["sites"].values():
        for item in categories.values():
            assert len(item["log_loss"]) == 2
    said = json.dumps([figures, gate.as_dict()])
    assert not [label for label in school.labels if len(label.comment.text) > 20 and label.comment.text in said]


def test_the_bundle_says_what_it_learned_from(school):
    said = json.loads((school.round.bundle / "evaluation.json").read_text(encoding="utf-8"))
    base = json.loads((school.champion.path / "evaluation.json").read_text(encoding="utf-8"))
    facts = school.round.figures["labels"]
    assert said.pop("labels") == {
        "learned": facts["learned"],
        "held_out": facts["held_out"],
        "by_site": facts["by_site"],
        "figures_of": school.champion.name,
        "gate": None,
    }
    assert said == base
    card = (school.round.bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith((school.champion.path / "MODEL_CARD.md").read_text(encoding="utf-8").rstrip())
    section = card.partition("## What moderators taught it")[2]
    assert f"{facts['learned']:,} labels" in section
    assert f"| https://a.example | {facts['by_site']['https://a.example']} |" in section
    assert school.champion.name in section


def test_learned_once_is_nothing_new_and_a_second_round_gives_the_same_bundle(school, challenger, tmp_path):
    assert is_learned(challenger.manifest["trained_on"]["labels"], school.labels, Trust())
    assert not is_learned(challenger.manifest["trained_on"]["labels"], school.labels[1:], Trust())
    assert not is_learned({}, school.labels, Trust())
    again = retrain(challenger, school.labels[::-1], school.cases, tmp_path / "models", cache=school.cache)
    assert again.bundle.name == school.round.bundle.name
    assert again.gate.verdict == "HOLD"  # nothing is better, and nothing is new
    for name in FILES:
        assert (again.bundle / name).read_bytes() == (school.round.bundle / name).read_bytes()


def test_what_labels_are_checked_by_has_learned_nothing_from_them(school, challenger):
    """Neither residuals nor calibration, or whom the check believes would hang on what serves."""
    before = score_labels(school.champion.model, school.labels, cache=school.cache)
    assert np.array_equal(score_labels(challenger.model, school.labels, cache=school.cache), before)
    assert before.shape == (len(school.labels), len(CODES))
    assert np.ptp(before[:, SPAM]) > 5
    silent = [replace(school.labels[0], labels={}, verdict="reject")]
    assert not score_labels(challenger.model, silent, cache=school.cache).any()


def test_labels_that_the_champion_knows_are_not_new_and_reports_have_no_hashes(school, challenger):
    facts = challenger.manifest["trained_on"]["labels"]
    undated = [replace(label, at=None) for label in school.labels]
    assert find_new(last_words(undated), facts, b"").by_account() == {}
    assert "known" not in school.round.figures["labels"]


def test_near_copies_of_what_is_learned_measure_nothing(school, anchors):
    """A campaign under many posts: of those posts that are held out, no label counts in the site's figures."""
    openings = [label.comment.text for label in school.labels[:40]]
    spam = [
        replace(label, comment=comment, digest=comment.digest(), labels={"spam": 1}, moderator="Ana")
        for number, (text, label) in enumerate(zip(openings, school.labels[:40], strict=True))
        for post in [Post(id=f"post {number}", title="A post")]
        for comment in [replace(label.comment, text=f"{text} campaign", id=f"s{number}", post=post)]
    ]

    def bands(text):
        return [1] if text.endswith(" campaign") else []

    def parts(**more):
        lessons = prepare(
            school.champion.model, [*school.labels, *spam], anchors, school.cases, trust=Trust(), cache=school.cache,
            **more,
        )  # fmt: skip
        both = lessons.learned, lessons.held_out
        return [sum(text.endswith("campaign") for text in part.texts) for part in both], lessons

    (learned, held_out), _ = parts()
    assert learned > 20 > held_out > 2
    (still, none), lessons = parts(bands=bands)
    assert (still, none) == (learned, 0)
    assert lessons.left_out["held out, and nearly the same text as one learned from"] == held_out


@pytest.mark.parametrize(("weight", "verdict"), [(10.0, "REJECT"), (4.0, "HOLD")])
def test_where_the_norm_of_a_site_would_harm_all_its_labels_move_that_site_alone(school, tmp_path, weight, verdict):
    """A site to which everything is welcome; what all sites share must not learn that, nor what may be so."""
    calm = "https://b.example"
    labels = [
        replace(label, comment=comment, digest=comment.digest(), labels=dict.fromkeys(label.labels, 0))
        for label in school.labels
        for comment in [replace(label.comment, site=calm)]
    ]
    loud = Trust(moderators=dict.fromkeys(("Ana", "Ben", "Cho"), weight))
    made = retrain(school.champion, labels, school.cases, tmp_path / "models", trust=loud, cache=school.cache)
    adaptation = load_bundle(made.bundle, beside=[school.champion]).model.full.adaptation
    [tried] = made.figures["also_tried"]

    assert made.figures["moves"] == "single sites"
    assert (tried["verdict"], tried["challenger"] == made.bundle.name) == (verdict, False)
    assert made.gate.verdict == "HOLD"
    assert [check.name for check in made.gate.checks if check.state in ("hold", "reject")] == ["norms"]
    assert not adaptation.everywhere.window_weights.any()
    assert not adaptation.everywhere.intercept.any()
    assert adaptation.sites[calm].window_weights.any()


def test_rolling_back_restores_the_same_bytes_and_the_same_scores(school, challenger, tmp_path):
    """On 1,000 comments."""
    releases = Releases(tmp_path / "models", school.champion.path.parent)
    rows = [
        row for path in sorted((shipped_folder("training_data") / "seed").glob("*.jsonl")) for row in read_seed(path)
    ]
    short = sorted(rows, key=lambda row: (len(row.comment.text), row.id))[:1_000]
    comments = [replace(row.comment, site="https://a.example", post=None, parent=None, thread=None) for row in short]
    before = content(school.champion.path)
    scored = [scores.to_dict() for scores in school.champion.model.score(comments)]
    releases.publish(school.champion.path, note="the first")
    releases.publish(school.round.bundle, note="learned", by="gate")
    assert releases.in_force().bundle == challenger.name
    releases.roll_back(by="Ada")
    restored = load_bundle(releases.folder / releases.in_force().bundle, beside=[school.champion])
    assert restored.name == school.champion.name
    assert content(restored.path) == before
    assert [scores.to_dict() for scores in restored.model.score(comments)] == scored
    assert [scores.to_dict() for scores in challenger.model.score(comments[:50])] != scored[:50]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_an_encoder_it_says_what_is_missing(school, plain_bundle, tmp_path):
    with pytest.raises(DataError, match="has no encoder in use"):
        retrain(load_bundle(plain_bundle), school.labels, school.cases, tmp_path)


def test_without_anchors_it_says_what_is_missing(
    school, tmp_path, make_full, shipped_encoder, make_bundle, monkeypatch
):
    path = make_bundle(tmp_path, make_full(), shipped_encoder)
    bundle = replace(load_bundle(path), path=path)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["anchors.safetensors"]
    monkeypatch.setattr("moderation.bundle._read_manifest", lambda _: manifest)
    with pytest.raises(BundleMissing, match="has no anchors"):
        retrain(bundle, school.labels, school.cases, tmp_path)


class TestRefused:
    """Challengers that are worse, made by the code that makes good ones, and the check that is there for each."""

    @pytest.fixture(scope="class")
    @classmethod
    def contest(cls, shipped_bundle, anchors):
        """The contest of a challenger that has learned from some rows, without :func:`prepare` looking at them."""
        full = shipped_bundle.model.full
        nothing = Labelled(anchors.kept.take(np.array([], dtype=np.int64)), [], [])

        def held(figures, cases=(), prints=frozenset(), everywhere=EVERYWHERE):
            learned = Labelled(figures, [""] * len(figures), [None] * len(figures))
            adaptation = Adaptation(fit_everywhere(full.heads, learned, anchors.kept, holding=everywhere), {})
            tier, points = calibrate(FullTier(full.encoder, full.heads, adaptation), anchors.validation)
            tiers = {**shipped_bundle.operating_points["tiers"], "full": points}
            challenger = replace(
                shipped_bundle,
                name="challenger",
                model=replace(shipped_bundle.model, full=tier),
                operating_points={**shipped_bundle.operating_points, "tiers": tiers},
            )
            lessons = Lessons(learned, nothing, {}, prints)
            return hold_contest(shipped_bundle, challenger, anchors.frozen, lessons, [], cases)

        return held

    @pytest.fixture(scope="class")
    @classmethod
    def spam(cls, anchors):
        """Rows with a label of spam, and those labels alone."""
        figures = anchors.validation.take(np.flatnonzero(~np.isnan(anchors.validation.labels[:, SPAM])))
        labels = np.full_like(figures.labels, np.nan)
        labels[:, SPAM] = figures.labels[:, SPAM]
        return replace(figures, labels=labels, weights=np.ones(len(figures)))

    @pytest.mark.parametrize("size", [FEW, 300, 1_500])
    def test_labels_of_spam_of_which_30_percent_are_flipped(self, contest, spam, size):
        """Of few labels the scores do not show it, and the labels themselves do."""
        random = np.random.default_rng(0)
        some = spam.take(np.sort(random.choice(len(spam), size, replace=False)))
        honest = contest(some)
        labels = some.labels.copy()
        flipped = random.random(len(labels)) < 0.3
        labels[flipped, SPAM] = 1 - labels[flipped, SPAM]
        held = contest(replace(some, labels=labels))

        assert judge(honest).verdict == "PROMOTE"
        assert honest.training.doubted["spam"][0] < 0.03 * len(some)
        assert judge(held).verdict in ("HOLD", "REJECT")
        found = in_the_way(held)
        assert found == {"doubts"} if len(some) == FEW else found >= {"doubts", "lines"}
        assert verdict_without(held, "doubts") == ("PROMOTE" if len(some) == FEW else judge(held).verdict)
        assert verdict_without(held, *found) == "PROMOTE"

    def test_of_doubted_labels_only_the_new_ones_count(self, shipped_bundle, spam):
        """Flipped labels that the champion has known are its own affair; of a sample each stands for several."""
        random = np.random.default_rng(1)
        labels = spam.labels.copy()
        flipped = np.flatnonzero(random.random(len(labels)) < 0.2)
        labels[flipped, SPAM] = 1 - labels[flipped, SPAM]
        texts = [Label(Comment(f"words {number}"), {"spam": 1}, "Ada", "") for number in range(len(spam))]
        prints = np.array([fingerprint(each.comment.text) for each in texts])
        learned = Labelled(replace(spam, labels=labels, prints=prints), [""] * len(spam), [None] * len(spam))
        lessons = Lessons(learned, learned, {}, frozenset())
        tier = shipped_bundle.model.full
        doubted, count = count_doubted(tier, lessons, New([texts[row] for row in flipped]))["spam"]
        assert (count, doubted > 0.5 * count) == (len(flipped), True)
        others = [text for row, text in enumerate(texts) if row not in set(flipped.tolist())]
        doubted, count = count_doubted(tier, lessons, New(others, 3.0))["spam"]
        assert (count, doubted < 0.1 * count) == (3 * len(others), True)
        assert count_doubted(tier, lessons, New([])) == {}

    @pytest.mark.parametrize("others", [0, 9])
    def test_labels_that_go_all_one_way_are_asked_of_the_champion(self, shipped_bundle, spam, others):
        """Nothing can be learned from the others, and that all is spam is not what the champion says of good ones."""
        bad, good = (spam.take(np.flatnonzero(spam.labels[:, SPAM] == side)) for side in (1, 0))
        tier = shipped_bundle.model.full

        def share(rows, said):
            labels = np.full_like(rows.labels, np.nan)
            labels[:, SPAM] = said
            labels[:others, SPAM] = 1 - said
            learned = Labelled(replace(rows, labels=labels), [""] * len(rows), [None] * len(rows))
            doubted, count = count_doubted(tier, Lessons(learned, learned, {}, frozenset()), None)["spam"]
            assert count == len(rows)
            return doubted / count

        assert share(good, 1) > 0.8
        assert share(bad, 1) < 0.15
        assert share(good, 0) < 0.05

    def test_a_challenger_that_was_taught_to_hold_distress(self, contest, shipped_bundle):
        behaviour = (shipped_folder("training_data") / "behaviour").glob("*.jsonl")
        cases = [case for path in sorted(behaviour) for case in read_behaviour(path) if case.slice in DISTRESS]
        comments = [case.comment for case in cases]
        figures = read(shipped_bundle, comments)
        labels = np.full((len(cases), len(CODES)), np.nan)
        labels[:, HOSTILE] = 1
        taught = replace(figures, labels=labels, weights=np.full(len(cases), 4.0))
        held = contest(taught, cases=cases)
        assert judge(held).verdict == "REJECT"
        assert "behaviour" in in_the_way(held)
        assert verdict_without(held, *(in_the_way(held) - {"behaviour"})) == "REJECT"
        assert verdict_without(held, *in_the_way(held)) == "PROMOTE"

    def test_a_challenger_that_has_learned_from_frozen_rows(self, contest, anchors):
        """It looks better everywhere."""
        frozen = anchors.frozen.take(np.flatnonzero(~np.isnan(anchors.frozen.labels[:, SPAM])))
        held = contest(replace(frozen, weights=np.ones(len(frozen))), prints=frozenset(frozen.prints.tolist()))
        assert judge(held).verdict == "REJECT"
        assert "leak" in in_the_way(held)
        assert verdict_without(held, "leak") != "REJECT"


def read(bundle, comments):
    """Figures of comments, without a cache."""
    rows = [Row("labels", str(number), comment, {}, "") for number, comment in enumerate(comments)]
    table = build_table(rows, bundle.model.topic, None, 1)
    vectors = read_table(table, bundle.model.full.encoder, None)
    return read_figures(table, vectors, bundle.model.heads.logits(table.features))


def in_the_way(contest):
    """The checks that hold or reject."""
    return {check.name for check in judge(contest).checks if check.state in ("hold", "reject")}


def verdict_without(contest, *names):
    without = {f"check_{name}" for name in names}
    return judge(contest, [check for check in CHECKS if check.__name__ not in without]).verdict
