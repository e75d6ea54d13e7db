"""Films from look to look."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from encoders import tiny_encoder
from tiny import FIT, STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.film.program import Program
from arf.radiance.film.render import render
from arf.radiance.fit.loop import fit
from arf.radiance.looks.look import Look
from arf.radiance.paint.stylize import stylize
from arf.radiance.settings import RenderSettings

SHORT = RenderSettings(path="orbit", frames=21, fps=10, width=28, device="cpu")


@pytest.fixture(scope="module")
def dotted(fitted, paintings, tmp_path_factory) -> Run:
    """The room as the second painting. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        return stylize(fitted, paintings[1:], replace(STYLIZE, steps=5), tmp_path_factory.mktemp("dotted"))


def frames(folder) -> list[torch.Tensor]:
    return [image.read(file) for file in sorted(folder.glob("*.png"))]


def test_from_look_to_look_and_no_jump(stylized, dotted, tmp_path):
    """The ends are films of one look alone, and no frame differs more from the next than its neighbours do, by 3."""
    render(stylized, SHORT, tmp_path / "both", more=[dotted])
    both = frames(tmp_path / "both")
    for run, k in ((stylized, 0), (dotted, -1)):
        render(run, SHORT, tmp_path / run.name)
        assert torch.equal(frames(tmp_path / run.name)[k], both[k])
    moves = [float((b - a).abs().mean()) for a, b in pairwise(both)]
    for before, move, after in zip(moves, moves[1:], moves[2:], strict=False):
        assert move < 3 * max(before, after)


def test_a_loop_comes_back(stylized, dotted):
    program = Program.open([stylized, dotted], replace(SHORT, loop=True))
    thetas = [program.at(share)[0].theta for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert torch.equal(thetas[0], thetas[4])
    assert torch.allclose(thetas[1], thetas[3], atol=1e-6)  # halfway there, and halfway back
    assert torch.allclose(thetas[1], (thetas[0] + thetas[2]) / 2, atol=1e-6)


def test_a_fit_is_a_photoreal_look(fitted, stylized):
    program = Program.open([fitted, stylized], SHORT)
    assert [round(program.at(share)[1], 6) for share in (0.0, 0.5, 1.0)] == [0, 0.5, 1]
    assert all(isinstance(program.at(share)[0], Look) for share in (0.0, 0.5, 1.0))


def test_the_strength_may_change_along_the_film(stylized):
    program = Program.open([stylized], replace(SHORT, strength_curve=(0.0, 1.0, 0.5)))
    assert [round(program.at(share)[1], 6) for share in (0.0, 0.5, 1.0)] == [0, 1, 0.5]


@pytest.mark.parametrize(("settings", "said"), [
    ({"look_curve": (0.5,)}, "--look-curve is for a film of several runs"),
    ({"loop": True}, "--loop is for a film of several runs"),
    ({"strength_curve": (0.0, 2.0)}, "strength_curve is 2; it must be between 0 and 1"),
    ({"strength_curve": (0.0, 1.0), "strength": 0.5}, "give one of them"),
])  # fmt: skip
def test_what_one_run_cannot_do(stylized, settings, said, tmp_path):
    with pytest.raises(UserError, match=said):
        render(stylized, replace(SHORT, **settings), tmp_path / "film")
    assert not list(tmp_path.iterdir())


def test_a_fit_has_no_strength(fitted, tmp_path):
    with pytest.raises(UserError, match="is photoreal, it has no style"):
        render(fitted, replace(SHORT, strength_curve=(0.0, 1.0)), tmp_path / "film")


def test_runs_of_two_fits(room, stylized, tmp_path):
    other = fit(room, replace(FIT, steps=2, stages=(0.9,)), tmp_path / "fit")
    with pytest.raises(UserError, match="are not of one fit, so no film goes from one to the other"):
        render(stylized, SHORT, tmp_path / "film", more=[other])
    assert not (tmp_path / "film").exists()
