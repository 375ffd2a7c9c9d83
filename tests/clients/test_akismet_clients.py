"""Real clients of Akismet, unchanged: that of PyPI with its host rewritten on the way, that of npm by its setting."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import subprocess
from types import SimpleNamespace

import akismet
import httpx
import pytest
from platformdirs import user_cache_path

from moderation.comment import MAX_TEXT_CHARS
from service.auth import make_key
from service.statuses import AKISMET_ID
from service.store import QueueFilter

SPAM = "See https://shop.example and https://shop.example/2"
TEXTS = {
    "plain": "A thoughtful word about bread.",
    "not Latin": "خبز جيد، 美味しいパン, хороший хлеб",
    "emoji": "😀👩‍👩‍👧 so good",
    "odd signs": "100 % & a=b; c+d \u202eabc\nsecond line",
}
NPM = "@cedx/akismet@16.2.1"


@pytest.fixture
def site(shared_service, request):
    store = shared_service.parts.store
    made = store.add_site(f"https://client-{abs(hash(request.node.nodeid))}.example")
    return SimpleNamespace(made=made, url=made.url, key=make_key(store, made), parts=shared_service.parts)


def texts(site) -> list[str]:
    """The texts of what waits or was judged, the newest first."""
    return [label["text"] for label in site.parts.store.labels.read(site.made)]


def waiting(site) -> list[str]:
    page = site.parts.moderation.queue([site.made], QueueFilter(), sort="age", limit=50, after=None)
    return [entry.text for entry in page.entries]


def to_us(url: str, key: str):
    """Sends requests for the client's fixed host to ours, with the key before our name.

    So the recipe in docs/dialects.md does: ``key_sites`` of this client sends no key at all.
    """
    ours = httpx.URL(url)

    def rewrite(request: httpx.Request) -> None:
        assert request.url.host == "rest.akismet.com"
        request.url = request.url.copy_with(scheme=ours.scheme, host=ours.host, port=ours.port)
        request.headers["Host"] = f"{key}.moderation.example"

    return rewrite


class Elsewhere(httpx.HTTPTransport):
    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self._rewrite = to_us(url, key)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._rewrite(request)
        return super().handle_request(request)


class AsyncElsewhere(httpx.AsyncHTTPTransport):
    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self._rewrite = to_us(url, key)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._rewrite(request)
        return await super().handle_async_request(request)


class Blocking:
    """The asynchronous client, called as the other one is: one event loop and one client per call."""

    def __init__(self, url: str, config: akismet.Config) -> None:
        self._url, self._config = url, config

    def __getattr__(self, name: str):
        def call(*args, **kwargs):
            async def run():
                transport = AsyncElsewhere(self._url, self._config.key)
                async with httpx.AsyncClient(transport=transport, timeout=20) as http:
                    client = akismet.AsyncClient(config=self._config, http_client=http)
                    return await getattr(client, name)(*args, **kwargs)

            return asyncio.run(run())

        return call


@pytest.fixture(params=["sync", "async"])
def make_client(request, shared_service):
    opened = []

    def make(config: akismet.Config):
        if request.param == "async":
            return Blocking(shared_service.url, config)
        http = httpx.Client(transport=Elsewhere(shared_service.url, config.key), timeout=20)
        opened.append(http)
        return akismet.SyncClient(config=config, http_client=http)

    yield make
    for http in opened:
        http.close()


@pytest.fixture
def client(make_client, site):
    return make_client(akismet.Config(site.key, site.url))


class TestPython:
    def test_the_key_is_verified(self, client):
        assert client.verify_key()
        assert not client.verify_key(key="0123456789ab", url="https://blog.example")

    def test_a_wrong_key_is_its_own_error(self, make_client, site):
        wrong = make_client(akismet.Config("0" * 60, site.url))
        for call in (wrong.comment_check, wrong.submit_spam, wrong.submit_ham):
            with pytest.raises(akismet.APIKeyError):
                call("203.0.113.7", comment_content=SPAM)
        with pytest.raises(akismet.APIKeyError):
            wrong.usage_limit()

    @pytest.mark.parametrize("name", TEXTS)
    def test_comments_are_checked_and_spoken_of(self, client, site, name):
        text = TEXTS[name]
        assert client.comment_check("203.0.113.7", comment_content=SPAM) == akismet.CheckResponse.SPAM
        assert client.comment_check("203.0.113.7", comment_content=text, comment_author="Ann") == 0
        assert waiting(site) == [SPAM]
        assert client.submit_spam("203.0.113.7", comment_content=text, comment_author="Ann")
        assert client.submit_ham("203.0.113.7", comment_content=SPAM)

        assert texts(site) == [text, SPAM]

    def test_every_argument_that_it_takes(self, client):
        fields = dict.fromkeys(set(akismet.AkismetArguments.__optional_keys__) - {"user_role", "is_test"}, "x")

        assert client.comment_check("203.0.113.7", **fields, is_test=True) == akismet.CheckResponse.HAM
        assert client.comment_check("203.0.113.7", comment_content=SPAM, user_role="administrator") == 0
        assert client.comment_check("", comment_author="akismet-guaranteed-spam") == akismet.CheckResponse.SPAM

    def test_what_is_too_long_is_an_error_that_it_raises(self, client):
        with pytest.raises(akismet.RequestError):
            client.comment_check("203.0.113.7", comment_content="a" * (MAX_TEXT_CHARS + 1))

    def test_figures(self, client, site):
        client.comment_check("203.0.113.7", comment_content=SPAM)

        assert client.usage_limit()["limit"] == "none"
        [rows] = [value for value in client.key_sites().values() if isinstance(value, list)]
        assert (rows[0]["site"], rows[0]["spam"]) == (site.url.removeprefix("https://"), "1")
        assert client.key_sites(result_format="csv").splitlines()[1].startswith("Site,Total API Calls")


@pytest.fixture(scope="module")
def npm_folder():
    """A folder with the client of npm, kept for later runs."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is missing")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"{NPM} needs node 20, and this is {version}")
    folder = user_cache_path("comment-moderation-tests") / "npm-akismet"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # runs that go on side by side
        if not (folder / "node_modules" / "@cedx" / "akismet").exists():
            got = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--prefix", folder, NPM],
                capture_output=True,
                text=True,
                check=False,
            )
            if got.returncode:
                pytest.skip(f"npm cannot install {NPM} here")
    return folder


