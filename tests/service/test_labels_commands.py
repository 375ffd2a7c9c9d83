"""``moderation labels``: what is written, what is taken in, what a check prints and when it alarms."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from typer.testing import CliRunner

from moderation.comment import Comment, Decision
from moderation.training.labels import read_labels
from service.cli import app
from service.second_looks import read_findings
from service.store import Judge, Judged, Judgement, Store, Target

SITE = "https://blog.example"


def run(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, ["labels", *map(str, arguments), "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def store(home):
    assert CliRunner().invoke(app, ["add-site", SITE, "--home", str(home)]).exit_code == 0
    store = Store(f"sqlite:///{home / 'moderation.db'}")
    yield store
    store.close()


@pytest.fixture
def judge(store):
    """Stores a comment and has it judged; one verdict for each name and category (empty: approved)."""
    site = store.sites()[0]

    def judge_one(comment_id, text, **said):
        comment = Comment(text, id=comment_id, site=site.url)
        decision = Decision("hold", None, (), comment.digest(), None, "p" * 64, None)
        store.record(site, [Judged(comment, comment.digest(), "h" * 64, decision, {})], ("p" * 64, "# a policy"))
        for who, category in said.items():
            judgement = Judgement("reject", (category,)) if category else Judgement("approve")
            store.verdicts.decide(site, Judge(who, "review"), judgement, [Target(comment.digest(), comment_id)])

    return judge_one


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(identity, value=1, who="Ada", **more):
    return {
        "id": identity,
        "site": SITE,
        "text": f"Words of {identity}",
        "labels": {"spam": value},
        "moderator": who,
    } | more


# --- export ----------------------------------------------------------------------------------------------------------


def test_the_export_is_a_file_in_the_home_or_where_it_is_wanted(home, judge, tmp_path):
    judge("c1", "Cheap watches", Ada="spam")
    judge("c2", "A nice article", Ada="", Ben="")
    said = run(home, "export").stdout
    path = home / "labels" / "store.jsonl"
    run(home, "export", tmp_path / "mine.jsonl", "--site", SITE)

    assert said.startswith("Labels: 3 in ")
    assert [label.comment.id for label in read_labels(path)] == ["c1", "c2", "c2"]
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "mine.jsonl").read_text() == path.read_text() == run(home, "export", "-").stdout
    assert "add-site" in run(home, "export", "--site", "https://unknown.example", status=2).output.replace("\n", " ")


def test_after_an_erasure_nothing_of_it_is_left_in_the_home(home, store, judge, tmp_path):
    judge("c1", "Words to be erased", Ada="spam")
    run(home, "import", write(tmp_path / "a.jsonl", row("c1", text="Words to be erased"), row("c2")))
    run(home, "export")
    store.erasure.erase_comment(store.sites()[0], "c1", "site")
    assert "Dropped: 1" in run(home, "export").stdout

    assert "erased" not in "".join(path.read_text() for path in (home / "labels").iterdir())
    again = run(home, "import", tmp_path / "a.jsonl").stdout
    assert "Left out: 1" in again
    assert "1 in" in again


# --- import ----------------------------------------------------------------------------------------------------------


def test_an_import_keeps_what_is_good_lists_what_is_bad_and_changes_nothing_the_second_time(home, tmp_path):
    source = write(tmp_path / "a.jsonl", row("c1"), row("c2", value=7), row("c3", value=0), row("c4", who=""))
    first = run(home, "import", source, status=1)
    kept = (home / "labels" / "imported.jsonl").read_bytes()
    again = json.loads(run(home, "import", source, "--json", status=1).stdout)

    assert "Labels: 2 new, 0 replaced, 2 in" in first.output
    assert f"{source}:2: the label of spam must be 0 or 1" in first.output
    assert f"{source}:4: moderator must say who judged" in first.output
    assert "Words of" not in first.output
    assert (again["added"], again["replaced"], again["kept"], len(again["bad"])) == (0, 0, 2, 2)
    assert (home / "labels" / "imported.jsonl").read_bytes() == kept


def test_a_table_and_a_flip(home, tmp_path):
    table = tmp_path / "old.csv"
    table.write_text("id,text,labels.spam\nc1,Cheap watches,1\nc2,Well said,0\n")
    run(home, "import", table, "--moderator", "old system", "--site", SITE)
    table.write_text("id,text,labels.spam\nc1,Cheap watches,0\n")
    said = run(home, "import", table, "--moderator", "old system", "--site", SITE).stdout
    found = list(read_labels(home / "labels" / "imported.jsonl"))

    assert "0 new, 1 replaced, 2 in" in said
    assert {label.comment.id: label.labels["spam"] for label in found} == {"c1": 0, "c2": 0}
    assert {(label.moderator, label.source, label.comment.site) for label in found} == {("old system", "import", SITE)}


def test_what_cannot_be_read_at_all_is_said_and_nothing_is_written(home, tmp_path):
    assert "cannot read" in run(home, "import", tmp_path / "none.jsonl", status=2).output
    (tmp_path / "a.csv").write_text("text,rating\nx,1\n")
    assert "rating" in run(home, "import", tmp_path / "a.csv", status=2).output
    assert not (home / "labels").exists()


def test_a_broken_file_of_the_home_is_not_overwritten(home, tmp_path):
    (home / "labels").mkdir(parents=True)
    (home / "labels" / "imported.jsonl").write_text("{\n")
    said = run(home, "import", write(tmp_path / "a.jsonl", row("c1")), status=2).output

    assert "imported.jsonl:1: is not JSON" in said.replace("\n", "")
    assert (home / "labels" / "imported.jsonl").read_text() == "{\n"


# --- check -----------------------------------------------------------------------------------------------------------


def test_a_check_of_little_says_so_and_alarms_nobody(plain_home, judge):
    judge("c1", "Cheap watches", Ada="spam")
    judge("c2", "A nice article", Ada="", Ben="")
    said = run(plain_home, "check").stdout

    assert "3 labels of 2 comments" in said
    assert "too few to say" in said
    assert "Too few labels" in said
    assert "Cheap" not in said


def test_where_moderators_contradict_each_other_it_alarms(plain_home, judge):
    for number in range(12):
        judge(f"c{number}", f"Words {number}", Ada="spam" if number % 2 else "", Ben="" if number % 2 else "spam")
    result = run(plain_home, "check", "--json", status=1)
    found = json.loads(result.stdout)
    (spam,) = [each for each in found["agreement"] if each["category"] == "spam"]

    assert (spam["comments"], spam["is_too_low"], spam["pairs"][0]["kappa"]) == (12, True, -1.0)
    assert "too low" in run(plain_home, "check", status=1).stdout


@pytest.fixture
def labelled(tmp_path):
    """A file in which what has links is spam, except for ten planted mistakes of which a moderator made most."""
    chance = np.random.default_rng(5)
    rows = []
    for number in range(200):
        is_spam = number % 4 == 0
        letters = "".join(chance.choice([*"abcdefghijklmnop"], 60))
        text = f"Remark {letters}"
        link = f" see https://shop{number}.example/{number}" if is_spam else ""
        rows.append(row(f"c{number}", int(is_spam), "Ada" if number % 2 else "Ben", text=text + link))
    for number in (3, 7, 11, 15, 19, 23, 27, 31):
        rows[number] |= {"labels": {"spam": 1}, "moderator": "Eve"}
    return write(tmp_path / "labelled.jsonl", *rows)


def test_planted_mistakes_and_who_made_them_are_named_without_what_was_written(plain_home, labelled, caplog):
    caplog.set_level(logging.DEBUG)
    found = json.loads(run(plain_home, "check", labelled, "--json").stdout)
    said = run(plain_home, "check", labelled).stdout
    shown = run(plain_home, "check", labelled, "--show-text", "--limit", "3").stdout

    assert {doubt["id"] for doubt in found["doubts"]} == {f"c{number}" for number in (3, 7, 11, 15, 19, 23, 27, 31)}
    assert {doubt["moderator"] for doubt in found["doubts"]} == {"Eve"}
    assert [odd["moderator"] for odd in found["contradicted"]] == ["Eve"]
    assert found["sources"] == {"import": {"labels": 200, "weight": 0.7}}
    assert "Eve: the model contradicts 8 of 8 comments" in said
    assert "Remark" not in said + str(found) + caplog.text
    assert shown.count("Remark") == 3
    assert "and 5 more" in shown


def test_copies_with_opposite_labels_and_a_flood_are_named(plain_home, tmp_path):
    copy = "Best prices for replica watches, order today and save, my friend number "
    rows = [row("a", 1, text=copy + "1"), row("b", 0, "Ben", text=copy + "2")]
    moments = [f"2026-01-31T{12 + number // 60:02}:{number % 60:02}:00Z" for number in range(250)]
    rows += [row(f"c{number}", 0, "Eve", at=at) for number, at in enumerate(moments)]
    source = write(tmp_path / "a.jsonl", *rows, {"text": "x"})
    result = run(plain_home, "check", source, status=1)

    assert "spam: a (Ada) say 1; b (Ben) say 0" in result.stdout
    assert "Eve floods: 250 labels, up to 60 an hour, 250 within a day, 99% of all" in result.stdout
    assert f"{source}:253: labels must say something" in result.output


def test_a_check_reads_what_was_imported_beside_the_store_and_only_of_the_site(plain_home, judge, tmp_path):
    judge("c1", "Cheap watches", Ada="spam")
    run(plain_home, "import", write(tmp_path / "a.jsonl", row("c2"), row("c3", site="https://other.example")))

    assert json.loads(run(plain_home, "check", "--json").stdout)["comments"] == 3
    assert json.loads(run(plain_home, "check", "--site", SITE, "--json").stdout)["comments"] == 2


def test_doubtful_labels_of_the_store_go_into_the_queue_for_somebody_else(plain_home, store, judge, labelled, tmp_path):
    """The most doubtful first, then near-duplicates; never imported ones, and only where two may judge."""
    rows = [json.loads(line) for line in labelled.read_text().splitlines()]
    for number in (3, 7, 11):
        judge(f"c{number}", rows[number]["text"], Ada="spam")
    others = [each for number, each in enumerate(rows) if number not in (3, 7, 11)]
    run(plain_home, "import", write(tmp_path / "others.jsonl", *others))
    copy = "Best prices for replica watches, order today and save, my friend number "
    judge("twin1", copy + "1", Ada="hostile")
    judge("twin2", copy + "2", Ada="")
    site = store.sites()[0]
    assert "For a second look: 0 comments" in run(plain_home, "check", "--queue", "2").stdout
    for name in ("Ada", "Ben"):
        store.people.add(name, site, "moderator", who="operator")

    assert json.loads(run(plain_home, "check", "--queue", "2", "--json").stdout)["queued"] == 2
    first = {entry.stored.id for entry in store.queue.page([site]).entries}
    assert first < {"c3", "c7", "c11"}
    assert "For a second look: 3 comments" in run(plain_home, "check", "--queue", "9", "--site", SITE).stdout
    entries = store.queue.page([site]).entries
    assert {entry.stored.id for entry in entries} == {"c3", "c7", "c11", "twin1", "twin2"}
    assert {(why.name, why.detail) for entry in entries for why in entry.whys} == {("second_look", "doubted")}
    assert {line.who for line in store.logs.audit() if line.event == "second_look"} == {"operator"}
    assert "leave the files out" in run(plain_home, "check", labelled, "--queue", "1", status=2).output.replace(
        "\n", " "
    )


def test_a_check_of_all_labels_leaves_what_it_has_found_in_the_home(plain_home, labelled):
    run(plain_home, "check", labelled)
    assert read_findings(plain_home) is None, "other files are not what the service has"
    run(plain_home, "import", labelled)
    run(plain_home, "check", "--limit", "1")
    found = read_findings(plain_home)

    assert (found.comments, found.total, len(found.doubts)) == (200, 8, 8)
    assert {(each.moderator, each.why, each.source) for each in found.doubts} == {("Eve", "contradicted", "import")}
    assert "Remark" not in (plain_home / "labels" / "doubts.json").read_text()


def test_agreement_on_second_looks_is_shown_apart(plain_home, tmp_path):
    rows = [row(f"c{n}", n % 2, text=f"Words {n}", source="verdict") for n in range(12)]
    rows += [each | {"moderator": "Ben", "source": "second_look"} for each in rows]
    rows += [row(f"d{n}", n % 2, who, text=f"More {n}") for n in range(4) for who in ("Ada", "Ben")]
    source = write(tmp_path / "a.jsonl", *rows)
    (spam,) = json.loads(run(plain_home, "check", source, "--json").stdout)["second_looks"]
    said = run(plain_home, "check", source).stdout

    assert (spam["category"], spam["comments"], spam["alpha"]) == ("spam", 12, 1.0)
    assert "second look that knew nothing of the first: spam, 12 comments, alpha 1.00" in said


def test_trust_of_the_home_is_shown_and_checked(plain_home, tmp_path):
    run(plain_home, "import", write(tmp_path / "a.jsonl", row("c1")))
    (plain_home / "labels" / "trust.toml").write_text("[sources]\nimport = 0.1\n")
    assert json.loads(run(plain_home, "check", "--json").stdout)["sources"]["import"]["weight"] == 0.1
    (plain_home / "labels" / "trust.toml").write_text("[sources]\nguess = 1\n")
    assert "no source 'guess'" in run(plain_home, "check", status=2).output.replace("\n", " ")


def test_what_was_exported_can_be_imported_elsewhere(home, judge, tmp_path):
    judge("c1", "Cheap watches", Ada="spam")
    run(home, "export", tmp_path / "mine.jsonl")
    run(tmp_path / "other", "import", tmp_path / "mine.jsonl")

    (found,) = read_labels(tmp_path / "other" / "labels" / "imported.jsonl")
    assert (found.comment.text, found.labels, found.source) == ("Cheap watches", {"spam": 1}, "verdict")
