"""Scripts, styles and their addresses. The address holds a hash of all of them, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.errors import NotFound

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


class Assets:
    """All files of the pages in memory, and the version that their addresses name."""

    def __init__(self) -> None:
        paths = sorted(path for path in _STATIC.rglob("*") if path.suffix in _TYPES)
        self._files = {path.relative_to(_STATIC).as_posix(): path.read_bytes() for path in paths}
        whole = hashlib.sha256()
        for name, content in self._files.items():
            whole.update(f"{name} {len(content)}\n".encode() + content)
        self.version = whole.hexdigest()[:12]

    def path(self, name: str) -> str:
        """The address of a file, below the prefix of the service. ``KeyError`` for a file that is not there."""
        if name not in self._files:
            raise KeyError(name)
        return f"/review/static/{self.version}/{name}"

    def read(self, version: str, name: str) -> tuple[bytes, str]:
        """A file and its media type. Raises ``NotFound``, also for another version: it may have had another file."""
        if version != self.version or name not in self._files:
            raise NotFound("there is no such file")
        return self._files[name], _TYPES[Path(name).suffix]


@router.get("/review/static/{version}/{name:path}")
def read_static(request: Request, version: str, name: str) -> Response:
    """A script or style."""
    assets: Assets = request.app.state.shell.assets
    content, media_type = assets.read(version, name)
    return Response(content, media_type=media_type, headers={"Cache-Control": _FOR_EVER})
