"""What an operator can set: ``MODERATION_*`` variables, and secrets from files by ``MODERATION_*_FILE``.

Everything has a default that works. Nonsense stops the start with a sentence that names the variable; so does a
``MODERATION_`` variable that is not known, because a misspelt limit would otherwise be no limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from moderation.comment import MAX_TEXT_CHARS
from service.errors import InvalidSettings

PREFIX = "MODERATION_"
_DATABASE_PLACE = re.compile(
    r"(?:(?![^@]*\?[^@]*=).*@)?((?:\[[\da-f:.]+\]|[\w.-]*)(?::\d+)?(?:/[\w.-]*)?)(?:\?[^@#]*)?", re.IGNORECASE
)
MAY_COME_FROM_FILE = ("secret", "database_url")


class Settings(BaseSettings):
    """All settings, frozen. Make one with :meth:`load`, which explains what is wrong in the operator's words."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: user_data_path("moderation"),
        description="Folder of the database, published bundles, policy and labels. Made on first start.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. Default: moderation.db in the home.",
    )
    database_timeout_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How long to wait for a locked or absent database before answering 503."
    )
    data_dir: Path | None = Field(
        default=None,
        description="Folder of the public data sets, needed for training only. Default: data in the home folder.",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 means all.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any that is free.")
    public_url: str | None = Field(
        default=None, description="Where the world reaches this service, for links. Default: what the request says."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Host names to answer to, separated by commas. Default: any."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1/32", "::1/128"),
        description="Addresses and networks of your own proxies, separated by commas: what they forward is believed.",
    )
    max_text_chars: int = Field(
        default=MAX_TEXT_CHARS, ge=1, le=MAX_TEXT_CHARS, description="Longest comment taken, in characters."
    )
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="Largest request body read, in bytes."
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Keys the hashes by which a text, or a browser in which somebody has signed in, is known again. "
        "Default: the file secret in the home folder.",
    )
    reports_to_reopen: int = Field(
        default=3, ge=1, le=1000, description="How many new reports bring back a comment that a moderator has judged."
    )
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="After how many days the text of what was decided is emptied. Default: never.",
    )
    retrain_days: int = Field(
        default=0, ge=0, le=3650, description="Every how many days the service retrains by itself; 0 is never."
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts and networks inside your own network that webhooks may lead to, separated by commas.",
    )
    session_hours: float = Field(
        default=12.0, gt=0, le=24 * 90, description="After how many hours without a click a moderator is signed out."
    )
    session_days: float = Field(
        default=7.0, gt=0, le=365, description="After how many days a moderator signs in again, however busy they are."
    )
    unknown_attributes: Literal["omit", "refuse"] = Field(
        default="omit",
        description="What callers of the Perspective dialect get for attributes that are not known: omit leaves them "
        "out of the answer, refuse answers 400 as Google does.",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="One line per event: text or json.")

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Read the environment; ``options`` that are not ``None`` win over it.

        Raises:
            InvalidSettings: with one sentence per thing that is wrong.
        """
        values = _files(os.environ) | {name: value for name, value in options.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            wrong = [f"{_variable(item['loc'])}: {_sentence(item)}" for item in error.errors(include_input=False)]
            raise InvalidSettings("; ".join(wrong)) from None

    @field_validator("home", "data_dir")
    @classmethod
    def _full_path(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))  # noqa: PTH100  # resolve() would follow links

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if scheme in ("postgres", "postgresql", "postgresql+psycopg") and separator:
            return SecretStr(f"postgresql+psycopg://{rest}")
        if scheme != "sqlite" or not separator:
            raise ValueError("must begin with sqlite:/// or postgresql://")
        if not rest.strip("/") or rest.strip("/").startswith((":memory:", "?")):
            raise ValueError("must name a file, as in sqlite:////var/lib/moderation/moderation.db")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an address such as https://moderation.example.org")
        return value.rstrip("/")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            return value
        hosts = tuple(_host(str(name).strip().lower()) for name in names if str(name).strip())
        if None in hosts:
            raise ValueError("must be host names only, as in blog.example.org,localhost,[::1]")
        return hosts

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            return value
        proxies = tuple(_network(str(name).strip().lower()) for name in names if str(name).strip())
        if any(proxy is None or "/" not in proxy for proxy in proxies):
            raise ValueError("must be addresses and networks, as in 127.0.0.1,172.16.0.0/12,::1")
        return proxies

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _hosts_and_networks(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            return value
        allowed = tuple(_network(str(name).strip().lower()) for name in names if str(name).strip())
        if None in allowed:
            raise ValueError("must be hosts and networks, as in hooks.internal,10.0.0.0/8,[::1]")
        return allowed

    @property
    def database(self) -> str:
        """The URL of the database, password included: never log it, log :attr:`database_shown`."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'moderation.db'}"

    @property
    def database_shown(self) -> str:
        """Scheme, host, port and name of the database; never user, password or the query, which may hold both."""
        scheme, _, rest = self.database.partition("://")
        if scheme == "sqlite":
            return f"{scheme}://{rest.partition('?')[0]}"
        # Whatever is not written quite as it should be may hold a piece of the password where the host should stand.
        plain = _DATABASE_PLACE.fullmatch(rest)
        return f"{scheme}://{plain[1]}" if plain else f"{scheme}://..."

    @property
    def address(self) -> str:
        """Where the service is reached on this machine, or by the name it listens on; port 0 is not known here."""
        return shown_address(self.host, self.port)

    @property
    def data(self) -> Path:
        """The folder of the public data sets."""
        return self.data_dir or self.home / "data"


