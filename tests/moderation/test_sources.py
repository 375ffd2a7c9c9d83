"""The catalogue, the state of its files, fetching, and what each set's labels become. All texts are made up."""

import csv
import hashlib
import http.server
import io
import json
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from moderation.errors import DataError, InvalidRow, SourceCorrupt, SourceMissing
from moderation.training.adapters import ADAPTERS
from moderation.training.adapters.hostile import unescape_comment
from moderation.training.sources import Source, SourceFile, fetch, load_catalogue, read_rows, status

CATALOGUE = Path(__file__).parents[2] / "training_data" / "sources.toml"
DATA_DIR = os.environ.get("MODERATION_DATA_DIR")


@pytest.fixture
def make_source(tmp_path):
    """A source over files written now, with their true checksums."""

    def make(adapter, contents, **changes):
        listed = []
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
            listed.append(SourceFile(name, hashlib.sha256(data).hexdigest()))
        fields = {"name": "set", "title": "A set", "licence": "CC0", "citation": "", "use": "train", "adapter": adapter}
        fields |= {"mind": "", "weight": 1.0, "files": tuple(listed), "local": "from the shelf", **changes}
        return Source(**fields)

    return make


def table(*rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def lines(*objects):
    return "".join(json.dumps(item) + "\n" for item in objects)


# --- catalogue -------------------------------------------------------------------------------------------------------


def test_shipped_catalogue_is_valid_and_every_adapter_is_used():
    catalogue = load_catalogue(CATALOGUE)

    assert {source.adapter for source in catalogue} == set(ADAPTERS)
    assert all(len(file.sha256) == 64 for source in catalogue for file in source.files)
    assert all(file.url or source.local for source in catalogue for file in source.files)


def test_sources_under_a_copyleft_software_licence_are_never_trained_on():
    assert {source.use for source in load_catalogue(CATALOGUE) if "GPL" in source.licence} == {"frozen"}


GOOD = {
    "name": "a",
    "title": "A",
    "licence": "MIT",
    "citation": "",
    "use": "train",
    "adapter": "jigsaw",
    "mind": "",
    "weight": 1.0,
}


def write_catalogue(path, *tables):
    parts = []
    for fields in tables:
        parts.append("[[source]]")
        parts += [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "files"]
        file = ", ".join(f"{key} = {json.dumps(value)}" for key, value in fields["files"].items())
        parts.append(f"files = [{{ {file} }}]")
    path.write_text("\n".join(parts))
    return path


FILE = {"path": "x.csv", "sha256": "0" * 64, "url": "https://example.org/x.csv"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"adapter": "no_such"}, "no adapter 'no_such'"),
        ({"use": "sometimes"}, "use must be one of"),
        ({"colour": "red"}, "colour"),
        ({"files": {**FILE, "path": "../x.csv"}}, "leaves the data folder"),
        ({"files": {"path": "x.csv", "sha256": "0" * 64}}, "has no url"),
    ],
)
def test_wrong_catalogue_is_refused_with_the_reason(tmp_path, changes, complaint):
    path = write_catalogue(tmp_path / "sources.toml", {**GOOD, "files": FILE, **changes})

    with pytest.raises(DataError, match=complaint):
        load_catalogue(path)


def test_catalogue_with_a_missing_field_or_a_repeated_name_is_refused(tmp_path):
    incomplete = {key: value for key, value in GOOD.items() if key != "licence"}
    with pytest.raises(DataError, match="lacks licence"):
        load_catalogue(write_catalogue(tmp_path / "a.toml", {**incomplete, "files": FILE}))
    with pytest.raises(DataError, match="twice"):
        load_catalogue(write_catalogue(tmp_path / "b.toml", {**GOOD, "files": FILE}, {**GOOD, "files": FILE}))
    with pytest.raises(DataError, match="cannot read"):
        load_catalogue(tmp_path / "none.toml")


# --- files -----------------------------------------------------------------------------------------------------------


def test_status_tells_present_missing_and_corrupt_apart_and_says_what_to_do(tmp_path, make_source):
    source = make_source("tg_spam", {"a/spam-samples.txt": "buy\n", "a/ham-samples.txt": "hi\n", "a/extra": "x"})
    (tmp_path / "a/ham-samples.txt").write_text("changed\n")
    (tmp_path / "a/extra").unlink()

    found = status([source], tmp_path)

    assert [file.state for file in found] == ["present", "corrupt", "missing"]
    assert "from the shelf" in found[2].message


