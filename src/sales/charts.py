"""Revenue as pictures: SVG, drawn on the server."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import pygal
from markupsafe import Markup
from pygal.style import Style

from src.sales.schemas import Group

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#64748b",
    foreground_strong="#0f172a",
    foreground_subtle="#94a3b8",
    guide_stroke_color="#e2e8f0",
    major_guide_stroke_color="#e2e8f0",
    guide_stroke_dasharray="0",
    major_guide_stroke_dasharray="0",
    opacity=".9",
    opacity_hover="1",
    colors=("#2563eb",),
    font_family="system-ui, sans-serif",
    label_font_size=12,
    major_label_font_size=12,
    value_font_size=12,
)


DAYS = 1000
"""Columns of a picture at the most: with many more it grows to megabytes that nobody can read."""


def revenue_by_day(groups: Sequence[Group]) -> Markup:
    """Draw revenue over time, a column a day, of the last `DAYS` days that have sales."""
    groups = groups[-DAYS:]
    chart = _chart(pygal.Bar, height=380, show_minor_x_labels=False, x_label_rotation=0)
    days = [group.key for group in groups]
    chart.x_labels = days
    chart.x_labels_major = days[:: max(1, len(days) // 6)]
    return _draw(chart, groups)


def revenue_by_country(groups: Sequence[Group]) -> Markup:
    """Draw the revenue of each country, a bar a country, the highest on top."""
    upwards = groups[::-1]
    chart = _chart(pygal.HorizontalBar, height=90 + 24 * len(groups))
    chart.x_labels = [group.key for group in upwards]
    return _draw(chart, upwards)


def _chart(kind: type[pygal.Graph], **options: Any) -> pygal.Graph:
    # No script (it would come from elsewhere), no legend for a single series.
    return kind(style=_STYLE, js=[], show_legend=False, width=640, margin=8, print_values=False, **options)


def _draw(chart: pygal.Graph, groups: Sequence[Group]) -> Markup:
    chart.value_formatter = _short
    chart.add("Revenue", [float(group.revenue) for group in groups])
    chart.add_xml_filter(_without_scripts)
    return Markup(chart.render(disable_xml_declaration=True, is_unicode=True))  # noqa: S704  (pygal escapes labels)


def _without_scripts(picture: Element) -> Element:
    """Take out what only repeats settings and labels, and what the page's policy would refuse to run."""
    for parent in list(picture.iter()):
        for script in [child for child in parent if str(child.tag).endswith("script")]:
            parent.remove(script)
    return picture


def _short(amount: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(amount) >= size:
            return f"{amount / size:.4g}{unit}"
    return f"{amount:.4g}"
