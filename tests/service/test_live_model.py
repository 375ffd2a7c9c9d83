"""The pair in force: found, replaced as a whole, and never lost to something broken."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from moderation.bundle import FORMAT
from moderation.comment import Comment
from moderation.policy import default_policy_toml
from service.errors import InvalidSettings
from service.live_model import CHECK_SECONDS, RETRY_SECONDS, LiveModel


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
    clock.now += CHECK_SECONDS
    second = model.current().default
    (plain_home / "policy.toml").write_text("[spam]\nhold = 'soon'\n")
    clock.now += CHECK_SECONDS
    live = model.current()

    assert first.digest != second.digest == live.default.digest
    assert live.faults == {"policy": "InvalidPolicy"}
    (plain_home / "policy.toml").unlink()
    clock.now += CHECK_SECONDS
    assert (default_policy_toml(), {}) == (model.current().default.toml, model.current().faults)


@pytest.mark.parametrize("content", [b"[spam", b"[spam]\nholdd = 1", b"\xff\xfe"])
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
    thread = threading.Thread(target=model.current)
    thread.start()
    loading.wait(5)
    clock.now += CHECK_SECONDS

    assert old is model.current()
    go_on.set()
    thread.join()
    assert old is not model.current()
