"""A capture's photographs: sizes from the header, pixels at exactly the camera's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int, UInt8
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datasets.base_dataset import InputDataset
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def picture_folders(root: Path) -> dict[int, Path]:
    """`images` (factor 1) and `images_N` (factor N) of a capture, those that hold pictures, by factor."""
    named = {1: root / "images"} | {_factor(p): p for p in root.glob("images_*") if _factor(p) > 1}
    return {n: p for n, p in sorted(named.items()) if any(f.suffix.lower() in SUFFIXES for f in p.rglob("*"))}


def _factor(folder: Path) -> int:
    number = folder.name.removeprefix("images_")
    return int(number) if number.isdecimal() else 0


def choose_folder(folders: dict[int, Path], downscale: float) -> int:
    """The factor of the folder to read for a downscale: the smallest pictures that are still large enough."""
    return max((n for n in folders if n <= downscale), default=min(folders))


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone.

    Raises:
        UserError: not a readable picture.
    """
    with _open(path) as file:
        return file.size


def is_transparent(path: Path) -> bool:
    """Whether a picture has an alpha channel, by its header."""
    with Image.open(path) as file:
        return _has_alpha(file)


def _has_alpha(file: Image.Image) -> bool:
    return file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info


def read_picture(
    path: Path, width: int, height: int, background: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> UInt8[np.ndarray, "height width 3"]:
    """A photograph as uint8 RGB at the given size, transparency laid on `background` (RGB in [0, 1]).

    Smaller sizes average over each new pixel's area (a box filter), which is what a camera with larger pixels sees.
    The EXIF rotation is deliberately not applied: cameras are calibrated on the pixels as stored.

    Raises:
        UserError: the file is missing, corrupt, cut short, or of a kind that is no photograph.
    """
    with _open(path) as file:
        if file.mode == "F" or file.mode.startswith("I"):
            raise UserError(f"{path} has {file.mode} pixels; a capture needs 8-bit pictures: convert it")
        try:
            if _has_alpha(file):
                rgba = np.asarray(file.convert("RGBA"), dtype=np.float32)  # [H, W, 4]
                alpha = rgba[..., 3:] / 255
                blend = rgba[..., :3] * alpha + 255 * np.asarray(background, dtype=np.float32) * (1 - alpha)
                picture = Image.fromarray((blend + 0.5).astype(np.uint8))
            else:
                picture = file.convert("RGB")
        except Exception as error:  # decoders fail in many ways: OSError, SyntaxError, struct.error, EOFError
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{path} is corrupt or cut short ({reason}); replace it or remove the frame") from error
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.array(picture)


def match_pictures(cameras: Cameras, files: list[Path], factor: int = 1) -> None:
    """Fit cameras, in place, to pictures that are `factor` times smaller than the cameras say; absent files stay.

    Raises:
        UserError: a picture is more than a rounding away from its camera's size; at factor 1, any difference.
    """
    sizes = cameras.width.new_tensor([picture_size(p) if p.exists() else (0, 0) for p in files])  # [n, 2]
    expected = torch.cat([cameras.width, cameras.height], dim=1) / factor
    for path, (width, height), (w, h) in zip(files, sizes.tolist(), expected.tolist(), strict=True):
        if width and max(abs(width - w), abs(height - h)) > (0 if factor == 1 else 1):
            raise UserError(
                f"{path} is {width}×{height} pixels but its camera {w:g}×{h:g}; use the pictures that were calibrated"
            )
    resize_cameras(cameras, torch.where(sizes > 0, sizes, expected.round().long()))


def resize_cameras(cameras: Cameras, sizes: Int[Tensor, "n 2"]) -> None:
    """Set (width, height) of every camera, in place; the intrinsics follow by the true ratio on each axis."""
    ratio = sizes / torch.cat([cameras.width, cameras.height], dim=1)  # [n, 2]
    cameras.fx, cameras.cx = cameras.fx * ratio[:, :1], cameras.cx * ratio[:, :1]
    cameras.fy, cameras.cy = cameras.fy * ratio[:, 1:], cameras.cy * ratio[:, 1:]
    cameras.width, cameras.height = sizes[:, :1].clone(), sizes[:, 1:].clone()


def _open(path: Path) -> Image.Image:
    if refusal := cannot_read(path, "picture"):
        raise refusal
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a picture, or its header is damaged; replace it or remove the frame") from error
    except Exception as error:  # a header that starts well and then lies
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}); replace it or remove the frame") from error


class CaptureDataset(InputDataset):
    """nerfstudio's dataset over `read_picture`: the same pixels as `Views.image`, at the cameras' size.

    For `VanillaDataManager[CaptureDataset]`. The stock `InputDataset` reads the files at their own size, which is the
    cameras' only where nothing is downscaled.
    """

    def get_numpy_image(self, image_idx: int) -> npt.NDArray[np.uint8]:
        """uint8 [H, W, 3], with H and W those of camera `image_idx`."""
        width, height = int(self.cameras.width[image_idx]), int(self.cameras.height[image_idx])
        color = self._dataparser_outputs.alpha_color
        background = (1.0, 1.0, 1.0) if color is None else tuple(color.tolist())
        return read_picture(self.image_filenames[image_idx], width, height, background)
