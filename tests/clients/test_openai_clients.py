"""The real client library of OpenAI, unmodified from PyPI, against a live server; and the printed examples."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest

from moderation.comment import MAX_TEXT_CHARS
from service.auth import make_key

INTEGRATIONS = Path(__file__).parents[2] / "integrations"
SPAM = "See https://shop.example and https://shop.example/2"
HOSTILE = "Go away!!!!!!"
GOOD = "A thoughtful word."


@pytest.fixture(scope="module")
def desk(shared_service):
    """A site of its own on the shared service."""
    site = shared_service.parts.store.add_site("https://openai-clients.example")
    key = make_key(shared_service.parts.store, site)
    return SimpleNamespace(site=site, key=key, parts=shared_service.parts, url=f"{shared_service.url}/v1")


@pytest.fixture(params=["sync", "async"])
def moderate(request, desk):
    """Asks with the one client or the other."""

    def ask(key: str = desk.key, **request_body):
        if request.param == "sync":
            with openai.OpenAI(api_key=key, base_url=desk.url) as client:
                return client.moderations.create(**request_body)

        async def ask_later():
            async with openai.AsyncOpenAI(api_key=key, base_url=desk.url) as client:
                return await client.moderations.create(**request_body)

        return asyncio.run(ask_later())

    return ask


def test_a_text_is_judged(moderate):
    answer = moderate(input=HOSTILE, model="omni-moderation-latest")
    [result] = answer.results

    assert answer.id.startswith("modr-")
    assert answer.model == "omni-moderation-latest"
    assert result.flagged
    assert result.categories.harassment
    assert result.category_scores.harassment > 0.5
    assert result.category_applied_input_types.harassment == ["text"]
    assert result.categories.harassment_threatening is False
    assert result.categories.self_harm is False
    assert result.category_scores.sexual_minors == 0.0
    assert result.category_applied_input_types.illicit_violent == []


def test_spam_and_off_topic_are_kept_as_extra_fields(moderate):
    [result] = moderate(input=SPAM).results

    assert result.categories.spam is True
    assert result.category_scores.spam > 0.5
    assert result.categories.to_dict()["off-topic"] is False


def test_a_list_is_answered_in_order(moderate):
    answer = moderate(input=[GOOD, SPAM, GOOD, HOSTILE])

    assert [result.flagged for result in answer.results] == [False, True, False, True]


def test_parts_are_one_comment(moderate):
    parts = [
        {"type": "text", "text": "See https://shop.example"},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/1.png"}},
        {"type": "text", "text": "and https://shop.example/2"},
    ]
    [result] = moderate(input=parts).results

    assert result.flagged


@pytest.mark.parametrize("text", ["Ты молодец, спасибо!", "素晴らしい記事でした", "مقال رائع", "😀 👩‍👩‍👧 🇫🇷"])
def test_other_scripts_and_emoji_are_judged(moderate, text):
    assert moderate(input=[text]).results[0].flagged in (True, False)


def test_the_extra_field_is_sent_by_extra_body(moderate, desk):
    text = "Private words, 1b9f"
    moderate(input=text, extra_body={"do_not_store": True})

    assert desk.parts.store.find_texts(desk.site, desk.parts.feedback._hashes.text(text)) == []


def test_a_bad_key_is_an_authentication_error(moderate):
    with pytest.raises(openai.AuthenticationError) as caught:
        moderate(key="sk-proj-of-somebody-else", input=GOOD)

    assert caught.value.code == "invalid_api_key"


def test_what_is_too_long_is_a_bad_request_that_is_not_tried_again(moderate):
    with pytest.raises(openai.BadRequestError) as caught:
        moderate(input="a" * (MAX_TEXT_CHARS + 1))

    assert (caught.value.code, caught.value.param) == ("string_above_max_length", "input")


def test_too_many_and_none_are_bad_requests(moderate):
    for given, code in ((["x"] * 101, "array_above_max_length"), ([], "empty_array"), ("", "empty_string")):
        with pytest.raises(openai.BadRequestError) as caught:
            moderate(input=given)
        assert caught.value.code == code


def test_without_a_model_the_library_fails_at_once(start, home):
    (home / "models").mkdir(parents=True)
    (home / "models" / "current").write_text("no-such-bundle\n")
    service = start()
    begun = time.perf_counter()
    with (
        openai.OpenAI(api_key=service.key, base_url=f"{service.url}/v1") as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.moderations.create(input=GOOD)

    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
    assert time.perf_counter() - begun < 10


def test_the_library_needs_no_more_than_its_environment(desk, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", desk.url)
    monkeypatch.setenv("OPENAI_API_KEY", desk.key)
    with openai.OpenAI() as client:
        assert not client.moderations.create(input=GOOD).results[0].flagged


def example(page: str, language: str) -> str:
    text = (INTEGRATIONS / page).read_text(encoding="utf-8")
    [code, *_] = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return code


@pytest.mark.parametrize(
    ("program", "page", "language", "name"),
    [("node", "javascript.md", "js", "try.mjs"), ("php", "php.md", "php", "try.php")],
)
def test_the_printed_example_runs(desk, tmp_path, program, page, language, name):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
    file = tmp_path / name
    file.write_text(example(page, language), encoding="utf-8")
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "MODERATION_URL": desk.url.removesuffix("/v1")}
    done = subprocess.run(
        [program, file],
        env=environment | {"MODERATION_KEY": desk.key},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["published", "held: spam"]
