"""Pictures of the views as files: written for other programs to paint, and read back by the names of the views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import ImageOps
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.jobs.outputs import check_outputs
from arf.media import image
from arf.media.decode import open_picture
from arf.radiance.capture.views import Views
from arf.radiance.operator.refit import Target

SHAPE = 0.05  # by which the sides of a picture may differ from its view's: programs round them to their liking
EXPORT = "arf lift RUN --export-views FOLDER"

Told = Callable[[int, int], None]  # how many are done, of how many


@dataclass(frozen=True)
class ViewPicture:
    """What a view should look like, in eight bits.

    Attributes:
        image: [h, w, 3].
        weight: [h, w] how much each pixel counts; None where all do in full.
    """

    image: UInt8[Tensor, "h w 3"]
    weight: UInt8[Tensor, "h w"] | None = None

    @classmethod
    def of(cls, picture: image.Picture, weight: Float[Tensor, "h w"] | None = None) -> ViewPicture:
        return cls(image.to_bytes(picture), None if weight is None else (weight * 255).round().to(torch.uint8))

    def target(self, others: Float[Tensor, "h w"] | None = None) -> Target:
        """Picture and weights in [0, 1].

        Args:
            others: weights that these are multiplied by.
        """
        weight = None if self.weight is None else self.weight.float() / 255
        if others is not None:
            weight = others.cpu() if weight is None else weight * others.cpu()
        return self.image.float() / 255, weight


def export_views(views: Views, folder: Path, overwrite: bool = False, told: Told = lambda *_: None) -> list[Path]:
    """Write the photographs of the views, undistorted and at the views' sizes, as PNGs by the names of the views.

    Raises:
        UserError: files of these names exist, or cannot be written.
    """
    files = [folder / f"{name}.png" for name in views.names]
    check_outputs(files, views.files, overwrite)
    for i, file in enumerate(files):
        image.write(file, views.image(i))
        told(i + 1, len(files))
    return files


def read_pictures(path: Path, views: Views, held_out: Sequence[str] = ()) -> dict[int, ViewPicture]:
    """Pictures of some views, by the views' numbers, at their sizes. Transparent pixels say nothing.

    Args:
        path: a picture, or a folder of pictures. A picture is called as its view is, and may go on after that:
            `IMG_7.png`, `IMG_7-mosaic.jpg`.
        held_out: names of views that are kept for evaluation, of which pictures are refused.

    Raises:
        UserError: there is none; one of no view, of another shape than its view's, or transparent everywhere; two of
            one view; or one that cannot be read.
    """
    found: dict[int, Path] = {}
    if not path.is_dir() and (refusal := cannot_read(path, "picture")):
        raise refusal
    for file in image.pictures_in(path) if path.is_dir() else [path]:
        i = view_like(file.stem, views.names, file, held_out)
        if i in found:
            raise UserError(f"{found[i]} and {file} are both of the view {views.names[i]}; leave one of them out")
        found[i] = file
    return {i: read_picture(file, views.names[i], views.size(i)) for i, file in sorted(found.items())}


def view_called(name: str, names: Sequence[str], where: object) -> int:
    """The number of the view of a name.

    Raises:
        UserError: there is none.
    """
    if name not in names:
        raise UserError(f"{where} is of no view: they are called {_some(names)}; {EXPORT} writes all of them")
    return list(names).index(name)


def view_like(name: str, names: Sequence[str], where: object, held_out: Sequence[str] = ()) -> int:
    """The number of the view that a name begins with; the longest view's name counts.

    Raises:
        UserError: there is none, or it is held out.
    """
    known = [*names, *held_out]
    goes_on = [view for view in known if name == view or (name.startswith(view) and not name[len(view)].isalnum())]
    longest = max(goes_on, key=len, default=name)
    if longest in held_out and longest not in names:
        raise UserError(f"{where} is of the view {longest}, which is held out for evaluation; leave it out")
    return view_called(longest, names, where)


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f", … {names[-1]}" if len(names) > most else "")


def read_mask(file: Path, name: str, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """A mask of a view, white where it holds, at the view's size.

    Raises:
        UserError: of another shape than its view's, empty, or it cannot be read.
    """
    with open_picture(file) as picture:
        native = ImageOps.exif_transpose(picture).size[::-1]
    _check_shape(file, native, name, size)
    mask = image.read_mask(file, size, native)
    if (layer := image.read_layer(file, size)) is not None:  # white paint on nothing is not white everywhere
        mask = layer[0].mean(2) * layer[1]
        if not bool((mask > 0.5).any()):
            raise UserError(f"{file} is empty as a mask: nothing in it is white; paint white where it is to hold")
    return mask


def _check_shape(file: Path, native: tuple[int, int], name: str, size: tuple[int, int]) -> None:
    """Raises UserError where (height, width) are not in the view's proportion."""
    if abs(native[1] * size[0] / (native[0] * size[1]) - 1) > SHAPE:
        raise UserError(
            f"{file} is {native[1]}×{native[0]} pixels, and the view {name} is {size[1]}×{size[0]}: of another shape; "
            f"paint over what {EXPORT} writes"
        )


def read_picture(file: Path, name: str, size: tuple[int, int]) -> ViewPicture:
    """A picture of a view, at the view's size; transparent pixels say nothing.

    Raises:
        UserError: of another shape than its view's, transparent everywhere, or it cannot be read.
    """
    picture = image.read(file)
    _check_shape(file, tuple(picture.shape[:2]), name, size)
    if (layer := image.read_layer(file, size)) is None:
        return ViewPicture.of(image.resize(picture, *size))
    if not bool((layer[1] > 0.5).any()):
        raise UserError(f"{file} is transparent everywhere; paint something")
    return ViewPicture.of(*layer)
