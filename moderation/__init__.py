"""Comment moderation as a library: score comments, explain the scores, decide by a policy.

The service around it (HTTP, storage, review pages) is the package ``service``; nothing here needs it.
"""

from __future__ import annotations

from moderation.comment import Author, Comment, Decision, Neighbour, Post, Reason, Scores

__version__ = "0.1.0"

__all__ = ["Author", "Comment", "Decision", "Neighbour", "Post", "Reason", "Scores", "__version__"]
