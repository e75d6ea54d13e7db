"""Files of trained networks: safetensors in float16 whose notes say what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.jobs.tensors import load_tensors, save_tensors
from arf.networks import published
from arf.networks.adain import AdainNetwork, Decoder
from arf.networks.cast import CastNetwork
from arf.networks.fast import Architecture, FastNetwork
from arf.style import encoder as encoders
from arf.style.encoder import Encoder

KINDS = {"adain": "arf train adain", "fast": "arf train fast", "many": "arf train many", "cast": "arf train cast"}


BUNDLED = Path(__file__).with_name("models")  # trained by us (scripts/train_models.sh)
MODEL = "model.safetensors"  # of a run of `arf train`


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
    with _reading(path, "adain") as (tensors, notes):
        return AdainNetwork(_encoder(notes, weights, path), _fill(Decoder(notes["widths"]), tensors))


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
    with _reading(path, "cast") as (tensors, notes):
        network = CastNetwork(_encoder(notes, weights, path), Decoder(notes["widths"]))
        _fill(network.decoders, tensors)
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
    with _reading(path, "fast", "many") as (tensors, notes):
        return _fill(FastNetwork(Architecture(**notes["architecture"]), notes["names"]), tensors)


def _save(path: Path, network: nn.Module, kind: str, **notes: Any) -> None:
    half = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_tensors(path, half, arf_network=kind, **notes)


def kind_of(path: Path) -> str | None:
    """Which of `KINDS` a file of ours holds; None for what arf did not write."""
    return load_tensors(path, "train it again, or get it again")[1].get("arf_network")


def _belongings(encoder: Encoder, decoder: Decoder) -> dict[str, Any]:
    return {"encoder": encoder.name, "fingerprint": encoder.fingerprint, "widths": decoder.widths}


def _encoder(notes: dict[str, Any], weights: Path | None, path: Path) -> Encoder:
    """The encoder that a decoder belongs to."""
    encoder = encoders.load(notes["encoder"], weights, padding="reflect")
    if encoder.fingerprint != notes["fingerprint"]:
        raise UserError(
            f"{path} was trained on other weights of {encoder.name} ({notes['fingerprint']}, these are "
            f"{encoder.fingerprint}); give --encoder-weights FILE with its own"
        )
    return encoder


@contextmanager
def _reading(path: Path, *kinds: str) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """Tensors and notes of a file of ours, to make a network of them."""
    tensors, notes = load_tensors(path, "train it again, or get it again")
    kind = notes.get("arf_network")
    if kind not in kinds:
        what = f"is a model of {KINDS[kind]}" if kind in KINDS else "is no model that arf wrote"
        raise UserError(f"{path} {what}; one of {' or '.join(KINDS[k] for k in kinds)} is needed")
    try:
        yield tensors, notes
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} does not hold what this version of arf expects; train it again, get it again, or get a newer arf"
        ) from error


def _fill(network: nn.Module, tensors: dict[str, Tensor]) -> Any:
    """The network with the tensors of its file, for inference."""
    network.load_state_dict({name: t.float() if t.dtype == torch.half else t for name, t in tensors.items()})
    return network.eval().requires_grad_(False)
