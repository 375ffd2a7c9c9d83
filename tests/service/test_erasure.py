"""Whoever is erased is nowhere any more: not in the database, its files, what is exported, nor in the log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from typer.testing import CliRunner

from moderation.comment import Author, Comment, Post
from service.auth import make_key
from service.cli import app
from service.store import QueueFilter
from service.store.tables import comment_versions, sent_along
from service.webhooks import make_secret

WORDS = ("Qzvtext", "Qzvedit", "Qzvnote", "Qzvappeal", "qzvlink", "Qzv-id", "Qzvname", "qzvurl", "Qzvhint")


def labels(service, *arguments: str) -> str:
    env = {"MODERATION_DATABASE_URL": service.settings.database}
    result = CliRunner().invoke(app, ["labels", *arguments, "--home", str(service.settings.home)], env=env)
    assert result.exit_code == 0, result.output
    return result.stdout


def put_into_home(service, text: str, author: dict[str, str]) -> Path:
    """Labels exported and imported, and what a retraining keeps of them; the file that they are imported from.

    One is of a comment that never was in the store, and one quotes that.
    """
    home = service.settings.home
    labels(service, "export")
    said = {"site": service.site.url, "labels": {"spam": 1}, "moderator": "Ada"}
    lines = [
        said | {"id": "c1", "text": text, "author": author},
        said | {"id": "x1", "text": "Qzvtext of old", "author": author},
        said | {"id": "x2", "text": "Old", "parent": {"id": "x1", "text": "Qzvtext of old"}},
    ]
    source = home.parent / "old.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels(service, "import", str(source))
    (home / "cache").mkdir()
    (home / "cache" / "vectors-0.safetensors").write_bytes(b"Qzvtext")
    assert all("Qzv" in (home / "labels" / name).read_text() for name in ("store.jsonl", "imported.jsonl"))
    return source


@pytest.mark.usefixtures("plain_home")
def test_of_an_erased_author_no_word_name_or_id_is_left(start, database_url, dump, caplog):
    caplog.set_level(logging.DEBUG)
    service = start(database_url=database_url)
    store, site, client = service.parts.store, service.site, service.client
    store.webhooks.add(site, "http://127.0.0.1:1/", (), make_secret(), who="operator")
    author = {"id": "Qzv-id", "name": "Qzvname Ann", "url": "https://qzvurl.example"}
    text = "Qzvtext that is forbidden, see https://qzvlink.example and https://qzvlink.example/again"
    post = {"id": "p1", "title": "A title", "text": "A post"}
    more = {"author": author, "post": post, "lang": "en", "url": "https://blog.example/p1#Qzv-id"}
    more |= {"hints": {"Qzvhint": True}}
    assert service.submit(id="c0", text="A word before", post=post).status_code < 300
    rejected = service.submit(id="c1", text=text, parent={"id": "c0"}, **more)
    assert rejected.json()["status"] == "rejected", rejected.text
    assert service.submit(id="c2", text="Qzvtext of quite another kind, just as forbidden", **more).status_code < 300
    assert service.submit(id="c3", text="Qzvtext, calm words", **more).json()["status"] == "published"
    assert service.submit(text="Qzvtext without an id of its own", **more).status_code < 300
    # Copies: sent along by the site, and by reference.
    quoted = {"id": "c3", "text": "Qzvtext, calm words"}
    assert service.submit(id="r1", text="An answer", parent=quoted, thread=[quoted], post=post).status_code < 300
    assert service.submit(id="r2", text="Another answer", parent={"id": "c3"}, post=post).status_code < 300
    assert service.submit(id="c3", text="Qzvedit: calmer words", **more).status_code < 300
    # What people do about it.
    appeal = client.post("/v1/appeals", json={"comment_id": "c1", "text": "Qzvappeal: look again"})
    assert appeal.status_code < 300, appeal.text
    for comment, reporter in (("c3", "somebody"), ("r1", "Qzv-id")):
        body = {"comment_id": comment, "reporter": reporter, "category": "spam"}
        assert client.post("/v1/reports", json=body).status_code < 300
    entry = next(each for each in client.get("/v1/queue").json()["entries"] if each["comment_id"] == "c1")
    verdict = {"entry": entry["entry"], "digest": entry["digest"], "action": "reject", "note": "Qzvnote about Qzvname"}
    assert client.post("/v1/verdicts", json=verdict | {"moderator": "Ada"}).status_code < 300
    assert client.get("/v1/queue", params={"text": "qzvtext", "author": "Qzv-id"}).status_code == 200
    source, home = put_into_home(service, text, author), service.settings.home
    before = dump().casefold()
    kept = [word for word in WORDS if word.casefold() in before]

    assert client.delete("/v1/authors/Qzv-id").json() == {"erased": 4}
    exported = [json.dumps(row, default=str) for rows in store.copies.kinds().values() for row in rows(None)]
    exported += [str(entry) for entry in (*store.logs.audit(), *store.logs.statuses())]
    exported += [service.client.get(path).text for path in ("/v1/comments/c1", "/v1/changes", "/v1/queue", "/metrics")]
    # The test's own client says which addresses it asks for.
    logged = [str(vars(line)) for line in caplog.records if not line.name.startswith("http")]
    left = "\n".join((dump(), *exported, *logged)).casefold()

    assert set(kept) >= set(WORDS)
    assert [word for word in WORDS if word.casefold() in left] == []
    assert store.queue.count([site], QueueFilter(text="Qzvtext")) == 0
    assert store.queue.count([site], QueueFilter(author="Qzv-id")) == 0
    assert "an answer" in left
    files = [path for path in home.parent.rglob("moderation.db*") if path.is_file()]
    said = json.loads(labels(service, "import", str(source), "--json"))
    assert (said["added"], said["kept"], said["erased"]) == (0, 1, 2)
    files += [path for path in home.rglob("*") if path.is_file() and "models" not in path.parts]
    assert {"imported.jsonl", "store.jsonl"} <= {path.name for path in files}
    assert [path.name for path in files for word in WORDS if word.encode() in path.read_bytes()] == []


@pytest.mark.usefixtures("plain_home")
def test_an_author_of_the_same_name_elsewhere_stays(start, database_url, dump):
    service = start(database_url=database_url)
    other = service.parts.store.add_site("https://other.example")
    make_key(service.parts.store, other)
    theirs = Comment("Words on another site", id="c1", author=Author("ann"), post=Post("p"))
    service.parts.workflow.submit(other, theirs)
    service.submit(id="c1", text="Words on this site", author={"id": "ann"})
    service.submit(id="c2", text="An_n is not ann", author={"id": "an_"})

    assert service.client.delete("/v1/authors/an_").json() == {"erased": 1}
    assert service.client.delete("/v1/authors/ann").json() == {"erased": 1}
    assert "Words on another site" in dump()
    assert "Words on this site" not in dump()


@pytest.mark.usefixtures("plain_home")
def test_copies_are_found_without_a_look_at_every_version(start, database_url):
    """Of a comment that the site has sent along before it came itself, under ids that are like each other."""
    service = start(database_url=database_url)
    words = {"c1": "Words of c1", "c10": "Words of c10", "c%": "Percent"}
    quoted = [{"id": each, "text": text} for each, text in words.items()]
    service.submit(id="r1", text="An answer", parent=quoted[0], thread=quoted)
    service.submit(id="r2", text="Another answer", parent=quoted[1], thread=quoted[:1])
    for each in quoted:
        service.submit(**each)

    def kept() -> list[list[str | None]]:
        engine = create_engine(database_url)
        with engine.connect() as connection:
            query = select(comment_versions.c.parent_text, comment_versions.c.thread).order_by(comment_versions.c.id)
            rows = connection.execute(query.limit(2)).all()
        engine.dispose()
        return [[row.parent_text, *(item["text"] for item in row.thread or ())] for row in rows]

    assert kept() == [
        ["Words of c1", "Words of c1", "Words of c10", "Percent"],
        ["Words of c10", "Words of c1"],
    ]
    assert service.client.delete("/v1/comments/c1").status_code < 300
    assert service.client.delete("/v1/comments/c%25").status_code < 300
    assert kept() == [[None, None, "Words of c10", None], ["Words of c10", None]]
    # What is erased takes along its notes of what it repeated; what repeats others keeps them.
    assert service.client.delete("/v1/comments/r2").status_code < 300
    assert service.client.delete("/v1/comments/c10").status_code < 300
    assert kept()[0] == [None] * 4
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(select(sent_along)).all() == []
    engine.dispose()
