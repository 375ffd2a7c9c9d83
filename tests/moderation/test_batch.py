"""Files in, one result per line out, in order; a bad line is named and takes no other with it."""

import io
import json

import pytest

from moderation.batch import COLUMNS, UnreadableInput, read_lines, score_file
from moderation.categories import CODES
from moderation.policy import default_policy_toml


@pytest.fixture
def score(tiny_bundle, tmp_path):
    """Write content to a file of this name, score it, and return results, outcome and what was written aside."""

    def run(name, content, **options):
        source = tmp_path / name
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        target, aside = io.StringIO(), tmp_path / "aside.jsonl"
        outcome = score_file(
            source, target, lambda: aside.open("w", encoding="utf-8"), tiny_bundle, default_policy_toml(), **options
        )
        results = [json.loads(line) for line in target.getvalue().splitlines()]
        bad = [json.loads(line) for line in aside.read_text().splitlines()] if aside.exists() else []
        return results, outcome, bad

    return run


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_one_result_per_line_in_order(score):
    results, outcome, bad = score("in.jsonl", lines(*({"id": str(n), "text": f"Comment {n}"} for n in range(600))))
    assert [result["id"] for result in results] == [str(n) for n in range(600)]
    assert (outcome.scored, outcome.bad, bad) == (600, 0, [])
    assert set(results[0]) >= {"action", "scores", "reasons", "digest", "bundle", "policy", "tier"}
    assert list(results[0]["scores"]) == list(CODES)
    assert results[0]["scores"]["off_topic"] is None


def test_processes_change_nothing_but_the_time(score):
    content = lines(*({"id": str(n), "text": f"Comment {n} about trees"} for n in range(520)))
    assert score("in.jsonl", content, jobs=2)[0] == score("in.jsonl", content)[0]


def test_bad_lines_are_named_in_their_place_and_aside(score):
    content = (
        lines({"id": "a", "text": "fine"}).encode()
        + b'{"text": "cut off\n'
        + b'{"text": "\xff\xfe"}\n'
        + lines({"id": "d", "text": ""}, {"id": "e", "text": "x", "colour": "red"}).encode()
        + b'{"text": "\\ud800"}\n'
        + b"[" * 100_000
        + b"\n\n"
        + lines({"id": "h", "text": "fine"}, [1], {"id": 5, "text": "x"}, {"text": "a" * 50_001}).encode()
    )
    results, outcome, bad = score("in.jsonl", content)
    assert (outcome.scored, outcome.bad) == (2, 10)
    assert [(result.get("line"), "error" in result) for result in results] == [
        (None, False), (2, True), (3, True), (4, True), (5, True), (6, True), (7, True), (8, True),
        (None, False), (10, True), (11, True), (12, True),
    ]  # fmt: skip
    assert "UTF-8" in results[2]["error"]
    assert results[3] == {"id": "d", "line": 4, "error": "text: is empty"}
    assert "colour" in results[4]["error"]
    assert [entry["line"] for entry in bad] == [2, 3, 4, 5, 6, 7, 8, 10, 11, 12]
    assert all(entry["file"].endswith("in.jsonl") for entry in bad)


def test_csv_has_the_same_fields_by_dotted_names(score):
    header = "id,text,author.name,author.url,post.title,post.text,post.tags,do_not_store,hints.honeypot"
    row = '"1","A comment, with a comma",Ada,https://ada.example,Trees,"About trees and so on",wood,false,true'
    results, _, _ = score("in.csv", f"\ufeff{header}\r\n{row}\r\n")
    same, _, _ = score(
        "in.jsonl",
        lines(
            {
                "id": "1",
                "text": "A comment, with a comma",
                "author": {"name": "Ada", "url": "https://ada.example"},
                "post": {"title": "Trees", "text": "About trees and so on", "tags": ["wood"]},
                "hints": {"honeypot": True},
            }
        ),
    )
    assert results == same


def test_csv_bad_lines(score):
    content = b"id,text,thread\n1,fine,\n2,,\n3,\xff,\n4,fine,notjson\n5,too,many,cells\n6,fine,[]\n"
    results, outcome, _ = score("in.csv", content)
    assert [result.get("line") for result in results] == [None, 3, 4, 5, 6, None]
    assert (outcome.scored, outcome.bad) == (2, 4)


def test_csv_with_unknown_columns_scores_nothing_unless_told(score):
    with pytest.raises(UnreadableInput, match="label"):
        score("in.csv", "text,label\nhello,1\n")
    results, _, _ = score("in.csv", "text,label\nhello,1\n", ignore_unknown=True)
    assert results[0]["action"]


def test_parquet_may_be_nested_or_dotted(score):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    from pyarrow import parquet

    nested = [{"id": "1", "text": "A comment", "author": {"name": "Ada", "url": None}, "post": None}]
    dotted = [{"id": "1", "text": "A comment", "author.name": "Ada", "post.title": None}]
    found = []
    for rows in (nested, dotted):
        buffer = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        found.append(score("in.parquet", buffer.getvalue())[0])
    assert (
        found[0] == found[1] == score("in.jsonl", lines({"id": "1", "text": "A comment", "author": {"name": "Ada"}}))[0]
    )


def test_what_cannot_be_read_at_all_says_so(score, tmp_path):
    with pytest.raises(UnreadableInput, match="nothing"):
        list(read_lines(tmp_path / "nothing.jsonl"))
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    with pytest.raises(UnreadableInput, match="parquet"):
        score("in.parquet", b"no parquet")


def test_columns_cover_every_field_of_a_comment():
    assert {"text", "id", "kind", "author.name", "author.url", "post.title", "post.text", "parent.text"} <= set(COLUMNS)
