"""The pictures in the guide: SVG, drawn by pygal."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pygal
from pygal.style import Style

OURS, OTHERS = "#2563eb", "#94a3b8"
_INK = "#64748b"  # readable on white and on black

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground=_INK,
    foreground_strong=_INK,
    foreground_subtle=_INK,
    guide_stroke_color="#94a3b855",
    major_guide_stroke_color="#94a3b855",
    guide_stroke_dasharray="0",
    major_guide_stroke_dasharray="0",
    value_colors=(_INK,),
    opacity="1",
    opacity_hover=".8",
    font_family="system-ui, sans-serif",
    label_font_size=13,
    major_label_font_size=12,
    value_font_size=12,
    title_font_size=15,
)


class Bar(NamedTuple):
    """A bar: whose, how long, and whether it is ours."""

    name: str
    value: float
    is_ours: bool


def draw(
    path: Path, title: str, bars: Sequence[Bar], unit: str = "ms", *, is_more_better: bool = False
) -> None:
    """Write a picture with a bar for each, the best on top."""
    chart = pygal.HorizontalBar(
        style=_STYLE, js=[], title=title, show_legend=False, width=800, height=60 + 34 * len(bars),
        margin=10, spacing=8, show_x_guides=False, show_y_guides=False, show_x_labels=False,
        pretty_print=True,
    )  # fmt: skip
    worst_first = sorted(bars, key=lambda bar: bar.value, reverse=not is_more_better)
    chart.x_labels = [f"{bar.name.replace('`', '')}: {bar.value:,.0f} {unit}" for bar in worst_first]
    chart.add(
        "median",
        [{"value": round(bar.value, 1), "color": OURS if bar.is_ours else OTHERS} for bar in worst_first],
    )
    path.write_text(chart.render(disable_xml_declaration=True, is_unicode=True) + "\n")