def test_rows_are_not_read_from_a_file_with_another_checksum(tmp_path, make_source):
    source = make_source("tg_spam", {"spam-samples.txt": "buy now\n", "ham-samples.txt": "hello\n"})
    (tmp_path / "spam-samples.txt").write_text("buy noW\n")
    with pytest.raises(SourceCorrupt, match=r"spam-samples\.txt"):
        next(read_rows(source, tmp_path))

    (tmp_path / "spam-samples.txt").unlink()
    with pytest.raises(SourceMissing, match="from the shelf"):
        next(read_rows(source, tmp_path))


@pytest.fixture
def server(tmp_path):
    """A web server over a folder of its own; yields its address and the folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_fetch_gets_what_is_missing_or_corrupt_and_reports_the_rest(tmp_path, make_source, server):
    """One bad file does not stop the others, and other bytes never take a file's place."""
    address, folder = server
    data = tmp_path / "data"
    digest = hashlib.sha256(b"good").hexdigest()
    (folder / "good").write_bytes(b"good")
    (folder / "bad").write_bytes(b"other bytes")
    (data / "in").mkdir(parents=True)
    (data / "in/damaged").write_bytes(b"goo")
    files = (
        SourceFile("in/other", digest, f"{address}/bad"),
        SourceFile("in/gone", digest, f"{address}/nowhere"),
        SourceFile("in/new", digest, f"{address}/good"),
        SourceFile("in/damaged", digest, f"{address}/good"),
        SourceFile("in/by-hand", digest),
    )
    source = make_source("tg_spam", {}, files=files)

    found = {file.path: file for file in fetch([source], data)}

    assert [found[file.path].state for file in files] == ["missing", "missing", "present", "present", "missing"]
    assert "cannot fetch" in found["in/other"].message
    assert "cannot fetch" in found["in/gone"].message
    assert "from the shelf" in found["in/by-hand"].message
    assert sorted(path.name for path in (data / "in").iterdir()) == ["damaged", "new"]


def test_fetch_without_a_network_gives_a_sentence_for_each_file(tmp_path, make_source):
    file = SourceFile("x", "0" * 64, "http://127.0.0.1:9/x")

    (found,) = fetch([make_source("tg_spam", {}, files=(file,))], tmp_path)

    assert found.state == "missing"
    assert "yourself, or try again" in found.message


# --- adapters --------------------------------------------------------------------------------------------------------

JIGSAW = ("id", "comment_text", "toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")


def test_jigsaw_keeps_one_row_per_id_drops_id_zero_and_freezes_what_stands_in_a_test_file(tmp_path, make_source):
    both, only = "a" * 16, "b" * 16
    source = make_source(
        "jigsaw",
        {
            "train.csv": table(
                JIGSAW, (both, "x", 1, 0, 1, 0, 1, 0), (only, "y", "0.0", 0, 0, 0, 0, 0), (0, "z", *"111111")
            ),
            "test.csv": table(JIGSAW, (both, "x", 1, 0, 1, 0, 1, 0)),
        },
    )

    rows = {row.id: row for row in read_rows(source, tmp_path)}

    assert set(rows) == {f"set:{both}", f"set:{only}"}
    assert rows[f"set:{both}"].frozen_set == "jigsaw"
    assert rows[f"set:{only}"].frozen_set is None
    expected = {"hostile": 1, "severe": 0, "profanity": 1, "threat": 0, "insult": 1, "identity_attack": 0}
    assert rows[f"set:{both}"].labels == expected


def toxic_spans_files(raters, spans, test_texts=()):
    """Files of the set for comment 2, which is not in the frozen tenth; ``raters`` says who called it not toxic."""
    return {
        "comments.csv": table(("comment_id", "comment_text"), ("2", "some text")),
        "annotations.csv": table(
            ("annotation", "comment_id", "worker", "country", "all toxic", "not toxic"),
            *((index, "2", index, "X", False, mild) for index, mild in enumerate(raters)),
        ),
        "spans.csv": table(("annotation", "type", "start", "end"), *((at, kind, 0, 4) for at, kind in spans)),
        "tsd_test.csv": table(("spans", "text"), *(("[0]", text) for text in test_texts)),
    }


