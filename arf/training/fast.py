"""Fast networks of one style or many (Johnson et al., ECCV 2016; Dumoulin et al., ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from arf.adam import Adam
from arf.media import image
from arf.media.image import Picture
from arf.networks import modelfile
from arf.networks.fast import Architecture, FastNetwork
from arf.networks.layers import InstanceNorm
from arf.style import encoder as encoders
from arf.style.encoder import Encoder
from arf.style.losses import content_loss, gram, gram_loss, total_variation
from arf.training.data import Batch, Source
from arf.training.settings import TrainSettings
from arf.training.trainee import Phase, Terms, Trainee, to_pictures

CONTENT_TAP = "relu3_3"  # of the released code; the paper's relu2_2 keeps more of the photograph
STYLE_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


class Objective(nn.Module):
    """Content features of the photograph and Gram matrices of a style, one style to each picture in turn.

    Every tap counts alike, on the encoder's common scale.

    Args:
        grams: the network's rows that are trained, each with the Gram matrices of its style.
    """

    def __init__(
        self, network: FastNetwork, encoder: Encoder, grams: dict[int, dict[str, Tensor]], settings: TrainSettings
    ) -> None:
        super().__init__()
        self.network, self.encoder, self.settings = network, encoder, settings
        self.rows = list(grams)
        self.targets = {tap: torch.cat([grams[row][tap] for row in self.rows]) for tap in STYLE_TAPS}  # [S, C, C]

    def mix(self, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Which of the trained styles each sample has, and the weights of the network's rows."""
        device = self.encoder.mean.device
        chosen = torch.tensor([number % len(self.rows) for number in samples], device=device)
        rows = torch.tensor(self.rows, device=device)[chosen]
        return chosen, nn.functional.one_hot(rows, self.network.architecture.styles).float()

    def forward(self, batch: Batch) -> Terms:
        (photos,) = batch.pictures
        s = self.settings
        chosen, mix = self.mix(batch.samples)
        with torch.no_grad():
            content = self.encoder(photos, [CONTENT_TAP])[CONTENT_TAP].float()
        painted = self.network(photos, mix).float()
        found = {tap: f.float() for tap, f in self.encoder(painted, STYLE_TAPS).items()}
        with torch.autocast(photos.device.type, enabled=False):  # sums over all positions
            style = sum(gram_loss(found[tap], self.targets[tap][chosen], "positions") for tap in STYLE_TAPS)
        terms = {
            "content": s.content_weight * content_loss(found[CONTENT_TAP], content),
            "style": s.style_strength * style / len(STYLE_TAPS),
        }
        return terms | ({"tv": s.tv_weight * total_variation(painted)} if s.tv_weight else {})


class FastTrainee(Trainee):
    """A network for one style, or for many.

    Args:
        contents: photographs.
        styles: one picture, or one for each row of a network of many styles.
        start: a network to begin with. One of a single style, or of the same styles, is trained further. To one of
            others the styles are added: their rows γ and β are trained, from the mean of the rows that it has, and
            everything else stays as it is.
    """

    def __init__(
        self,
        contents: list[Path],
        styles: list[Path],
        settings: TrainSettings,
        device: torch.device,
        start: FastNetwork | None = None,
    ) -> None:
        names = [path.stem for path in styles]
        if start is None:
            shape = Architecture(settings.norm, len(styles), settings.width)
            self.network = FastNetwork(shape, names).to(device)
            rows, learning = range(len(styles)), list(self.network.parameters())
        elif start.architecture.styles == 1 or set(names) == set(start.names):
            self.network = start.to(device).train().requires_grad_(True)
            self.network.names = names if len(names) == 1 else start.names
            rows, learning = [self.network.names.index(name) for name in names], list(self.network.parameters())
        else:
            self.network = start.with_more(names).to(device)
            rows = range(len(start.names), len(self.network.names))
            learning = self._rows_alone(len(start.names))
        encoder = encoders.load(settings.encoder, settings.encoder_weights, padding="reflect").to(device)
        grams = {row: style_grams(encoder, path, settings) for row, path in zip(rows, styles, strict=True)}
        self.objective = Objective(self.network, encoder, grams, settings)
        self.learned = {"network": self.network}
        self.sources = [Source(contents, settings.load, zoom=0.5)]
        optimizer = Adam(learning, settings.learning_rate)
        self.phases = [Phase("network", self.objective, optimizer, lambda step: settings.rate(1.0, step))]

    def _rows_alone(self, first: int) -> list[nn.Parameter]:
        """Freeze all but γ and β, and those in the rows that were there before."""
        self.network.requires_grad_(False)
        tables = []
        for norm in self.network.modules():
            if isinstance(norm, InstanceNorm):
                for table in (norm.scale, norm.shift):
                    table.requires_grad_(True)
                    table.register_hook(lambda g: torch.cat([torch.zeros_like(g[:first]), g[first:]]))
                    tables.append(table)
        return tables

    def save(self, path: Path) -> None:
        modelfile.save_fast(path, self.network)

    @torch.no_grad()
    def sample(self, batch: Batch) -> list[list[Picture]]:
        (photos,) = batch.pictures
        rows = [photos]
        for row in self.objective.rows:
            mix = nn.functional.one_hot(torch.tensor([row]), self.network.architecture.styles).to(photos)
            rows.append(self.network(photos, mix.expand(len(photos), -1)))
        return [to_pictures(row) for row in rows]


@torch.no_grad()
def style_grams(encoder: Encoder, path: Path, settings: TrainSettings) -> dict[str, Tensor]:
    """Gram matrices [1, C, C] of a style picture."""
    picture = image.fit_style(image.read_style(path), settings.style_size)
    features = encoder(picture.permute(2, 0, 1)[None].to(encoder.mean), STYLE_TAPS)
    return {tap: gram(f.float(), "positions") for tap, f in features.items()}
