"""``moderation evaluate``: the files it writes agree with each other, and it says early what it cannot do."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from moderation.bundle import load_bundle
from moderation.comment import Comment
from moderation.shipped import shipped_folder
from service.cli import app
from service.commands.training import _bar


@pytest.fixture
def training_data(tmp_path):
    """A catalogue of nothing, so that only the behaviour cases are measured."""
    folder = tmp_path / "training_data"
    (folder / "seed").mkdir(parents=True)
    (folder / "behaviour").symlink_to(shipped_folder("training_data") / "behaviour")
    (folder / "sources.toml").write_text("source = []\n")
    (folder / "exclude.txt").write_text("")
    return folder


@pytest.fixture
def evaluate(tiny_bundle, training_data, tmp_path):
    def run(*options):
        return CliRunner().invoke(
            app,
            ["evaluate", "--bundle", str(tiny_bundle), "--training-data", str(training_data),
             "--home", str(tmp_path / "home"), *map(str, options)],
        )  # fmt: skip

    return run


def test_figures_page_and_card_are_written_and_say_the_same(evaluate, tiny_bundle, tmp_path):
    result = evaluate("--json", tmp_path / "e.json", "--html", tmp_path / "e.html", "--card", tmp_path / "card.md")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "e.json").read_text())
    html, card = (tmp_path / "e.html").read_text(), (tmp_path / "card.md").read_text()
    assert figures["bundle"] == load_bundle(tiny_bundle).name
    assert figures["bundle"] in html
    distress = figures["behaviour"]["slices"]["distress"]
    assert f"| distress | {distress['cases']} | {distress['passed']} |" in card
    assert "held by mistake, behaviour cases on distress" in result.stdout
    assert all(failed["id"] in html for failed in figures["behaviour"]["failed"])


def test_figures_alone_go_to_standard_output(evaluate):
    result = evaluate("--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["format"] == 2


def test_a_set_that_is_not_there_is_named(evaluate):
    result = evaluate("--sets", "kaggle-insults,typo")
    assert result.exit_code == 2
    assert "typo" in result.output


def test_the_bar_counts_comments_and_keeps_their_order():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    comments = [Comment(str(number)) for number in range(600)]
    with _bar(console, lambda some: [comment.text for comment in some], 600) as (assess, progress):
        progress("a set")
        assert assess(comments) == [str(number) for number in range(600)]
    assert "600/600" in console.file.getvalue()
    assert "a set" in console.file.getvalue()
