"""Settings: defaults that work, nonsense refused in words that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import InvalidSettings
from service.settings import MAY_COME_FROM_FILE, PREFIX, Settings

REPOSITORY = Path(__file__).parents[2]


def test_everything_has_a_default():
    settings = Settings.load()

    assert settings.home.is_absolute()
    assert settings.database == f"sqlite:///{settings.home}/moderation.db"
    assert settings.data == settings.home / "data"
    assert (settings.host, settings.port, settings.max_text_chars) == ("127.0.0.1", 8000, 50_000)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().port = 1


def test_the_environment_counts_and_options_win_over_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MODERATION_PORT", "9000")
    monkeypatch.setenv("MODERATION_HOST", "0.0.0.0")
    monkeypatch.setenv("MODERATION_HOME", str(tmp_path))
    monkeypatch.setenv("MODERATION_ALLOWED_HOSTS", " Blog.example, localhost,")
    monkeypatch.setenv("MODERATION_PUBLIC_URL", "https://moderation.example/")
    settings = Settings.load(port=9001, host=None)

    assert (9001, "0.0.0.0", tmp_path) == (settings.port, settings.host, settings.home)
    assert settings.allowed_hosts == ("blog.example", "localhost")
    assert settings.public_url == "https://moderation.example"


@pytest.mark.parametrize(("given", "kept"), [("::1", "[::1]"), ("[0:0::1]", "[::1]"), ("A.example", "a.example")])
def test_allowed_hosts_may_be_ipv6(given, kept):
    assert Settings.load(allowed_hosts=given).allowed_hosts == (kept,)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:9000"),
        ("::", "http://[::1]:9000"),
        ("2001:db8::1", "http://[2001:db8::1]:9000"),
        ("desk.internal", "http://desk.internal:9000"),
    ],
)
def test_where_it_listens_as_an_address_to_open(host, address):
    assert Settings.load(host=host, port=9000).address == address


def test_an_empty_variable_is_not_set(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(PREFIX + name.upper(), "")

    assert Settings.load().port == 8000


def test_a_relative_home_and_a_tilde_become_full_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert tmp_path / "data" / "home" == Settings.load(home=Path("data/home")).home
    assert Path.home() / "x" == Settings.load(home=Path("~/x")).home


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "eighty", "MODERATION_PORT"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("MAX_TEXT_CHARS", "50001", "MODERATION_MAX_TEXT_CHARS: must be less than or equal to 50000"),
        ("MAX_TEXT_CHARS", "0", "greater than or equal to 1"),
        ("MAX_BODY_BYTES", "10", "MODERATION_MAX_BODY_BYTES"),
        ("DATABASE_URL", "mysql://x", "must begin with sqlite:/// or postgresql://"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_TIMEOUT_SECONDS", "nan", "MODERATION_DATABASE_TIMEOUT_SECONDS"),
        ("PUBLIC_URL", "moderation.example", "https://moderation.example.org"),
        ("ALLOWED_HOSTS", "https://a.example", "host names only"),
        ("SECRET", "short", "MODERATION_SECRET: must have at least 32"),
        ("LOG_FORMAT", "xml", "'text' or 'json'"),
        ("PROT", "1", "MODERATION_PROT is not a setting; did you mean MODERATION_PORT?"),
        ("DATABASE_URI", "x", "did you mean MODERATION_DATABASE_URL?"),
        ("PORT_FILE", "x", "MODERATION_PORT_FILE is not a setting"),
        ("QWXZ", "x", "known are MODERATION_ALLOWED_HOSTS"),
    ],
)
def test_nonsense_is_refused_with_the_variables_name(monkeypatch, variable, value, sentence):
    monkeypatch.setenv(PREFIX + variable, value)
    with pytest.raises(InvalidSettings) as caught:
        Settings.load()

    assert sentence in str(caught.value)


def test_several_mistakes_are_told_together(monkeypatch):
    monkeypatch.setenv("MODERATION_PORT", "x")
    monkeypatch.setenv("MODERATION_LOG_FORMAT", "x")
    with pytest.raises(InvalidSettings, match=r"MODERATION_PORT.*; MODERATION_LOG_FORMAT"):
        Settings.load()


class TestSecrets:
    def test_a_secret_may_come_from_a_file(self, monkeypatch, tmp_path):
        path = tmp_path / "secret"
        path.write_text("s" * 40 + "\n")
        monkeypatch.setenv("MODERATION_SECRET_FILE", str(path))

        assert Settings.load().secret.get_secret_value() == "s" * 40

    def test_so_may_the_database_with_its_password(self, monkeypatch, tmp_path):
        path = tmp_path / "url"
        path.write_text("postgres://me:pa@ss@db.example/x")
        monkeypatch.setenv("MODERATION_DATABASE_URL_FILE", str(path))
        settings = Settings.load()

        assert settings.database == "postgresql+psycopg://me:pa@ss@db.example/x"
        assert settings.database_shown == "postgresql+psycopg://db.example/x"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("postgresql:///x?user=me&password=hidden", "postgresql+psycopg:///x"),
            ("postgresql://db/x?password=hid@den", "postgresql+psycopg://..."),
            ("postgresql://me:hid?den@db:5433/x", "postgresql+psycopg://db:5433/x"),
            ("postgresql://me:hid/den@[::1]:5433/x", "postgresql+psycopg://[::1]:5433/x"),
            ("postgresql://db:port/x", "postgresql+psycopg://..."),
            ("sqlite:////srv/a@b/moderation.db?timeout=1", "sqlite:////srv/a@b/moderation.db"),
        ],
    )
    def test_of_a_database_only_place_and_name_are_shown(self, url, shown):
        assert shown == Settings.load(database_url=url).database_shown

    @pytest.mark.parametrize("content", [None, "", "\n", b"\xff\xff"])
    def test_a_file_that_cannot_be_used_stops_the_start(self, monkeypatch, tmp_path, content):
        path = tmp_path / "secret"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setenv("MODERATION_SECRET_FILE", str(path))
        with pytest.raises(InvalidSettings, match="MODERATION_SECRET_FILE"):
            Settings.load()

    def test_a_value_and_a_file_at_once_are_refused(self, monkeypatch, tmp_path):
        monkeypatch.setenv("MODERATION_SECRET", "s" * 40)
        monkeypatch.setenv("MODERATION_SECRET_FILE", str(tmp_path / "x"))
        with pytest.raises(InvalidSettings, match="only one of the two"):
            Settings.load()

    def test_secrets_are_not_shown(self, monkeypatch):
        monkeypatch.setenv("MODERATION_SECRET", "hidden" * 8)
        monkeypatch.setenv("MODERATION_DATABASE_URL", "postgresql://me:hidden@db/x")

        assert "hidden" not in repr(Settings.load())
        monkeypatch.setenv("MODERATION_DATABASE_URL", "mysql://me:hidden@db/x")
        with pytest.raises(InvalidSettings) as caught:
            Settings.load()
        assert "hidden" not in str(caught.value)


def test_every_setting_is_documented():
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`{PREFIX}{name.upper()}`" in page
        assert field.description in " ".join(page.split())
    for name in MAY_COME_FROM_FILE:
        assert f"`{PREFIX}{name.upper()}_FILE`" in page
