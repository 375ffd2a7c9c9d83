"""Every page there is, in the order of the navigation, and how they become part of the application."""

from __future__ import annotations

from fastapi import FastAPI

from service.hashes import Hashes
from service.policies import Trials
from service.review import (
    assets,
    batch,
    comment,
    doubts,
    insight,
    judging,
    live,
    model,
    policy,
    posts,
    queue,
    settings,
    sign_in,
)
from service.review.edge import ReviewEdge
from service.review.evidence import Explanations
from service.review.shell import Shell
from service.settings import Settings
from service.store import Store

# Modules with a SECTION. One that is not listed here does not exist.
PAGES = (queue, batch, posts, insight, policy, model, settings)


def add_pages(app: FastAPI, settings: Settings, store: Store, hashes: Hashes) -> Shell:
    """Add the pages under ``/review``."""
    shell = Shell(settings, store, hashes, [page.SECTION for page in PAGES])
    app.state.shell = shell
    app.state.explanations = Explanations()
    app.state.trials = Trials()
    for part in (assets, sign_in, judging, comment, doubts, live, *PAGES):
        app.include_router(part.router)
    app.add_middleware(ReviewEdge, shell=shell)
    return shell
