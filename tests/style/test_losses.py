from __future__ import annotations

import math

import pytest
import torch

from arf.style import losses


def features(channels: int = 5, height: int = 4, width: int = 6, batch: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)


def nearest_by_loops(f: torch.Tensor, s: torch.Tensor, k: int = 1) -> float:
    """Mean cosine distance to the k nearest style features, by the definition."""
    total = 0.0
    for i in range(f.shape[1]):
        distances = []
        for j in range(s.shape[1]):
            lengths = math.sqrt(sum(float(x) ** 2 for x in f[:, i])) * math.sqrt(sum(float(x) ** 2 for x in s[:, j]))
            distances.append(1 - sum(float(a) * float(b) for a, b in zip(f[:, i], s[:, j], strict=True)) / lengths)
        total += sum(sorted(distances)[:k]) / k
    return total / f.shape[1]


# Gram


def test_gram_by_loops():
    f = features(3, 2, 4, batch=2)
    for normalization, count in (("positions", 8), ("elements", 24)):
        found = losses.gram(f, normalization)
        assert found.shape == (2, 3, 3)
        for b in range(2):
            for i in range(3):
                for j in range(3):
                    wanted = sum(float(f[b, i, y, x] * f[b, j, y, x]) for y in range(2) for x in range(4)) / count
                    assert found[b, i, j].item() == pytest.approx(wanted, rel=1e-12)
        assert torch.equal(losses.gram(f[0].flatten(1), normalization), losses.gram(f[:1], normalization)[0])


def test_gram_ignores_where_things_are_and_how_large_the_picture_is():
    f = features().flatten(2)
    order = torch.randperm(f.shape[2], generator=torch.Generator().manual_seed(1))
    assert torch.allclose(losses.gram(f[0], "positions"), losses.gram(f[0][:, order], "positions"), rtol=1e-12)
    assert torch.allclose(losses.gram(f[0], "positions"), losses.gram(f[0].repeat(1, 3), "positions"), rtol=1e-12)


def test_gram_loss_by_hand():
    f = torch.tensor([[1.0, 2.0], [0.0, 1.0]])  # G = [[5, 2], [2, 1]] / 2
    wanted = ((2.5 - 1) ** 2 + 1 + 1 + (0.5 - 1) ** 2) / 4
    assert losses.gram_loss(f, torch.eye(2), "positions").item() == pytest.approx(wanted)
    batch = torch.stack([f, f])[..., None]  # [2, 2, 2, 1], one style for both
    assert losses.gram_loss(batch, torch.eye(2), "positions").item() == pytest.approx(wanted)


def test_gram_does_not_overflow_on_large_activations():
    f = torch.full((1, 4, 100, 100), 1e4)
    assert losses.gram(f, "positions")[0, 0, 0].item() == pytest.approx(1e8, rel=1e-4)


@pytest.mark.parametrize("normalization", ["positions", "elements"])
@pytest.mark.parametrize("shape", [(2, 5, 4, 6), (1, 7, 3, 2), (5, 9)])
def test_gram_gradient_is_that_of_a_plain_product(shape, normalization):
    """Also where what comes back is not symmetric, as the product is, and where rows and channels are laid out in any
    order."""
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(shape, generator=generator, dtype=torch.float64)
    layouts = [f, f.to(memory_format=torch.channels_last) if f.ndim == 4 else f.t().contiguous().t()]
    channels = shape[-3] if f.ndim == 4 else shape[0]
    back = torch.randn(*shape[:-3], channels, channels, generator=generator, dtype=torch.float64)
    for x in layouts:
        x = x.detach().requires_grad_()
        flat = x.flatten(2) if x.ndim == 4 else x
        count = flat.shape[-1] * (channels if normalization == "elements" else 1)
        plain = flat @ flat.transpose(-1, -2) / count
        found = losses.gram(x, normalization)
        assert torch.allclose(found, plain, rtol=1e-12)
        (gradient,) = torch.autograd.grad((found * back).sum(), x)
        (wanted,) = torch.autograd.grad((plain * back).sum(), x)
        assert gradient.shape == x.shape
        assert torch.allclose(gradient, wanted, rtol=1e-12, atol=1e-14)


