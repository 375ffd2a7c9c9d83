"""Labels in the files of a home, after an erasure: by whom it is done, when, and how often until it is."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from moderation.errors import BundleBusy
from moderation.files import try_lock
from moderation.training.vectors import forget_vectors
from service.hashes import Hashes
from service.kept_labels import KeptLabels
from service.second_looks import Doubt, Findings, keep_findings, read_findings
from service.store import Judge, Judgement, Target
from service.verdicts import Moderation

HASHES = Hashes(b"k" * 32)
SITE = "https://blog.example"


@pytest.fixture
def site(store):
    return store.add_site(SITE)


@pytest.fixture
def kept(store, home):
    home.mkdir(exist_ok=True)
    return KeptLabels(home, store, HASHES)


def write(home, *lines, name="imported.jsonl"):
    path = home / "labels" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def label(identity, text="Words", **more):
    return {"id": identity, "site": SITE, "text": text, "labels": {"spam": 1}, "moderator": "Ada"} | more


def judge(store, site, stored, identity):
    target = Target(stored.decision.digest, identity)
    store.verdicts.decide(site, Judge("Ada", "review"), Judgement("reject", ("spam",)), [target])


def cache(home):
    path = home / "cache" / "vectors-0123456789abcdef.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"figures")
    return path


def test_labels_of_an_erased_comment_go_and_quotes_of_it_and_all_else_stays_as_it_is(store, site, put, home, kept):
    put(site, "c1", "Private words")
    answer = label("c2", "An answer", parent={"id": "c1", "text": "Private"}, thread=[{"id": "c1", "text": "Private"}])
    other = label("c1", "Of another site", site="https://other.example")
    whole = '{"id": "c3",  "text": "spaces stay"}'
    path = write(home, label("c1", "Private"), label("x9", "Private", known_as="c1"), answer, other, whole, "{broken")
    (home / "labels" / ".imported.jsonl.part").write_text("Private, left by a process that was killed")
    before = path.read_bytes()
    assert kept.work() == 0
    assert path.read_bytes() == before

    store.erasure.erase_comment(site, "c1", "site")
    assert kept.work() == 2
    said = path.read_text().splitlines()
    assert json.loads(said[0]) == answer | {"parent": {"id": "c1"}, "thread": [{"id": "c1"}]}
    assert said[1:] == [json.dumps(other), whole, "{broken"]
    assert path.stat().st_mode & 0o077 == 0
    assert [each.name for each in path.parent.iterdir()] == ["imported.jsonl"]
    changed = path.stat().st_mtime_ns
    assert kept.work() == 0
    assert path.stat().st_mtime_ns == changed


def test_labels_of_an_author_go_whom_the_store_has_never_seen_also_where_a_line_names_no_site(store, site, home, kept):
    theirs = label("x1", "Private", author={"id": "zz-author"})
    nowhere = {name: value for name, value in theirs.items() if name != "site"} | {"id": "x2"}
    elsewhere = label("x1", "Theirs there", site="https://other.example", author={"id": "zz-author"})
    quote = label("x3", parent={"id": "x1", "text": "Private"})
    path = write(home, quote, theirs, nowhere, elsewhere)
    desk = Moderation(store, HASHES, reports_to_reopen=3)
    assert [desk.erase_author(site, "zz-author") for _ in range(2)] == [0, 0]

    assert kept.work() == 2
    assert [json.loads(line) for line in path.read_text().splitlines()] == [quote | {"parent": {"id": "x1"}}, elsewhere]
    assert [entry.details for entry in store.logs.audit() if entry.event == "author_erased"] == [{"comments": 0}]


def test_what_was_exported_is_written_anew_for_the_sites_that_it_has(store, site, put, home, kept):
    other = store.add_site("https://second.example")
    for each, of_site in ((None, site), ("c2", site), ("c3", other)):
        stored = put(of_site, each, f"Private words {each}", author="ann")
        if each:
            judge(store, of_site, stored, each)
    gone = json.dumps(label("c9", site="https://gone.example"))
    path = write(home, *store.labels.read(site), gone, name="store.jsonl")
    assert "Private words c2" in path.read_text()
    # By retention, which leaves the comment's status.
    assert store.erasure.forget_before(site, datetime.now(UTC) + timedelta(days=1)) == 1
    judge(store, site, put(site, "c4", "Later words"), "c4")
    kept.work()

    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["c9", "c4"]


def test_a_file_that_comes_back_from_a_backup_is_gone_through_again(store, site, put, home, kept):
    put(site, "c1")
    path = write(home, label("c1"), label("c2"))
    backup = path.read_bytes()
    store.erasure.erase_comment(site, "c1", "site")
    assert kept.work() == 1
    path.write_bytes(backup)

    assert kept.work() == 1
    assert b"c1" not in path.read_bytes()


def test_vectors_go_with_what_was_judged_and_with_nothing_else(store, site, put, home, kept):
    for each in ("c1", "c2"):
        stored = put(site, each)
        if each == "c1":
            judge(store, site, stored, each)
    put(site, "c3")
    store.erasure.erase_comment(site, "c2", "site")
    kept.work()
    path = cache(home)
    store.erasure.erase_comment(site, "c3", "site")
    kept.work()
    assert path.exists()

    # What a retraining writes that had read its labels before, goes too, once it is over.
    lock = try_lock(home / "retraining" / ".lock")
    store.erasure.erase_comment(site, "c1", "site")
    kept.work()
    assert not path.exists()
    cache(home)
    with lock:
        pass
    kept.work()
    assert not path.exists()
    cache(home)
    kept.work()
    assert path.exists()
    forget_vectors(home / "cache")
    assert not path.exists()


def test_what_a_check_has_found_goes_too(store, site, put, home, kept):
    put(site, "c1")
    doubts = tuple(Doubt(SITE, each, each * 32, "spam", 1, "Ada", "verdict", "near_duplicate") for each in ("c1", "c2"))
    keep_findings(home, Findings(datetime.now(UTC), 2, 2, doubts))
    store.erasure.erase_comment(site, "c1", "site")
    kept.work()

    assert [each.id for each in read_findings(home).doubts] == ["c2"]
    # A check that began before the erasure ends after it.
    keep_findings(home, Findings(datetime.now(UTC), 2, 2, doubts))
    kept.work()
    assert [each.id for each in read_findings(home).doubts] == ["c2"]


def test_a_fault_loses_nothing(store, site, put, home, kept, monkeypatch):
    put(site, "c1")
    path = write(home, label("c1"), label("c2"))
    store.erasure.erase_comment(site, "c1", "site")
    with monkeypatch.context() as broken:
        broken.setattr("service.kept_labels.write_lines", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            kept.work()
        assert b"c1" in path.read_bytes()

    assert kept.work() == 1
    assert b"c1" not in path.read_bytes()


def test_whoever_writes_there_comes_first(store, site, put, home, kept, monkeypatch):
    monkeypatch.setattr("moderation.files._WAIT_SECONDS", 0.1)
    put(site, "c1")
    path = write(home, label("c1"))
    store.erasure.erase_comment(site, "c1", "site")
    with try_lock(home / ".lock"), pytest.raises(BundleBusy):
        kept.work()

    assert path.read_bytes()
    assert kept.work() == 1


def test_each_home_of_one_database_is_kept_by_its_own_service(open_store, store, site, put, tmp_path):
    homes = [tmp_path / name for name in ("one", "two")]
    paths = []
    for home in homes:
        home.mkdir()
        paths.append(write(home, label("c1"), label("c2")))
    put(site, "c1")
    # Two processes of the first home, one of the second.
    running = [KeptLabels(home, open_store(), HASHES, look_seconds=0.1) for home in (homes[0], *homes)]
    for each in running:
        each.start()
    store.erasure.erase_comment(site, "c1", "site")
    ends = time.monotonic() + 10
    while any(b"c1" in path.read_bytes() for path in paths):
        assert time.monotonic() < ends, "it was not dropped in time"
        time.sleep(0.05)
    for each in running:
        each.stop()

    assert [len(path.read_bytes().splitlines()) for path in paths] == [1, 1]
    assert [path for home in homes for path in home.rglob("*.part")] == []


def test_who_asks_waits_until_it_is_done_but_not_for_a_fault(store, site, put, home, monkeypatch):
    kept = KeptLabels(home, store, HASHES, look_seconds=60)
    home.mkdir(exist_ok=True)
    kept.settle()  # nobody works there: nothing to wait for
    kept.start()
    try:
        for each in ("c1", "c2"):
            put(site, each)
        path = write(home, label("c1"), label("c2"))
        store.erasure.erase_comment(site, "c1", "site")
        kept.settle(10)
        assert b"c1" not in path.read_bytes()
        stuck = threading.Event()
        monkeypatch.setattr(kept, "work", lambda: stuck.wait(20))
        since = time.monotonic()
        kept.settle(0.2)
        assert time.monotonic() - since < 5
        stuck.set()
    finally:
        kept.stop()
