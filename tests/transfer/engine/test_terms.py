from __future__ import annotations

import pytest
import torch
from encoders import tiny_encoder
from torch import Tensor
from torch.nn import functional

from arf.style import encoder as encoders
from arf.style import natural
from arf.style.losses import gram
from arf.transfer.engine.terms import ActivationTerm, ContentTerm, Features, GramTerm, Place, gram_targets

SHAPES = {"relu1_1": (5, 8, 11), "relu2_1": (3, 4, 5)}  # channels, height, width


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(seed: int = 0) -> dict[str, Tensor]:
    return {tap: random(1, *shape, seed=seed + i) for i, (tap, shape) in enumerate(SHAPES.items())}


def masks(seed: int = 0) -> dict[str, Tensor]:
    return {tap: random(*shape[1:], seed=50 + seed + i).sigmoid() for i, (tap, shape) in enumerate(SHAPES.items())}


def matrices(seed: int = 0) -> dict[str, Tensor]:
    return {tap: gram(f, "positions")[0] for tap, f in features(100 + seed).items()}


def everywhere(tap: str) -> tuple[slice, slice]:
    return slice(None), slice(None)


def loss_of(term, found: Features, place: Place = everywhere) -> float:
    return term.loss(term.sums(found, place)).item()


def only(tap: str, found: Features) -> dict[str, Tensor]:
    return {tap: found[tap]}


# Gram


@pytest.mark.parametrize("masked", [False, True])
def test_gram_by_its_formula(masked):
    f, targets, weights = features(), matrices(), [2.0, 6.0]
    m = masks() if masked else {tap: torch.ones(shape[1:], dtype=torch.float64) for tap, shape in SHAPES.items()}
    wanted = 0.0
    for tap, weight in zip(SHAPES, weights, strict=True):
        matrix = torch.einsum("hw,chw,dhw->cd", m[tap], f[tap][0], f[tap][0]) / m[tap].sum()
        wanted += 10 * weight / 8 * m[tap].mean().item() * (matrix - targets[tap]).square().mean().item()
    term = GramTerm(targets, weights, 10.0, m if masked else None)
    assert term.taps == tuple(SHAPES)
    assert loss_of(term, f) == pytest.approx(wanted, rel=1e-10)


def test_gram_does_not_look_at_other_taps():
    term = GramTerm(only("relu2_1", matrices()), [1.0], 1.0)
    f = features()
    assert loss_of(term, f) == loss_of(term, {**f, "relu1_1": f["relu1_1"] + 1})


def test_layer_weights_are_normalised():
    f, targets = features(), matrices()
    whole = loss_of(GramTerm(targets, [1.0, 3.0], 5.0), f)
    assert loss_of(GramTerm(targets, [20.0, 60.0], 5.0), f) == pytest.approx(whole, rel=1e-12)
    alone = [loss_of(GramTerm(only(tap, targets), [7.0], 5.0), f) for tap in SHAPES]
    assert whole == pytest.approx(alone[0] / 4 + 3 * alone[1] / 4, rel=1e-12)


def test_gram_is_zero_at_its_target_and_a_mask_of_ones_changes_nothing():
    f = features()
    targets = {tap: gram(x, "positions")[0] for tap, x in f.items()}
    assert loss_of(GramTerm(targets, [1, 1], 1.0), f) == pytest.approx(0, abs=1e-25)
    ones = {tap: torch.ones(shape[1:], dtype=torch.float64) for tap, shape in SHAPES.items()}
    plain, masked = GramTerm(matrices(), [1, 1], 1.0), GramTerm(matrices(), [1, 1], 1.0, ones)
    assert loss_of(masked, f) == pytest.approx(loss_of(plain, f), rel=1e-12)


def test_a_hard_mask_is_the_gram_matrix_of_the_region_alone():
    f, target = random(1, 4, 6, 10), gram(random(1, 4, 3, 3, seed=9), "positions")[0]
    mask = torch.zeros(6, 10, dtype=torch.float64)
    mask[2:5, 1:9] = 1  # 24 of 60 positions
    region = f[:, :, 2:5, 1:9]
    wanted = 24 / 60 * loss_of(GramTerm({"tap": target}, [1], 1.0), {"tap": region})
    assert loss_of(GramTerm({"tap": target}, [1], 1.0, {"tap": mask}), {"tap": f}) == pytest.approx(wanted, rel=1e-12)