def test_gram_gradcheck():
    back = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    f = features(3, 2, 3, batch=2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.gram(x, "positions") * back, f)
    assert torch.autograd.gradcheck(
        lambda x: losses.gram(x, "elements"), features(3, seed=3)[0].flatten(1).requires_grad_()
    )


def test_gram_refuses_second_derivatives_instead_of_getting_them_wrong():
    f = features().requires_grad_()
    (gradient,) = torch.autograd.grad(losses.gram(f, "positions").square().sum(), f, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# Nearest neighbours


@pytest.mark.parametrize("k", [1, 2, 5])
def test_nearest_neighbour_loss_by_loops(k):
    f, s = features(seed=1), features(height=3, width=7, seed=2)
    wanted = nearest_by_loops(f[0].flatten(1), s[0].flatten(1), k)
    assert losses.knn_loss(f, s, k).item() == pytest.approx(wanted, rel=1e-12)
    assert losses.knn_loss(f[0].flatten(1), s[0].flatten(1), k).item() == pytest.approx(wanted, rel=1e-12)
    if k == 1:
        assert losses.nnfm_loss(f, s).item() == pytest.approx(wanted, rel=1e-12)


def test_nnfm_gradient_is_that_of_the_chosen_pairs():
    f, s = features(seed=3).requires_grad_(), features(seed=4)
    (found,) = torch.autograd.grad(losses.nnfm_loss(f, s), f)

    rows, style = f[0].flatten(1).t(), s[0].flatten(1).t()
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], style[None], dim=2)  # [N, M]
    chosen = cosine.detach().argmax(1, keepdim=True)
    (wanted,) = torch.autograd.grad((1 - cosine.gather(1, chosen)).mean(), f)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_nearest_neighbour_gradcheck(k):
    bank = losses.FeatureBank(features(seed=6))
    f = features(3 + 2, 2, 2, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.knn_loss(x, bank, k), f)


def test_nnfm_is_zero_exactly_where_every_direction_is_in_the_style():
    s = features(seed=7)
    scaled = s * torch.rand(1, 1, 4, 6, dtype=torch.float64).add(0.1)  # other lengths, the same directions
    assert losses.nnfm_loss(scaled, s).item() == pytest.approx(0, abs=1e-12)
    assert losses.nnfm_loss(-s[:, :, :1, :1], s[:, :, :1, :1]).item() == pytest.approx(2)
    assert losses.nnfm_loss(torch.eye(2)[:, :1], torch.eye(2)[:, 1:]).item() == pytest.approx(1)


def test_nnfm_does_not_depend_on_order_or_scale_and_falls_with_more_style():
    f, s = features(seed=8)[0].flatten(1), features(seed=9)[0].flatten(1)
    loss = losses.nnfm_loss(f, s)
    order = torch.randperm(s.shape[1], generator=torch.Generator().manual_seed(1))
    assert torch.allclose(losses.nnfm_loss(f, s[:, order]), loss, rtol=1e-12)
    assert torch.allclose(losses.nnfm_loss(f[:, order], s), loss, rtol=1e-12)
    assert torch.allclose(losses.nnfm_loss(7 * f, 1e4 * s), loss, rtol=1e-9)
    assert losses.nnfm_loss(f, torch.cat([s, features(seed=10)[0].flatten(1)], dim=1)) < loss
    assert losses.knn_loss(f, s, 4) > losses.knn_loss(f, s, 2) > loss


def test_blocks_do_not_change_the_choice():
    f, s = features(8, 9, 11, seed=11), features(8, 7, 13, seed=12)
    rows = f[0].flatten(1).t()
    whole = losses.FeatureBank(s).nearest(rows, 3)
    for block_bytes in (1, 7 * 13 * 8 * 2, 10_000):
        assert torch.equal(losses.FeatureBank(s, block_bytes=block_bytes).nearest(rows, 3), whole)


def test_no_similarity_block_exceeds_the_bound(monkeypatch):
    s, f = features(4, 10, 10, seed=13), features(4, 20, 20, seed=14)
    sizes = []
    plain = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: sizes.append(plain(a, b).nbytes) or plain(a, b))
    losses.nnfm_loss(f, losses.FeatureBank(s, block_bytes=50_000))
    assert len(sizes) > 1
    assert max(sizes) <= 50_000


