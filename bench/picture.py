"""Bars as SVG, drawn by hand: readable on light and dark pages, and the same for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from .subjects import Kind
from .table import number

_COLOURS: Final[dict[Kind, str]] = {"limit": "#8b95a1", "ours": "#0f9d6b", "peer": "#4573d2"}
_LABEL, _BAR, _VALUE = 250, 400, 90  # widths, in pixels
_ROW, _THICK, _TOP, _FONT = 26, 16, 56, 13


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it stands for, how long it is, and whose it is."""

    label: str
    value: float
    kind: Kind


def bars(title: str, note: str, found: Sequence[Bar]) -> str:
    """Return a picture of *found*, in its order, the longest bar as long as there is room."""
    longest = max((bar.value for bar in found), default=0.0) or 1.0
    width, height = _LABEL + _BAR + _VALUE, _TOP + _ROW * len(found) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"',
        f' font-family="system-ui, sans-serif" font-size="{_FONT}" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text x="14" y="24" font-size="15" font-weight="600" fill="#1f2933">{escape(title)}</text>',
        f'<text x="14" y="42" font-size="12" fill="#5b6773">{escape(note)}</text>',
    ]
    for row, bar in enumerate(found):
        top = _TOP + row * _ROW
        length = max(1.0, bar.value / longest * _BAR)
        middle = top + _THICK - 3
        lines += [
            f'<text x="{_LABEL - 10}" y="{middle}" text-anchor="end" fill="#1f2933">{escape(bar.label)}</text>',
            f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_THICK}" rx="2" fill="{_COLOURS[bar.kind]}"/>',
            f'<text x="{_LABEL + length + 8:.1f}" y="{middle}" fill="#1f2933">{number(bar.value)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