def shown_address(host: str, port: int) -> str:
    """An address to listen on as one that can be opened: for all addresses, this machine's own."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  # only shown
    return f"http://{shown}:{port}"


def _host(name: str) -> str | None:
    """A host as requests name it, IPv6 in brackets; ``None`` for anything else, such as an address with a port."""
    try:
        return f"[{IPv6Address(name.removeprefix('[').removesuffix(']'))}]"
    except AddressValueError:
        return None if any(sign in name for sign in "/ :[]") else name


def _network(name: str) -> str | None:
    """A network in its usual form, or a host; ``None`` for what is neither."""
    try:
        return str(ip_network(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None if any(sign in name for sign in "/ :[]*") else name.removesuffix(".")


def _files(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets that are given as files, by field name. Refuses variables that are no setting."""
    values: dict[str, str] = {}
    given = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    for variable, value in given.items():
        name = variable.removeprefix(PREFIX).lower()
        if name in Settings.model_fields:
            continue
        field = name.removesuffix("_file")
        if field == name or field not in MAY_COME_FROM_FILE:
            raise InvalidSettings(_unknown(variable))
        if not value:
            continue
        plain = PREFIX + field.upper()
        if given.get(plain):
            raise InvalidSettings(f"{plain} and {variable} are both set; set only one of the two")
        values[field] = _read_file(variable, value)
    return values


def _read_file(variable: str, path: str) -> str:
    try:
        content = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{variable}: cannot read {path} ({error}); make it readable or unset it") from error
    if not content:
        raise InvalidSettings(f"{variable}: {path} is empty; write the value into it or unset the variable")
    return content


def _unknown(variable: str) -> str:
    known = [*Settings.model_fields, *(f"{name}_file" for name in MAY_COME_FROM_FILE)]
    near = get_close_matches(variable.removeprefix(PREFIX).lower(), known, n=1)
    names = [PREFIX + name.upper() for name in near or sorted(known)]
    hint = f"did you mean {names[0]}?" if near else f"known are {', '.join(names)}"
    return f"{variable} is not a setting; {hint}"


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + str(location[0]).upper() if location else "settings"


def _sentence(item: Mapping[str, Any]) -> str:
    """Pydantic's message without its own frame, so that it reads on after ``NAME:``."""
    message = str(item["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("Value should have", "must have")
