"""django-contrib-comments: new comments are judged, and follow what moderators decide.

A comment is saved as not public and judged when that is safely stored; then it becomes public if it is published. So
whatever goes wrong leaves it waiting for a person, and the service knows it by the id that it has here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import django_comments
from django.db import transaction
from django.http import HttpRequest
from django_comments.moderation import CommentModerator
from django_comments.signals import comment_was_posted

from .client import Answer, submit
from .hooks import status_changed


class ServiceModerator(CommentModerator):
    """Register it: ``moderator.register(Entry, ServiceModerator)``.

    Other options of ``CommentModerator`` work beside it. Override :meth:`describe` to say more about what is commented
    on.
    """

    def __init__(self, model: type) -> None:
        super().__init__(model)
        comment_was_posted.connect(self._was_posted, sender=django_comments.get_model())

    def moderate(self, comment: Any, content_object: Any, request: HttpRequest) -> bool:  # noqa: ARG002
        """Every comment is saved as not public first."""
        return True

    def describe(self, comment: Any, content_object: Any) -> dict[str, Any]:
        """What the service is told, as in docs/api.md: never the e-mail or the IP address, which it does not want."""
        address = getattr(content_object, "get_absolute_url", None)
        texts = (getattr(content_object, name, "") for name in ("body", "content", "text"))
        return {
            "id": comment_id(comment),
            "text": comment.comment,
            "author": {"id": str(comment.user_id or ""), "name": comment.name, "url": comment.url},
            "post": {
                "id": f"{comment.content_type_id}-{comment.object_pk}",
                "title": str(content_object),
                "text": str(next(filter(None, texts), "")),
                "url": address() if address else "",
            },
        }

    def _was_posted(self, sender: type, comment: Any, request: HttpRequest, **_rest: Any) -> None:  # noqa: ARG002
        if comment.content_type.model_class() is self._model:
            transaction.on_commit(partial(self.judge, comment))

    def judge(self, comment: Any) -> Answer:
        """Ask the service about a saved comment, and show it if it is published."""
        answer = submit(self.describe(comment, comment.content_object))
        comment.is_public = answer.status == "published"
        type(comment)._default_manager.filter(pk=comment.pk).update(is_public=comment.is_public)  # noqa: SLF001
        return answer


def comment_id(comment: Any) -> str:
    """The id by which the service knows a comment."""
    return f"comment-{comment.pk}"


def follow_status(sender: Any, comment_id: str, new: str, **_rest: Any) -> None:  # noqa: ARG001
    """A receiver of :data:`~comment_moderation.hooks.status_changed`: public is what is published, and nothing else."""
    prefix, _, row = comment_id.partition("-")
    if prefix == "comment" and row.isdecimal():
        django_comments.get_model()._default_manager.filter(pk=row).update(is_public=new == "published")  # noqa: SLF001


def connect() -> None:
    """Have comments follow what moderators decide; once, in ``ready()`` of your app."""
    status_changed.connect(follow_status, dispatch_uid="comment_moderation")
