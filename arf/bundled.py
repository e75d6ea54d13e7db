"""What comes with arf: a capture and style pictures of our own making (scripts/make_scene.py, make_styles.py)."""

from __future__ import annotations

from pathlib import Path

from arf.errors import UserError

DEFAULT_STYLES = ("strokes", "stained_glass")


def capture() -> Path:
    """Folder of the still life."""
    return _folder() / "still-life"


def style(name: str) -> Path:
    """A style picture by its name.

    Raises:
        UserError: there is none of that name.
    """
    path = _folder() / "styles" / f"{name}.jpg"
    if not path.is_file():
        raise UserError(f"no style {name!r} comes with arf; there are {', '.join(styles())}")
    return path


def styles() -> list[str]:
    """Names of the style pictures."""
    return sorted(path.stem for path in (_folder() / "styles").glob("*.jpg"))


def _folder() -> Path:
    """`data/`: in the package where arf was installed, beside it in a checkout."""
    package = Path(__file__).parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / "still-life" / "transforms.json").is_file():
            return folder
    raise UserError(f"{package} came without its still life; install arf again, or run it from a checkout")