SCRIPT = """
import {Author, Blog, CheckResult, Client, Comment} from "@cedx/akismet";
const {calls, ...said} = JSON.parse(process.argv[2]);
const client = new Client(said.key, new Blog({url: said.blog, languages: ["en", "fr"]}), {baseUrl: said.url});
const results = [];
for (const [name, fields] of calls) {
  const author = new Author({ipAddress: "203.0.113.7", userAgent: "test", name: fields?.author, email: fields?.email});
  const comment = new Comment({...fields, author});
  try {
    const result = await client[name](comment);
    results.push(result === undefined ? "done" : result);
  } catch (error) { results.push(`error: ${error.message}`); }
}
console.log(JSON.stringify(results));
"""


@pytest.fixture
def call_npm(npm_folder, shared_service, site):
    script = npm_folder / "call.mjs"
    if not script.exists() or script.read_text() != SCRIPT:
        script.write_text(SCRIPT)

    def call(*calls, key: str = "") -> list:
        said = {"key": key or site.key, "blog": site.url, "url": shared_service.url, "calls": calls}
        run = subprocess.run(
            ["node", script, json.dumps(said)], capture_output=True, text=True, check=False, timeout=60, cwd=npm_folder
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return call


class TestNode:
    @pytest.mark.parametrize("name", TEXTS)
    def test_comments_are_checked_and_spoken_of(self, call_npm, site, name):
        text = TEXTS[name]
        said = {
            "content": text,
            "author": "Ann",
            "context": ["bread", "cooking"],
            "permalink": "https://blog.example/1",
        }
        results = call_npm(
            ["verifyKey", None],
            ["checkComment", {"content": SPAM}],
            ["checkComment", said],
            ["submitHam", {"content": SPAM}],
            ["submitSpam", said],
            ["checkComment", {"content": text, "author": "akismet-guaranteed-spam"}],
        )

        assert results == [True, 1, 0, "done", "done", 1]  # 0 is ham, 1 is spam
        assert texts(site) == [SPAM, text]
        [label] = [each for each in site.parts.store.labels.read(site.made) if each["text"] == text]
        assert (label["post"]["tags"], label["lang"], label["id"].startswith(AKISMET_ID)) == (
            ["bread", "cooking"],
            "en",
            True,
        )

    def test_errors_are_its_own(self, call_npm):
        long = {"content": "a" * (MAX_TEXT_CHARS + 1)}
        refused, failed = call_npm(["checkComment", {"content": SPAM}], ["submitSpam", {"content": SPAM}], key="0" * 60)

        assert call_npm(["verifyKey", None], key="0123456789ab") == [False]
        assert refused.startswith("error: ")
        assert "key" in refused
        assert failed == refused
        assert call_npm(["checkComment", long]) == ["error: 413 Request Entity Too Large"]
