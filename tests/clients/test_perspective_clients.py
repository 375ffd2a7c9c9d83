"""Google's own clients for Python and Node, pointed at the service by the one line that their users change."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.auth import make_key

SPAM = "Look at http://a.example/x and http://b.example/y now!"
TEXTS = {"plain": SPAM, "Cyrillic": "Очень интересно, спасибо за статью", "emoji": "👩‍👩‍👧 so happy 🎉 é́"}

_numbers = count()


@pytest.fixture
def desk(shared_service):
    site = shared_service.parts.store.add_site(f"https://google-client-{next(_numbers)}.example")
    key = make_key(shared_service.parts.store, site)
    address = f"{shared_service.url}/$discovery/rest?version=v1alpha1"
    return SimpleNamespace(site=site, key=key, address=address, url=shared_service.url, parts=shared_service.parts)


def labels(desk) -> list[tuple[str, dict]]:
    return [(label["text"], label["labels"]) for label in desk.parts.store.labels.read(desk.site)]


def wanted(text: str, **more) -> dict:
    return {"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}, "SPAM": {}, "FLIRTATION": {}}, **more}


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def suggestion(text: str) -> dict:
    return {"comment": {"text": text}, "attributeScores": {"SPAM": {"summaryScore": {"value": 1}}}, "clientToken": "t"}


class TestPython:
    """google-api-python-client."""

    @pytest.fixture
    def build(self, desk):
        discovery = pytest.importorskip("googleapiclient.discovery")

        def build_one(key=None):
            return discovery.build(
                "commentanalyzer",
                "v1alpha1",
                developerKey=key or desk.key,
                discoveryServiceUrl=desk.address,
                static_discovery=False,
            )

        return build_one

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_check_and_feedback(self, build, desk, text):
        with build() as client:
            answer = client.comments().analyze(body=wanted(text, clientToken="t", spanAnnotations=False)).execute()
            thanks = client.comments().suggestscore(body=suggestion(text)).execute()

        scores = answer["attributeScores"]
        assert (set(scores), answer["clientToken"]) == ({"TOXICITY", "SPAM"}, "t")
        assert scores["SPAM"]["spanScores"][0]["end"] == units(text)
        assert (scores["SPAM"]["summaryScore"]["value"] > 0.5) is (text == SPAM)
        assert thanks == {"clientToken": "t"}
        assert labels(desk) == [(text, {"spam": 1})]

    def test_what_it_refuses(self, build):
        from googleapiclient.errors import HttpError

        with build() as client, pytest.raises(HttpError, match=r"Comment text too long\.") as too_long:
            client.comments().analyze(body=wanted("x" * 20_481)).execute()
        with build("nonsense") as client, pytest.raises(HttpError, match="API key not valid") as bad_key:
            client.comments().analyze(body=wanted("x")).execute()

        assert (too_long.value.status_code, bad_key.value.status_code) == (400, 400)
        assert too_long.value.error_details[0]["errorType"] == "COMMENT_TOO_LONG"
        assert bad_key.value.error_details[0]["reason"] == "API_KEY_INVALID"


SCRIPT = """
const {google} = require('googleapis');
const [address, key, calls] = [process.argv[2], process.argv[3], JSON.parse(process.argv[4])];
(async () => {
  const client = await google.discoverAPI(address);
  const answers = [];
  for (const {operation, body, otherKey} of calls) {
    try {
      const answer = await client.comments[operation]({key: otherKey || key, resource: body});
      answers.push({status: answer.status, data: answer.data});
    } catch (error) {
      answers.push({status: error.status ?? error.response?.status, message: error.message});
    }
  }
  console.log(JSON.stringify(answers));
})();
"""


@pytest.fixture(scope="session")
def googleapis(request) -> Path:
    """A folder in which Node finds googleapis, kept from one run of the tests to the next."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not installed")
    folder = Path(request.config.cache.mkdir("googleapis"))
    if not (folder / "node_modules" / ".package-lock.json").exists():
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts", "googleapis"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            pytest.skip(f"npm cannot install googleapis here: {done.stderr.strip().splitlines()[-1:]}")
    (folder / "calls.js").write_text(SCRIPT, encoding="utf-8")
    return folder


def test_node(googleapis, desk):
    """All in one process: loading googleapis takes longer than the calls."""
    calls = [
        {"operation": operation, "body": make(text)}
        for text in TEXTS.values()
        for operation, make in (("analyze", wanted), ("suggestscore", suggestion))
    ]
    calls += [{"operation": "analyze", "body": wanted("x" * 20_481)}]
    calls += [{"operation": "analyze", "body": wanted("x"), "otherKey": "nonsense"}]
    command = ["node", googleapis / "calls.js", desk.address, desk.key, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    *answers, too_long, bad_key = json.loads(done.stdout)

    for text, told, thanks in zip(TEXTS.values(), answers[::2], answers[1::2], strict=True):
        assert set(told["data"]["attributeScores"]) == {"TOXICITY", "SPAM"}
        assert told["data"]["attributeScores"]["SPAM"]["spanScores"][0]["end"] == units(text)
        assert (thanks["status"], thanks["data"]) == (200, {"clientToken": "t"})
    assert labels(desk) == [(text, {"spam": 1}) for text in TEXTS.values()]
    assert (too_long["status"], too_long["message"]) == (400, "Comment text too long.")
    assert bad_key["status"] == 400
    assert "API key not valid" in bad_key["message"]