def test_features_without_a_direction_count_one_and_give_no_nan():
    f = torch.zeros(1, 3, 2, 2, requires_grad=True)
    loss = losses.nnfm_loss(f, torch.rand(1, 3, 2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert torch.isfinite(f.grad).all()


def test_half_precision_chooses_almost_as_well_whatever_the_scale():
    generator = torch.Generator().manual_seed(0)
    f, s = (torch.randn(64, n, generator=generator).relu() * 1e4 for n in (300, 500))  # 1e4 squared overflows float16
    exact = losses.nnfm_loss(f, s)
    half = losses.nnfm_loss(f, losses.FeatureBank(s, half=True))
    assert half.dtype == torch.float32
    assert exact <= half + 1e-6
    assert half < exact * 1.01


@pytest.mark.cuda
def test_half_precision_on_cuda():
    generator = torch.Generator().manual_seed(0)
    f, s = (torch.randn(256, n, generator=generator).relu().cuda() * 1e4 for n in (3000, 5000))
    exact, half = losses.nnfm_loss(f, s), losses.nnfm_loss(f, losses.FeatureBank(s, half=True))
    assert half.dtype == torch.float32
    assert exact.item() - 1e-6 <= half.item() < exact.item() * 1.001


def test_bad_nearest_neighbour_input_shows_its_shape():
    with pytest.raises(ValueError, match=r"\[2, 5, 4, 6\]"):
        losses.nnfm_loss(features(batch=2), features())
    with pytest.raises(ValueError, match="5 channels, the style's have 4"):
        losses.nnfm_loss(features(5), features(4))
    with pytest.raises(ValueError, match="24 style features, not 25"):
        losses.knn_loss(features(), features(), 25)
    with pytest.raises(ValueError, match="at least one"):
        losses.FeatureBank(torch.zeros(3, 0))
    with pytest.raises(ValueError, match=r"got \[3\]"):
        losses.gram(torch.zeros(3), "positions")
    with pytest.raises(ValueError, match="positions, elements"):
        losses.gram(features(), "none")


# Content and moments


def test_content_loss_by_hand():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    assert losses.content_loss(a, b).item() == 2
    with pytest.raises(ValueError, match=r"\[1, 5, 4, 6\] and \[1, 5, 6, 4\]"):
        losses.content_loss(features(), features().transpose(2, 3))


def test_moments_by_loops():
    f = features(2, 2, 3, batch=2)
    mean, deviation = losses.moments(f, eps=0.5)
    for b in range(2):
        for c in range(2):
            values = [float(x) for x in f[b, c].flatten()]
            m = sum(values) / 6
            assert mean[b, c].item() == pytest.approx(m, rel=1e-12)
            variance = sum((x - m) ** 2 for x in values) / 6
            assert deviation[b, c].item() == pytest.approx(math.sqrt(variance + 0.5), rel=1e-12)


def test_moment_loss_compares_pictures_of_different_size():
    f, s = features(seed=1), features(height=3, width=3, seed=2)
    (m, d), (ms, ds) = losses.moments(f), losses.moments(s)
    wanted = ((m - ms) ** 2).mean() + ((d - ds) ** 2).mean()
    assert losses.moment_loss(f, s).item() == pytest.approx(wanted.item(), rel=1e-12)
    assert losses.moment_loss(f.flip(2), f.flip(3)).item() == pytest.approx(0, abs=1e-20)
    adain = (f - m[..., None, None]) / d[..., None, None] * ds[..., None, None] + ms[..., None, None]
    assert losses.moment_loss(adain, s).item() == pytest.approx(0, abs=1e-8)


def test_moments_of_a_constant_channel_have_a_gradient():
    f = torch.ones(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    losses.moment_loss(f, features(2)).backward()
    assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.gram_loss(x, losses.gram(features(3, seed=20), "elements"), "elements"),
        lambda x: losses.content_loss(x, features(3, 2, 2, seed=21)),
        lambda x: losses.moment_loss(x, features(3, seed=22)),
        lambda x: losses.total_variation(x, beta=2.0),
        lambda x: losses.total_variation(x, beta=1.5, reduction="sum"),
        lambda x: losses.total_variation(x, beta=3.0),
    ],
)
def test_gradcheck(loss):
    assert torch.autograd.gradcheck(loss, features(3, 2, 2, seed=23).requires_grad_())


# Total variation


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_total_variation_by_loops(beta):
    x = features(3, 4, 5, batch=2, seed=30)
    total = 0.0
    for plane in x.flatten(0, 1):
        for i in range(4):
            for j in range(5):
                dx = float(plane[i, j + 1] - plane[i, j]) if j + 1 < 5 else 0.0
                dy = float(plane[i + 1, j] - plane[i, j]) if i + 1 < 4 else 0.0
                total += (dx**2 + dy**2) ** (beta / 2)
    assert losses.total_variation(x, beta, "sum").item() == pytest.approx(total, rel=1e-3 if beta < 2 else 1e-12)
    mean = losses.total_variation(x, beta, "mean")
    assert mean.item() == pytest.approx(losses.total_variation(x, beta, "sum").item() / x.numel(), rel=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0, 2.5])
