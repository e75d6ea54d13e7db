"""The style objective against its terms, written out."""

from __future__ import annotations

import pytest
import torch
from encoders import tiny_encoder
from torch import Tensor
from torch.nn.functional import cosine_similarity

from arf.errors import UserError
from arf.jobs.device import multiplies_halves
from arf.style.losses import shrink_weight
from arf.style.objective import StyleObjective

TAPS = ("relu3_1", "relu2_1", "relu3_3")  # two blocks, out of order
ENCODER = tiny_encoder()
NEAR = 1e-2 if multiplies_halves(torch.device("cpu")) else 1e-4  # neighbours are then looked for in halves


def picture(seed: int, height: int = 32, width: int = 40) -> Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


STYLES = [picture(1, 28, 36), picture(2, 40, 24), picture(3)]


def columns(image: Tensor, taps: tuple[str, ...]) -> Tensor:
    """The taps' channels of every position: [N, C], by the encoder alone."""
    found = ENCODER(image.permute(2, 0, 1)[None], list(taps))
    return torch.cat([found[tap][0].flatten(1) for tap in taps]).t()


BLOCKS = (("relu2_1",), ("relu3_1", "relu3_3"))


def nearest(image: Tensor, style: Tensor, k: int) -> Tensor:
    """Mean over blocks of the mean distance to the k nearest, every pair compared."""
    parts = []
    for taps in BLOCKS:
        ours, theirs = columns(image, taps), columns(style, taps)
        distance = 1 - cosine_similarity(ours[:, None], theirs[None], dim=2)  # [N, M]
        parts.append(distance.sort(1).values[:, :k].mean())
    return sum(parts) / len(parts)


@pytest.mark.parametrize(("loss", "k"), [("nnfm", 1), ("knn", 4)])
def test_several_styles_are_the_weighted_mean_of_each_alone(loss, k):
    image = picture(0)
    objective = StyleObjective(ENCODER, TAPS, STYLES, (2.0, 0.0, 6.0), loss, k)
    found = objective(objective.features(image))
    wanted = 0.25 * nearest(image, STYLES[0], k) + 0.75 * nearest(image, STYLES[2], k)
    torch.testing.assert_close(found, wanted, rtol=NEAR, atol=1e-6)


@pytest.fixture(autouse=True)
def whole(monkeypatch):
    """As on a processor without instructions for bfloat16."""
    monkeypatch.setattr("arf.style.objective.computes_bfloat16", lambda device: False)


@pytest.mark.parametrize("loss", ["nnfm", "gram"])
def test_a_half_precision_encoder_changes_the_loss_little_and_sums_in_full(loss):
    image = picture(0).requires_grad_()
    objective = StyleObjective(ENCODER, TAPS, STYLES[:1], loss=loss)
    exact = objective(objective.features(image))
    objective.half = True  # as where there are some
    features = objective.features(image)
    found = objective(features)
    assert {f.dtype for f in (*features, found)} == {torch.float32}
    assert not torch.equal(features[0], StyleObjective(ENCODER, TAPS, STYLES[:1]).features(image)[0])  # it was on
    assert found.item() == pytest.approx(exact.item(), rel=0.1)
    pulled = [torch.autograd.grad(term, image)[0].flatten() for term in (found, exact)]
    assert cosine_similarity(*pulled, dim=0) > 0.97


def test_equal_weights_by_default():
    image = picture(0)
    objective = StyleObjective(ENCODER, TAPS, STYLES)
    wanted = sum(nearest(image, style, 1) for style in STYLES) / 3
    torch.testing.assert_close(objective(objective.features(image)), wanted, rtol=NEAR, atol=1e-6)
    assert objective.weights == pytest.approx([1 / 3] * 3)


def test_gram_aims_at_the_weighted_mean_of_the_styles_grams():
    image = picture(0)
    objective = StyleObjective(ENCODER, TAPS, STYLES, (1.0, 3.0, 0.0), "gram")
    parts = []
    for taps in BLOCKS:
        ours, first, second = (columns(p, taps) for p in (image, STYLES[0], STYLES[1]))
        target = 0.25 * first.T @ first / len(first) + 0.75 * second.T @ second / len(second)
        parts.append((ours.T @ ours / len(ours) - target).square().mean())
    torch.testing.assert_close(objective(objective.features(image)), sum(parts) / 2, rtol=NEAR, atol=1e-6)


@pytest.mark.parametrize(("loss", "k"), [("nnfm", 1), ("knn", 4), ("gram", 1)])
def test_weights_choose_the_positions_that_count(loss, k):
    """The objective of a picture half of which counts, written out over that half; no gradient beyond it."""
    objective = StyleObjective(ENCODER, TAPS, STYLES[:2], (1.0, 3.0), loss, k)
    features = [f.detach().requires_grad_() for f in objective.features(picture(0))]
    mask = torch.zeros(32, 40)
    mask[:, :20] = 1
    weights = [shrink_weight(mask, f.shape[2:]) for f in features]
    found = objective(features, weights)
    for f, gradient in zip(features, torch.autograd.grad(found, features), strict=True):
        half = f.shape[3] // 2
        assert torch.equal(gradient[..., half:], torch.zeros_like(gradient[..., half:]))
        assert (gradient[..., :half] != 0).any()
    left = [f[..., : f.shape[3] // 2] for f in features]
    torch.testing.assert_close(found, objective(left), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(objective(features, [w[None, None] for w in weights]), found, rtol=0, atol=0)


@pytest.mark.parametrize("loss", ["nnfm", "knn", "gram"])
def test_weights_of_one_and_none_are_the_plain_objective(loss):
    objective = StyleObjective(ENCODER, TAPS, STYLES[:2], loss=loss, neighbours=2)
    features = objective.features(picture(0))
    plain = objective(features)
    assert torch.equal(objective(features, [None, None]), plain)
    ones = [torch.ones(f.shape[2:]) for f in features]
    assert objective(features, ones).item() == pytest.approx(plain.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["nnfm", "knn", "gram"])
def test_a_step_down_the_gradient_comes_nearer(loss):
    image = picture(0).requires_grad_()
    objective = StyleObjective(ENCODER, TAPS, STYLES[:1], loss=loss, neighbours=2)
    before = objective(objective.features(image))
    (gradient,) = torch.autograd.grad(before, image)
    after = objective(objective.features(image - 0.05 * gradient / gradient.norm()))
    assert after < before


def test_a_style_is_at_no_distance_from_itself():
    for loss in ("nnfm", "gram"):
        objective = StyleObjective(ENCODER, TAPS, STYLES[:1], loss=loss)
        assert objective(objective.features(STYLES[0])).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0)])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(UserError, match="3 style pictures need as many weights"):
        StyleObjective(ENCODER, TAPS, STYLES, weights)


@pytest.mark.parametrize(
    ("taps", "named"), [(("relu3_1", "relu9_9"), r"no layer relu9_9; there are relu1_1"), ((), "no layer given")]
)
def test_unknown_layers_are_refused(taps, named):
    with pytest.raises(UserError, match=named):
        StyleObjective(ENCODER, taps, STYLES)


def test_more_neighbours_than_features_are_refused():
    with pytest.raises(UserError, match="--neighbours 999"):
        StyleObjective(ENCODER, TAPS, STYLES, loss="knn", neighbours=999)
