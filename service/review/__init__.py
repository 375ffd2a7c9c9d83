"""The moderators' pages under ``/review``, rendered by the server.

To add a page: a module with a ``router`` and a ``SECTION``, its place in the navigation; a line in ``pages.PAGES``; its
name in the import contract ``review-layers``; a template that extends ``shell.html`` and sets ``active`` to the name of
the section. Its routes are plain functions that take ``SignedIn`` (who asks, and for which sites), call
``viewer.require(right, site)`` for what needs a role, and return ``shell.render(...)``, for htmx with the name of the
block that is wanted as ``fragment``. Errors of ``service.errors`` that they raise become pages, or toasts for htmx. The
design system is explained at the head of ``static/review.css``, its macros are in ``templates/parts.html``.
"""
