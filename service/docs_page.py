"""``/docs``: the API to read and to try, served whole from this package, so that a browser asks no other host for it.

Swagger UI stands unchanged in ``static/swagger-ui-dist@VERSION``, as the npm package of that name has it, with its
licence. Replacing it means replacing that folder and ``_SWAGGER``.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from service.errors import NotFound

_SWAGGER = "swagger-ui-dist@5.35.0"
_STATIC = Path(__file__).parent / "static"

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comment moderation: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/{_SWAGGER}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="openapi.json">openapi.json</a> says the same.</noscript>
<script src="static/{_SWAGGER}/swagger-ui-bundle.js"></script>
<script src="static/docs.js"></script>
</body>
</html>
"""

# What the page loads may come from here only, and may talk to nobody else; Swagger UI writes styles into its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS_FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}

_FILES = {
    f"{_SWAGGER}/swagger-ui-bundle.js": ("text/javascript", _FOR_EVER),
    f"{_SWAGGER}/swagger-ui.css": ("text/css", _FOR_EVER),
    "docs.js": ("text/javascript", _ALWAYS_FRESH),
}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def show_docs() -> Response:
    """The page. Its addresses are relative, so that it also works under a prefix of a proxy."""
    return HTMLResponse(_PAGE, headers=_ALWAYS_FRESH | {"Content-Security-Policy": _POLICY})


@router.get("/static/{name:path}")
def read_static(name: str) -> Response:
    """One of the few files of the page. Raises ``NotFound`` for everything else."""
    if name not in _FILES:
        raise NotFound("there is no such route; /docs lists them")
    media_type, headers = _FILES[name]
    return FileResponse(_STATIC / name, media_type=media_type, headers=headers)
