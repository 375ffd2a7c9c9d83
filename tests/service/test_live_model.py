"""The pair in force: found, replaced as a whole, and never lost to something broken."""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from moderation.bundle import ENCODER_FILES, FORMAT, encoder_folder, load_bundle, write_bundle
from moderation.comment import Comment, Facts
from moderation.encoder import Encoder
from moderation.errors import BundleMissing, EncoderUnavailable
from moderation.policy import default_policy_toml
from service.errors import InvalidSettings
from service.live_model import CHECK_SECONDS, RETRY_SECONDS, Live, LiveModel


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shipped(plain_bundle) -> Path:
    return plain_bundle.parent


def open_model(home: Path, shipped: Path, clock: Clock) -> LiveModel:
    return LiveModel(home, shipped, clock=clock)


def put_bundle(bundle: Path, home: Path) -> None:
    shutil.copytree(bundle, home / "models" / bundle.name)
    (home / "models" / "current").write_text(bundle.name)


def look_twice(model: LiveModel, clock: Clock) -> Live:
    """The pair after a change of the policy has settled."""
    for _ in range(2):
        clock.now += CHECK_SECONDS
        live = model.current()
    return live


def test_the_shipped_bundle_serves_until_one_is_published_at_home(home, shipped, plain_bundle, clock):
    home.mkdir()
    model = open_model(home, shipped, clock)
    assert plain_bundle == model.current().bundle.path

    shutil.copytree(plain_bundle, home / "models" / plain_bundle.name)
    (home / "models" / "current").write_text(plain_bundle.name)
    assert plain_bundle == model.current().bundle.path
    clock.now += CHECK_SECONDS
    assert home / "models" / plain_bundle.name == model.current().bundle.path


def test_an_unchanged_folder_is_not_read_again(plain_home, shipped, clock):
    model = open_model(plain_home, shipped, clock)
    live = model.current()
    clock.now += 1000

    assert live is model.current()


def test_nothing_published_is_reported_and_everything_is_held(home, tmp_path, clock):
    home.mkdir()
    live = open_model(home, tmp_path / "no models folder", clock).current()
    ((scores, facts),) = live.assess([Comment("See https://shop.example")])

    assert live.faults == {"model": "BundleMissing"}
    assert (scores, facts.tier, facts.links, facts.domains) == (None, None, 1, ("shop.example",))
    assert live.default.decide(Comment("x"), scores, facts).action == "hold"
    assert default_policy_toml() == live.default.toml


def flip_a_byte(bundle: Path) -> str:
    path = bundle / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "BundleCorrupt"


def make_newer(bundle: Path) -> str:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1}))
    return "BundleUnsupported"


def remove_a_file(bundle: Path) -> str:
    (bundle / "operating_points.json").unlink()
    return "BundleCorrupt"


def remove_it(bundle: Path) -> str:
    shutil.rmtree(bundle)
    return "BundleMissing"


@pytest.mark.parametrize("damage", [flip_a_byte, make_newer, remove_a_file, remove_it])
def test_a_faulty_bundle_is_reported_and_the_service_starts(plain_home, plain_bundle, shipped, clock, damage, caplog):
    """Not replaced by the shipped one either: another model than the operator chose is no repair."""
    fault = damage(plain_home / "models" / plain_bundle.name)
    live = open_model(plain_home, shipped, clock).current()

    assert (None, {"model": fault}) == (live.bundle, live.faults)
    assert "cannot be loaded" in caplog.text


def test_a_faulty_new_bundle_leaves_the_old_one_in_force_and_is_tried_again(plain_home, shipped, plain_bundle, clock):
    model = open_model(plain_home, shipped, clock)
    old = model.current().bundle
    broken = plain_home / "models" / "comments-000000000000"
    broken.mkdir()
    (plain_home / "models" / "current").write_text(broken.name)
    clock.now += CHECK_SECONDS
    live = model.current()

    assert old is live.bundle
    assert live.faults == {"model": "BundleCorrupt"}
    clock.now += CHECK_SECONDS
    assert live is model.current()

    broken.rmdir()
    shutil.copytree(plain_bundle, broken)
    clock.now += RETRY_SECONDS
    assert "model" in model.current().faults  # the folder's name is still not its content's
    (plain_home / "models" / "current").write_text(plain_bundle.name)
    clock.now += CHECK_SECONDS
    assert model.current().faults == {}


