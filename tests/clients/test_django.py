"""What a Django site copies from integrations/django, in a real Django, against a real service, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
import threading
import time
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest
import uvicorn

from service.auth import make_key
from service.settings import Settings
from service.webhooks import make_secret, sign

django = pytest.importorskip("django", reason="Django is not installed")
pytest.importorskip("django_comments", reason="django-contrib-comments is not installed")

ROOT = Path(__file__).parents[2]
SPAM = "See http://a.example/x http://b.example/y http://c.example/z http://d.example/w now!"


def load_fixtures() -> ModuleType:
    """The helpers of the service's tests; fixtures are inherited from folders above only."""
    spec = spec_from_file_location("service_fixtures_for_django", ROOT / "tests" / "service" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def service(tmp_path_factory, plain_bundle):
    """A service that may call back to this machine."""
    fixtures = load_fixtures()
    home = tmp_path_factory.mktemp("home")
    fixtures.put_bundle(plain_bundle, home)
    (home / "policy.toml").write_text(fixtures.POLICY)
    service = fixtures.Service(Settings(home=home, webhook_allow=("127.0.0.1",)))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def site(service, tmp_path_factory):
    """A Django site with posts and comments, served by a real server; settings can be made once per process."""
    sys.path.insert(0, str(ROOT / "integrations" / "django"))
    listener = socket.create_server(("127.0.0.1", 0))
    from django.conf import settings

    store = service.parts.store
    place = store.add_site("https://django.example")
    secret = make_secret()
    settings.configure(
        SECRET_KEY="for tests",
        ALLOWED_HOSTS=["127.0.0.1", "testserver"],
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.sites",
            "django.contrib.flatpages", "django_comments",
        ],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path_factory.mktemp("django") / "site.db",
        }},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        # Tables at once, without the history of each.
        MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "sessions", "sites", "flatpages", "django_comments")),
        ROOT_URLCONF="urls_for_test",
        SITE_ID=1,
        USE_TZ=True,
        LOGGING_CONFIG=None,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MODERATION_URL=service.url,
        MODERATION_KEY=make_key(store, place),
        MODERATION_WEBHOOK_SECRET=secret,
        MODERATION_TIMEOUT=30.0,
    )  # fmt: skip
    django.setup()
    from comment_moderation import contrib, hooks
    from django.contrib.flatpages.models import FlatPage
    from django.core.asgi import get_asgi_application
    from django.core.management import call_command
    from django.urls import include, path
    from django_comments.moderation import moderator

    with warnings.catch_warnings():
        # What it warns of on import is its own affair.
        warnings.simplefilter("ignore")
        import django_comments.forms  # noqa: F401

    urls = ModuleType("urls_for_test")
    urls.urlpatterns = [path("comments/", include("django_comments.urls")), path("hook", hooks.webhook)]
    sys.modules["urls_for_test"] = urls
    call_command("migrate", run_syncdb=True, verbosity=0)
    moderator.register(FlatPage, contrib.ServiceModerator)
    contrib.connect()
    page = FlatPage.objects.create(url="/rye/", title="Rye and patience", content="Give the starter a night.")
    server = uvicorn.Server(uvicorn.Config(get_asgi_application(), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {settings.MODERATION_KEY}"})
    yield SimpleNamespace(url=url, page=page, secret=secret, api=client, place=place, service=service)
    client.close()
    server.should_exit = True
    thread.join()
    sys.path.remove(str(ROOT / "integrations" / "django"))
    from django.db import connections

    connections.close_all()


def post(site, text: str):
    """A visitor sends the form of django-contrib-comments; the comment as it was stored."""
    import django_comments

    form = django_comments.get_form()(site.page)
    hidden = {name: form.initial[name] for name in ("content_type", "object_pk", "timestamp", "security_hash")}
    said = {"name": "Ada", "email": "ada@mail.example", "url": "https://ada.example", "comment": text}
    with httpx.Client(base_url=site.url, cookies={"csrftoken": "x" * 32}) as browser:
        answer = browser.post("/comments/post/", data={**hidden, **said, "csrfmiddlewaretoken": "x" * 32})
    assert answer.status_code == 302, answer.text
    return django_comments.get_model().objects.latest("id")


def eventually(holds) -> bool:
    ends = time.monotonic() + 15
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def is_public(comment) -> bool:
    comment.refresh_from_db()
    return comment.is_public


def test_a_comment_becomes_public_where_it_is_published_and_waits_where_it_is_held(site):
    good, spam = post(site, "Mine took two nights, and it was worth it."), post(site, SPAM)

    assert (is_public(good), is_public(spam)) == (True, False)
    known = site.api.get(f"/v1/comments/comment-{spam.pk}").json()
    assert known["status"] == "held"
    waiting = site.api.get("/v1/queue").json()["entries"]
    entry = next(each for each in waiting if each["comment_id"] == f"comment-{spam.pk}")
    assert entry["author"] == {"id": None, "name": "Ada", "url": "https://ada.example"}
    assert entry["post"]["title"] == "/rye/ -- Rye and patience"
    assert "mail.example" not in json.dumps(known) + json.dumps(entry)


def test_what_moderators_decide_reaches_the_site_through_its_webhook(site):
    held = post(site, f"{SPAM} Again, and differently.")
    site.service.parts.store.webhooks.add(site.place, f"{site.url}/hook", (), site.secret, who="operator")
    digest = site.api.get(f"/v1/comments/comment-{held.pk}").json()["decision"]["digest"]
    verdict = {"comment_id": f"comment-{held.pk}", "digest": digest, "moderator": "Mina"}
    for action, is_shown in (("approve", True), ("reject", False)):
        said = site.api.post("/v1/verdicts", json={**verdict, "action": action})
        assert said.status_code == 201, said.text
        assert eventually(lambda is_shown=is_shown: is_public(held) is is_shown)


def test_without_the_service_a_comment_waits(site, settings_of_site):
    settings_of_site.MODERATION_URL = "http://127.0.0.1:9"

    assert is_public(post(site, "Nobody is there to judge me.")) is False


@pytest.fixture
def settings_of_site(site):
    from django.test import override_settings

    changed = override_settings()
    changed.enable()
    from django.conf import settings

    assert site.service.url == settings.MODERATION_URL
    yield settings
    changed.disable()


def send(site, message, **changed) -> int:
    body = json.dumps(message).encode()
    now = int(time.time()) + changed.pop("late", 0)
    headers = {"webhook-id": changed.pop("id", "m1"), "webhook-timestamp": str(now)}
    headers["webhook-signature"] = "v1,AAAA " + sign(
        changed.pop("secret", site.secret), headers["webhook-id"], now, body
    )
    headers.update(changed.pop("headers", {}))
    return httpx.post(f"{site.url}/hook", content=changed.pop("body", body), headers=headers).status_code


def test_only_what_is_signed_now_is_believed_and_each_message_once(site):
    from comment_moderation.hooks import status_changed

    told = []

    def hear(sender, comment_id, old, new, **_rest):  # noqa: ARG001
        told.append((comment_id, old, new))
        if new == "rejected":
            raise RuntimeError("not now")

    message = {"event": "comment.published", "comment_id": "elsewhere", "old": "held", "new": "published"}
    status_changed.connect(hear)
    try:
        assert send(site, message) == send(site, message) == 204
        assert told == [("elsewhere", "held", "published")]
        assert send(site, {"event": "ping"}, id="m2") == 204
        for wrong in (
            {"secret": make_secret()}, {"late": -301}, {"late": 400}, {"body": b"{}"},
            {"headers": {"webhook-id": "m9"}}, {"headers": {"webhook-timestamp": "soon"}},
            {"headers": {"webhook-timestamp": "9" * 400}}, {"headers": {"webhook-timestamp": "9" * 5_000}},
                {"headers": {"webhook-signature": b"v1,\xe9"}},
        ):  # fmt: skip
            assert send(site, message, id="m3", **wrong) == 403
        assert httpx.post(f"{site.url}/hook").status_code == 403
        assert httpx.get(f"{site.url}/hook").status_code == 405
        # What a receiver could not take is not marked as taken.
        bad = {**message, "new": "rejected"}
        assert send(site, bad, id="m4") == send(site, bad, id="m4") == 500
        assert len(told) == 3
    finally:
        status_changed.disconnect(hear)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", None, b"whsec_" + b"A" * 44, "no base64", "whsec_" + base64.b64encode(b"k" * 23).decode(), "é" * 40],
)
def test_a_secret_that_anybody_may_guess_is_refused_and_nothing_is_believed(site, settings_of_site, secret):
    from comment_moderation.hooks import is_genuine, status_changed
    from django.core.exceptions import ImproperlyConfigured

    told = []

    def hear(sender, **_rest):
        told.append(sender)

    settings_of_site.MODERATION_WEBHOOK_SECRET = secret
    key = secret if isinstance(secret, str) and secret.isascii() and secret != "no base64" else ""
    message = {"event": "comment.published", "comment_id": "elsewhere", "old": "held", "new": "published"}
    status_changed.connect(hear)
    try:
        assert send(site, message, id="forged", secret=key) == 500
    finally:
        status_changed.disconnect(hear)
    assert told == []
    with pytest.raises(ImproperlyConfigured, match="MODERATION_WEBHOOK_SECRET"):
        is_genuine(SimpleNamespace(headers={}), b"")


def test_without_a_secret_nothing_is_believed(site, settings_of_site):
    from comment_moderation.hooks import is_genuine
    from django.core.exceptions import ImproperlyConfigured

    del settings_of_site.MODERATION_WEBHOOK_SECRET
    with pytest.raises(ImproperlyConfigured, match="MODERATION_WEBHOOK_SECRET"):
        is_genuine(SimpleNamespace(headers={}), b"")
    assert send(site, {"event": "ping"}, id="unset") == 500


def test_a_form_refuses_what_is_rejected_and_says_what_is_held(site):
    from comment_moderation.forms import ModerationFormMixin
    from django import forms

    class Guestbook(ModerationFormMixin, forms.Form):
        moderation_field = "words"
        name = forms.CharField()
        words = forms.CharField()

        def moderation_context(self):
            return {"author": {"name": self.cleaned_data["name"]}, "post": {"id": "guestbook", "title": "Guestbook"}}

    class Renamed(ModerationFormMixin, forms.ModelForm):
        moderation_field = "content"

        class Meta:
            model = type(site.page)
            fields = ("url", "title", "content")

    other = Renamed({"url": "/rye/" + "x" * 200, "title": "Rye", "content": "a forbidden word"})
    good = Guestbook({"name": "Ada", "words": "A lovely place."})
    held = Guestbook({"name": "Ada", "words": f"{SPAM} In a book."})
    bad = Guestbook({"name": "Ada", "words": "a forbidden word"})
    incomplete = Guestbook({"words": "a forbidden word"})

    assert good.is_valid()
    assert held.is_valid()
    assert (good.moderation.status, held.moderation.status) == ("published", "held")
    assert not bad.is_valid()
    [error] = bad.non_field_errors().as_data()
    assert error.code == "rejected"
    assert error.message == bad.moderation.author_message != ""
    assert not incomplete.is_valid()
    assert incomplete.moderation is None
    # What the model of a form finds wrong comes first, too.
    assert not other.is_valid()
    assert other.moderation is None
    other = Renamed({"url": "/tea/", "title": "Tea", "content": "a forbidden word"})
    assert [error.code for error in other.non_field_errors().as_data()] == ["rejected"]
    assert Renamed().moderation is None
    assert site.api.get(f"/v1/comments/{held.moderation_id}").json()["status"] == "held"


def test_a_validator_refuses_a_text_and_leaves_nothing_behind(site):
    from comment_moderation.forms import CommentValidator
    from django.core.exceptions import ValidationError
    from django.db.migrations.writer import MigrationWriter

    before = len(site.api.get("/v1/queue").json()["entries"])
    CommentValidator()("A lovely place.")
    CommentValidator()(f"{SPAM} To a validator.")
    with pytest.raises(ValidationError):
        CommentValidator(held=True)(f"{SPAM} To a validator.")
    with pytest.raises(ValidationError):
        CommentValidator("review")("a forbidden word")
    assert len(site.api.get("/v1/queue").json()["entries"]) == before
    assert "held=True" in MigrationWriter.serialize(CommentValidator(held=True))[0]
    assert CommentValidator() == CommentValidator() != CommentValidator(held=True)


def test_a_comment_that_the_site_deletes_is_erased_and_a_refusal_is_held(settings_of_site):
    from comment_moderation.client import erase, submit

    submit({"id": "to/erase?", "text": "Words to forget."})
    erase("to/erase?")
    assert submit({"id": "to/erase?", "text": "Words to forget."}).fault == "http_410"
    settings_of_site.MODERATION_KEY = "0" * 60
    answer = submit({"text": "With a wrong key."})
    assert (answer.status, answer.fault) == ("held", "http_401")


def test_the_view_is_asynchronous(site):
    from comment_moderation.hooks import webhook
    from django.test import AsyncClient

    assert asyncio.iscoroutinefunction(webhook)
    answer = asyncio.run(AsyncClient().post("/hook", b"{}", content_type="application/json"))
    assert answer.status_code == 403
    assert site.url
