"""Small charts as SVG, drawn on the server from figures alone. Their colours are in the style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_SIZE = 100.0


def draw_curve(points: Sequence[tuple[float, float]], label: str) -> Markup:
    """A curve in the unit square, such as precision over recall; ``label`` says it to who cannot see it."""
    path = " ".join(f"{x * _SIZE:.1f},{(1 - y) * _SIZE:.1f}" for x, y in _sound(points))
    return _frame(Markup('<polyline class="chart-curve" points="{}"/>').format(path), label)


def draw_reliability(bins: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """How often what got a score was bad, beside the diagonal; bins are (score, share, rows), dots grow with rows."""
    most = max((rows for _, _, rows in bins), default=1) or 1
    sound = [(score, share, rows) for score, share, rows in bins if 0 <= score <= 1 and 0 <= share <= 1 and rows > 0]
    diagonal = Markup('<line class="chart-diagonal" x1="0" y1="100" x2="100" y2="0"/>')
    path = " ".join(f"{score * _SIZE:.1f},{(1 - share) * _SIZE:.1f}" for score, share, _ in sound)
    curve = Markup('<polyline class="chart-curve chart-thin" points="{}"/>').format(path)
    dots = Markup().join(
        Markup('<circle class="chart-dot" cx="{}" cy="{}" r="{}"/>').format(
            f"{score * _SIZE:.1f}", f"{(1 - share) * _SIZE:.1f}", f"{1.5 + 4 * (rows / most) ** 0.5:.1f}"
        )
        for score, share, rows in sound
    )
    return _frame(diagonal + curve + dots, label)


def _frame(content: Markup, label: str) -> Markup:
    grid = Markup().join(
        Markup('<line class="chart-grid" x1="{0}" y1="0" x2="{0}" y2="100"/>').format(at)
        + Markup('<line class="chart-grid" x1="0" y1="{0}" x2="100" y2="{0}"/>').format(at)
        for at in (0, 25, 50, 75, 100)
    )
    return Markup('<svg class="chart" viewBox="-7 -7 114 114" role="img" aria-label="{}">{}{}</svg>').format(
        escape(label), grid, content
    )


def _sound(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if 0 <= x <= 1 and 0 <= y <= 1]