def test_an_empty_mask_asks_for_nothing():
    mask = {tap: torch.zeros(shape[1:], dtype=torch.float64) for tap, shape in SHAPES.items()}
    f = {tap: x.requires_grad_() for tap, x in features().items()}
    term = GramTerm(matrices(), [1, 1], 1.0, mask)
    loss = term.loss(term.sums(f, everywhere))
    assert loss.item() == 0
    for gradient in torch.autograd.grad(loss, list(f.values())):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_pixel_is_pulled_as_strongly_in_a_small_region():
    """The same style all over, by one mask or by two that share the positions: where the features are the same all
    over as well, so is the gradient."""
    f = random(1, 4, 1, 1).expand(1, 4, 6, 10).clone().requires_grad_()
    target = gram(random(1, 4, 3, 3, seed=9), "positions")[0]
    small, large = torch.zeros(6, 10, dtype=torch.float64), torch.ones(6, 10, dtype=torch.float64)
    small[:2, :3], large[:2, :3] = 1, 0

    def pull(*masks: Tensor | None) -> Tensor:
        terms = [GramTerm({"tap": target}, [1], 1.0, None if m is None else {"tap": m}) for m in masks]
        loss = sum(term.loss(term.sums({"tap": f}, everywhere)) for term in terms)
        return torch.autograd.grad(loss, f)[0]

    assert torch.allclose(pull(small, large), pull(None), rtol=1e-10)


def test_gram_gradient_is_autograds_of_the_formula():
    f = {tap: x.requires_grad_() for tap, x in features().items()}
    m, targets = masks(), matrices()
    term = GramTerm(targets, [1.0, 2.0], 3.0, m)
    found = torch.autograd.grad(term.loss(term.sums(f, everywhere)), list(f.values()))
    wanted = 0.0
    for tap, weight in zip(SHAPES, [1.0, 2.0], strict=True):
        matrix = torch.einsum("hw,bchw,bdhw->cd", m[tap], f[tap], f[tap]) / m[tap].sum()
        wanted = wanted + weight * m[tap].mean() * (matrix - targets[tap]).square().mean()
    for a, b in zip(found, torch.autograd.grad(wanted, list(f.values())), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-14)


# Content


@pytest.mark.parametrize("relative", [False, True])
def test_content_by_its_formula(relative):
    f, targets = features(), features(7)
    wanted = 0.0
    for tap in SHAPES:
        norm = targets[tap].square().sum() if relative else targets[tap].numel()
        wanted += 3 / 2 * ((f[tap] - targets[tap]).square().sum() / norm).item()
    assert loss_of(ContentTerm(targets, 3.0, relative), f) == pytest.approx(wanted, rel=1e-12)


def test_content_by_hand():
    target = {"tap": torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)}
    f = {"tap": torch.tensor([3.0, 2.0]).view(1, 2, 1, 1)}
    assert loss_of(ContentTerm(target, 1.0), f) == 2  # (0² + 2²) / 2
    assert loss_of(ContentTerm(target, 1.0, relative=True), f) == pytest.approx(4 / 25)
    zero = {"tap": torch.zeros(1, 2, 1, 1)}
    assert loss_of(ContentTerm(zero, 1.0, relative=True), zero) == 0  # and not 0 / 0


# Activation


def test_activation_by_hand():
    f = {"tap": torch.tensor([[1.0, 3.0], [-2.0, 0.0], [5.0, 7.0]]).view(1, 3, 1, 2)}
    assert loss_of(ActivationTerm("tap", [0]), f) == -2
    assert loss_of(ActivationTerm("tap", [0, 2], weight=0.5), f) == -0.5 * 16 / 4
    assert loss_of(ActivationTerm("tap", [1]), f) == 1
    assert loss_of(ActivationTerm("tap", weight=2.0), f) == pytest.approx(-2 * (1 + 9 + 4 + 25 + 49) / (2 * 6))
    assert ActivationTerm("tap").taps == ("tap",)


def test_activation_climbs_the_chosen_channels_only():
    f = features()["relu1_1"].requires_grad_()
    term = ActivationTerm("relu1_1", [1, 3])
    (gradient,) = torch.autograd.grad(term.loss(term.sums({"relu1_1": f}, everywhere)), f)
    wanted = torch.zeros_like(gradient)
    wanted[:, [1, 3]] = -1 / (2 * 8 * 11)
    assert torch.allclose(gradient, wanted, rtol=1e-12)
    term = ActivationTerm("relu1_1")
    (gradient,) = torch.autograd.grad(term.loss(term.sums({"relu1_1": f}, everywhere)), f)
    assert torch.allclose(gradient, -f / f.numel(), rtol=1e-12)  # DeepDream's: the activations themselves


