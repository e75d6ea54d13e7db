"""Measure the mean activation of every encoder tap over photographs and record it in arf/style/encoder_scales.json.

    python scripts/measure_encoder_scales.py --photos FOLDER… --weights FILE [--name vgg19] [--count 120]

It also prints how near `arf.style.natural.pictures`, which stands in for photographs where there are none, comes.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from arf.jobs import files
from arf.media import image
from arf.style import encoder, natural, pretrained


def main(photos: list[Path], weights: Path, name: str = "vgg19", count: int = 120, threads: int = 1) -> None:
    """
    Args:
        photos: folders of photographs.
        weights: the encoder's weights.
        name: architecture.
        count: photographs to measure, spread evenly over the folders' files.
        threads: processor threads.
    """
    torch.set_num_threads(threads)
    paths = sorted(path for folder in photos for path in folder.iterdir() if path.suffix.lower() in image.FORMATS)
    paths = [paths[i * len(paths) // count] for i in range(count)] if len(paths) > count else paths
    table_file = Path(encoder.__file__).with_name("encoder_scales.json")
    known = files.read_json(table_file)
    for pooling in encoder.POOLS:
        raw = encoder.Encoder(pretrained.find(name, weights), pooling)
        rows = []
        for path in track(paths, f"{name} {pooling}"):
            picture = image.fit_long_side(image.read(path), 320).permute(2, 0, 1)[None]  # [1, 3, H, W]
            rows.append(list(raw.mean_activations(picture).values()))
        means = torch.tensor(rows)  # [photographs, taps]
        scales = dict(zip(raw.taps, means.mean(0).tolist(), strict=True))
        known[f"{name}/{raw.fingerprint}/{pooling}"] = {tap: float(f"{scale:.5g}") for tap, scale in scales.items()}
        files.write_json(table_file, known)

        table = Table(f"{name}, {pooling} pooling", "photographs", "± standard error", "made", "made ÷ photographs")
        made = raw.mean_activations(natural.pictures())
        errors = means.std(0) / math.sqrt(len(paths))
        for (tap, scale), error in zip(scales.items(), errors.tolist(), strict=True):
            table.add_row(tap, f"{scale:.4g}", f"{error / scale:.1%}", f"{made[tap]:.4g}", f"{made[tap] / scale:.2f}")
        Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
