"""What comes with arf: presets, and a still life and style pictures of our own making (scripts/make_*.py)."""

from __future__ import annotations

from pathlib import Path

from arf.errors import UserError

DEFAULT_STYLES = ("strokes", "stained_glass")


def capture() -> Path:
    """Folder of the still life."""
    return _folder("data", "still-life/transforms.json") / "still-life"


def style(name: str) -> Path:
    """A style picture by its name.

    Raises:
        UserError: there is none of that name.
    """
    path = _styles() / f"{name}.jpg"
    if not path.is_file():
        raise UserError(f"no style {name!r} comes with arf; there are {', '.join(styles())}")
    return path


def styles() -> list[str]:
    """Names of the style pictures."""
    return sorted(path.stem for path in _styles().glob("*.jpg"))


def presets() -> Path:
    """Folder of the presets (`--config`)."""
    return _folder("configs", "quick.yaml")


def _styles() -> Path:
    return _folder("data", "styles/strokes.jpg") / "styles"


def _folder(name: str, witness: str) -> Path:
    """A folder that holds the file `witness`: in the package where arf was installed, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / name, package.parent / name):
        if (folder / witness).is_file():
            return folder
    raise UserError(f"{package} came without {name}/{witness}; install arf again, or run it from a checkout")
