"""Masks of two views, lifted to 3D: how much of the objects of our own still life they mark in views that have none.

    python scripts/benchmarks/regions.py [--work DIR]

The still life is fitted at all defaults (once, into the work folder). Of each object two views are masked with what it
covers there by the scene's own formulas: of each half of the way round the table that view which shows most of it. Over
all other views, held-out ones too, "found" is the share of the object's pixels that are marked, and "beyond" the number
of marked pixels that are none of its, in proportion to its size. A pixel belongs to what covers half of it or more.
Then the vase is painted in one of our pictures: the change of colours in it and outside of it, in 255ths, a pixel away
from its outline.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import CPU, ROOT, print_table
from torch.nn.functional import max_pool2d

from arf import bundled
from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import Field
from arf.radiance.fit.loop import fit
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.places import places_of
from arf.radiance.paint.stylize import stylize
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import FitSettings, Region, StylizeSettings

sys.path.insert(0, str(ROOT / "scripts"))
import make_scene

Mask = torch.Tensor  # [h, w]


@dataclass
class Bench:
    """The still life, its fit, and where its objects are in every view."""

    fitted: Run
    field: Field
    capture: Capture
    truth: dict[str, dict[str, Mask]]  # by object and view

    @classmethod
    def open(cls, work: Path) -> Bench:
        data = bundled.capture()
        try:
            fitted = Run.open(work / data.name, "fit")
        except UserError:
            fitted = fit(data, FitSettings(), work)
        field, capture = open_photoreal(fitted, CPU)
        meta = json.loads((data / "transforms.json").read_text())
        poses = {Path(f["file_path"]).stem: torch.tensor(f["transform_matrix"])[:3] for f in meta["frames"]}
        truth = {
            name: {view: make_scene.render_mask(pose, number, meta["w"]) for view, pose in poses.items()}
            for name, number in make_scene.OBJECTS.items()
        }
        return cls(fitted, field, capture, truth)

    def masked(self, name: str) -> list[str]:
        """The two views in which an object is masked."""
        names, where = self.capture.train.names, self.truth[name]
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        return [max(half, key=lambda view: float(where[view].mean())) for half in halves]

    def region(self, name: str, folder: Path) -> Region:
        words = []
        for view in self.masked(name):
            file = folder / f"{name}-{view}.png"
            image.write(file, self.truth[name][view][..., None].expand(-1, -1, 3))
            words.append(f"'{file}@{view}'")
        return Region.parse(" ".join(words))

    def marked(self, share: torch.Tensor) -> dict[str, Mask]:
        """A share of the columns in every view, held-out ones too."""
        look = Look(share[:, None].expand(-1, 3).contiguous(), torch.zeros(3), Look.photoreal(self.field).recolor)
        parts = self.capture.train, self.capture.held_out
        return {
            name: painting(self.field, look, camera)[..., 0]
            for views in parts
            for name, camera in zip(views.names, views.cameras, strict=True)
        }

    def found(self, name: str, share: torch.Tensor) -> tuple[float, float]:
        """Shares of an object's pixels that are found, and that are marked beyond it, in views without a mask."""
        found = beyond = area = 0
        given = self.masked(name)
        for view, marked in self.marked(share).items():
            if view not in given:
                inside = self.truth[name][view] >= 0.5
                found, area = found + int((marked > 0.5)[inside].sum()), area + int(inside.sum())
                beyond += int((marked > 0.5)[~inside].sum())
        return found / area, beyond / area

    def change(self, painted: Run, name: str) -> tuple[float, float]:
        """Of colours in an object and outside of it, in 255ths."""
        scene, _ = open_painted(painted, CPU)
        inside, outside = [], []
        for view, camera in zip(self.capture.train.names, self.capture.train.cameras, strict=True):
            shown, own = (painting(scene.field, look, camera) for look in (scene.look, Look.photoreal(scene.field)))
            moved, where = 255 * (shown - own).abs().mean(2), self.truth[name][view]
            near = max_pool2d(where[None, None], 3, 1, 1)[0, 0] > 0
            inside.append(moved[where == 1])
            outside.append(moved[~near])
        return float(torch.cat(inside).mean()), float(torch.cat(outside).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "regions")
    work = parser.parse_args().work
    bench, settings = Bench.open(work), StylizeSettings(device="cpu")
    subject = Subject(bench.field, bench.capture.train, settings)
    rows = [("object", "masked views", "found", "beyond")]
    with TemporaryDirectory() as folder:
        regions = {name: bench.region(name, Path(folder)) for name in make_scene.OBJECTS}
        subject.open(ViewCache(1 << 30, Path(folder) / "cache", CPU))
        for name, region in regions.items():
            (place,) = places_of(subject, [region], False)
            found, beyond = bench.found(name, place.share)
            rows.append((name, ", ".join(bench.masked(name)), f"{found:.1%}", f"{beyond:.1%}"))
        print_table("Objects in views without a mask, from masks of two", rows)
        painted = stylize(bench.fitted, [bundled.style("mosaic")], settings, work, regions=[regions["vase"]])
    inside, outside = bench.change(painted, "vase")
    rows = [("painted", "change inside", "outside"), ("vase", f"{inside:.1f}", f"{outside:.2f}")]
    print_table("Colours of a painted vase and around it, in 255ths", rows)


if __name__ == "__main__":
    main()
