"""``moderation import``: what becomes of the moderation of other systems. All texts were written for these tests."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import shutil
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from moderation.categories import CODES
from moderation.comment import Author, Comment, Decision
from moderation.errors import DataError, InvalidRow
from moderation.training.labels import Trust, read_labels, read_trust
from moderation.training.systems import SYSTEMS, detect_system, find_root
from moderation.training.systems.found import has_email, make_author
from moderation.training.systems.markup import as_typed, read_markup
from service.cli import app
from service.statuses import AKISMET_ID
from service.store import Judged, Store

EXPORTS = Path(__file__).parent / "exports"
SITE = "https://kettle.example"
EVERYTHING = dict.fromkeys(CODES, 0)
WITHOUT_POST = {code: 0 for code in CODES if code != "off_topic"}
PERSONAL = ("mail.example", "203.0.113", "198.51.100", "293ec5b0", "74b9e7568ef6860e", "email_0123", "avatar", "5be1a3")


def moderation(home, *arguments, status: int = 0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
    assert result.exit_code == status, result.output
    return result


def take(home, *arguments, status: int = 0):
    return moderation(home, "import", *arguments, "--site", SITE, status=status)


def kept(home) -> dict[str, dict]:
    path = home / "labels" / "imported.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line["id"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    home = tmp_path_factory.mktemp("prepared") / "home"
    moderation(home, "add-site", SITE)
    return home


@pytest.fixture
def home(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "home")


@pytest.fixture
def exports(tmp_path):
    """An export of each system, by the name of its format."""
    packed, database = tmp_path / "backup-kettle-20260203.gz", tmp_path / "comments.db"
    packed.write_bytes(gzip.compress((EXPORTS / "remark42.jsonl").read_bytes()))
    connection = sqlite3.connect(database)
    connection.executescript((EXPORTS / "isso.sql").read_text(encoding="utf-8"))
    connection.close()
    xml = {name: EXPORTS / f"{name}.xml" for name in ("wordpress", "disqus")}
    return {**xml, "remark42": packed, "isso": database}


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_wordpress_says_what_was_decided_and_under_which_post(home, exports):
    said = take(home, exports["wordpress"]).stdout
    labels = kept(home)

    assert {name: label["labels"] for name, label in labels.items()} == {
        "12": EVERYTHING, "13": EVERYTHING, "15": {"spam": 1}, "18": EVERYTHING, "19": EVERYTHING, "31": WITHOUT_POST,
    }  # fmt: skip
    assert labels["13"]["text"] == (
        "My starter smells of <strong>apples</strong> &amp; cream, is that fine? <!-- hidden --> a]]>b \U0001f35e"
    )
    assert labels["13"]["author"] == {"id": "4", "name": "Bäcker Ben", "url": "https://ben.example/?a=1&b=2"}
    assert labels["13"]["post"] == {
        "id": "5",
        "title": "Rye & patience",
        "text": "Rye flour drinks more water than wheat does — give the starter a night. "
        "if (hydration > 80) { matrix[a[0]]> 1 }",
        "url": "https://kettle.example/?p=5&lang=en",
        "tags": ["Bread", "Rye & co"],
    }
    assert labels["12"]["parent"] == {"id": "13", "text": labels["13"]["text"]}
    assert (labels["12"]["kind"], labels["13"]["kind"], labels["18"]["kind"]) == ("reply", "comment", "pingback")
    assert labels["19"]["parent"] == {"id": "99"}
    assert "author" not in labels["19"]  # whose name was an e-mail address
    assert labels["13"]["created_at"] == "2026-02-02T10:00:00+00:00"
    assert "created_at" not in labels["18"]
    assert labels["13"]["url"] == "https://kettle.example/?p=5&lang=en#comment-13"
    for part in ("approved      6", "trash         1", "post trashed  1", "note          1", "1 of which no text"):
        assert part in said
    assert "Labels: 6 new, 0 replaced, 6 in" in said


def test_spam_that_wordpress_leaves_out_of_its_export_comes_from_its_command_line(home, tmp_path):
    text = (EXPORTS / "wordpress.xml").read_text(encoding="utf-8")
    without = tmp_path / "export.xml"
    without.write_text(text.replace("<![CDATA[spam]]>", "<![CDATA[trash]]>"), encoding="utf-8")
    assert "WordPress leaves spam out" in take(home, without).stdout.replace("\n", " ")
    spam = tmp_path / "spam.csv"
    with spam.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("comment_ID", "comment_post_ID", "comment_approved", "comment_author", "comment_content"))
        rows.writerow((77, 5, "spam", "Lucky", 'Two lines,\n"quoted", http://casino.example'))
        rows.writerow((78, 5, "0", "Ben", "Waiting"))
    take(home, spam)

    label = kept(home)["77"]
    assert (label["labels"], label["text"]) == ({"spam": 1}, 'Two lines,\n"quoted", http://casino.example')
    assert (label["post"], label["source"]) == ({"id": "5"}, "import:wordpress")
    spam.write_text("comment_ID,comment_approved\n1,spam\n")
    assert "no column comment_content" in take(home, spam, status=2).output.replace("\n", " ")


def test_a_list_in_json_is_imported_like_one_in_csv(home, tmp_path):
    """The file was written by ``fputcsv`` of PHP 8.2."""
    said = take(home, EXPORTS / "wordpress-spam.csv").stdout
    labels = kept(home)
    path = tmp_path / "spam.json"
    entries = [{"comment_ID": int(name), "comment_approved": "spam", "comment_content": label["text"]}
               for name, label in labels.items()]  # fmt: skip
    path.write_text(json.dumps(entries), encoding="utf-8")

    assert "Labels: 5 new, 0 replaced, 5 in" in said
    assert labels["81"]["text"] == '<a href=\\"http://casino.example\\">Win</a>, today'
    assert [labels[name]["labels"] for name in ("81", "84", "85")] == [{"spam": 1}, {"spam": 1}, WITHOUT_POST]
    assert "Labels: 0 new, 5 replaced, 5 in" in take(home, path).stdout
    assert kept(home)["85"]["labels"] == {"spam": 1}


def test_disqus_has_threads_deleted_parents_and_links_that_lead_over_its_counter(home, exports):
    said = take(home, exports["disqus"]).stdout
    labels = kept(home)

    assert {name for name, label in labels.items() if label["labels"] == {"spam": 1}} == {"3003", "3005"}
    assert labels["3001"]["text"] == (
        "Mine smells of apples & cream.\nIs that fine?\n\nSee http://notes.example/rye/a-very-long-name"
    )
    assert labels["3003"]["text"] == '<a href="https://casino.example/">Win at the casino</a>'
    assert labels["3003"]["author"] == {"name": "Lucky"}
    assert labels["3002"]["parent"] == {"id": "3001", "text": labels["3001"]["text"]}
    assert labels["3006"]["parent"] == {"id": "3004", "text": "Taken away by somebody."}
    assert labels["3007"]["post"] == {"id": "2999"}
    assert labels["3007"]["labels"] == WITHOUT_POST
    assert labels["wp_id=90"]["post"] == {
        "id": "2002", "title": "Tea", "text": "Boil it.", "url": "https://kettle.example/tea/",
    }  # fmt: skip
    assert {"3004", "3008", "3009"}.isdisjoint(labels)
    assert "deleted   1" in said
    assert "pending   1" in said


def test_isso_is_read_from_its_database_which_stays_as_it_is(home, exports):
    before = exports["isso"].read_bytes()
    take(home, exports["isso"])
    labels = kept(home)

    assert exports["isso"].read_bytes() == before
    assert set(labels) == {"1", "2", "5", "6", "7"}
    assert labels["1"]["post"] == {"id": "/rye/", "title": "Rye & patience", "url": f"{SITE}/rye/"}
    assert labels["1"]["author"] == {"name": "Ada", "url": "https://ada.example"}
    assert labels["2"]["parent"] == {"id": "1", "text": "Mine smells of **apples** & cream."}
    assert labels["5"]["parent"] == {"id": "4"}
    assert labels["6"]["labels"] == labels["7"]["labels"] == WITHOUT_POST
    assert labels["1"]["url"] == f"{SITE}/rye/#isso-1"


@pytest.mark.parametrize("uri", ["//[x", "//[x]/rye/", "http://[::1", "//\u2100/"])
def test_isso_s_page_is_left_out_where_its_name_makes_no_address(home, exports, uri):
    connection = sqlite3.connect(exports["isso"])
    connection.execute("UPDATE threads SET uri = ? WHERE id = 1", (uri,))
    connection.commit()
    connection.close()
    take(home, exports["isso"])
    labels = kept(home)

    assert labels["1"]["post"] == {"id": uri, "title": "Rye & patience"}
    assert "url" not in labels["1"]
    assert labels["6"]["url"] == f"{SITE}/tea.html?x=1#isso-6"


def test_remark42_is_read_from_its_backup_packed_or_not(home, exports):
    said = take(home, exports["remark42"]).stdout
    labels = kept(home)

    assert "Nothing new" in take(home, EXPORTS / "remark42.jsonl").stdout
    assert set(labels) == {"c1", "c2", "c5"}
    assert labels["c1"]["text"] == "Mine smells of **apples** & cream."
    assert labels["c2"]["text"] == "An old one, of which only <this> is left, see https://notes.example/rye"
    assert labels["c2"]["author"] == {"name": "Ben <3"}
    assert labels["c2"]["parent"] == {"id": "c1", "text": labels["c1"]["text"]}
    assert labels["c1"]["post"]["title"] == "Rye & patience"
    assert "blocked   1" in said


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_was_thrown_away_is_a_rejection_where_that_is_asked_for_and_nothing_personal_comes_along(
    home, exports, name
):
    take(home, exports[name], "--trash-is-reject")
    labels = kept(home)
    path = home / "labels" / "imported.jsonl"

    rejected = {"wordpress": {"16"}, "disqus": {"3004"}, "isso": set(), "remark42": {"c4"}}[name]
    assert {key for key, label in labels.items() if not label["labels"]} == rejected
    assert all(
        label["verdict"] == ("approve" if 0 in label["labels"].values() else "reject") for label in labels.values()
    )
    assert {label["source"] for label in labels.values()} == {f"import:{name}"}
    assert not [word for word in PERSONAL if word in path.read_text(encoding="utf-8")]
    assert path.stat().st_mode & 0o077 == 0
    # What was written are labels as everybody reads them.
    assert [label.comment.digest() for label in read_labels(path)] == [label["digest"] for label in labels.values()]


# --- again, and later ------------------------------------------------------------------------------------------------


def test_the_same_again_adds_nothing_and_a_later_export_brings_up_to_date(home, exports, tmp_path):
    take(home, exports["wordpress"], exports["disqus"])
    path = home / "labels" / "imported.jsonl"
    before, changed = path.read_bytes(), path.stat().st_mtime_ns
    assert "Nothing new" in take(home, exports["wordpress"], exports["disqus"]).stdout
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, changed)

    later = tmp_path / "later.xml"
    text = exports["wordpress"].read_text(encoding="utf-8")
    oven = "What a beautiful oven!]]></wp:comment_content>\n\t\t\t<wp:comment_approved><![CDATA[1]"
    assert oven in text
    later.write_text(
        text.replace("Rye flour", "Old rye flour")
        .replace("<![CDATA[spam]]>", "<![CDATA[1]]>")
        .replace(oven, oven.replace("[1]", "[trash]")),
        encoding="utf-8",
    )
    said = take(home, later, "--json").stdout
    labels = kept(home)

    assert {name: json.loads(said)[name] for name in ("added", "replaced", "withdrawn", "kept")} == {
        "added": 0, "replaced": 5, "withdrawn": 1, "kept": 12,
    }  # fmt: skip
    assert labels["15"]["labels"] == EVERYTHING
    assert labels["13"]["post"]["text"].startswith("Old rye flour")
    assert "31" not in labels
    assert "3001" in labels
    assert [entry.name for entry in path.parent.iterdir()] == ["imported.jsonl"]


def test_a_dry_run_writes_nothing(home, exports):
    said = take(home, exports["disqus"], "--dry-run").stdout

    assert "Labels: would be 7 new, 0 replaced, 7 in" in said
    assert kept(home) == {}


def erase(home, *ids: str) -> None:
    store = Store(f"sqlite:///{home / 'moderation.db'}")
    site = store.sites()[0]
    for each in ids:
        comment = Comment(f"Here as {each}", id=each, site=SITE)
        decision = Decision("hold", None, (), comment.digest(), None, "p" * 64, None)
        store.record(site, [Judged(comment, comment.digest(), "h" * 64, decision, {})], ("p" * 64, "# a policy"))
        store.erasure.erase_comment(site, each, "site")
    store.close()


def test_labels_from_elsewhere_stay_and_what_was_erased_here_is_not_taken(home, exports, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"id": "13", "site": SITE, "text": "Words", "labels": {"spam": 1}, "moderator": "Eve"}))
    moderation(home, "labels", "import", other)
    erase(home, "18")
    result = json.loads(take(home, exports["wordpress"], "--json", "--moderator", "Mina").stdout)

    assert (result["erased"], result["added"], result["kept"]) == (1, 5, 6)
    lines = [json.loads(line) for line in (home / "labels" / "imported.jsonl").read_text().splitlines()]
    assert [(line["id"], line["moderator"]) for line in lines[:2]] == [("13", "Eve"), ("12", "Mina")]


def from_akismet(tmp_path, exports, **guids) -> Path:
    """The export of WordPress, with what the plugin of Akismet keeps beside comments."""
    text, path = exports["wordpress"].read_text(encoding="utf-8"), tmp_path / "with-guids.xml"
    for number, guid in guids.items():
        start = text.index(f"<wp:comment_id>{number[1:]}</wp:comment_id>")
        meta = f"<wp:meta_key>akismet_guid</wp:meta_key><wp:meta_value><![CDATA[{guid}]]></wp:meta_value>"
        text = text[:start] + f"<wp:commentmeta>{meta}</wp:commentmeta>" + text[start:]
    path.write_text(text, encoding="utf-8")
    return path


def test_what_came_by_akismet_and_was_erased_is_not_taken_in_again(home, exports, tmp_path):
    guid, other = "4" * 32, "5" * 32
    path = from_akismet(tmp_path, exports, c13=guid, c12=other)
    erase(home, AKISMET_ID + guid)
    result = json.loads(take(home, path, "--json").stdout)

    assert (result["erased"], result["added"]) == (1, 5)
    assert set(kept(home)) == {"12", "15", "18", "19", "31"}
    assert kept(home)["12"]["known_as"] == AKISMET_ID + other


def test_what_came_by_akismet_and_is_erased_later_is_dropped_and_learned_from_no_more(home, exports, tmp_path):
    path = from_akismet(tmp_path, exports, c13="4" * 32, c12="5" * 32, c18="not a guid" * 30)
    take(home, path)
    erase(home, AKISMET_ID + "4" * 32)
    checked = json.loads(moderation(home, "labels", "check", "--json").stdout)
    assert checked["comments"] == 5
    again = json.loads(take(home, path, "--json").stdout)
    assert (again["erased"], again["withdrawn"], again["kept"]) == (1, 1, 5)
    erase(home, AKISMET_ID + "5" * 32)
    assert "Dropped: 1 imported labels" in moderation(home, "labels", "export").stdout
    assert set(kept(home)) == {"15", "18", "19", "31"}
    assert "known_as" not in kept(home)["18"]


def test_a_label_says_under_which_other_id_its_comment_is_known_also_in_a_table(home, tmp_path):
    erase(home, "comment-7")
    path, line = tmp_path / "labels.csv", "site,id,text,labels.spam,moderator,known_as\n"
    path.write_text(line + f"{SITE},7,Words,1,Mina,comment-7\n{SITE},8,Words,1,Mina,comment-8\n")
    said = moderation(home, "labels", "import", path).output

    assert kept(home)["8"]["known_as"] == "comment-8"
    assert set(kept(home)) == {"8"}
    assert "erased" in said
    path.write_text(line + f"{SITE},9,Words,1,Mina,{'x' * 201}\n")
    assert "known_as" in moderation(home, "labels", "import", path, status=1).output


# --- broken files ----------------------------------------------------------------------------------------------------


def broken(tmp_path, name, content) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "cut", "says"),
    [
        ("wordpress", lambda raw: raw[: raw.index(b"Thrown away")], ":156: the file ends in the middle"),
        ("wordpress", lambda raw: raw.replace(b"</wp:author>", b"</wp:autor>", 1), ":30: is no well-formed XML"),
        ("wordpress", lambda raw: raw.replace(b"Kettle", b"\xff", 1), ":21: is no well-formed XML"),
        ("disqus", lambda raw: raw.replace(b'dsq:id="3004"', b"dsq:id=3004", 1), "is no well-formed XML from column"),
        ("disqus", lambda raw: raw.replace(b"<disqus", b"<!DOCTYPE d [<!ENTITY a 'aa'>]><disqus", 1), "declares"),
        ("isso", lambda raw: raw[:4096] + b"\xff" * (len(raw) - 4096), "is no database of Isso that can be read"),
        ("isso", lambda raw: raw[:40], "is no database of Isso that can be read"),
        ("remark42", lambda raw: gzip.compress(gzip.decompress(raw)[:-30]), ":6: the backup was cut off"),
        ("remark42", lambda raw: raw[:-40], "cannot be unpacked"),
        ("remark42", lambda raw: gzip.decompress(raw).replace(b'"version":1', b'"version":9'), "a version that is not"),
        ("remark42", lambda raw: gzip.decompress(raw).split(b"\n", 1)[1], "its first line should have version"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_its_place(exports, tmp_path, name, cut, says):
    path = broken(tmp_path, "broken", cut(exports[name].read_bytes()))

    with pytest.raises(DataError) as refused:
        list(SYSTEMS[name].read(path, SITE, lambda _share: None))
    assert str(refused.value).startswith(f"{path}:")
    assert says in str(refused.value)


def test_of_a_broken_file_nothing_is_kept(home, exports, tmp_path):
    take(home, exports["disqus"])
    before = (home / "labels" / "imported.jsonl").read_bytes()
    path = broken(tmp_path, "broken.xml", exports["wordpress"].read_bytes()[:-20])
    result = take(home, exports["isso"], path, status=2)

    assert "Error: " in result.output
    assert f"{path}:" in result.output.replace("\n", "")
    assert [entry.name for entry in (home / "labels").iterdir()] == ["imported.jsonl"]
    assert (home / "labels" / "imported.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
        (b"<?xml version='1.0'?><rss version='2.0'><channel/></rss>", "is a news feed"),
        (b"PK\x03\x04rest", "is a ZIP archive"),
        (b"<!-- " * 20 + b"<disqus>", "looks like no export"),
        (b"Dear diary", "looks like no export"),
        (b"", "looks like no export"),
    ],
)
def test_what_is_no_export_is_named_for_what_it_is(tmp_path, content, says):
    with pytest.raises(DataError, match=says):
        detect_system(broken(tmp_path, "file", content))


@pytest.mark.parametrize("piece", ["<!--", "<a", "a", "a:", "<!-- -->"])
def test_the_time_to_look_at_a_file_grows_with_its_length(growth, piece):
    assert growth(find_root, lambda length: (b"<" + piece.encode() * length)[:length]) < 50


def test_a_file_a_format_and_a_site_must_be_there(home, exports, tmp_path):
    assert "cannot be read" in take(home, tmp_path / "nothing.xml", status=2).output
    assert "there is no format" in take(home, exports["isso"], "--format", "drupal", status=2).output
    said = moderation(home, "import", exports["isso"], "--site", "https://other.example", status=2).output
    assert "add-site" in said.replace("\n", " ")


def test_a_bomb_of_entities_is_refused_before_it_grows(tmp_path):
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY l0 "lol">{levels}]><rss><channel><item><title>&l11;</title>'
    path = broken(tmp_path, "bomb.xml", bomb.encode())
    outside = '<?xml version="1.0"?><!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss/>'

    for each in (path, broken(tmp_path, "outside.xml", outside.encode())):
        with pytest.raises(InvalidRow, match="refused"):
            list(SYSTEMS["wordpress"].read(each, SITE, lambda _share: None))


def test_a_comment_that_cannot_be_taken_is_listed_and_the_others_are(home, tmp_path):
    lines = (EXPORTS / "remark42.jsonl").read_text(encoding="utf-8").splitlines()
    long = json.loads(lines[1]) | {"id": "long", "orig": "x" * 50_001}
    surrogate = json.loads(lines[1]) | {"id": "odd", "orig": "odd \ud800 sign"}
    path = tmp_path / "backup.json"
    path.write_text("\n".join([*lines, json.dumps(long), "", json.dumps(surrogate), "{}", "[]"]) + "\n")
    result = take(home, path, status=1)

    assert f"{path}:7: text: " in result.stderr.replace("\n", "")
    assert f"{path}:10: is no comment" in result.stderr.replace("\n", "")
    assert "Left out: 3 that cannot be taken" in result.stdout
    assert kept(home)["odd"]["text"] == "odd \ufffd sign"


def test_blanks_before_the_declaration_and_other_encodings_are_read(tmp_path):
    text = (EXPORTS / "wordpress.xml").read_text(encoding="utf-8")
    utf16 = broken(tmp_path, "utf16.xml", text.replace("UTF-8", "UTF-16", 1).replace("\x08", "").encode("utf-16"))
    blanks = broken(tmp_path, "blanks.xml", ("\n\n" + text).encode())
    first = {found.id: found for found in SYSTEMS["wordpress"].read(EXPORTS / "wordpress.xml", SITE, print)}

    for path, lines in ((utf16, 0), (blanks, 2)):
        for found in SYSTEMS["wordpress"].read(path, SITE, lambda _share: None):
            assert found.line == first[found.id].line + lines
            assert found.comment == first[found.id].comment or found.id == "14"
    assert detect_system(blanks) == "wordpress"


# --- large files -----------------------------------------------------------------------------------------------------


def test_a_large_file_is_read_in_little_memory_and_tells_how_far_it_is(tmp_path):
    text = (EXPORTS / "disqus.xml").read_text(encoding="utf-8")
    start, end = text.index("<post"), text.index("</disqus>")
    rng = random.Random(5)
    path = tmp_path / "large.xml"
    with path.open("w", encoding="utf-8") as file:
        file.write(text[:start])
        for number in range(60):
            words = " ".join(str(rng.random()) for _ in range(2_000))
            file.write(text[start:end].replace("Is that fine?", words).replace("3001", f"{number}001"))
        file.write(text[end:])
    size, shares = path.stat().st_size, []
    tracemalloc.start()
    count = sum(1 for _ in SYSTEMS["disqus"].read(path, SITE, shares.append))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 600
    assert most < size / 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# --- HTML as text ----------------------------------------------------------------------------------------------------


@given(st.text(alphabet="<>/!- abp=\"'&;scriptylehf", max_size=200))
def test_any_markup_is_read(text):
    assert isinstance(as_typed(text), str)
    assert read_markup(text) == " ".join(read_markup(text).split())


@given(st.text(alphabet=st.characters(exclude_characters="<&\x1c\x1d\x1e\x1f\x85"), max_size=100))
def test_plain_text_stays_as_it_is(text):
    assert read_markup(text) == " ".join(text.split())
    assert " ".join(as_typed(f"<p>{text}</p>").split()) == " ".join(text.split())


@pytest.mark.parametrize(
    ("start", "piece"),
    [("", "<"), ("<", "a"), ("", "<a"), ("<", "a "), ("<a ", "/"), ("", " "), ("", "\n"), ("", "&"), ("&#", "1"),
     ("", "<!--"), ("", "<script"), ("<script>", "</script "), ("", "<a href="), ("<a ", "href= ")],
)  # fmt: skip
def test_the_time_to_read_markup_grows_with_its_length(growth, start, piece):
    for read in (read_markup, as_typed):
        assert growth(read, lambda length: (start + piece * length)[:length]) < 50


@pytest.mark.parametrize(("start", "piece"), [("", "a"), ("a@", "a"), ("", "a@"), ("", "@"), ("", "a@a "), ("", "a.")])
def test_the_time_to_look_for_an_e_mail_address_grows_with_the_length(growth, start, piece):
    assert growth(lambda name: make_author(name, name, None), lambda length: (start + piece * length)[:length]) < 50


@given(st.text(alphabet="ab@.< >\n", max_size=40))
def test_an_e_mail_address_is_found_wherever_it_stands(text):
    is_one = re.search(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+", text) is not None

    assert has_email(text) is is_one
    assert make_author(None, text, None) == (None if is_one or not text.strip() else Author(None, text.strip(), None))


@pytest.mark.parametrize("digits", ["9" * 5_000, "0" * 5_000 + "65"])
def test_a_reference_to_a_number_of_thousands_of_digits_is_no_sign(digits):
    assert as_typed(f"a &#{digits}; b") == read_markup(f"a &#{digits}; b") == "a \ufffd b"


@pytest.mark.parametrize(
    ("markup", "typed"),
    [
        ('<a href="https://a.example/">https://a.example</a>', "https://a.example/"),
        ('<a href="https://a.example/long/path">a.example/lo...</a>', "https://a.example/long/path"),
        ("<a href='https://a.example'><b>Buy</b> here</a> now", '<a href="https://a.example">Buy here</a> now'),
        ("<a href=https://a.example>one<a href=https://b.example>two", "".join(
            f'<a href="https://{name}.example">{words}</a>' for name, words in (("a", "one"), ("b", "two")))),
        ("<p>1 &lt; 2</p><p>3<br/>4</p>", "1 < 2\n\n3\n4"),
    ],
)  # fmt: skip
def test_html_is_what_an_author_typed(markup, typed):
    assert as_typed(markup) == typed


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")))
def test_whatever_was_written_comes_out_of_an_export_as_it_was(tmp_path, text):
    wrapped = f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"
    path = tmp_path / "one.xml"
    path.write_text(
        '<rss xmlns:wp="http://wordpress.org/export/1.0/"><channel><item><wp:comment><wp:comment_id>1</wp:comment_id>'
        f"<wp:comment_content>{wrapped}</wp:comment_content></wp:comment></item></channel></rss>",
        encoding="utf-8",
    )
    [found] = SYSTEMS["wordpress"].read(path, SITE, lambda _share: None)

    assert (found.comment.text if found.comment else "") == text.strip()


# --- weights ---------------------------------------------------------------------------------------------------------


def test_a_system_weighs_as_imports_do_unless_it_is_named(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text('[sources]\nimport = 0.5\n"import:disqus" = 0.1\n')
    trust = read_trust(path)

    assert Trust().of_source("import:isso") == 0.7
    assert (trust.of_source("import:isso"), trust.of_source("import:disqus")) == (0.5, 0.1)
    path.write_text('[sources]\n"export:disqus" = 1\n')
    with pytest.raises(DataError, match="no source"):
        read_trust(path)