def test_total_variation_of_a_constant_is_zero_and_has_zero_gradient(beta):
    x = torch.full((1, 3, 5, 5), 0.3, requires_grad=True)
    loss = losses.total_variation(x, beta)
    loss.backward()
    assert abs(loss.item()) < 1e-9
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_total_variation_of_one_step_by_hand():
    x = torch.zeros(1, 1, 2, 3)
    x[..., 2] = 0.5  # two rows with one step of 0.5
    assert losses.total_variation(x, 2.0, "sum").item() == pytest.approx(0.5)
    assert losses.total_variation(x, 1.0, "sum").item() == pytest.approx(1.0, rel=1e-3)
    with pytest.raises(ValueError, match="beta must be positive"):
        losses.total_variation(x, 0.0)


# Weights


def weights(height: int = 4, width: int = 6, seed: int = 40) -> torch.Tensor:
    """A third of them 0."""
    w = torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return w * (torch.arange(height * width).view(height, width) % 3 > 0)


STYLE = losses.FeatureBank(features(height=3, width=7, seed=41))
GRAM = losses.gram(features(seed=42), "elements")[0]
WEIGHTED = {
    "nnfm": lambda f, w: losses.nnfm_loss(f, STYLE, w),
    "knn": lambda f, w: losses.knn_loss(f, STYLE, 3, w),
    "gram": lambda f, w: losses.gram_loss(f, GRAM, "elements", w),
    "content": lambda f, w: losses.content_loss(f, features(seed=43), w),
    "moments": lambda f, w: sum(m.square().sum() for m in losses.moments(f, weight=w)),
    "tv": lambda f, w: losses.total_variation(f, weight=w),
    "tv 1": lambda f, w: losses.total_variation(f, 1.0, weight=w),
    "tv sum": lambda f, w: losses.total_variation(f, 3.0, "sum", weight=w),
}


