"""The command `moderation score` destroys nothing, says what is wrong, and tells by its exit status how it went."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODERATION = Path(sys.executable).with_name("moderation")


@pytest.fixture
def run(tiny_bundle, tmp_path):
    """Run `moderation score` with the tiny bundle, in an empty home."""

    def run_score(*arguments, **options):
        command = [MODERATION, "score", *map(str, arguments), "--bundle", tiny_bundle, "--home", tmp_path / "home"]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path, encoding="utf-8", **options
        )

    return run_score


def test_a_file_is_scored_line_by_line(run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "fine"}\n{"text": ""}\n{"id": "c", "text": "fine"}\n')
    result = run("in.jsonl", "--output", "out.jsonl")
    assert result.returncode == 1
    assert "1 of 3 lines of in.jsonl are bad" in result.stderr
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line.get("id") for line in written] == ["a", None, "c"]
    assert json.loads((tmp_path / "out.jsonl.errors.jsonl").read_text()) == {"file": "in.jsonl", **written[1]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "out.jsonl.errors.jsonl"]


def test_standard_input_to_standard_output(run):
    result = run("-", input='{"text": "fine"}\n')
    assert result.returncode == 0
    assert json.loads(result.stdout)["action"] == "publish"


def test_the_input_is_never_overwritten(run, tmp_path):
    content = '{"text": "fine"}\n'
    (tmp_path / "in.jsonl").write_text(content)
    result = run("in.jsonl", "--output", "./in.jsonl")
    assert result.returncode == 2
    assert (tmp_path / "in.jsonl").read_text() == content


def test_earlier_results_survive_a_faulty_bundle(tmp_path, tiny_bundle):
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n')
    (tmp_path / "out.jsonl").write_text("earlier results")
    broken = tmp_path / tiny_bundle.name
    broken.mkdir()
    command = [MODERATION, "score", "in.jsonl", "--output", "out.jsonl", "--bundle", broken]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert result.returncode == 2
    assert "manifest.json" in result.stderr
    assert (tmp_path / "out.jsonl").read_text() == "earlier results"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.jsonl"], "there is no file"),
        ([], "INPUT"),
        (["--text", "x", "in.jsonl"], "either"),
        (["in.jsonl", "--output", "no/such/folder/out"], "cannot write"),
        (["in.jsonl", "--format", "xml"], "jsonl"),
        (["in.jsonl", "--policy", "nothing.toml"], "nothing.toml"),
        (["--text", " "], "empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run, tmp_path, arguments, said):
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n')
    result = run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_one_text_as_a_table_and_as_json(run):
    table = run("--text", "thank you, that helped")
    assert table.returncode == 0
    assert table.stdout.startswith("publish")
    assert "off_topic" in table.stdout
    decision = json.loads(run("--text", "thank you, that helped", "--json").stdout)
    assert decision["action"] == "publish"


def test_explanations_come_with_each_line(run, tmp_path):
    texts = ["You are a complete idiot", "Buy 😀 cheap pills at http://cheap-pills.example/now"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, ""]))
    plain = [json.loads(line) for line in run("in.jsonl").stdout.splitlines()]
    explained = [json.loads(line) for line in run("in.jsonl", "--explain").stdout.splitlines()]
    assert "explanation" not in explained[2]
    for text, line in zip(texts, explained, strict=False):
        explanation = line.pop("explanation")
        assert explanation["score"] == line["scores"][explanation["category"]]
        for span in explanation["spans"]:
            units = text.encode("utf-16-le")[2 * span["utf16_start"] : 2 * span["utf16_end"]]
            assert units.decode("utf-16-le") == text[span["start"] : span["end"]]
    assert explained == plain


def test_one_explained_text_is_shown_with_nothing_that_steers_the_terminal(run):
    text = "You are an idiot, \x1b[31mred\x1b[0m one [bold]"
    shown = run("--text", text, "--explain")
    assert shown.returncode == 0
    assert "\nwhy " in shown.stdout
    assert "\ufffd[31mred\ufffd[0m one [bold]" in shown.stdout
    assert "\x1b" not in shown.stdout
    decision = json.loads(run("--text", text, "--explain", "--json").stdout)
    assert decision["explanation"]["category"] in decision["scores"]
