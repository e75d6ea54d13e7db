"""CAST (Zhang et al., SIGGRAPH 2022): photographs become paintings and back, and the style of what was painted is told
by contrast.

Two faults of the released code are not repeated. The pretrained encoder stays as it was loaded (there its weights are
drawn anew before they are frozen); and codes join the queue after they have been scored, and never count against their
own painting (there a query is among its own negatives).

Where we deviate: keys, and with them the codes in the queue, are of a projector that follows the trained one slowly
(momentum contrast). Without it the codes only drift away from the older ones in the queue, and styles are hardly told
apart: `test_contrast.py` has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from arf.adam import Adam
from arf.media.image import Picture
from arf.networks import modelfile
from arf.networks.adain import TAP, Decoder, Style, adain
from arf.networks.cast import CastNetwork
from arf.style import encoder as encoders
from arf.style.encoder import Encoder
from arf.training.contrast import PatchDiscriminator, Queue, StyleProjector, contrast, follow, told_apart
from arf.training.data import Batch, Source
from arf.training.processes import Team
from arf.training.settings import TrainSettings
from arf.training.trainee import Phase, Terms, Trainee, to_pictures

STYLE_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
BETAS = 0.5, 0.999
ZOOM = 0.8  # smallest area of a crop


class Judges(nn.Module):
    """What the painter learns from: the projector of queries, the one of keys that follows it, the queues of those, and
    a discriminator for each domain."""

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.projector = StyleProjector({tap: encoder.width(tap) for tap in STYLE_TAPS})
        self.follower = deepcopy(self.projector)
        self.queues = nn.ModuleDict({tap: Queue() for tap in STYLE_TAPS})
        self.real = nn.ModuleDict({domain: PatchDiscriminator(width) for domain in ("painting", "photograph")})

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Gradients flow through the judges, and not to them."""
        self.requires_grad_(False)
        try:
            yield
        finally:
            self.requires_grad_(True)


class Painting(nn.Module):
    """The painter's objective: what it paints looks like a painting and has the style of the given one, and of it the
    photograph can be made again; and the same the other way round but for the style.

    Attributes:
        painted: what it last made of a batch, by domain.
    """

    def __init__(self, network: CastNetwork, judges: Judges, settings: TrainSettings) -> None:
        super().__init__()
        self.decoders = network.decoders
        self.others = network.encoder, judges  # in a tuple: they do not learn here
        self.settings = settings
        self.painted: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Terms:
        _, judges = self.others
        photo, painting, _ = batch.pictures
        with judges.frozen():
            with torch.no_grad():
                seen = self._features(photo)[TAP], self._features(painting)
                keys = judges.follower(seen[1])
            art, real = self._to("painting", seen[0], seen[1][TAP]), self._to("photograph", seen[1][TAP], seen[0])
            self.painted = {"painting": art.detach(), "photograph": real.detach()}
            art_seen, real_seen = self._features(art), self._features(real)[TAP]
            again = self._to("photograph", art_seen[TAP], seen[0]), self._to("painting", real_seen, seen[1][TAP])
            cycle = (again[0] - photo).abs().mean() + (again[1] - painting).abs().mean()
            style = contrast(judges.projector(art_seen), keys, judges.queues, batch.drawn(1))
            looks = -judges.real["painting"](art).mean() - judges.real["photograph"](real).mean()
        s = self.settings
        return {
            "cycle": s.content_weight * cycle,
            "style": s.style_strength * style,
            "adversarial": s.adversarial_weight * looks,
        }

    def _features(self, pictures: Tensor) -> dict[str, Tensor]:
        return {tap: f.float() for tap, f in self.others[0](pictures, (*STYLE_TAPS, TAP)).items()}

    def _to(self, domain: str, content: Tensor, style: Tensor) -> Tensor:
        return self.decoders[domain](adain(content, Style.of(style))).float()


class Telling(nn.Module):
    """The projector's objective: two crops of a painting have one style, and those of other paintings another."""

    def __init__(self, encoder: Encoder, judges: Judges, team: Team) -> None:
        super().__init__()
        self.projector, self.others, self.team = judges.projector, (encoder, judges), team

    def forward(self, batch: Batch) -> Terms:
        encoder, judges = self.others
        follow(judges.follower, judges.projector)
        with torch.no_grad():
            first, second = ({t: f.float() for t, f in encoder(p, STYLE_TAPS).items()} for p in batch.pictures[1:])
            keys = judges.follower(second)
        owners = batch.drawn(1)
        loss = contrast(self.projector(first), keys, judges.queues, owners)
        for tap, queue in judges.queues.items():  # after the scores, see above
            queue.add(self.team.stack(keys[tap]), self.team.stack(owners))
        return {"contrast": loss}


class Criticism(nn.Module):
    """The discriminators' objective: to tell what was painted from what is real."""

    def __init__(self, judges: Judges, painting: Painting) -> None:
        super().__init__()
        self.real, self.source = judges.real, (painting,)

    def forward(self, batch: Batch) -> Terms:
        photo, painting, _ = batch.pictures
        loss = 0.0
        for domain, real in (("painting", painting), ("photograph", photo)):
            both = self.real[domain](torch.cat([real, self.source[0].painted[domain].to(real)]))
            loss = loss + told_apart(*both.chunk(2))
        return {"discriminator": loss}


class CastTrainee(Trainee):
    """Both decoders, the projector and two discriminators.

    Args:
        start: a network whose decoders are trained further.
    """

    def __init__(
        self,
        contents: list[Path],
        styles: list[Path],
        settings: TrainSettings,
        team: Team,
        start: CastNetwork | None = None,
    ) -> None:
        if start is None:
            encoder = encoders.load(settings.encoder, settings.encoder_weights, padding="reflect")
            start = CastNetwork(encoder, Decoder.mirroring(encoder))
        self.network = start.to(team.device)
        self.network.decoders.train().requires_grad_(True)
        encoder = self.network.encoder
        self.judges = judges = Judges(encoder, 2 * settings.width).to(team.device)
        self.learned = {"decoders": self.network.decoders, "judges": judges}
        self.sources = [Source(contents, settings.load, zoom=ZOOM), Source(styles, settings.load, crops=2, zoom=ZOOM)]
        painting = Painting(self.network, judges, settings)
        self.phases = [
            self._phase("painter", painting, self.network.decoders, settings),
            self._phase("discriminators", Criticism(judges, painting), judges.real, settings),
            self._phase("projector", Telling(encoder, judges, team), judges.projector, settings),
        ]

    @staticmethod
    def _phase(name: str, objective: nn.Module, learning: nn.Module, settings: TrainSettings) -> Phase:
        optimizer = Adam(learning.parameters(), settings.learning_rate, BETAS)

        def rate(step: int) -> float:
            return settings.rate(min(1.0, 2 * (1 - step / settings.steps)), step)  # falls in the second half

        return Phase(name, objective, optimizer, rate)

    def save(self, path: Path) -> None:
        modelfile.save_cast(path, self.network)

    @torch.no_grad()
    def sample(self, batch: Batch) -> list[list[Picture]]:
        photo, painting, _ = batch.pictures
        to_art, to_real = self.network.to_domain("painting"), self.network.to_domain("photograph")
        rows = photo, painting, to_art(photo, [to_art.style(painting)]), to_real(painting, [to_real.style(photo)])
        return [to_pictures(row) for row in rows]
