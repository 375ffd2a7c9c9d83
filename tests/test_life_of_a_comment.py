"""A comment from the door to the store and back: over real HTTP, through a restart, and replayed from what was kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from moderation.bundle import load_bundle
from moderation.policy import Policy
from moderation.shipped import shipped_folder
from service.store import Store

MODERATION = Path(sys.executable).with_name("moderation")
POST = {
    "id": "p1",
    "title": "Baking bread at home",
    "text": "Flour, water, salt and patience are all you need for a good loaf. The starter does the rest overnight.",
    "tags": ["baking"],
}
FIRST = {"id": "c1", "text": "My starter never doubles overnight, is the kitchen too cold?", "post": POST}
REPLY = {
    "id": "c2",
    "text": "Great site! Visit https://best-casino.example for 100 free spins and win big money today",
    "author": {"name": "free spins casino", "url": "https://best-casino.example"},
    "post": {"id": "p1"},
    "parent": {"id": "c1"},
}


@pytest.fixture
def key(home: Path) -> str:
    made = subprocess.run(
        [MODERATION, "add-site", "https://bread.example", "--home", home, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(made.stdout)
    assert answer["site"] == "https://bread.example"
    return answer["key"]


def test_a_comment_is_decided_kept_and_decided_the_same_again(home: Path, key: str, serve) -> None:
    """Decided and committed before the answer; the same answer after a restart; the same decision from what is kept."""
    headers = {"Authorization": f"Bearer {key}"}
    with serve(home) as served, httpx.Client(base_url=served.url, timeout=60) as client:
        assert served.key is None, "a first key is made only where there is no site"
        assert client.get("/readyz").status_code == 200
        first = client.post("/v1/comments", json=FIRST, headers=headers)
        assert first.status_code == 201, first.text
        assert first.json()["action"] == "publish"
        answer = client.post("/v1/comments", json=REPLY, headers=headers)
        assert answer.status_code == 202, answer.text
        decided = answer.json()
        assert decided["scores"]["spam"] > 0.5
        assert decided["scores"]["off_topic"] is not None, "the post was remembered by its id"

    with serve(home) as served, httpx.Client(base_url=served.url, timeout=60) as client:
        again = client.post("/v1/comments", json=REPLY, headers={"X-API-Key": key})
        assert again.status_code == 200
        assert again.json() == decided
        kept = client.get(f"/v1/decisions/{decided['decision_id']}", headers=headers)
        assert kept.json()["reasons"] == decided["reasons"]

    store = Store(f"sqlite:///{home / 'moderation.db'}")
    try:
        judged = store.judged_comment(decided["decision_id"])
        toml = store.policy_toml(decided["policy"])
    finally:
        store.close()
    assert judged is not None
    assert toml is not None
    comment, _ = judged
    assert comment.post is not None
    assert comment.post.text == POST["text"]
    assert comment.parent is not None
    assert comment.parent.text == FIRST["text"]
    assert comment.digest() == decided["digest"]
    bundle = load_bundle(shipped_folder("models") / decided["bundle"])
    policy = Policy.parse(toml, bundle.operating_points)
    scores, facts = bundle.assess([comment])[0]
    replayed = policy.decide(comment, scores, facts).to_dict()
    assert policy.digest == decided["policy"]
    assert {name: decided[name] for name in replayed} == replayed