@pytest.mark.parametrize(
    ("raters", "spans", "labels"),
    [
        ([False, False, True], [(0, "Insult"), (0, "Insult"), (1, "Insult")], {"hostile": 1, "insult": 1}),
        ([False, False, False], [(0, "Threat")], {"hostile": 1, "insult": 0, "threat": None}),
        ([False, False], [(0, "Insult"), (1, "Insult")], {"hostile": 1, "insult": 1, "threat": 0}),
        ([True, False], [(1, "Insult")], {"hostile": 0, "insult": 0}),
        ([True, True], [], {"hostile": 0, "profanity": 0, "identity_attack": 0}),
    ],
)
def test_toxic_spans_labels_follow_the_share_of_raters(tmp_path, make_source, raters, spans, labels):
    """Half of the raters make a type 1, nobody 0, and in between it is unknown (None here)."""
    (row,) = read_rows(make_source("toxic_spans", toxic_spans_files(raters, spans)), tmp_path)

    assert {code: row.labels.get(code) for code in labels} == labels


@pytest.mark.parametrize(
    ("raters", "spans", "agree"),
    [
        ([False, False], [(0, "Insult"), (1, "Insult")], True),
        ([True, True], [], True),
        ([False, False], [(0, "Insult")], True),
        ([True, False], [(1, "Insult")], False),
    ],
)
def test_toxic_spans_on_which_all_raters_agree_are_a_slice(tmp_path, make_source, raters, spans, agree):
    (row,) = read_rows(make_source("toxic_spans", toxic_spans_files(raters, spans)), tmp_path)

    assert ("unanimous" in row.slices) == agree


def test_toxic_spans_never_trains_on_a_text_of_the_test_file(tmp_path, make_source):
    source = make_source("toxic_spans", toxic_spans_files([False], [], test_texts=["Some, TEXT!"]))

    assert [row.frozen_set for row in read_rows(source, tmp_path)] == ["toxic-spans-why"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('"plain"', "plain"),
        (r'"one\\n\\ntwo\nthree"', "one\n\ntwo\nthree"),
        (r'"a\xa0b\\xa0c"', "a b c"),
        (r'"caf\xe9 and \\xc3\\xa9"', "café and é"),
        (r'"don\u2019t \\u2019"', "don’t ’"),
        (r'"\ud83d\ude00 \ud83d"', "😀 \ufffd"),
        (r'"it\\\'s "quoted" here"', 'it\'s "quoted" here'),
        (r'"C:\path"', r"C:\path"),
        ('"', '"'),
    ],
)
def test_kaggle_comments_are_decoded_however_often_they_were_escaped(raw, text):
    assert unescape_comment(raw) == text


def test_decoded_comment_remembers_the_fingerprint_of_the_published_text(tmp_path, make_source):
    """An exclusion list made from the raw file must still match."""
    raw = r'"you\nthere"'
    source = make_source("kaggle_insults", {"train.csv": table(("Insult", "Date", "Comment"), (1, "", raw))})

    (row,) = read_rows(source, tmp_path)

    assert row.comment.text == "you\nthere"
    assert row.extra["raw_fingerprint"] == hashlib.sha1(b"younthere").hexdigest()[:16]


def test_hatexplain_is_read_as_label_tab_text_with_quotes_as_they_are(tmp_path, make_source):
    source = make_source(
        "hatexplain",
        {
            "train.csv": 'label\ttext\nnormal\t"half a quote\nhatespeech\t<user> bad\n',
            "test.csv": "label\ttext\noffensive\tmeh\n",
        },
    )

    rows = list(read_rows(source, tmp_path))

    assert [row.comment.text for row in rows] == ['"half a quote', "bad", "meh"]
    assert rows[1].labels == {"hostile": 1, "identity_attack": 1}
    assert rows[2].labels == {"hostile": 1}
    assert [row.frozen_set for row in rows] == [None, None, "hatexplain"]


def test_edos_says_nothing_about_texts_that_are_not_sexist_and_loses_its_placeholders(tmp_path, make_source):
    header = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")
    source = make_source(
        "edos",
        {
            "edos_labelled_aggregated.csv": table(
                header,
                ("1", "fine", "not sexist", "none", "none", "train"),
                ("2", "[USER] bad [URL]", "sexist", "1. threats, plans", "1.1 threats of harm", "test"),
            )
        },
    )

    (row,) = read_rows(source, tmp_path)

    assert (row.comment.text, row.frozen_set) == ("bad", "edos")
    assert row.labels == {"hostile": 1, "identity_attack": 1, "threat": 1}