# Tiles


@pytest.mark.parametrize(
    "term",
    [
        GramTerm(matrices(), [1, 2], 3.0),
        GramTerm(matrices(), [1, 2], 3.0, masks()),
        ContentTerm(features(7), 3.0),
        ContentTerm(features(7), 3.0, relative=True),
        ActivationTerm("relu1_1", [0, 2]),
        ActivationTerm("relu2_1"),
    ],
)
def test_sums_over_tiles_add_up(term):
    """Four tiles of different size, cut at other places at every tap."""
    f, cuts = features(), {"relu1_1": (3, 7), "relu2_1": (1, 4)}
    whole = term.sums(f, everywhere)
    added = [torch.zeros_like(s) for s in whole]
    for lower in (False, True):
        for right in (False, True):

            def place(tap: str, lower: bool = lower, right: bool = right) -> tuple[slice, slice]:
                row, column = cuts[tap]
                _, height, width = SHAPES[tap]
                return slice(row, height) if lower else slice(0, row), (
                    slice(column, width) if right else slice(0, column)
                )

            sums = term.sums({tap: x[(..., *place(tap))] for tap, x in f.items()}, place)
            added = [a + s for a, s in zip(added, sums, strict=True)]
    for a, s in zip(added, whole, strict=True):
        assert torch.allclose(a, s.to(a), rtol=1e-12)
    assert term.loss(added).item() == pytest.approx(loss_of(term, f), rel=1e-12)


# Targets


def test_gram_targets_are_the_pictures():
    encoder, picture = tiny_encoder(), natural.pictures(1, 40)
    taps = ["relu3_1", "relu1_1", "pool2"]
    found = gram_targets(encoder, picture, taps)
    assert list(found) == taps
    for tap, f in encoder(picture, taps).items():
        assert torch.allclose(found[tap], torch.einsum("chw,dhw->cd", f[0], f[0]) / f[0, 0].numel(), rtol=1e-4)
        assert not found[tap].requires_grad


@pytest.mark.parametrize("name", ["tiny", "compact"])
@pytest.mark.parametrize("size", [(96, 120), (91, 83)])
def test_inner_targets_do_not_see_beyond_the_borders(name, size):
    """The picture is cut from a larger one; a network run on that sees more of it where it would see the padding."""
    encoder = tiny_encoder() if name == "tiny" else encoders.load("compact")
    taps = ["relu1_1", "relu2_2", "relu3_1", "pool3" if name == "compact" else "pool2"]
    larger = natural.pictures(1, 192, seed=3)
    around = 32  # a multiple of every stride, so that positions coincide
    height, width = size
    picture = larger[:, :, around : around + height, around : around + width]
    found = gram_targets(encoder, picture, taps, inner=True)
    differs = False
    for tap, f in encoder(larger, taps).items():
        stride, reach = encoder.stride(tap), encoder.reach(tap)
        sums, count = 0.0, 0
        for row in range(height // stride):  # the positions that see the picture only, by the definition of reach
            if row * stride - reach < 0 or (row + 1) * stride + reach > height // stride * stride:
                continue
            for column in range(width // stride):
                if column * stride - reach < 0 or (column + 1) * stride + reach > width // stride * stride:
                    continue
                vector = f[0, :, around // stride + row, around // stride + column]
                sums, count = sums + torch.outer(vector, vector), count + 1
        assert count > 0
        assert torch.allclose(found[tap], sums / count, rtol=1e-4, atol=1e-5)
        differs = differs or not torch.allclose(gram_targets(encoder, picture, [tap])[tap], sums / count, rtol=1e-2)
    assert differs


@pytest.mark.parametrize("size", [(16, 16), (17, 22), (4, 30)])
def test_inner_targets_never_leave_all_positions_out(size):
    encoder = tiny_encoder()
    picture = functional.interpolate(natural.pictures(1, 32), size)
    for tap, matrix in gram_targets(encoder, picture, ["relu1_2", "relu3_3"], inner=True).items():
        assert torch.isfinite(matrix).all()
        assert matrix.trace() > 0, tap
