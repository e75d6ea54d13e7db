from __future__ import annotations

from functools import cache

import pytest
import torch
from encoders import tiny_encoder
from torch import Tensor
from torch.nn import functional

from arf.style import encoder as encoders
from arf.style import natural
from arf.style.encoder import Encoder, Padding, Pooling
from arf.style.losses import gram, total_variation
from arf.transfer.engine.objective import Evaluation, Objective
from arf.transfer.engine.terms import ActivationTerm, ContentTerm, GramTerm, Term, gram_targets

PRIORS = {"tv": lambda x: 3 * total_variation(x), "norm": lambda x: (x - 0.5).abs().pow(6).mean()}


@cache
def square(seed: int) -> Tensor:
    return natural.pictures(1, 160, seed)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return square(seed)[:, :, :height, :width].double().contiguous()


def exact_encoder(pooling: Pooling = "max", padding: Padding = "zeros") -> Encoder:
    """In float64. In float32, where flat regions make ties, rounding decides which of them max pooling lets through,
    and so where the gradient goes."""
    return tiny_encoder(pooling, padding=padding).double()


def all_terms(encoder: Encoder, content: Tensor, taps: list[str]) -> list[Term]:
    """Every kind of term, with targets of other pictures; masks that are soft, hard and empty."""
    other = picture(72, 56, 1)
    found = encoder(content.flip(3), taps)
    deepest = taps[-1]
    shapes = {tap: f.shape[2:] for tap, f in found.items()}
    soft = {tap: torch.linspace(0, 1, shape[1]).double().expand(shape) for tap, shape in shapes.items()}
    none = {tap: torch.zeros(shape).double() for tap, shape in shapes.items()}
    targets = gram_targets(encoder, other, taps)
    return [
        GramTerm(targets, [1.0] * len(taps), 5.0, name="style"),
        GramTerm(gram_targets(encoder, other.flip(1), taps), [1.0] * len(taps), 5.0, soft, name="masked"),
        GramTerm(targets, [1.0] * len(taps), 5.0, none, name="nowhere"),
        ContentTerm(found, 2.0, name="content"),
        ContentTerm({taps[0]: found[taps[0]]}, 2.0, relative=True, name="inversion"),
        ActivationTerm(deepest, [0, 3], 0.1, name="channels"),
        ActivationTerm(taps[0], weight=0.1, name="activation"),
    ]


def same(found: Evaluation, wanted: Evaluation, rounding: float = 1e-12) -> None:
    assert found.total == pytest.approx(wanted.total, rel=rounding)
    assert found.parts == pytest.approx(wanted.parts, rel=rounding, abs=rounding)
    assert list(found.parts) == list(wanted.parts)
    assert found.gradient.shape == wanted.gradient.shape
    error = (found.gradient - wanted.gradient).abs().amax()  # everywhere, at seams and borders too
    assert error < rounding * wanted.gradient.abs().amax()


# Whole


def test_whole_is_what_autograd_makes_of_the_formula():
    encoder, x, content = exact_encoder(), picture(37, 45), picture(37, 45, 2)
    taps, style = ["relu1_2", "relu3_1", "pool1"], picture(50, 50, 3)
    grams = gram_targets(encoder, style, taps)
    target = encoder(content, ["relu2_2"])
    terms = [GramTerm(grams, [1, 2, 3], 6.0), ContentTerm(target, 0.5), ActivationTerm("relu2_1", [4], 0.25)]
    found = Objective(encoder, terms, PRIORS)(x)

    y = x.clone().requires_grad_()
    f = encoder(y, [*taps, "relu2_2", "relu2_1"])
    flat = {tap: f[tap][0].flatten(1) for tap in taps}
    wanted = {
        "style": sum(
            weight * functional.mse_loss(flat[tap] @ flat[tap].T / flat[tap].shape[1], grams[tap])
            for tap, weight in zip(taps, [1, 2, 3], strict=True)
        ),
        "content": 0.5 * functional.mse_loss(f["relu2_2"], target["relu2_2"]),
        "activation": -0.25 * f["relu2_1"][0, 4].mean(),
        **{name: prior(y) for name, prior in PRIORS.items()},
    }
    (gradient,) = torch.autograd.grad(sum(wanted.values()), y)
    same(found, Evaluation(sum(w.item() for w in wanted.values()), {n: w.item() for n, w in wanted.items()}, gradient))
    assert found.total == pytest.approx(sum(found.parts.values()))
    assert not found.gradient.requires_grad


