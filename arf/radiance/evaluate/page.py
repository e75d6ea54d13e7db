"""Figures of films side by side: as rows, as text, and as a page that shows the pairs that agree least."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arf.media.report import Gallery, Picture, Section, Table, write_report
from arf.radiance.evaluate.consistency import GAPS, Agreement, Pair
from arf.radiance.evaluate.painted import Evaluation, Measured

HIDDEN = 0.5  # grey, where a neighbour has nothing to say
AMPLIFIED = 4  # times, differences in pictures
HEADER = {
    "film": "film",
    "short_rmse": "short RMSE", "long_rmse": "long RMSE", "short_lpips": "short LPIPS", "long_lpips": "long LPIPS",
    "short_visible": "short seen", "long_visible": "long seen",
    "nnfm": "NNFM", "gram": "Gram", "color": "colour", "structure": "structure", "content": "photographs",
}  # fmt: skip
PROTOCOLS = {
    "depth": "a frame against the next one and the seventh after it, brought to its place by the depth of the scene "
    "without paint; what is hidden in one of the two is left out, and seen is the share that is left. The row without "
    "paint says what the scene itself and the looking up bring about.",
    "stylos": "a frame, moved by the optical flow of the film itself onto the next one and the seventh after it, as "
    "Stylos and AnyStyle publish it: holes and what is hidden count, and LPIPS is fed 0 to 255. For figures beside "
    "theirs, not for a judgement.",
}
EXPLAINED = (
    "Smaller is better of every figure, but for what is seen; photographs begin at the row without paint. Short and "
    "long: {}\n\n"
    "Flat colours agree perfectly and show no style: look at both. NNFM, Gram, colour: distances to the style, by "
    "nearest neighbours of features, by their Gram matrices, by the colours alone. Structure: how much the frames' "
    "layout differs from that of the frames without paint; photographs: the same of the training views from their "
    "photographs. The background counts in none of these, where the scene has one; of photographs what is masked out."
)


def rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row of figures for each film; None where something was not measured."""
    return [_row(film) for film in evaluation.films]


def text(table: Sequence[dict[str, Any]]) -> str:
    """The rows as lines of aligned columns, without those that nobody has."""
    lines = [[HEADER[name] for name in _columns(table)]]
    lines += [[_said(name, row[name]) for name in _columns(table)] for row in table]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(line) for line in aligned)


def write_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page.

    Raises:
        UserError: it cannot be written.
    """
    table = rows(evaluation)
    figures = [[_said(name, row[name]) for name in _columns(table)] for row in table]
    explained = EXPLAINED.format(PROTOCOLS[evaluation.protocol])
    sections = [Section(parts=[Table(figures, [HEADER[name] for name in _columns(table)])]), Section(text=explained)]
    plain, *films = evaluation.films
    for film in (*films, plain):
        sections += [_worst(film.name, gap, found) for gap, found in film.consistency.items() if found.worst]
    height, width = evaluation.size
    lacks = f" {evaluation.lacks}." if evaluation.lacks else ""
    lead = f"{evaluation.frames} frames of {width}×{height} pixels along one path.{lacks}"
    write_report(path, f"{evaluation.scene}, measured", lead, sections)


def _row(film: Measured) -> dict[str, Any]:
    agreed = {
        f"{gap}_{name}": getattr(agreement, name)
        for gap, agreement in film.consistency.items()
        for name in ("rmse", "lpips", "visible")
    }
    strength = {name: film.strength.get(name) for name in ("nnfm", "gram", "color")}
    found = {"film": film.name, **agreed, **strength, "structure": film.structure, "content": film.content}
    return {name: None if found[name] != found[name] else found[name] for name in HEADER}  # JSON has no NaN


def _columns(table: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in HEADER if any(row[name] is not None for row in table)]


def _said(name: str, value: str | float | None) -> str:
    if value is None or name == "film":
        return value or ""
    return f"{100 * value:.0f} %" if name.endswith("visible") else f"{value:.4f}" if "_" in name else f"{value:.3f}"


def _worst(name: str, gap: str, agreement: Agreement) -> Section:
    title = f"{name}: {GAPS[gap]} apart, the pairs that agree least"
    return Section(title, parts=[_shown(pair) for pair in agreement.worst])


def _shown(pair: Pair) -> Gallery:
    visible = pair.visible[..., None]
    warped = torch.where(visible, pair.warped, HIDDEN)
    difference = torch.where(visible, AMPLIFIED * (pair.frame - pair.warped).abs(), HIDDEN).clamp(0, 1)
    return Gallery([
        Picture(pair.frame, f"frame {pair.first}"),
        Picture(warped, f"frame {pair.second}, brought to its place"),
        Picture(difference, f"{AMPLIFIED} times the difference; RMSE {pair.rmse:.4f}"),
    ])  # fmt: skip
