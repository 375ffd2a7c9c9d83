"""What ``wp comment list`` prints, in JSON and as CSV of PHP: read as it was written, or refused with its place."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import DataError, InvalidRow
from moderation.training.systems import SYSTEMS, detect_system
from moderation.training.systems.lists import read_rows

# Written by ``fputcsv`` of PHP 8.2.
MADE = Path(__file__).parents[1] / "service" / "exports" / "wordpress-spam.csv"
TEXTS = [
    r"<a href=\"http://casino.example\">Win</a>, today",
    "It ends in a backslash \\",
    'Two \\"lines\\",\n"quoted" and \\\\"so" on',
    'x\\",comment,0,0\n99,5,1,Eve,,"2026-02-03 10:11:16",Approved?\\',
    "Fine",
]
FIELDS = (
    "comment_ID", "comment_post_ID", "comment_approved", "comment_author", "comment_author_url", "comment_date_gmt",
    "comment_content", "comment_type", "comment_parent", "user_id",
)  # fmt: skip
NEEDED = "comment_ID,comment_approved,comment_content\n"
ENTRY = '{"comment_ID": 1, "comment_approved": "spam", "comment_content": "a"}'
PHP = """
$out = fopen("php://stdout", "w");
foreach (json_decode(stream_get_contents(STDIN)) as $row) { fputcsv($out, $row); }
"""


def found_in(path: Path) -> list:
    return list(SYSTEMS["wordpress"].read(path, "https://kettle.example", lambda _share: None))


def rows_in(text: str) -> list[list[str]]:
    return [fields for _, fields in read_rows(io.StringIO(text, newline=""), Path("spam.csv"))]


def test_csv_is_read_as_php_writes_it():
    found = found_in(MADE)

    assert [each.comment.text for each in found] == TEXTS
    assert [each.line for each in found] == [2, 3, 4, 6, 8]
    assert [each.status for each in found] == ["spam"] * 4 + ["approved"]
    assert found[1].comment.author.name == "Back\\"
    assert found[2].comment.parent.id == "82"
    assert (found[4].comment.author.id, found[4].comment.author.name) == ("4", "Ada")


CELLS = st.lists(
    st.sampled_from(
        ["\\", '"', '\\"', '\\",', '\\"\n', '""', ",", "\n", "\r\n", " ", "a", "<a href=", "comment", "0", "7,5,spam"]
    ),
    max_size=9,
).map("".join)


@pytest.mark.skipif(shutil.which("php") is None, reason="PHP is not installed")
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=40))
def test_whatever_php_writes_comes_out_as_it_was(cells):
    rows = [list(FIELDS)]
    rows += [
        [str(number), "5", "spam", name, url, "2026-02-03 10:11:12", text, "comment", "0", "0"]
        for number, (name, url, text) in enumerate(cells, start=1)
    ]
    made = subprocess.run(["php", "-r", PHP], input=json.dumps(rows).encode(), capture_output=True, check=True)

    assert rows_in(made.stdout.decode()) == rows


def test_csv_of_others_is_read_too():
    assert rows_in('"a","b"\r\n\r\n"1","two ""words"", and"\r\n2,') == [
        ["a", "b"],
        ["1", 'two "words", and'],
        ["2", ""],
    ]


def test_json_is_read_however_it_is_written(tmp_path):
    with MADE.open(encoding="utf-8", newline="") as file:
        entries = [dict(zip(FIELDS, fields, strict=True)) for _, fields in read_rows(file, MADE)][1:]
    path = tmp_path / "spam.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    found = found_in(path)
    assert [each.line for each in found] == [1, 2, 3, 4, 5]
    assert [each.comment for each in found] == [each.comment for each in found_in(MADE)]

    entries[0] |= {"comment_ID": 81, "user_id": None, "comment_author_email": "ada@mail.example", "extra": [1]}
    path.write_text("\ufeff\n" + json.dumps(entries, indent=2, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert found_in(path) == found
    path.write_text(" [ ]\n")
    assert found_in(path) == []


@pytest.mark.parametrize("name", ["all.json", "all.csv"])
def test_a_long_list_is_read_in_less_memory_than_it_is_long(tmp_path, name):
    entry = dict.fromkeys(FIELDS, "1") | {"comment_content": "Some, words. " * 3_000 + "\\"}
    row = ",".join(f'"{value}"' for value in entry.values())
    count, path = 500, tmp_path / name
    lists = {"all.json": json.dumps([entry] * count), "all.csv": "\n".join([",".join(FIELDS), *[row] * count])}
    path.write_text(lists[name], encoding="utf-8")
    tracemalloc.start()
    texts = [
        found.comment.text
        for found in SYSTEMS["wordpress"].read(path, "https://kettle.example", print)
        if found.line % 100 == 1
    ]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert set(texts) == {entry["comment_content"]}
    assert most < path.stat().st_size / 2


@pytest.mark.parametrize("piece", ['\\",', '\\"\n', '\\","', ",", '""', "\\"])
def test_the_time_it_takes_grows_with_the_length(growth, piece):
    def read(text: str) -> None:
        with suppress(InvalidRow):
            rows_in(text)

    assert growth(read, lambda length: 'a,b,c\n1,2,"' + (piece * length)[:length] + '"\n1,2,"x') < 50


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (NEEDED + '1,spam,"a\nb"\n2,spam,"c\nd\n3,spam,e\n', ":4: no row of 3 fields begins here"),
        (NEEDED + "\n1,spam,a\n2,spam\n3,spam,c\n", ":4: no row of 3 fields begins here"),
        (NEEDED + '1,spam,a"b\n', ":2: no row of 3 fields begins here"),
        ('comment_ID,"', ":1: no row of fields begins here"),
        ('[{"comment_ID": "1"}]', ": has no column comment_approved, comment_content; ask for it with --fields"),
        ("comment_ID\n1", ": has no column comment_approved, comment_content; ask for it with --fields"),
        (f'[{ENTRY}, {{"comment', ":2: this comment of the list is no JSON"),
        (f"[{ENTRY}", ":2: the list does not go on with a comma, nor end"),
        (f"[{ENTRY}] [", ":2: something follows"),
        ("[" * 200_000, ":1: this comment of the list is no JSON"),
        ("[" + "9" * 5_000 + "]", ":1: this comment of the list is no JSON"),
        ("[1]", ":1: is no comment"),
        ("[", ":1: this comment of the list is no JSON"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path, content, says):
    path = tmp_path / "list"
    path.write_text(content, encoding="utf-8")

    assert detect_system(path) == "wordpress"
    with pytest.raises(DataError) as refused:
        found_in(path)
    assert str(refused.value).startswith(f"{path}{says}")