@pytest.mark.parametrize("loss", WEIGHTED.values(), ids=WEIGHTED)
def test_weights_of_one_change_nothing(loss):
    f = features(seed=44).requires_grad_()
    plain, weighted = loss(f, None), loss(f, torch.ones(4, 6, dtype=torch.float64))
    assert weighted.item() == pytest.approx(plain.item(), rel=1e-6)
    pulled = [torch.autograd.grad(value, f)[0] for value in (plain, weighted)]
    torch.testing.assert_close(*pulled, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", WEIGHTED.values(), ids=WEIGHTED)
def test_what_weighs_nothing_gets_no_gradient_and_does_not_matter(loss):
    w = weights()
    f = features(seed=45).requires_grad_()
    value = loss(f, w)
    (gradient,) = torch.autograd.grad(value, f)
    assert torch.equal(gradient[..., w == 0], torch.zeros_like(gradient[..., w == 0]))
    assert (gradient[..., w > 0].abs().amax((0, 1)) > 0).float().mean() > 0.7
    other = torch.where(w > 0, f.detach(), 100 * features(seed=46))
    torch.testing.assert_close(loss(other, w), value.detach(), rtol=1e-9, atol=0)
    nothing = loss(f, torch.zeros(4, 6, dtype=torch.float64))
    assert torch.isfinite(nothing)
    assert torch.equal(torch.autograd.grad(nothing, f)[0], torch.zeros_like(f))


@pytest.mark.parametrize("loss", WEIGHTED.values(), ids=WEIGHTED)
def test_weighted_gradcheck_and_shapes_of_weights(loss):
    f, w = features(seed=47).requires_grad_(), weights()
    assert torch.autograd.gradcheck(lambda x: loss(x, w), f)
    assert torch.equal(loss(f, w), loss(f, w[None, None]))
    with pytest.raises((ValueError, RuntimeError)):
        loss(f, w.t())


@pytest.mark.parametrize("loss", [WEIGHTED[name] for name in ("nnfm", "knn", "gram", "moments")])
def test_weights_of_0_and_1_choose_positions(loss):
    """As if the others were not there."""
    f, chosen = features(seed=48), weights() > 0
    kept = f[0][:, chosen]  # [C, N]
    torch.testing.assert_close(loss(f, chosen.double()), loss(kept, None), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss(f[0].flatten(1), chosen.double().flatten()), loss(kept, None), rtol=1e-12, atol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_weighted_nearest_neighbours_by_loops(k):
    f, w = features(seed=49), weights()
    columns, style = f[0].flatten(1), features(height=3, width=7, seed=41)[0].flatten(1)
    parts = [float(w.flatten()[i]) * nearest_by_loops(columns[:, i : i + 1], style, k) for i in range(24)]
    assert losses.knn_loss(f, STYLE, k, w).item() == pytest.approx(sum(parts) / float(w.sum()), rel=1e-12)


def test_weighted_gram_and_content_by_loops():
    f, c, w = features(3, seed=50, batch=2), features(3, seed=51, batch=2), weights()
    places = [(y, x) for y in range(4) for x in range(6)]
    found = losses.gram(f, "positions", w)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                wanted = sum(float(w[y, x] * f[b, i, y, x] * f[b, j, y, x]) for y, x in places) / float(w.sum())
                assert found[b, i, j].item() == pytest.approx(wanted, rel=1e-12)
    torch.testing.assert_close(losses.gram(f, "elements", w), found / 3)
    total = sum(float(w[y, x]) * float((f - c)[b, i, y, x]) ** 2 for b in range(2) for i in range(3) for y, x in places)
    assert losses.content_loss(f, c, w).item() == pytest.approx(total / (6 * float(w.sum())), rel=1e-12)
    own = torch.stack([w, w.flip(0)])[:, None]  # each picture of a batch its own
    apart = [losses.gram(f[b : b + 1], "positions", own[b, 0])[0] for b in range(2)]
    torch.testing.assert_close(losses.gram(f, "positions", own), torch.stack(apart))


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_weighted_total_variation_by_loops(beta):
    """Between two pixels that count, and no others."""
    x, w = features(3, 4, 6, batch=2, seed=52), (weights() > 0).double()
    total = 0.0
    for plane in x.flatten(0, 1):
        for i in range(4):
            for j in range(6):
                dx = float(plane[i, j + 1] - plane[i, j]) if j + 1 < 6 and w[i, j] and w[i, j + 1] else 0.0
                dy = float(plane[i + 1, j] - plane[i, j]) if i + 1 < 4 and w[i, j] and w[i + 1, j] else 0.0
                total += (dx**2 + dy**2) ** (beta / 2)
    assert losses.total_variation(x, beta, "sum", w).item() == pytest.approx(total, rel=1e-3 if beta < 2 else 1e-12)
    mean = losses.total_variation(x, beta, weight=w)
    assert mean.item() == pytest.approx(total / (6 * float(w.sum())), rel=1e-3 if beta < 2 else 1e-12)


def test_total_variation_does_not_see_the_edge_of_a_mask():
    """A subject of one colour on a background of noise, masked out: nothing varies."""
    x, w = torch.rand(1, 3, 8, 8), torch.zeros(8, 8)
    x[..., 2:6, 3:7], w[2:6, 3:7] = 0.4, 1
    assert losses.total_variation(x, weight=w).item() == 0
    assert losses.total_variation(x, 1.0, weight=w).item() == 0


def test_a_shrunk_weight_is_the_mean_over_what_a_position_covers():
    w = torch.rand(8, 12)
    found = losses.shrink_weight(w, (2, 3))
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, w.view(2, 4, 3, 4).mean((1, 3)))
    assert torch.equal(losses.shrink_weight(torch.ones(33, 41), (8, 10)), torch.ones(8, 10))
    assert float(losses.shrink_weight((torch.arange(9) > 3).float().expand(9, 9), (9, 3))[0, 0]) == 0
