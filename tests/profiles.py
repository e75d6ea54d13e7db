"""ICC profiles made by hand (ICC.1:2010), to tell what a converter makes of them from what their numbers say."""

from __future__ import annotations

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))  # xy of red, green and blue
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # ICC's g, a, b, c, d
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(primaries) -> np.ndarray:
    """Linear RGB to XYZ under D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = D65
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def rgb_profile(primaries, curve: tuple[float, ...] = SRGB_CURVE) -> bytes:
    """A display's profile: its primaries under D65, and ICC's parametric curve (one number is a gamma)."""
    matrix = to_xyz(primaries)
    response, wanted = BRADFORD @ matrix.sum(1), BRADFORD @ D50
    adapted = np.linalg.inv(BRADFORD) @ np.diag(wanted / response) @ BRADFORD @ matrix
    tags = {f"{name}XYZ": _xyz(column) for name, column in zip("rgb", adapted.T, strict=True)}
    return _file("mntr", "RGB ", "XYZ ", tags | {f"{name}TRC": _curve(curve) for name in "rgb"})


def grey_profile(curve: tuple[float, ...]) -> bytes:
    return _file("mntr", "GRAY", "XYZ ", {"kTRC": _curve(curve)})


def cmyk_profile(corners: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """A press's profile: Lab of the sixteen overprints of full inks, linear between them; white where none is given."""
    inks = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    labs = [corners.get(ink, (100.0, 0.0, 0.0)) for ink in inks]
    table = bytes(round(v) for L, a, b in labs for v in (L * 2.55, a + 128, b + 128))
    ramp = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + b"".join(_fixed(v) for v in np.eye(3).flatten())
    return _file("prtr", "CMYK", "Lab ", {"A2B0": head + 4 * ramp + table + 3 * ramp})


def _file(kind: str, space: str, connection: str, tags: dict[str, bytes]) -> bytes:
    text = "made by a test".encode("utf-16-be")
    text = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"GB", len(text), 28) + text
    tags = {"desc": text, "cprt": text, "wtpt": _xyz(D50)} | tags
    table, data = b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name.encode(), 132 + 12 * len(tags) + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4xI4s4s4s", 128 + len(body), 0x04200000, kind.encode(), space.encode(), connection.encode())
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head + bytes(128 - len(head)) + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _curve(numbers: tuple[float, ...]) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", 0 if len(numbers) == 1 else 3, 0) + b"".join(map(_fixed, numbers))
