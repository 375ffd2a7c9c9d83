"""What the demo shows: sites, posts and comments written for it, in the JSON Lines files beside this module.

Times are days before the demo begins. ``truth`` is what the author of the demo meant a comment to be; the model never
sees it, and the demo's moderators judge by it, most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from moderation.comment import Author, Comment, Neighbour, Post


@dataclass(frozen=True, slots=True)
class Later:
    """What an author writes some time after the comment: its new text, or an appeal."""

    days_ago: float
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A comment, and what becomes of it.

    ``truth`` are the categories that apply (none: it is good), ``reports`` those that readers report it for.
    ``verdict`` is the category for which a moderator rejects it, rightly or not, whatever the model says.
    """

    site: str
    days_ago: float
    comment: Comment
    truth: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    verdict: str | None = None
    appeal: Later | None = None
    edit: Later | None = None
    deleted_days_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Addresses of the sites with their names, and every comment, the oldest first."""

    sites: Mapping[str, str]
    comments: tuple[Said, ...]


def read_content() -> Content:
    """The demo as it is shipped."""
    urls = {site["id"]: site["url"] for site in _read("sites")}
    sites = {site["url"]: site["name"] for site in _read("sites")}
    posts = {row["id"]: _read_post(urls[row["site"]], row) for row in _read("posts")}
    said = [_read_said(url, posts, row) for site, url in urls.items() for row in _read(f"comments-{site}")]
    return Content(sites, tuple(sorted(said, key=lambda each: -each.days_ago)))


def _read(name: str) -> list[dict[str, Any]]:
    text = files(__package__).joinpath(f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _read_post(site: str, row: Mapping[str, Any]) -> Post:
    return Post(row["id"], row["title"], row["text"], f"{site}/{row['id']}", tuple(row["tags"]))


def _read_said(site: str, posts: Mapping[str, Post], row: Mapping[str, Any]) -> Said:
    post = posts[row["post"]]
    comment = Comment(
        row["text"],
        id=row["id"],
        kind=row.get("kind", "reply" if "parent" in row else "comment"),
        author=Author(**row["author"]),
        post=post,
        parent=Neighbour(row["parent"]) if "parent" in row else None,
        lang=row.get("lang", "en"),
        url=f"{post.url}#{row['id']}",
        hints={"honeypot": True} if row.get("honeypot") else {},
    )
    return Said(
        site,
        row["days_ago"],
        comment,
        tuple(row.get("truth", ())),
        tuple(row.get("reports", ())),
        row.get("verdict"),
        Later(**row["appeal"]) if "appeal" in row else None,
        Later(**row["edit"]) if "edit" in row else None,
        row.get("deleted_days_ago"),
    )
