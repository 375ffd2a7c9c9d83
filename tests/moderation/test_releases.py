"""What serves is always a whole bundle, every way back leads to the same bytes, and nothing needed is lost."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from moderation.bundle import encoder_folder, load_bundle
from moderation.comment import Comment
from moderation.errors import BundleCorrupt, BundleMissing, BundleUnsupported, ReleaseRefused
from moderation.record import InForce, current_bundle, read_current
from moderation.releases import Releases

SITES = [f"https://site-{number}.example" for number in range(1000)]


@pytest.fixture(scope="module")
def three(make_bundle, tmp_path_factory):
    """Three bundles that score links otherwise, in a folder of their own."""
    models = tmp_path_factory.mktemp("three")
    return [make_bundle(models, spam=weight) for weight in (1.0, 2.0, 3.0)]


@pytest.fixture
def models(three, tmp_path):
    """A folder with copies of the three, none of them published."""
    return Path(shutil.copytree(three[0].parent, tmp_path / "models"))


@pytest.fixture
def names(three):
    return [path.name for path in three]


def publish(models, name, **more):
    return Releases(models).publish(models / name, note=more.pop("note", "for a test"), **more)


def digest(folder):
    content = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
    return hashlib.sha256(repr(content).encode()).hexdigest()


class TestPublish:
    def test_the_record_says_who_when_why_and_in_place_of_what(self, models, names):
        first, second, _ = names
        publish(models, first, by="Ada", note="the first")
        publish(models, second, by="Ben", note="better")
        one, two = Releases(models).history()

        assert (one.bundle, one.by, one.note, one.replaced, one.is_rollback) == (first, "Ada", "the first", None, False)
        assert (two.bundle, two.by, two.replaced, two.share) == (second, "Ben", first, None)
        assert current_bundle(models) == models / second
        lines = (models / "published.jsonl").read_text().splitlines()
        assert [json.loads(line)["bundle"] for line in lines] == [first, second]
        assert (models / "current").read_text() == f"{second}\n"

    def test_one_of_another_folder_is_copied(self, three, tmp_path):
        Releases(tmp_path / "models").publish(three[0], note="from elsewhere")
        copy = current_bundle(tmp_path / "models")
        assert digest(copy) == digest(three[0])
        assert load_bundle(copy).fault is None

    def test_with_its_encoder_and_anchors(self, full_bundle, tmp_path):
        Releases(tmp_path / "models").publish(full_bundle, note="from elsewhere")
        copy = current_bundle(tmp_path / "models")
        assert digest(copy) == digest(full_bundle)
        assert digest(encoder_folder(copy)) == digest(encoder_folder(full_bundle))

    def test_lines_of_older_versions_are_read(self, models, names):
        old = {"bundle": names[0], "at": "2026-01-02T03:04:05+00:00", "note": "moderation train"}
        (models / "published.jsonl").write_text(json.dumps(old) + "\nnot json\n[]\n{}\n")
        (models / "current").write_text(names[0])
        publish(models, names[1])
        assert [(r.bundle, r.took_effect) for r in Releases(models).history()] == [(names[0], True), (names[1], True)]
        assert Releases(models).former() == names[0]

    def test_who_was_slower_changes_nothing(self, models, names):
        publish(models, names[0])
        seen = Releases(models).in_force()
        publish(models, names[1])
        with pytest.raises(ReleaseRefused, match=f"{names[1]} serves now"):
            publish(models, names[2], instead_of=seen)
        assert current_bundle(models).name == names[1]

    def test_many_at_once_take_turns(self, models, names):
        """Every line says what the line before has made."""
        threads = [threading.Thread(target=publish, args=(models, names[number % 3])) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = Releases(models).history()
        assert len(history) == 12
        assert all(release.took_effect for release in history)
        assert [release.replaced for release in history] == [None, *(release.bundle for release in history[:-1])]
        assert current_bundle(models).name == history[-1].bundle


class TestRollBack:
    def test_scores_and_bytes_are_those_of_before(self, models, names):
        comments = [Comment(f"{'See https://a.example ' * (n % 5)} number {n}!") for n in range(1000)]
        before = digest(models / names[0])
        publish(models, names[0])
        scores = load_bundle(current_bundle(models)).model.score(comments)
        publish(models, names[1])
        assert load_bundle(current_bundle(models)).model.score(comments) != scores
        started = time.monotonic()
        release = Releases(models).roll_back(by="Ada")

        assert time.monotonic() - started < 2
        assert (release.bundle, release.replaced, release.is_rollback, release.by) == (names[0], names[1], True, "Ada")
        assert digest(current_bundle(models)) == before
        assert load_bundle(current_bundle(models)).model.score(comments) == scores

    def test_it_runs_no_model(self, models, names, monkeypatch):
        publish(models, names[0])
        publish(models, names[1])
        monkeypatch.setattr("moderation.releases.load_bundle", None)
        assert Releases(models).roll_back().bundle == names[0]

    def test_going_back_again_leads_further_back(self, models, names):
        for name in names:
            publish(models, name)
        releases = Releases(models)
        assert [releases.roll_back().bundle for _ in range(2)] == [names[1], names[0]]
        with pytest.raises(ReleaseRefused, match="nothing served before"):
            releases.roll_back()
        publish(models, names[2])
        assert releases.former() == names[0]

    def test_to_one_by_its_name_also_forwards(self, models, names):
        for name in names:
            publish(models, name)
        releases = Releases(models)
        assert releases.roll_back(names[0]).bundle == names[0]
        assert releases.roll_back(names[2][9:15]).bundle == names[2]
        with pytest.raises(ReleaseRefused, match="serves already"):
            releases.roll_back(names[2])
        with pytest.raises(BundleMissing, match="there are"):
            releases.roll_back("comments-000000000000")

    def test_never_to_one_that_was_never_checked_here(self, models, names):
        publish(models, names[0])
        with pytest.raises(ReleaseRefused, match=f"moderation publish {names[1]}"):
            Releases(models).roll_back(names[1])

    def test_a_spoilt_file_is_noticed(self, models, names):
        publish(models, names[0])
        publish(models, names[1])
        (models / names[0] / "MODEL_CARD.md").write_text("other")
        with pytest.raises(BundleCorrupt, match="MODEL_CARD"):
            Releases(models).roll_back()
        assert current_bundle(models).name == names[1]

    def test_where_nothing_was_published_it_says_what_to_do(self, three, tmp_path):
        shipped = three[0].parent
        (tmp_path / "shipped").mkdir()
        with pytest.raises(ReleaseRefused, match=r"came with the software serves.*moderation publish NAME"):
            Releases(tmp_path / "models", shipped).roll_back()

    def test_from_the_first_release_to_what_came_with_the_software(self, three, tmp_path):
        shipped = Path(shutil.copytree(three[0].parent, tmp_path / "shipped"))
        Releases(shipped).publish(shipped / three[0].name, note="shipped")
        releases = Releases(tmp_path / "models", shipped)
        assert releases.publish(three[1], note="ours").replaced == three[0].name
        assert releases.former() == three[0].name
        releases.roll_back()
        assert current_bundle(tmp_path / "models") == tmp_path / "models" / three[0].name
        assert digest(current_bundle(tmp_path / "models")) == digest(three[0])


class TestCanary:
    def test_the_same_sites_are_served_and_about_as_many_as_asked(self, names):
        trial = InForce(names[0], names[1], 0.2)
        served = {site: trial.serves(site) for site in SITES}
        assert served == {site: trial.serves(site) for site in SITES}
        assert 150 < Counter(served.values())[names[1]] < 250
        wider = InForce(names[0], names[1], 0.5)
        assert all(wider.serves(site) == names[1] for site in SITES if served[site] == names[1])
        other = InForce(names[0], names[2], 0.2)
        assert {site for site in SITES if other.serves(site) == names[2]} != {
            site for site in SITES if served[site] == names[1]
        }

    def test_it_is_begun_widened_and_completed(self, models, names):
        publish(models, names[0])
        publish(models, names[1], share=0.2)
        releases = Releases(models)
        assert releases.in_force() == InForce(names[0], names[1], 0.2)
        assert current_bundle(models).name == names[0]
        publish(models, names[1], share=0.55)
        assert (models / "current").read_text() == f"{names[0]}\n{names[1]} 0.55\n"
        publish(models, names[1])
        assert releases.in_force() == InForce(names[1])
        assert [(r.bundle, r.share, r.replaced) for r in releases.history()[1:]] == [
            (names[1], 0.2, names[0]),
            (names[1], 0.55, names[0]),
            (names[1], None, names[0]),
        ]
        assert all(release.took_effect for release in releases.history())
        assert releases.former() == names[0]

    def test_going_back_ends_it(self, models, names):
        publish(models, names[0])
        publish(models, names[1], share=0.2)
        releases = Releases(models)
        assert releases.former() == names[0]
        release = releases.roll_back()
        assert (release.bundle, release.replaced) == (names[0], names[1])
        assert releases.in_force() == InForce(names[0])
        assert releases.former() is None

    @pytest.mark.parametrize("share", [0, 1, -0.5, 2, 0.0000001])
    def test_a_share_that_makes_no_sense(self, models, names, share):
        publish(models, names[0])
        with pytest.raises(ReleaseRefused, match="share"):
            publish(models, names[1], share=share)

    def test_there_has_to_be_another_beside_it(self, models, names):
        with pytest.raises(ReleaseRefused, match="nothing serves yet"):
            publish(models, names[0], share=0.5)
        publish(models, names[0])
        with pytest.raises(ReleaseRefused, match="every site already"):
            publish(models, names[0], share=0.5)

    def test_beside_what_came_with_the_software(self, three, tmp_path):
        shipped = Path(shutil.copytree(three[0].parent, tmp_path / "shipped"))
        Releases(shipped).publish(shipped / three[0].name, note="shipped")
        releases = Releases(tmp_path / "models", shipped)
        releases.publish(three[1], note="a try", share=0.5)
        assert releases.in_force() == InForce(three[0].name, three[1].name, 0.5)
        assert current_bundle(tmp_path / "models").is_dir()

    def test_what_a_newer_version_says_is_not_half_understood(self, models, names):
        (models / "current").write_text(f"{names[0]}\n{names[1]} 0.5 of=nights\n")
        with pytest.raises(BundleUnsupported, match="update the software"):
            read_current(models)


class TestGoneBackFrom:
    def left(self, models):
        return set(Releases(models).rolled_back())

    def test_what_somebody_went_back_from_until_it_is_published_again(self, models, names):
        first, second, third = names
        for name in names:
            publish(models, name)
        assert self.left(models) == set()
        Releases(models).roll_back(by="Ada")
        assert self.left(models) == {third}
        Releases(models).roll_back(by="Ben")
        assert {name: each.by for name, each in Releases(models).rolled_back().items()} == {third: "Ada", second: "Ben"}
        publish(models, second)
        assert self.left(models) == {third}
        assert current_bundle(models).name == second
        assert first not in self.left(models)

    def test_all_that_a_long_way_back_goes_past(self, models, names):
        for name in names:
            publish(models, name)
        Releases(models).roll_back(names[0])
        assert self.left(models) == set(names[1:])

    def test_a_canary_that_was_ended(self, models, names):
        publish(models, names[0])
        publish(models, names[1], share=0.5)
        Releases(models).roll_back()
        assert self.left(models) == {names[1]}

    def test_what_came_with_the_software_is_gone_back_to(self, three, tmp_path):
        releases = Releases(tmp_path / "models", three[0].parent)
        (three[0].parent / "current").write_text(three[0].name)
        releases.publish(three[1], note="learned")
        releases.roll_back()
        assert self.left(tmp_path / "models") == {three[1].name}


class TestKeeping:
    def test_only_among_those_named(self, models, names):
        publish(models, names[0])
        assert Releases(models).prune(keep=0, among={names[0], names[2]}) == [names[2]]
        assert (models / names[1]).is_dir()

    def test_nothing_that_is_needed_is_cleared_away(self, make_bundle, models, names):
        more = [make_bundle(models, spam=weight).name for weight in (4.0, 5.0, 6.0, 7.0, 8.0)]
        former, serves = names[:2]
        publish(models, former)
        publish(models, serves)
        publish(models, names[2], share=0.5)
        releases = Releases(models)
        releases.pin(more[0])
        releases.challenge(models / more[1])
        gone = releases.prune(keep=0)

        assert sorted(gone) == sorted(more[2:])
        kept = {each.path.name: set(each.why) for each in releases.kept()}
        assert kept == {
            serves: {"in force"},
            former: {"former"},
            names[2]: {"canary"},
            more[0]: {"pinned"},
            more[1]: {"shadow"},
        }
        assert not list(models.glob(".removing-*"))

    def test_the_latest_are_kept(self, models, names, make_bundle):
        for name in names:
            publish(models, name)
        older = make_bundle(models, spam=9.0)
        os.utime(older, (1, 1))
        newer = make_bundle(models, spam=10.0)
        releases = Releases(models)
        assert releases.prune(keep=1) != []
        assert {each.path.name for each in releases.kept()} == {names[2], names[1], newer.name}
        assert releases.prune(keep=1) == []

    def test_encoders_stay_as_long_as_a_bundle_names_them(self, full_bundle, models, names):
        releases = Releases(models)
        releases.publish(full_bundle, note="with an encoder")
        encoder = encoder_folder(models / full_bundle.name)
        publish(models, names[0])
        releases.prune(keep=0)
        assert load_bundle(models / full_bundle.name).fault is None  # it is the former one
        shutil.copytree(models / names[0], models / "comments-000000000000")
        releases.pin("comments-000000000000")
        (models / "comments-000000000000" / "manifest.json").write_text("{}")
        publish(models, names[0], note="again")
        shutil.rmtree(models / full_bundle.name)
        releases.prune(keep=0)
        assert encoder.is_dir()  # what cannot be read may name it
        shutil.rmtree(models / "comments-000000000000")
        assert releases.prune(keep=0) == [encoder.name]
        assert not encoder.exists()

    def test_what_killed_processes_left_is_swept_a_day_later(self, models, names):
        publish(models, names[0])
        for name in (".current-1", ".writing-x", ".removing-y"):
            (models / name).mkdir() if "ing" in name else (models / name).write_text("")
        releases = Releases(models)
        releases.prune()
        assert (models / ".current-1").exists()
        for path in models.glob(".*-*"):
            os.utime(path, (1, 1))
        releases.prune()
        assert not list(models.glob(".*-*"))

    def test_a_challenger_is_named_and_let_go(self, models, names):
        releases = Releases(models)
        assert releases.challenger() is None
        releases.challenge(models / names[1])
        assert releases.challenger() == models / names[1]
        releases.challenge(None)
        releases.challenge(None)
        assert releases.challenger() is None

    def test_a_few_digits_are_enough(self, models, names):
        releases = Releases(models)
        assert releases.find(names[0][9:16]) == releases.find(names[0]) == models / names[0]
        for wanted in ("", "comments-", "..", "../models", names[0] + "0"):
            with pytest.raises(BundleMissing, match=names[0]):
                releases.find(wanted)


# The child does one thing to the releases and kills itself before line N of ours that it comes to; so for every N.
CHILD = """
import json, os, shutil, signal, sys
from pathlib import Path
from moderation import files, releases
from moderation.bundle import check_files
from moderation.releases import Releases

