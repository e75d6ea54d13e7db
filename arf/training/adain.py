"""AdaIN's decoder (Huang & Belongie, ICCV 2017, sec. 4.2)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from arf.adam import Adam
from arf.media.image import Picture
from arf.networks import modelfile
from arf.networks.adain import TAP, AdainNetwork, Decoder, Style, adain
from arf.style import encoder as encoders
from arf.style.losses import content_loss, moment_loss
from arf.training.data import Batch, Source
from arf.training.settings import TrainSettings
from arf.training.trainee import Phase, Terms, Trainee, to_pictures

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
SLOWDOWN = 5e-5  # the learning rate is divided by 1 + this times the step


class Objective(nn.Module):
    """Content ‖f(g(t)) − t‖² with t = AdaIN(f(c), f(s)), and the moments of the style at four taps."""

    def __init__(self, network: AdainNetwork, settings: TrainSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def forward(self, batch: Batch) -> Terms:
        content, style = batch.pictures
        encoder, s = self.network.encoder, self.settings
        with torch.no_grad():
            styles = {tap: f.float() for tap, f in encoder(style, STYLE_TAPS).items()}
            target = adain(self.network.encode(content).float(), Style.of(styles[TAP]))
        found = encoder(self.network.decoder(target).float(), STYLE_TAPS)
        style_loss = sum(moment_loss(found[tap].float(), styles[tap]) for tap in STYLE_TAPS)
        return {
            "content": s.content_weight * content_loss(found[TAP].float(), target),
            "style": s.style_strength * style_loss,
        }


class AdainTrainee(Trainee):
    """A decoder for relu4_1 of the encoder that the settings name.

    Args:
        start: a network whose decoder is trained further.
    """

    def __init__(
        self,
        contents: list[Path],
        styles: list[Path],
        settings: TrainSettings,
        device: torch.device,
        start: AdainNetwork | None = None,
    ) -> None:
        if start is None:
            encoder = encoders.load(settings.encoder, settings.encoder_weights, padding="reflect")
            start = AdainNetwork(encoder, Decoder.mirroring(encoder))
        self.network = start.to(device)
        self.network.decoder.train().requires_grad_(True)
        self.learned = {"decoder": self.network.decoder}
        self.sources = [Source(contents, settings.load), Source(styles, settings.load)]
        optimizer = Adam(self.network.decoder.parameters(), settings.learning_rate)

        def rate(step: int) -> float:
            return settings.rate(1 / (1 + SLOWDOWN * step), step)

        self.phases = [Phase("decoder", Objective(self.network, settings), optimizer, rate)]

    def save(self, path: Path) -> None:
        modelfile.save_adain(path, self.network)

    @torch.no_grad()
    def sample(self, batch: Batch) -> list[list[Picture]]:
        content, style = batch.pictures
        painted = self.network(content, [self.network.style(style)])
        return [to_pictures(p) for p in (content, style, painted)]