def test_paradetox_is_read_without_quoting_and_keeps_a_text_with_its_rewrites(tmp_path, make_source):
    content = 'toxic\tneutral1\tneutral2\tneutral3\n"rude\tpolite\t\t\nruder\tnice\tnicer\t\n'

    rows = list(read_rows(make_source("paradetox", {"paradetox.tsv": content}), tmp_path))

    assert [row.comment.text for row in rows] == ['"rude', "polite", "ruder", "nice", "nicer"]
    assert Counter(row.group for row in rows).most_common(1)[0][1] == 3
    assert [row.labels["hostile"] for row in rows] == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(("votes", "hostile"), [("0.0", 0), ("1.0", None), ("2.0", 1), ("3.0", 1)])
def test_told_br_needs_two_votes_and_one_vote_is_unknown(tmp_path, make_source, votes, hostile):
    header = ("text", "homophobia", "obscene", "insult", "racism", "misogyny", "xenophobia")
    source = make_source("told_br", {"ToLD-BR.csv": table(header, ("oi", *["0.0"] * 2, votes, *["0.0"] * 3))})

    assert [row.labels["hostile"] for row in read_rows(source, tmp_path)] == ([] if hostile is None else [hostile])


def spam_line(identity, blog, label, **changes):
    fields = {"id": identity, "source": blog, "post_id": "p", "label": label, "origin": "form", "suspect": False}
    fields |= {"text_plain": f"text {identity}", "author": "A", "author_url": "", "date": "2020-01-01", "cluster": 7}
    return fields | changes


def test_blog_moderation_keeps_trustworthy_labels_and_measures_frozen_blogs_on_the_form(tmp_path, make_source):
    post = {"post_id": "p", "source": "b", "title": "A title", "text": "A text"}
    source = make_source(
        "blog_pr_moderation",
        {
            "posts.jsonl": lines(post),
            "comments.jsonl": lines(
                spam_line("1", "b", "spam", author_url="http://x.example"),
                spam_line("2", "b", "owner", post_id=None),
                spam_line("3", "b", "unclear"),
                spam_line("4", "b", "spam", suspect=True),
                spam_line("5", "haacked", "ham"),
                spam_line("6", "haacked", "ham", origin="import"),
            ),
        },
    )

    rows = {row.id.removeprefix("set:"): row for row in read_rows(source, tmp_path)}

    assert set(rows) == {"1", "2", "5"}
    assert rows["1"].labels == {"spam": 1}
    assert rows["1"].comment.author.url == "http://x.example"
    assert rows["1"].comment.post.title == "A title"
    assert rows["1"].extra["cluster"] == "7"
    assert rows["2"].labels == {"spam": 0}
    assert rows["2"].comment.post is None
    assert (rows["5"].frozen_set, rows["5"].group) == ("spam-blogs", "blog:haacked")


def test_blog_threads_give_post_and_earlier_comments_by_date(tmp_path, make_source):
    """Under eight words a comment says nothing about topics, but it still stands in the thread of later ones."""
    posts = lines({"post_id": "p", "title": "T", "text": "x"}, {"post_id": "q", "title": "", "text": " "})
    long = "one two three four five six seven eight"
    fields = {"source": "b", "author": "", "author_url": "", "label": "approved"}
    source = make_source(
        "blog_threads",
        {
            "posts.jsonl": posts,
            "comments.jsonl": lines(
                {"id": "late", "post_id": "p", "text": long, "date": "2020-01-03", **fields},
                {"id": "early", "post_id": "p", "text": "Thanks!", "date": "2020-01-01", **fields},
                {"id": "early", "post_id": "p", "text": "Thanks!", "date": "2020-01-01", **fields},
                {"id": "lost", "post_id": "q", "text": long, "date": "2020-01-01", **fields},
                {"id": "held", "post_id": "p", "text": long, "date": "2020-01-02", **fields, "source": "yasoob"},
            ),
        },
    )

    rows = {row.id.removeprefix("set:"): row for row in read_rows(source, tmp_path)}

    assert [item.text for item in rows["late"].comment.thread] == ["Thanks!", long]
    assert {name: row.labels.get("off_topic") for name, row in rows.items()} == {
        "early": None,
        "late": 0,
        "lost": None,
        "held": 0,
    }
    assert rows["late"].labels["hostile"] == 0
    assert (rows["held"].frozen_set, rows["held"].labels) == ("topic-blogs", {"off_topic": 0})