template, work, what, *names = sys.argv[1:]
template, work = Path(template), Path(work)
OURS = {files.__file__, releases.__file__}

def act():
    found = Releases(work)
    if what == "publish":
        found.publish(template.parent / "elsewhere" / names[2], note="n", by="b")
    elif what == "try":
        found.publish(work / names[2], note="n", by="b", share=0.5)
    elif what == "rollback":
        found.roll_back(by="b")
    else:
        found.prune(keep=0)

def kill_before(line):
    seen = 0
    def trace(frame, event, _argument):
        nonlocal seen
        if frame.f_code.co_filename not in OURS:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

line = 0
while True:
    line += 1
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(template, work)
    child = os.fork()
    if not child:
        kill_before(line)
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status not in (0, signal.SIGKILL):
        sys.exit(f"line {line}: status {status}")
    found = Releases(work)
    present = found.in_force()
    for name in filter(None, (present.bundle, present.canary)):
        check_files(work / name)
    last = found.history()[-1]
    said = [present.text(), len(found.history()), last.bundle, last.took_effect, found.former()]
    if line % 10 == 0 or status == 0:
        if what != "prune" and (work / names[2]).is_dir():
            found.publish(work / names[2], note="and the next one goes on")
            assert found.in_force().text() == names[2]
    print(json.dumps(said), flush=True)
    if status == 0:
        break