@pytest.mark.parametrize("tile", [0, 8])
def test_gradient_by_finite_differences(tile):
    """In float64, with average pooling; ReLU's kinks are not hit by steps this small."""
    encoder = exact_encoder("average")
    x, content = picture(18, 21), picture(18, 21, 2)
    taps = ["relu1_1", "relu2_1", "pool2"]
    masks = {tap: torch.rand(f.shape[2:], dtype=torch.float64) for tap, f in encoder(x, taps).items()}
    terms = [
        GramTerm(gram_targets(encoder, content.flip(2), taps), [1, 1, 1], 10.0, masks),
        ContentTerm(encoder(content, ["relu2_2"]), 1.0, relative=True),
        ActivationTerm("relu1_2"),
    ]
    objective = Objective(encoder, terms, PRIORS, tile)
    found, step = objective(x), 1e-6
    places = [(0, 0, 0), (1, 17, 20), (2, 7, 8), (0, 8, 7), (1, 8, 8), (2, 15, 16), (0, 3, 12)]  # corners, seams
    for place in places:
        change = torch.zeros_like(x)
        change[(0, *place)] = step
        slope = (objective(x + change).total - objective(x - change).total) / (2 * step)
        assert found.gradient[(0, *place)].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_what_it_is_given_is_left_alone():
    encoder, x = exact_encoder(), picture(40, 40)
    before = x.clone()
    for tile in (0, 16):
        first = Objective(encoder, all_terms(encoder, x, ["relu1_1", "relu2_1"]), PRIORS, tile)(x)
        assert torch.equal(x, before)
        assert not x.requires_grad
        assert x.grad is None
        again = Objective(encoder, all_terms(encoder, x, ["relu1_1", "relu2_1"]), PRIORS, tile)(x)
        assert torch.equal(first.gradient, again.gradient)


# Tiles


# Sides: multiples of the stride and of the tile, odd ones, and remainders of 1 to 3 pixels that pooling drops or that
# are less than the stride of 4 beyond the last tile.
@pytest.mark.parametrize(
    "size", [(32, 48), (37, 45), (33, 50), (35, 64), (66, 19), (7, 40), (17, 30), (49, 31), (40, 99)]
)
@pytest.mark.parametrize("tile", [16, 20])
def test_tiles_give_the_same(size, tile):
    encoder = exact_encoder()
    terms = all_terms(encoder, picture(*size, 2), ["relu1_2", "pool1", "relu2_2", "relu3_2"])
    x = picture(*size)
    whole, tiled = Objective(encoder, terms, PRIORS), Objective(encoder, terms, PRIORS, tile)
    seen = sizes_seen(encoder, lambda: same(tiled(x), whole(x)))
    assert len(seen) > 4  # both passes, more than one tile


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize(
    "taps", [["relu1_1"], ["pool2"], ["relu3_3"], ["relu1_1", "relu3_3"], ["pool1", "relu2_1", "pool2"]]
)
def test_tiles_give_the_same_at_any_depth(taps, pooling):
    encoder = exact_encoder(pooling)
    terms = all_terms(encoder, picture(41, 54, 2), taps)
    same(Objective(encoder, terms, tile=8)(picture(41, 54)), Objective(encoder, terms)(picture(41, 54)))


@pytest.mark.parametrize("tile", [12, 16])
def test_tiles_give_the_same_in_single_precision(tile):
    encoder, generator = tiny_encoder(), torch.Generator().manual_seed(0)
    x, content, style = torch.rand(3, 1, 3, 41, 54, generator=generator)  # noise, which has no ties
    taps = ["relu1_1", "relu2_2", "relu3_1"]
    grams = gram_targets(encoder, style, taps)
    terms = [GramTerm(grams, [1, 1, 1], 10.0), ContentTerm(encoder(content, taps), 1.0)]
    same(Objective(encoder, terms, PRIORS, tile)(x), Objective(encoder, terms, PRIORS)(x), 1e-5)


def test_tiles_give_the_same_with_readouts_and_the_deepest_taps():
    encoder, x = encoders.load("compact").double(), picture(150, 101)
    terms = all_terms(encoder, picture(150, 101, 2), ["relu1_1", "pool3", "relu4_1"])
    same(Objective(encoder, terms, PRIORS, 48)(x), Objective(encoder, terms, PRIORS)(x))