def test_a_policy_is_noticed_and_a_broken_one_is_not_taken(plain_home, shipped, clock):
    model = open_model(plain_home, shipped, clock)
    first = model.current().default
    (plain_home / "policy.toml").write_text("[spam]\nhold = 0.25\n")
    second = look_twice(model, clock).default
    (plain_home / "policy.toml").write_text("[spam]\nhold = 'soon'\n")
    live = look_twice(model, clock)

    assert first.digest != second.digest == live.default.digest
    assert live.faults == {"policy": "InvalidPolicy"}
    (plain_home / "policy.toml").unlink()
    live = look_twice(model, clock)
    assert (default_policy_toml(), {}) == (live.default.toml, live.faults)


def test_a_policy_is_taken_only_when_it_reads_the_same_twice(plain_home, shipped, clock):
    """Half of a file can be a valid policy that lets more through than the whole."""
    model = open_model(plain_home, shipped, clock)
    old = model.current().default
    for half in ("[spam]\nhold = 0.9", "[spam]\nhold = 0.9\nreject = 0.95\n"):
        (plain_home / "policy.toml").write_text(half)
        clock.now += CHECK_SECONDS
        assert old is model.current().default
    clock.now += CHECK_SECONDS
    assert model.current().default.toml == half


@pytest.mark.parametrize("content", ["", "[spam]\n", "# [hostile]\n"], ids=["empty", "half", "comments only"])
def test_an_emptied_policy_is_not_taken_and_hostile_comments_stay_held(plain_home, shipped, clock, content):
    model = open_model(plain_home, shipped, clock)
    (plain_home / "policy.toml").write_text(content)
    live = look_twice(model, clock)
    shout = Comment("You!!! Out!!!")
    ((scores, facts),) = live.assess([shout])

    assert live.faults == {"policy": "InvalidPolicy"}
    assert live.default.decide(shout, scores, facts).action == "hold"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_policy_that_cannot_be_read_any_more_is_not_the_default_one(plain_home, shipped, clock):
    model = open_model(plain_home, shipped, clock)
    old = model.current().default
    (plain_home / "policy.toml").chmod(0)
    live = look_twice(model, clock)

    assert (old.digest, {"policy": "OSError"}) == (live.default.digest, live.faults)


def test_a_policy_that_is_a_link_to_nowhere_is_not_the_default_one(plain_home, shipped, clock):
    model = open_model(plain_home, shipped, clock)
    old = model.current().default
    (plain_home / "policy.toml").unlink()
    (plain_home / "policy.toml").symlink_to("gone.toml")
    live = look_twice(model, clock)

    assert (old.digest, {"policy": "OSError"}) == (live.default.digest, live.faults)


class TestMeasurementsThatCannotBeUsed:
    """Files whose hashes are right, from a version that measures in another way."""

    @pytest.fixture
    def odd_bundle(self, plain_bundle, tmp_path):
        bundle = load_bundle(plain_bundle)
        return write_bundle(
            tmp_path / "odd",
            bundle.model,
            operating_points={"format": 99, "tiers": {}},
            evaluation={},
            probes=[Comment("Well said.")],
            card="Made by hand for tests.",
            made_with={},
            trained_on={},
        )

    def test_the_old_pair_stays_in_force_and_the_bundle_is_blamed(self, plain_home, shipped, clock, odd_bundle):
        model = open_model(plain_home, shipped, clock)
        old = model.current()
        put_bundle(odd_bundle, plain_home)
        clock.now += CHECK_SECONDS
        live = model.current()

        assert (old.bundle, old.default.digest) == (live.bundle, live.default.digest)
        assert live.faults == {"model": "InvalidPolicy"}
        clock.now += RETRY_SECONDS
        assert model.current().faults == {"model": "InvalidPolicy"}

    def test_the_service_starts_without_it_and_does_not_blame_the_policy(self, home, shipped, clock, odd_bundle):
        put_bundle(odd_bundle, home)
        live = open_model(home, shipped, clock).current()

        assert (live.bundle, live.faults) == (None, {"model": "InvalidPolicy"})


