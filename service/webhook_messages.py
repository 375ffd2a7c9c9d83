"""What webhooks say of a change: in our own words, or in those that a site's Akismet plugin takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from service.statuses import AKISMET_ID, DRIFT
from service.store import Change, DriftAlerts, Message, Webhook
from service.verdicts import message_to_author


def payload(webhook: Webhook, message: Message) -> bytes:
    """What a target is told of a change or of drift, in JSON. No text of a comment, no author and no moderator."""
    change = message.about
    if isinstance(change, DriftAlerts):
        told: dict[str, Any] = {
            "event": DRIFT,
            "site": webhook.site,
            "at": message.created_at.isoformat(),
            **asdict(change),
        }
        return json.dumps(told, ensure_ascii=False).encode()
    if webhook.format == "akismet":
        return _akismet_payload(webhook, [_akismet_comment(change, message.post)])
    content = {
        "event": f"comment.{change.change.new}",
        "cursor": change.cursor,
        "site": webhook.site,
        "comment_id": change.comment,
        "old": change.change.old,
        "new": change.change.new,
        "at": change.change.at.isoformat(),
        "decision_id": change.decision_id,
        "verdict_id": change.verdict_id,
        "categories": None if message.categories is None else list(message.categories),
        "author_message": message_to_author(change.change.new, is_by_person=message.categories is not None),
    }
    return json.dumps(content, ensure_ascii=False).encode()


def ping_payload(webhook: Webhook, now: datetime) -> bytes:
    """A message that means nothing, by which a target shows that it takes messages."""
    if webhook.format == "akismet":
        return _akismet_payload(webhook, [])
    return json.dumps({"event": "ping", "site": webhook.site, "at": now.isoformat()}).encode()


def _akismet_comment(change: Change, post: str | None) -> dict[str, Any]:
    """A comment as the plugin finds it again, and ``true`` where people have rejected it, for whatever reason."""
    told: dict[str, Any] = {"guid": (change.comment or "").removeprefix(AKISMET_ID)}
    told["result"] = "true" if change.change.new == "rejected" else "false"
    return told | ({"comment_post_ID": int(post)} if post and post.isascii() and post.isdecimal() else {})


def _akismet_payload(webhook: Webhook, comments: Sequence[Mapping[str, Any]]) -> bytes:
    told = {"key": webhook.secrets[0], "endpoint": "comment-check", "comments": list(comments)}
    return json.dumps(told).encode()