@pytest.mark.parametrize(
    ("size", "tile", "taps"),
    [
        ((32, 48), 16, ["relu1_2", "pool1", "relu3_2"]),
        ((64, 20), 8, ["relu1_1", "pool2"]),
        ((8, 40), 16, ["relu2_1", "relu3_3"]),  # the window wraps around more than once, for it is far wider than 8
        ((4, 36), 4, ["relu1_2", "relu3_3"]),
    ],
)
def test_tiles_give_the_same_around_the_borders_of_a_picture_that_tiles_the_plane(size, tile, taps):
    encoder = exact_encoder(padding="circular")
    terms, x = all_terms(encoder, picture(*size, 2), taps), picture(*size)
    whole, tiled = Objective(encoder, terms, PRIORS), Objective(encoder, terms, PRIORS, tile)
    same(tiled(x), whole(x))
    if size == (8, 40):
        assert max(rows for rows, _ in sizes_seen(encoder, lambda: tiled(x))) > 2 * size[0]


def test_a_picture_that_tiles_the_plane_may_be_rolled():
    encoder = exact_encoder(padding="circular")
    taps = ["relu1_1", "relu2_2", "relu3_1"]
    terms = [GramTerm(gram_targets(encoder, picture(40, 40, 1), taps), [1, 1, 1], 5.0), ActivationTerm("relu3_1")]
    x = picture(32, 48)
    for tile in (0, 16):
        objective = Objective(encoder, terms, tile=tile)
        plain, rolled = objective(x), objective(x.roll((12, 20), (2, 3)))  # multiples of the stride
        same(rolled, Evaluation(plain.total, plain.parts, plain.gradient.roll((12, 20), (2, 3))))


def sizes_seen(encoder: Encoder, run) -> list[tuple[int, int]]:
    """Heights and widths that the encoder is shown."""
    seen = []
    hook = encoder.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    run()
    hook.remove()
    return seen


def test_the_encoder_never_sees_more_than_a_tile_and_its_margins():
    """However large the picture; and a tile as large as the picture is no tile."""
    encoder = exact_encoder()
    terms = [GramTerm(gram_targets(encoder, picture(40, 40, 1), ["relu2_1"]), [1], 1.0)]
    objective = Objective(encoder, terms, tile=15)  # made 16, a multiple of the stride of 2
    margin = encoder.reach("relu2_1")
    assert margin == 1 + 1 + 2
    for size in ((33, 64), (160, 49)):
        seen = sizes_seen(encoder, lambda size=size: objective(picture(*size)))
        across, down = (max(1, (side + 14) // 16) for side in size)  # a remainder of one pixel joins its neighbour
        assert len(seen) == 2 * across * down
        assert max(max(shown) for shown in seen) <= 16 + 2 * margin + 1
    assert sizes_seen(encoder, lambda: objective(picture(16, 16))) == [(16, 16)]


def test_all_taps_come_from_one_pass_over_the_picture():
    encoder, x = exact_encoder(), picture(24, 24)
    seen = sizes_seen(encoder, lambda: Objective(encoder, all_terms(encoder, x, ["relu1_1", "relu2_1"]))(x))
    assert seen[-1] == (24, 24)
    objective = Objective(encoder, all_terms(encoder, x, ["relu1_1", "relu2_1"]))
    assert sizes_seen(encoder, lambda: objective(x)) == [(24, 24)]
    assert objective.taps == ["relu1_1", "relu2_1"]


def test_a_masked_gram_matrix_over_tiles_is_that_of_the_region():
    """A region that lies in one tile of four: the others add nothing."""
    encoder, x = exact_encoder(), picture(32, 32)
    f = encoder(x, ["relu2_1"])["relu2_1"]
    mask = torch.zeros(16, 16, dtype=torch.float64)
    mask[9:14, 2:6] = 1
    target = gram(f[:, :, 9:14, 2:6], "positions")[0]
    objective = Objective(encoder, [GramTerm({"relu2_1": target}, [1], 1.0, {"relu2_1": mask})], tile=16)
    found = objective(x)
    assert found.total == pytest.approx(0, abs=1e-9)
    assert found.gradient.abs().max() < 1e-6