def test_a_fault_that_nobody_foresaw_leaves_the_old_pair(plain_home, shipped, clock, monkeypatch):
    model = open_model(plain_home, shipped, clock)
    old = model.current()

    def fail(_old):
        raise MemoryError

    monkeypatch.setattr(model, "_load", fail)
    (plain_home / "policy.toml").write_text("[spam]\nhold = 0.25\n")
    live = look_twice(model, clock)

    assert (old.bundle, old.default) == (live.bundle, live.default)
    assert live.faults == {"model": "MemoryError"}


SPAM = Comment(" ".join(f"https://shop.example/{number}" for number in range(6)))


def remove_encoder(folder: Path) -> None:
    shutil.rmtree(folder)


def flip_encoder(folder: Path) -> None:
    content = bytearray((folder / "encoder.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "encoder.onnx").write_bytes(content)


def empty_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


class TestEncoder:
    """A bundle whose encoder cannot be used serves with its lexical tier, which rejects nothing by a score."""

    def decide(self, live: Live) -> tuple[str | None, str, set[str]]:
        ((scores, facts),) = live.assess([SPAM])
        decision = live.default.decide(SPAM, scores, facts)
        return decision.tier, decision.action, {reason.name for reason in decision.reasons if reason.fired}

    def test_the_full_tier_serves(self, full_home, tmp_path, clock):
        live = open_model(full_home, tmp_path, clock).current()

        assert (live.tier, live.faults) == ("full", {})
        assert self.decide(live) == ("full", "reject", {"spam"})

    @pytest.mark.parametrize("damage", [remove_encoder, flip_encoder, empty_vocabulary])
    def test_it_is_reported_and_nothing_is_rejected_until_the_encoder_is_back(
        self, full_home, full_bundle, tmp_path, clock, damage, caplog
    ):
        folder = encoder_folder(full_home / "models" / full_bundle.name)
        damage(folder)
        model = open_model(full_home, tmp_path, clock)
        live = model.current()

        assert (live.tier, live.faults) == ("lexical", {"encoder": "EncoderUnavailable"})
        tier, action, fired = self.decide(live)
        assert (tier, action) == ("lexical", "hold")
        assert {"encoder_unavailable", "lexical_tier_holds"} <= fired
        assert "encoder not in use" in caplog.text

        shutil.copytree(encoder_folder(full_bundle), folder, dirs_exist_ok=True)
        clock.now += CHECK_SECONDS
        assert live is model.current()
        clock.now += RETRY_SECONDS
        assert (model.current().tier, model.current().faults) == ("full", {})
        assert self.decide(model.current()) == ("full", "reject", {"spam"})

    def test_a_retry_that_finds_the_whole_bundle_gone_keeps_the_lexical_tier(
        self, full_home, full_bundle, tmp_path, clock
    ):
        bundle = full_home / "models" / full_bundle.name
        remove_encoder(encoder_folder(bundle))
        model = open_model(full_home, tmp_path, clock)
        shutil.rmtree(bundle)
        clock.now += RETRY_SECONDS
        live = model.current()

        assert (live.tier, live.faults) == ("lexical", {"model": "BundleMissing", "encoder": "EncoderUnavailable"})

    def test_one_that_fails_while_it_reads_is_logged_without_the_comment(
        self, full_home, tmp_path, clock, monkeypatch, caplog
    ):
        live = open_model(full_home, tmp_path, clock).current()

        def fail(_encoder, _texts):
            raise EncoderUnavailable("out of memory")

        monkeypatch.setattr(Encoder, "read_many", fail)
        tier, action, fired = self.decide(live)

        assert (tier, action) == ("lexical", "hold")
        assert "encoder_unavailable" in fired
        assert "encoder failed" in caplog.text
        assert "shop.example" not in str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_counts_as_no_score(plain_home, shipped, clock, value):
    live = open_model(plain_home, shipped, clock).current()

    class Broken:
        def assess(self, comments):
            return [
                (replace(scores, spam=value) if "odd" in comment.text else scores, facts)
                for comment, (scores, facts) in zip(comments, live.bundle.model.assess(comments), strict=True)
            ]

    broken = replace(live, bundle=replace(live.bundle, model=Broken()))
    (good, _), (odd, facts) = broken.assess([Comment("good"), Comment("odd https://shop.example")])

    assert good is not None
    assert (odd, facts.tier, facts.links) == (None, None, 1)
    decision = live.default.decide(Comment("odd"), odd, facts)
    assert decision.action == "hold"
    assert "model_unavailable" in [reason.name for reason in decision.reasons if reason.fired]


def test_links_that_cannot_be_found_do_not_lose_a_comment(home, tmp_path, clock, monkeypatch):
    def fail(_comment):
        raise RecursionError

    monkeypatch.setattr("moderation.signals.link_facts", fail)
    home.mkdir()
    live = open_model(home, tmp_path / "no models folder", clock).current()

    assert live.assess([Comment("x")]) == [(None, Facts())]


@pytest.mark.parametrize("content", [b"", b"[spam", b"[spam]\nholdd = 1", b"\xff\xfe"])
def test_a_broken_policy_stops_the_start(plain_home, shipped, clock, content):
    (plain_home / "policy.toml").write_bytes(content)
    with pytest.raises(InvalidSettings, match=r"policy\.toml"):
        open_model(plain_home, shipped, clock)


def test_policies_of_sites_are_found_by_digest(plain_home, shipped, clock):
    live = open_model(plain_home, shipped, clock).current()
    asked = []

    def toml(digest):
        asked.append(digest)
        return "[spam]\nhold = 0.125\n" if digest == "known" else None

    policy = live.policy("known", toml)

    assert policy is live.policy("known", toml)
    assert live.default is live.policy(None, toml) is live.policy(live.default.digest, toml)
    assert asked == ["known"]
    with pytest.raises(KeyError):
        live.policy("unknown", toml)


class TestReleases:
    """Two bundles in the home, ``first`` in force; links weigh half as much in the other."""

    @pytest.fixture
    def first(self, plain_home, plain_bundle) -> Path:
        return plain_home / "models" / plain_bundle.name

    @pytest.fixture
    def second(self, plain_home, make_bundle) -> Path:
        return make_bundle(plain_home / "models", spam=3.0)

    def test_one_that_served_lately_is_not_loaded_again(self, plain_home, shipped, clock, first, second, monkeypatch):
        model = open_model(plain_home, shipped, clock)
        old = model.current().bundle
        model.releases.publish(second, note="")
        clock.now += CHECK_SECONDS
        assert model.current().bundle.path == second
        model.releases.roll_back()
        monkeypatch.setattr("service.live_model.load_bundle", None)
        clock.now += CHECK_SECONDS
        assert model.current().bundle is old
        assert old.path == first

    def test_an_older_one_is_asked_by_its_name(self, plain_home, shipped, clock, first, second):
        model = open_model(plain_home, shipped, clock)
        comment = Comment("See https://a.example")
        old = model.current().bundle.model.score([comment])
        model.releases.publish(second, note="")
        clock.now += CHECK_SECONDS
        new = model.current().bundle.model.score([comment])

        assert old != new
        assert model.bundle(first.name).model.score([comment]) == old
        assert model.bundle(second.name[9:15]) is model.current().bundle
        with pytest.raises(BundleMissing):
            model.bundle("comments-000000000000")

    def test_only_a_few_stay_loaded(self, plain_home, shipped, clock, make_bundle):
        model = open_model(plain_home, shipped, clock)
        names = [make_bundle(plain_home / "models", spam=float(weight)).name for weight in range(20, 27)]
        for name in names:
            model.bundle(name)
        assert len(model._opened) == 4
        assert model.current().bundle is not None

    def test_a_thread_takes_a_new_one_up_while_nobody_asks(self, plain_home, shipped, second):
        model = LiveModel(plain_home, shipped)
        model.start()
        try:
            model.releases.publish(second, note="")
            ends = time.monotonic() + 60
            while model._live.bundle.path != second and time.monotonic() < ends:
                time.sleep(0.05)
            assert model.current().bundle.path == second
        finally:
            model.stop()

    def test_who_asks_does_not_look_where_a_thread_does(self, plain_home, shipped, clock, monkeypatch):
        model = open_model(plain_home, shipped, clock)
        model.start()
        model.stop()
        monkeypatch.setattr(model, "_watching", threading.current_thread())
        monkeypatch.setattr(model, "_reload", None)
        clock.now += 1000
        assert model.current().bundle is not None

    def test_a_canary_serves_its_share_of_the_sites(self, plain_home, shipped, clock, first, second):
        model = open_model(plain_home, shipped, clock)
        sites = [f"https://site-{number}.example" for number in range(100)]
        model.releases.publish(first, note="")
        model.releases.publish(second, note="", share=0.3)
        clock.now += CHECK_SECONDS
        in_force = model.releases.in_force()
        model.current()
        served = {site: model.current(site).bundle.name for site in sites}

        assert served == {site: in_force.serves(site) for site in sites}
        assert set(served.values()) == {first.name, second.name}
        assert model.current().bundle.path == first
        assert model.pair_of(second.name).bundle.path == second
        assert model.pair_of("comments-000000000000").bundle.path == first
        model.releases.roll_back()
        clock.now += CHECK_SECONDS
        model.current()
        assert {model.current(site).bundle.path for site in sites} == {first}

    def test_a_canary_that_cannot_be_loaded_is_told_and_serves_nobody(self, plain_home, shipped, clock, first, second):
        model = open_model(plain_home, shipped, clock)
        model.releases.publish(second, note="", share=0.999)
        flip_a_byte(second)
        clock.now += CHECK_SECONDS

        assert model.current().faults == {"canary": "BundleCorrupt"}
        assert model.current("https://blog.example").bundle.path == first

    def test_a_challenger_is_loaded_and_let_go(self, plain_home, shipped, clock, first, second):
        model = open_model(plain_home, shipped, clock)
        assert model.challenger() is None
        model.releases.challenge(second)
        clock.now += CHECK_SECONDS
        assert model.current().bundle.path == first
        assert model.challenger().bundle.path == second
        shutil.rmtree(second)
        model.releases.models.joinpath("shadow").write_text("comments-000000000000\n")
        clock.now += CHECK_SECONDS
        assert model.current().faults == {"shadow": "BundleMissing"}
        assert model.challenger() is None

    def test_who_serves_is_not_scored_beside_itself(self, plain_home, shipped, clock, first):
        model = open_model(plain_home, shipped, clock)
        model.releases.challenge(first)
        clock.now += CHECK_SECONDS
        model.current()
        assert (model.challenger(), model.current().faults) == (None, {})

    def test_old_policies_do_not_pile_up(self, plain_home, shipped, clock):
        live = open_model(plain_home, shipped, clock).current()
        for number in range(600):
            live.policy(f"digest {number}", lambda digest: f"[spam]\nhold = 0.5\n# {digest}")
        assert len(live._others) <= 256


class TestSharedEncoder:
    def test_bundles_that_name_the_same_encoder_share_it(
        self, full_home, tmp_path, clock, make_bundle, make_full, shipped_encoder
    ):
        model = open_model(full_home, tmp_path, clock)
        other = make_bundle(full_home / "models", make_full(spam=3.0), shipped_encoder)
        model.releases.publish(other, note="")
        encoder = model.current().bundle.model.full.encoder
        clock.now += CHECK_SECONDS

        assert model.current().bundle.path == other
        assert model.current().bundle.model.full.encoder is encoder

    def test_one_that_nobody_uses_is_gone_at_once(self, shipped_encoder):
        """Garbage collection counts objects and would let many megabytes of a session wait."""
        if shipped_encoder is None:
            pytest.skip("no encoder is shipped with this checkout")
        encoder = Encoder.load(*(shipped_encoder / name for name in ENCODER_FILES))
        encoder.topic_vectors(["some words", "some others"])
        encoder.class_vectors(["some words"])
        gone = weakref.ref(encoder)
        gc.disable()
        try:
            del encoder
            assert gone() is None
        finally:
            gc.enable()


def test_others_go_on_with_the_old_pair_while_one_loads_the_new(plain_home, shipped, clock, monkeypatch):
    model = open_model(plain_home, shipped, clock)
    old = model.current()
    loading, go_on = threading.Event(), threading.Event()
    load = model._load

    def slow_load(present):
        loading.set()
        go_on.wait(5)
        return load(present)

    monkeypatch.setattr(model, "_load", slow_load)
    (plain_home / "policy.toml").write_text("[spam]\nhold = 0.25\n")
    clock.now += CHECK_SECONDS
    model.current()  # the first of the two looks
    clock.now += CHECK_SECONDS
    thread = threading.Thread(target=model.current)
    thread.start()
    loading.wait(5)
    clock.now += CHECK_SECONDS

    assert old is model.current()
    go_on.set()
    thread.join()
    assert old is not model.current()
