"""Files of trained networks: safetensors in float16 whose notes say what they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from arf.errors import UserError
from arf.jobs.door import admit, settings_from
from arf.jobs.files import cannot_read
from arf.jobs.tensors import load_tensors, save_tensors
from arf.networks import published
from arf.networks.adain import TAP, AdainNetwork, Decoder
from arf.networks.cast import CastNetwork
from arf.networks.fast import Architecture, FastNetwork
from arf.networks.filling import filled
from arf.style import encoder as encoders
from arf.style.encoder import Encoder

KINDS = {"adain": "arf train adain", "fast": "arf train fast", "many": "arf train many", "cast": "arf train cast"}
REMEDY = "train it again, get it again, or get a newer arf"
LONGEST_NAME = 255  # characters of a style's name, as of a file's

BUNDLED = Path(__file__).with_name("models")  # trained by us (scripts/train_models.sh)
MODEL = "model.safetensors"  # of a run of `arf train`
Notes = TypeVar("Notes")


@dataclass
class FastNotes:
    """What the file of a fast network says of it."""

    architecture: dict[str, Any]
    names: list[str]


@dataclass
class DecoderNotes:
    """What the file of a decoder says of it: the encoder that it belongs to, and the channels of its taps."""

    encoder: Literal["compact", "vgg19", "vgg16"]
    fingerprint: str
    widths: dict[str, int]


def find(model: str | Path, kind: str) -> Path:
    """The file that a model's name stands for: one that comes with arf, a file, or a run of `arf train`.

    Args:
        kind: the prefix under which models of a kind come with arf.

    Raises:
        UserError: there is none.
    """
    own = BUNDLED / f"{kind}{model}.safetensors"
    path = Path(model)
    if own.is_file():
        return own
    if (path / MODEL).is_file():
        return path / MODEL
    if not path.exists() and not path.suffix:
        names = ", ".join(sorted(p.stem.removeprefix(kind) for p in BUNDLED.glob(f"{kind}*.safetensors")))
        raise UserError(f"no model {model!r}: there is no such file, and with arf come {names}")
    if refusal := cannot_read(path, "model file"):
        raise refusal
    return path


def save_adain(path: Path, network: AdainNetwork) -> None:
    """Write AdaIN's decoder, with the name of the encoder that it belongs to."""
    _save(path, network.decoder, "adain", **_belongings(network.encoder, network.decoder))


def open_adain(model: str | Path, weights: Path | None = None) -> AdainNetwork:
    """AdaIN's network from a file of its decoder, ours or a published one.

    Args:
        model: see `find`.
        weights: file of the encoder's weights; see `encoder.load`.

    Raises:
        UserError: it cannot be read, is of another kind, or was trained on other weights of the encoder.
    """
    path = find(model, "adain-")
    if path.suffix != ".safetensors":
        if weights is None:
            raise UserError(f"{path} is a published decoder; give its normalised VGG-19 with --encoder-weights FILE")
        return published.adain_network(path, weights)
    tensors, notes = _read(path, DecoderNotes, "adain")
    encoder = _encoder(notes, weights, path)
    return AdainNetwork(encoder, filled(lambda: Decoder(notes.widths), tensors, path, REMEDY))


def save_cast(path: Path, network: CastNetwork) -> None:
    """Write CAST's two decoders, with the name of the encoder that they belong to."""
    _save(path, network.decoders, "cast", **_belongings(network.encoder, network.decoders["painting"]))


def open_cast(model: str | Path, weights: Path | None = None) -> CastNetwork:
    """CAST's network from a file of its decoders.

    Args:
        model: see `find`.
        weights: file of the encoder's weights; see `encoder.load`.

    Raises:
        UserError: as `open_adain`.
    """
    path = find(model, "cast-")
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is no model of arf; of CAST there are only those, as .safetensors")
    tensors, notes = _read(path, DecoderNotes, "cast")
    encoder = _encoder(notes, weights, path)
    decoders = filled(lambda: CastNetwork(encoder, Decoder(notes.widths)).decoders, tensors, path, REMEDY)
    network = CastNetwork(encoder, decoders["painting"])
    network.decoders = decoders
    return network


def save_fast(path: Path, network: FastNetwork) -> None:
    """Write a fast network with the names of its styles."""
    kind = "many" if network.architecture.styles > 1 else "fast"
    _save(path, network, kind, architecture=asdict(network.architecture), names=network.names)


def open_fast(model: str | Path) -> FastNetwork:
    """A fast network of one style or many, ours or a published one.

    Args:
        model: see `find`.

    Raises:
        UserError: it cannot be read, or is of another kind.
    """
    path = find(model, "fast-")
    if path.suffix != ".safetensors":
        return published.fast_network(path)
    tensors, notes = _read(path, FastNotes, "fast", "many")
    shape = settings_from(Architecture, notes.architecture, f"{path}: architecture", REMEDY)
    try:
        shape.check()
        _check_names(notes.names, shape.styles)
    except UserError as error:
        raise UserError(f"{path}: {error}; {REMEDY}") from error
    return filled(lambda: FastNetwork(shape, notes.names), tensors, path, REMEDY)


def _save(path: Path, network: nn.Module, kind: str, **notes: Any) -> None:
    half = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_tensors(path, half, arf_network=kind, **notes)


def kind_of(path: Path) -> str | None:
    """Which of `KINDS` a file of ours holds; None for what arf did not write."""
    return load_tensors(path, "train it again, or get it again")[1].get("arf_network")


def _belongings(encoder: Encoder, decoder: Decoder) -> dict[str, Any]:
    return {"encoder": encoder.name, "fingerprint": encoder.fingerprint, "widths": decoder.widths}


def _encoder(notes: DecoderNotes, weights: Path | None, path: Path) -> Encoder:
    """The encoder that a decoder belongs to."""
    encoder = encoders.load(notes.encoder, weights, padding="reflect")
    if encoder.fingerprint != notes.fingerprint:
        raise UserError(
            f"{path} was trained on other weights of {encoder.name} ({notes.fingerprint}, these are "
            f"{encoder.fingerprint}); give --encoder-weights FILE with its own"
        )
    if list(notes.widths.items()) != [(tap, encoder.width(tap)) for tap in encoder.taps[: encoder.taps.index(TAP) + 1]]:
        raise UserError(f"{path} is no decoder of {encoder.name}: its layers have other widths; {REMEDY}")
    return encoder


def _read(path: Path, kind: type[Notes], *kinds: str) -> tuple[dict[str, Tensor], Notes]:
    """Tensors and notes of a file of ours, of which networks of these kinds can be made."""
    tensors, notes = load_tensors(path, "train it again, or get it again")
    found = notes.get("arf_network")
    if found not in kinds:
        known = isinstance(found, str) and found in KINDS
        what = f"is a model of {KINDS[found]}" if known else "is no model that arf wrote"
        raise UserError(f"{path} {what}; one of {' or '.join(KINDS[k] for k in kinds)} is needed")
    return tensors, admit(kind, notes, path, REMEDY)


def _check_names(names: list[str], styles: int) -> None:
    if len(names) != styles or len(set(names)) < styles:
        raise UserError(f"{len(set(names))} names are not those of {styles} styles")
    if not all(0 < len(name) <= LONGEST_NAME for name in names):
        raise UserError(f"the name of a style has 1 to {LONGEST_NAME} characters")
