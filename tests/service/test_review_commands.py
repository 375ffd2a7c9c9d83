"""``add-moderator``, ``export`` and ``forget``: what they print, keep and refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from moderation.comment import Comment, Decision
from service.auth import hash_token
from service.cli import app
from service.commands.review import Kind
from service.priority import measure
from service.store import Judge, Judged, Judgement, Store, Target


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*arguments, "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def store(home):
    run(home, "add-site", "https://blog.example")
    store = Store(f"sqlite:///{home / 'moderation.db'}")
    yield store
    store.close()


def test_a_moderator_gets_a_role_and_a_token_that_works_once(home, store):
    first = json.loads(run(home, "add-moderator", "Ada", "--site", "https://Blog.example/", "--json").stdout)
    again = run(home, "add-moderator", "Ada", "--site", "https://blog.example", "--role", "maintainer").stdout
    link = urlsplit(again.split("Link:")[1].split()[0])
    token = parse_qs(link.query)["token"][0]

    assert (first["moderator"], first["role"], first["site"]) == ("Ada", "moderator", "https://blog.example")
    assert store.people.find("Ada").roles == {"https://blog.example": "maintainer"}
    assert link.netloc == "127.0.0.1:8000"
    assert first["link"].endswith(f"/review/first-sign-in?token={first['token']}")
    assert store.people.take_sign_in(hash_token(token), "hash").name == "Ada"
    for used in (token, first["token"], "sign_no"):
        assert store.people.take_sign_in(hash_token(used), "hash") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Ada", "--site", "https://unknown.example"], "add-site"),
        (["model", "--site", "https://blog.example"], "another name"),
        (["  ", "--site", "https://blog.example"], "visible characters"),
        (["a\nb", "--site", "https://blog.example"], "visible characters"),
        (["Ada", "--site", "blog"], "address of a site"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_meant_is_refused(home, arguments, says):
    assert says in run(home, "add-moderator", *arguments, status=2).output.replace("\n", " ")


def test_the_export_is_one_line_per_event_in_order_and_without_texts(home, store, put_plain, tmp_path):
    site = store.sites()[0]
    digest = put_plain(store, site, "c1", "Words of the comment")
    judge = Judge("Ada", "review")
    store.verdicts.decide(site, judge, Judgement("reject", ("spam",), note="Words of a note"), [Target(digest, "c1")])
    run(home, "export", "--output", str(tmp_path / "log.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    assert run(home, "export").stdout == (tmp_path / "log.jsonl").read_text()
    assert [(line["event"], line["who"]) for line in lines if line["event"] != "verdict"] == [
        ("key_made", "operator"),
        ("status", "model"),
        ("status", "Ada"),
    ]
    assert lines[-1]["comment"] == "c1"
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert {line["site"] for line in lines} == {"https://blog.example"}
    assert "Words" not in str(lines)


def test_everything_that_is_kept_can_be_exported(home, store, put_plain):
    site, other = store.sites()[0], store.add_site("https://other.example")
    digest = put_plain(store, site, "c1", "Words of the comment")
    put_plain(store, other, "c2", "Words of another site")
    judge = Judge("Ada", "review")
    store.verdicts.decide(site, judge, Judgement("reject", ("spam",), note="A note"), [Target(digest, "c1")])
    cleared = Judgement("approve", cleared=("hostile",))
    store.suggestions.give(site, Judge("site:forum", "perspective"), cleared, Target(digest, "c1"), is_certain=True)
    store.readers.report(site, "c1", "r" * 64, "spam", reopen_at=9, measure=measure)
    store.readers.appeal(site, "c1", "Please look again", measure=measure)
    lines = [json.loads(line) for line in run(home, "export", "--kind", "all").stdout.splitlines()]
    of_site = run(home, "export", "--kind", "comment", "--kind", "log", "--site", "https://blog.example").stdout
    found = {kind: [line for line in lines if line.get("kind") == kind] for kind in Kind if kind not in ("all", "log")}

    assert {kind: len(rows) for kind, rows in found.items()} == {
        "comment": 2,
        "decision": 2,
        "verdict": 1,
        "suggestion": 1,
        "appeal": 1,
        "report": 1,
    }
    assert (found["comment"][0]["comment_id"], found["comment"][0]["text"]) == ("c1", "Words of the comment")
    assert (found["comment"][0]["status"], found["comment"][0]["is_current"]) == ("rejected", True)
    assert (found["decision"][0]["action"], found["decision"][0]["digest"]) == ("publish", digest)
    assert (found["verdict"][0]["moderator"], found["verdict"][0]["categories"]) == ("Ada", ["spam"])
    said = found["suggestion"][0]
    assert (said["moderator"], said["labels"], said["is_certain"]) == ("site:forum", {"hostile": 0}, True)
    assert (found["appeal"][0]["text"], found["report"][0]["category"]) == ("Please look again", "spam")
    assert {line["event"] for line in lines if "event" in line} >= {"status", "verdict", "report", "appeal"}
    assert "r" * 64 not in str(lines)
    assert "Words of the comment" in of_site
    assert "other.example" not in of_site


def test_what_was_decided_long_ago_is_forgotten(home, store, put_plain, monkeypatch):
    site = store.sites()[0]
    store._now = lambda: datetime.now(UTC) - timedelta(days=10)
    digest = put_plain(store, site, "c1", "Old words")
    store.verdicts._now = store._now
    store.verdicts.decide(site, Judge("Ada", "review"), Judgement("approve"), [Target(digest, "c1")])
    run(home, "labels", "export")
    assert "Old words" in (home / "labels" / "store.jsonl").read_text()
    assert "--days or MODERATION_RETENTION_DAYS" in run(home, "forget", status=2).output.replace("\n", " ")
    monkeypatch.setenv("MODERATION_RETENTION_DAYS", "11")
    assert run(home, "forget").stdout == "Forgotten: 0\n"

    assert run(home, "forget", "--days", "9").stdout == "Forgotten: 1\n"
    files = (home / "moderation.db", home / "labels" / "store.jsonl")
    assert not [path.name for path in files if b"Old words" in path.read_bytes()]
    assert store.find_comments(site, ["c1"])["c1"].status == "published"


@pytest.fixture
def put_plain():
    """Stores a published comment; its digest comes back."""

    def put_one(store, site, comment_id, text) -> str:
        comment = Comment(text, id=comment_id, site=site.url)
        decision = Decision("publish", None, (), comment.digest(), None, "p" * 64, None)
        store.record(site, [Judged(comment, comment.digest(), "h", decision, {})], ("p" * 64, "# a policy"))
        return comment.digest()

    return put_one