"""


@pytest.mark.parametrize("what", ["publish", "try", "rollback", "prune"])
def test_killed_at_any_line_the_old_or_the_new_bundle_serves(three, tmp_path, what, names, models):
    if what == "publish":  # from elsewhere, so that copying is tried as well
        shutil.copytree(three[0].parent, tmp_path / "elsewhere")
        shutil.rmtree(models / names[2])
    publish(models, names[0])
    publish(models, names[1])
    command = [sys.executable, "-W", "ignore", "-c", CHILD, models, tmp_path / "work", what, *names]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    old = names[1]
    new = {"publish": names[2], "try": f"{names[1]}\n{names[2]} 0.5", "rollback": names[0], "prune": names[1]}[what]

    assert len(said) > 50
    served = [each[0] for each in said]
    assert set(served) == {old, new}
    assert served == sorted(served, key=[old, new].index)  # once it is the new one it stays
    assert served[-1] == new
    for text, count, last, took_effect, former in said:
        assert former == (
            names[1]
            if what == "try" and text == new
            else names[0]
            if text == old
            else {"publish": names[1], "rollback": None}.get(what, names[0])
        )
        if what != "prune" and count == 3:  # written down before it is done
            assert last == (names[0] if what == "rollback" else names[2])
            assert took_effect == (text == new)
        else:
            assert took_effect
