"""From where splats are looked at, as arf.json of a painting of somebody else's says it.

A new key of `arf.radiance.sight.Sight` goes into `SIGHT`, a new kind of value that passes into `ODD`.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest
import spoil
from good import OF_PAINTED_SPLATS, ending

OPENED_BY = {name: call.replace("{painted_splats}", "{bad}") for name, call in OF_PAINTED_SPLATS.items()}
SHOWING = ending(OPENED_BY)


def sight(**values: Any) -> spoil.Change:
    return lambda info: info["fit"]["sight"].update(values)


def first(name: str, value: Any, at: int | None = None) -> spoil.Change:
    """Another first row of a list of lists, or another number in it."""

    def change(info: dict) -> None:
        rows = info["fit"]["sight"][name]
        if at is None:
            rows[0] = value
        else:
            rows[0][at] = value

    return change


def every(name: str, value: Any) -> spoil.Change:
    return lambda info: info["fit"]["sight"].update({name: [value] * len(info["fit"]["sight"][name])})


def longer(count: int) -> spoil.Change:
    """More views than there were."""

    def change(info: dict) -> None:
        held = info["fit"]["sight"]
        held.update({name: [held[name][0]] * count for name in ("poses", "lenses", "sizes")})

    return change


def fit(**values: Any) -> spoil.Change:
    return lambda info: info["fit"].update(values)


def with_settings(**values: Any) -> spoil.Change:
    """One that says that it was a fit of ours as well, whose settings are sound."""
    settings = {"backbone": "voxel", "held_out": 0.125, "seed": 0}
    return lambda info: (info["fit"].update(settings=settings), info["fit"]["sight"].update(values))


LEVEL = np.eye(4)[:3].ravel().tolist()
SIGHT: dict[str, spoil.Change] = {
    "null": fit(sight=None),
    "a list": fit(sight=[]),
    "a string": fit(sight="x"),
    "empty": fit(sight={}),
    **{f"no {name}": lambda info, name=name: info["fit"]["sight"].pop(name) for name in (
        "poses", "lenses", "sizes", "kind", "cut_out", "box", "transform", "scale", "background")},
    "poses null": sight(poses=None),
    "poses a number": sight(poses=5),
    "poses empty": sight(poses=[]),
    "poses of numbers": sight(poses=[1, 2]),
    "poses nested": sight(poses=[[[1] * 12] * 2]),
    "a pose of words": first("poses", ["x"] * 12),
    "a pose of 11 numbers": first("poses", LEVEL[:11]),
    "a pose of 13 numbers": first("poses", [*LEVEL, 0.0]),
    "a pose of nothing": first("poses", []),
    "a pose of NaN": first("poses", [nan] * 12),
    "a pose of infinity": first("poses", inf, 3),
    "a pose of 1e300": first("poses", 1e300, 3),
    "a pose of 1e11": first("poses", 1e11, 3),
    "a pose of 10^400": first("poses", 10**400, 3),
    "a pose of null": first("poses", None, 0),
    "a pose of zeros": first("poses", [0.0] * 12),
    "a pose that mirrors": first("poses", np.diag([-1.0, 1, 1, 1])[:3].ravel().tolist()),
    "a pose that scales": first("poses", (2 * np.eye(4))[:3].ravel().tolist()),
    "a pose too few": lambda info: info["fit"]["sight"]["poses"].pop(),
    "one view": longer(1),
    "10001 views": longer(10_001),
    "a lens too few": lambda info: info["fit"]["sight"]["lenses"].pop(),
    "a lens of 3 numbers": first("lenses", [30.0, 30.0, 16.0]),
    "a lens of 0": first("lenses", 0.0, 0),
    "a lens below 0": first("lenses", -30.0, 1),
    "a lens of NaN": first("lenses", nan, 0),
    "a lens of 1e300": first("lenses", 1e300, 0),
    "a lens of 1e12": first("lenses", 1e12, 0),
    "a lens of 10^400": first("lenses", 10**400, 0),
    "a lens of words": first("lenses", ["x"] * 4),
    "a size too few": lambda info: info["fit"]["sight"]["sizes"].pop(),
    "a size of 0": first("sizes", 0, 0),
    "a size below 0": first("sizes", -32, 1),
    "a size of 10^9": first("sizes", 10**9, 0),
    "a size of 2^63": first("sizes", 2**63, 0),
    "a size of 2^64": first("sizes", 2**64, 0),
    "a size of 10^400": first("sizes", 10**400, 0),
    "a size of 32.5": first("sizes", 32.5, 0),
    "a size of words": first("sizes", "32", 0),
    "a size of 3 numbers": first("sizes", [32, 32, 3]),
    "sizes of 10^9": every("sizes", [10**9, 10**9]),
    "kind unknown": sight(kind="soup"),
    "kind a list": sight(kind=[]),
    "kind forward": sight(kind="forward"),
    "cut_out a word": sight(cut_out="yes"),
    "cut_out a number": sight(cut_out=2),
    "a box of one corner": sight(box=[[0.0, 0.0, 0.0]]),
    "a box of 2 numbers": sight(box=[[0.0, 0.0], [1.0, 1.0]]),
    "a box of NaN": sight(box=[[nan] * 3, [1.0] * 3]),
    "a box of 1e300": sight(box=[[-1e300] * 3, [1e300] * 3]),
    "a transform of 2 rows": sight(transform=[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]),
    "a transform of 3 columns": sight(transform=np.eye(3).tolist()),
    "a transform of zeros": sight(transform=np.zeros((3, 4)).tolist()),
    "a transform of NaN": sight(transform=[[nan] * 4] * 3),
    "a transform that mirrors": sight(transform=np.diag([-1.0, 1, 1, 1])[:3].tolist()),
    "a transform that scales": sight(transform=(2 * np.eye(4))[:3].tolist()),
    "a transform far away": sight(transform=[[1.0, 0, 0, 1e11], [0, 1.0, 0, 0], [0, 0, 1.0, 0]]),
    "scale 0": sight(scale=0),
    "scale below 0": sight(scale=-1.0),
    "scale NaN": sight(scale=nan),
    "scale infinity": sight(scale=inf),
    "scale of 1e300": sight(scale=1e300),
    "scale of 1e-300": sight(scale=1e-300),
    "scale of 10^400": sight(scale=10**400),
    "scale a list": sight(scale=[1.0]),
    "a background of 2 numbers": sight(background=[1.0, 1.0]),
    "a background of 10^5 numbers": sight(background=[1.0] * 10**5),
    "a background of NaN": sight(background=[nan] * 3),
    "a background of 2": sight(background=[2.0] * 3),
    "a background of words": sight(background="1,1,1"),
    "NaN beside settings": with_settings(poses=[[nan] * 12] * 2),
    "sizes of 10^9 beside settings": with_settings(sizes=[[10**9, 10**9]] * 2),
    "a scale of 0 beside settings": with_settings(scale=0),
    "data a number": fit(data=5),
    "no data": lambda info: info["fit"].pop("data"),
    "run a number": fit(run=5),
    "no run": lambda info: info["fit"].pop("run"),
    "capture a number": fit(capture=5),
    "parser of another": fit(parser={"name": "nerfstudio-data"}),
    "antialiased a word": lambda info: info["model"].update(antialiased="yes"),
    "backbone unknown": lambda info: info["model"].update(backbone="soup"),
    "backbone voxel": lambda info: info["model"].update(backbone="voxel"),
    "backbone nerfacto": lambda info: info["model"].update(backbone="nerfacto"),
    "a setting unknown": lambda info: info["model"].update(zzz=1),
    "settings of others": lambda info: info["settings"].update(long_side="x"),
}  # fmt: skip
UNREAD = {"parser of another"}  # sight goes before it
FEW = ("null", "a pose of NaN", "sizes of 10^9", "scale 0", "NaN beside settings")
CASES = [(command, what) for command in OPENED_BY for what in SIGHT if command == "export" or what in FEW]


@pytest.mark.parametrize(("command", "what"), CASES)
def test_sight(command, what, judge, good, at):
    judge(OPENED_BY[command], spoil.run(at, good.painted_splats, SIGHT[what]), may=what in UNREAD)


ODD: dict[str, spoil.Change] = {  # of which something can be made
    "the same pose": every("poses", LEVEL),
    "poses far away": every("poses", [*LEVEL[:3], 9e9, *LEVEL[4:]]),
    "one pose far away": first("poses", 9e9, 3),
    "as large as can be": lambda info: info["fit"]["sight"].update(
        sizes=[[16384, 16384]] * 2, lenses=[[16384.0, 16384.0, 8192.0, 8192.0]] * 2
    ),
    "as narrow as can be": lambda info: info["fit"]["sight"].update(sizes=[[1, 16384]] * 2),
    "as small as can be": lambda info: info["fit"]["sight"].update(
        sizes=[[1, 1]] * 2, lenses=[[1.0, 1.0, 0.5, 0.5]] * 2
    ),
    "as long as can be": every("lenses", [3.2e7, 3.2e7, 16.0, 16.0]),
    "as short as can be": every("lenses", [0.032, 0.032, 16.0, 16.0]),
    "of an axis elsewhere": every("lenses", [30.0, 30.0, 9e11, -9e11]),
    "a box of nothing": sight(box=[[0.0] * 3, [0.0] * 3]),
    "a box upside down": sight(box=[[1.0] * 3, [-1.0] * 3]),
    "a box as large as can be": sight(box=[[-9e11] * 3, [9e11] * 3]),
    "a place in a box of nothing": sight(kind="unbounded", box=[[0.0] * 3, [0.0] * 3]),
    "a scale of 1e-11": sight(scale=1e-11),
    "a scale of 1e11": sight(scale=1e11),
    "as far as can be": sight(transform=[[1.0, 0, 0, 9e9], [0, 1.0, 0, -9e9], [0, 0, 1.0, 0]], scale=1e11),
}


@pytest.mark.parametrize("command", ["render", "export html", "export points"])
@pytest.mark.parametrize("what", ODD)
def test_odd_sights(what, command, judge, good, at):
    judge(SHOWING[command], spoil.run(at, good.painted_splats, ODD[what]), may=True)


NAMES: dict[str, spoil.Change] = {
    "no scene": lambda info: info.pop("scene"),
    "a scene of numbers": lambda info: info.update(scene=5),
    "a scene of null": lambda info: info.update(scene=None),
    "a scene with escapes": lambda info: info.update(scene="a\x1b[31m\n</script>\u202e"),
    "a scene that leads out": lambda info: info.update(scene="../../x"),
    "an empty scene": lambda info: info.update(scene=""),
    "no styles": lambda info: info.update(styles=[]),
    "a style without a name": lambda info: info.update(styles=["/"]),
    "styles with escapes": lambda info: info.update(styles=["/a\x1b[31m\n</script>\u202e.png", "'\"><img src=x>.png"]),
}


@pytest.mark.parametrize("command", ["render", "export html"])
@pytest.mark.parametrize("what", NAMES)
def test_names(what, command, judge, good, at):
    judge(SHOWING[command], spoil.run(at, good.painted_splats, NAMES[what]), may=True)