def test_openai_samples_keep_missing_labels_unknown(tmp_path, make_source):
    import gzip

    data = lines({"prompt": "a", "SH": 1, "V": 0}, {"prompt": "b", "H": 1, "H2": 1}, {"prompt": "c", "H": 0, "V": 1})
    source = make_source("openai_moderation", {"samples-1680.jsonl.gz": gzip.compress(data.encode())})

    rows = list(read_rows(source, tmp_path))

    assert [row.labels for row in rows] == [
        {"threat": 0},
        {"hostile": 1, "identity_attack": 1, "threat": 1},
        {"identity_attack": 0},
    ]
    assert rows[0].slices == ("self-harm",)


def test_hatemoji_text_and_its_contrast_are_one_group(tmp_path, make_source):
    header = ("entry_id", "text", "type", "target", "label_gold", "matched_id")
    rows_of_file = ((3, "x 🔪", "threateninglanguage", "t", 1, 8), (8, "x 👏", "none", "t", 0, 3))
    source = make_source("hatemoji", {"HatemojiBuild/train.csv": table(header, *rows_of_file)})

    hateful, kind = read_rows(source, tmp_path)

    assert hateful.group == kind.group
    assert hateful.labels["threat"] == 1
    assert kind.labels["hostile"] == 0


# --- bad rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "files", "line"),
    [
        ("jigsaw", {"train.csv": table(JIGSAW, ("a" * 16, "x", 2, 0, 0, 0, 0, 0))}, 2),
        ("jigsaw", {"train.csv": table(JIGSAW, ("a" * 16, "x", 1))}, 2),
        ("kaggle_insults", {"train.csv": "Insult,Date\n1,\n"}, 2),
        ("hatexplain", {"train.csv": "label\ttext\nnormal\tx\nstrange\ty\n"}, 3),
        ("staticman_demo", {"link_rows.jsonl": lines({"id": "1", "text_plain": "x", "date": "d"}) + "{broken\n"}, 2),
        ("staticman_demo", {"link_rows.jsonl": "[]\n"}, 1),
        ("toxigen", {"toxiGen.json": "[{"}, 1),
    ],
)
def test_corrupted_line_is_named_with_file_and_number(tmp_path, make_source, adapter, files, line):
    with pytest.raises(InvalidRow) as caught:
        list(read_rows(make_source(adapter, files), tmp_path))

    assert caught.value.line == line
    assert caught.value.path.endswith(next(iter(files)))


def test_empty_and_over_long_comments_are_counted_and_odd_characters_replaced(tmp_path, make_source):
    content = "".join(
        json.dumps({"id": str(at), "text_plain": text, "date": "d", "author": "\x00"}) + "\n"
        for at, text in enumerate(["  ", "x" * 50_001, "nul\x00 and \ud83d half", "good"])
    )
    refused = Counter()

    rows = list(read_rows(make_source("staticman_demo", {"link_rows.jsonl": content}), tmp_path, refused))

    assert [row.comment.text for row in rows] == ["nul\ufffd and \ufffd half", "good"]
    assert refused == {"set": 2}


# --- the real data ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA_DIR, reason="MODERATION_DATA_DIR names no folder with the public data sets")
def test_real_sets_have_the_rows_that_their_description_counts():
    """Counts as published; where an adapter skips some, the number it must leave."""
    catalogue = {source.name: source for source in load_catalogue(CATALOGUE)}
    assert {file.state for file in status(list(catalogue.values()), Path(DATA_DIR))} == {"present"}

    expected = {
        "jigsaw-predibase": 16_606,
        "jigsaw-fastbert": 2_000,
        "toxic-spans": 16_100 + 2_000 - 1_845,  # the test file's texts, less those of them that leave training
        "kaggle-insults": 3_947 + 2_647,
        "hatexplain": 18_652,
        "hatemoji": 5_912 + 3_930,
        "vicomtech-stormfront": 10_703,
        "goemotions": 4_000,
        "germeval2018": 8_541,
        "germeval2021": 4_188,
        "korean-hate-speech": 8_367,
        "cold-zh": 11_754,
        "youtube-uci": 1_956,
        "staticman-popcorn-demo": 4_728,
        "noisyhate": 2 * 1_339,
        "bias-madlibs": 5_000,
        "xstest": 250,
        "ethos": 998,
        "openai-moderation": 1_680,
        "fox-news": 1_528,
    }
    found = {name: sum(1 for _ in read_rows(catalogue[name], Path(DATA_DIR))) for name in expected}

    assert found == expected
