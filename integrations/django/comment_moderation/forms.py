"""Forms whose text is judged when they are checked, and a validator for a text alone."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.utils.deconstruct import deconstructible
from django.utils.translation import gettext_lazy as _

from .client import Answer, submit

REFUSED = _("This comment cannot be published.")


class ModerationFormMixin:
    """For a form that takes comments; name it before ``forms.Form`` or ``forms.ModelForm``.

    Once everything else is right the text is judged. Rejected is an error of the form, with what the author may be
    told; what is held passes: look at ``form.moderation.status``, and do not show it before it is published.

    ``form.moderation_id`` is the id under which the service knows the comment. Keep it beside the comment, to be told
    what moderators decide (:mod:`comment_moderation.hooks`).
    """

    moderation_field = "comment"
    moderation: Answer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.moderation_id = uuid4().hex

    def moderation_context(self) -> dict[str, Any]:
        """What goes along with the text: ``author``, ``post``, ``parent`` ... as in docs/api.md; never an e-mail."""
        return {}

    def full_clean(self) -> None:
        """Everything as in other forms, what a model asks for too; the judgement comes last, since it is kept."""
        super().full_clean()
        text = self.cleaned_data.get(self.moderation_field) if self.is_bound and not self._errors else None
        if text:
            self.moderation = submit({"id": self.moderation_id, "text": text, **self.moderation_context()})
            if self.moderation.status == "rejected":
                self.add_error(None, ValidationError(self.moderation.author_message or REFUSED, code="rejected"))


@deconstructible
class CommentValidator:
    """For a field that is text and no more: refuses what is rejected, and what is held too where ``held`` says so.

    Nothing of it is kept by the service and nobody is asked, so use a form where you can.
    """

    def __init__(self, kind: str = "comment", *, held: bool = False) -> None:
        self.kind = kind
        self.held = held

    def __call__(self, text: str) -> None:
        """Raises ``ValidationError``."""
        answer = submit({"text": text, "kind": self.kind, "do_not_store": True})
        if answer.status == "rejected" or (self.held and answer.status == "held"):
            raise ValidationError(answer.author_message or REFUSED, code=answer.status)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CommentValidator) and (self.kind, self.held) == (other.kind, other.held)

    def __hash__(self) -> int:
        return hash((self.kind, self.held))
