"""Peers are run on our rows where they are installed, and skipped with advice where they are not."""

import importlib
import importlib.util
import shutil

import pytest

from moderation.comment import Author, Comment, Post
from moderation.training import peers
from moderation.training.peers import Peers, find_peers, peers_for
from moderation.training.rows import Row

TRAINS = Post(title="Night trains", text="Sleeping cars between Vienna and Venice run again, with new couchettes.")
BREAD = Post(title="Sourdough", text="Feed the starter with rye flour, wait until it doubles, and bake it hot.")
SPAM, HAM = "cheap pills, casino bonus, buy now", "the sleeping car to Venice was lovely"


def rows():
    made = []
    for number in range(6):
        for label, text in ((1, SPAM), (0, HAM)):
            comment = Comment(f"{text} {number}", author=Author(name="Ann", url="https://ann.example"), post=TRAINS)
            made.append(Row("made", f"{label}-{number}", comment, {"spam": label, "off_topic": 0}, "g"))
    return made


@pytest.fixture
def nothing_installed(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(importlib, "import_module", refuse)


@pytest.mark.usefixtures("nothing_installed")
def test_what_is_not_installed_is_skipped_with_what_to_install(tmp_path):
    found = find_peers(rows(), tmp_path)
    assert [peer.name for peer in found.found] == ["TF-IDF cosine"]
    assert found.skipped["bogofilter"] == "apt-get install bogofilter"
    assert found.skipped["alt-profanity-check"] == "pip install alt-profanity-check"
    assert found.skipped["all-MiniLM-L6-v2"].startswith("pip install")


@pytest.mark.usefixtures("nothing_installed")
def test_tfidf_puts_the_comment_nearer_to_its_own_post(tmp_path):
    [peer] = find_peers(rows(), tmp_path).found
    other, own = peer.score([Comment(HAM, post=BREAD), Comment(HAM, post=TRAINS)])
    assert own < other


@pytest.mark.skipif(shutil.which("bogofilter") is None, reason="bogofilter is not installed")
def test_bogofilter_learns_from_our_rows_and_answers_each_comment(tmp_path):
    """Also one whose text looks like the start of another mail, or has no text that it can read."""
    peer = peers._bogofilter(rows(), tmp_path)
    texts = [SPAM, HAM, "Well\nFrom here on it is\rFrom a@b Thu Jan  1 00:00:00 1970\nanother story", "\u2764"]
    spam, ham, *others = peer.score([Comment(text) for text in texts])
    assert spam > ham
    assert len(others) == 2


def test_peers_are_for_their_category_and_for_english():
    made = [peers.Peer("one", "", "hostile", lambda comments: [0.0] * len(comments))]
    english = [Row("made", "1", Comment("x"), {"hostile": 0}, "g")]
    german = [Row("made", "1", Comment("x"), {"hostile": 0}, "g", slices=("lang-de",))]
    spam = [Row("made", "1", Comment("x"), {"spam": 0}, "g")]
    assert [list(peers_for("a", part, Peers(tuple(made)))) for part in (english, german, spam)] == [made, [], []]
