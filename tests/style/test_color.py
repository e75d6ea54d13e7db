from __future__ import annotations

import numpy as np
import pytest
import torch

from arf.style import color, natural


def colors(count: int = 500, seed: int = 0) -> torch.Tensor:
    """Correlated colours, [count, 3] float64."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64) * 0.1
    return torch.randn(count, 3, generator=generator, dtype=torch.float64) @ mix + 0.5


def some_map(seed: int = 0) -> color.Affine:
    generator = torch.Generator().manual_seed(seed)
    return color.Affine(
        torch.randn(3, 3, generator=generator, dtype=torch.float64),
        torch.randn(3, generator=generator, dtype=torch.float64),
    )


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and (a - b).abs().max().item() <= tolerance


def test_apply_by_hand():
    swap = color.Affine(torch.tensor([[0.0, 1, 0], [0, 0, 2], [1, 0, 0]]), torch.tensor([0.1, 0.2, 0.3]))
    assert close(swap.apply(torch.tensor([[[1.0, 2.0, 3.0]]])), torch.tensor([[[2.1, 6.2, 1.3]]]), 1e-6)
    assert close(color.Affine.identity().apply(colors()), colors(), 0)
    assert swap.apply(torch.rand(4, 3)).dtype == torch.float32


def test_moments_in_chunks_are_those_of_everything():
    everything = colors(1000)
    moments = color.Moments()
    for chunk in everything.split([1, 0, 399, 7, 593]):
        moments.update(chunk)
    assert moments.count == 1000
    assert close(moments.mean, everything.mean(0))
    assert close(moments.covariance, torch.cov(everything.t(), correction=0))


def test_moments_take_pictures_of_any_shape():
    pictures = [torch.rand(4, 5, 3), torch.rand(7, 2, 3)]
    rows = torch.cat([picture.reshape(-1, 3) for picture in pictures]).double()
    assert close(color.Moments.of(pictures).covariance, torch.cov(rows.t(), correction=0))


def test_moments_do_not_cancel_far_from_zero():
    spread = colors() - 0.5
    moments = color.Moments.of((spread + 1e6).split(50))
    assert close(moments.covariance, torch.cov(spread.t(), correction=0), 1e-9)


def test_weighted_moments_are_numpys():
    """Weights as NumPy's aweights, in chunks, some with and some without."""
    everything, generator = colors(600), torch.Generator().manual_seed(1)
    weight = torch.rand(600, generator=generator, dtype=torch.float64) * (torch.arange(600) % 3 > 0)
    weight[400:] = 1
    moments = color.Moments.of(
        [(everything[:250].view(5, 50, 3), weight[:250].view(5, 50)), (everything[250:400], weight[250:400])]
    )
    moments.update(everything[400:])
    assert moments.count == pytest.approx(float(weight.sum()), rel=1e-12)
    assert close(moments.mean, torch.from_numpy(np.average(everything, axis=0, weights=weight)))
    wanted = np.cov(everything.numpy().T, aweights=weight.numpy(), ddof=0)
    assert close(moments.covariance, torch.from_numpy(wanted))


def test_what_weighs_nothing_is_in_no_moment():
    """C16: as if dropped, even where it is no number; and alone it is no colour at all."""
    picture = torch.rand(6, 7, 3)
    mask = torch.rand(6, 7, generator=torch.Generator().manual_seed(2)) > 0.4
    hidden = picture.masked_fill(~mask[..., None], float("nan"))
    moments, dropped = color.Moments.of([(hidden, mask.float())]), color.Moments.of([picture[mask]])
    assert moments.count == dropped.count == int(mask.sum())
    assert close(moments.mean, dropped.mean)
    assert close(moments.covariance, dropped.covariance)
    everywhere, plain = color.Moments.of([(picture, torch.ones(6, 7))]), color.Moments.of([(picture, None)])
    assert close(everywhere.covariance, plain.covariance)
    assert torch.equal(plain.covariance, color.Moments.of([picture]).covariance)
    with pytest.raises(ValueError, match="no colours"):
        _ = color.Moments.of([(picture, torch.zeros(6, 7))]).mean
    for weight in (torch.ones(7, 6), torch.ones(6, 7, 1), torch.full((6, 7), -1.0), torch.full((6, 7), float("nan"))):
        with pytest.raises(ValueError, match=r"colours \[6, 7, 3\] have as many weights >= 0"):
            color.Moments().update(picture, weight)


def test_no_colours_have_no_moments():
    with pytest.raises(ValueError, match="no colours"):
        _ = color.Moments().mean
    with pytest.raises(ValueError, match=r"got \[4, 2\]"):
        color.Moments().update(torch.rand(4, 2))


def test_matched_colours_have_exactly_the_targets_mean_and_covariance():
    source, target = colors(seed=1), colors(300, seed=2)
    matched = color.matching(color.Moments.of([source]), color.Moments.of([target])).apply(source)
    assert close(matched.mean(0), target.mean(0))
    assert close(torch.cov(matched.t(), correction=0), torch.cov(target.t(), correction=0))


def test_matching_is_the_product_of_symmetric_roots():
    source, target = color.Moments.of([colors(seed=1)]), color.Moments.of([colors(seed=2)])
    # A root X of C by Newton's iteration (Denman & Beavers), which knows nothing of eigenvectors.
    roots = []
    for covariance in (source.covariance, target.covariance):
        x, y = covariance, torch.eye(3, dtype=torch.float64)
        for _ in range(60):
            x, y = (x + y.inverse()) / 2, (y + x.inverse()) / 2
        roots.append(x)
    assert close(color.matching(source, target).matrix, roots[1] @ roots[0].inverse(), 1e-9)


def test_matching_to_itself_changes_nothing():
    moments = color.Moments.of([colors()])
    found = color.matching(moments, moments)
    assert close(found.matrix, torch.eye(3, dtype=torch.float64), 1e-10)
    assert close(found.bias, torch.zeros(3, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("flat", ["source", "target", "both"])
def test_grey_and_constant_pictures_stay_finite_and_get_the_targets_mean(flat):
    grey = torch.rand(200, 1).expand(200, 3) if flat == "source" else torch.full((200, 3), 0.4)
    source = grey if flat != "target" else colors().float()
    target = grey if flat == "target" else torch.full((9, 3), 0.7) if flat == "both" else colors(seed=3).float()
    matched = color.matching(color.Moments.of([source]), color.Moments.of([target])).apply(source)
    assert torch.isfinite(matched).all()
    assert close(matched.mean(0), target.mean(0), 1e-3)


COLORFUL = color.Moments.of([torch.rand(4000, 3, generator=torch.Generator().manual_seed(9)) ** 2])


def noisy_grey(deviation: float = 0.2) -> torch.Tensor:
    """A grey picture as a JPEG has it: a level of chroma more or less, [64, 64, 3] float64."""
    generator = torch.Generator().manual_seed(4)
    grey = torch.randn(64, 64, 1, generator=generator, dtype=torch.float64) * deviation + 0.5
    return grey + torch.randint(-1, 2, (64, 64, 3), generator=generator) / 255


def chroma(picture: torch.Tensor) -> torch.Tensor:
    """What is left of colours [..., 3] beside the line through them that explains most; in levels of 255."""
    rows = picture.reshape(-1, 3).double()
    rows = rows - rows.mean(0)
    axis = torch.linalg.eigh(rows.t() @ rows).eigenvectors[:, 2]
    return (rows - (rows @ axis)[:, None] * axis).norm(dim=1) * 255


def test_grey_with_a_level_of_noise_does_not_become_confetti():
    """C17: the noise was amplified to the full chroma of the style, 106 levels here and up to 280."""
    source = noisy_grey()
    found = color.matching(color.Moments.of([source]), COLORFUL)
    assert torch.linalg.matrix_norm(found.matrix, 2) < 25
    result = found.apply(source)
    assert float(chroma(source).max()) == pytest.approx(1.6, abs=0.2)
    assert float(chroma(result).square().mean().sqrt()) < 20
    assert float(chroma(result).max()) < 35
    assert close(result.reshape(-1, 3).mean(0), COLORFUL.mean, 1e-9)
    assert torch.linalg.eigvalsh(torch.cov(result.reshape(-1, 3).t()))[2] > 0.05  # light and dark do take its colours


def test_exactly_grey_stays_on_a_line():
    grey = noisy_grey()[..., :1].expand(64, 64, 3)
    found = color.matching(color.Moments.of([grey]), COLORFUL)
    assert float(chroma(found.apply(grey)).max()) < 1e-9
    assert torch.linalg.matrix_norm(found.matrix, 2) < 3
    found.inverse()  # can still be undone
    flat = color.matching(color.Moments.of([torch.full((9, 9, 3), 0.4)]), COLORFUL)
    assert torch.linalg.matrix_norm(flat.matrix, 2) < 3


@pytest.mark.parametrize("levels", [0.0, 0.3, 1.0, 1.9, 2.1, 30.0])
def test_no_direction_is_stretched_more_than_the_bound(levels):
    """The largest gain is where the deviation is that of noise; the utmost that colours can deviate by is √3/2."""
    ends = torch.tensor([[0.0, 0, 0], [1, 1, 1]], dtype=torch.float64)
    source = 0.5 + levels / 255 * torch.cat([torch.eye(3), -torch.eye(3)]).double() * 3**0.5  # levels in all directions
    gain = torch.linalg.matrix_norm(color.matching(color.Moments.of([source]), color.Moments.of([ends])).matrix, 2)
    wanted = 3**0.5 / 2 * 255 * (1 / levels if levels > 2 else max(levels, 255e-4) / 4)
    assert gain.item() == pytest.approx(wanted, rel=1e-6)
    assert gain < 110.5


def test_a_grey_style_makes_grey():
    style = color.Moments.of([noisy_grey()[..., :1].expand(64, 64, 3)])
    result = color.matching(color.Moments.of([colors()]), style).apply(colors())
    assert float(chroma(result).max()) < 0.5


def test_a_near_grey_style_that_takes_a_photographs_colours_stays_near_grey():
    content = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(9)) ** 2
    result = color.recolor(noisy_grey().float(), color.Moments.of([content]))
    assert float(chroma(result).square().mean().sqrt()) < 20
    _, (lightness,) = color.recolored(content, [noisy_grey(0.0).float()], "luminance")
    assert lightness.std() < 0.2 * color.luma(content).std()  # its noise had all of the content's contrast


def test_composition_is_application_in_turn():
    first, second, c = some_map(1), some_map(2), colors()
    assert close(second.compose(first).apply(c), second.apply(first.apply(c)))


def test_inverse_undoes():
    a, c = some_map(3), colors()
    assert close(a.inverse().apply(a.apply(c)), c, 1e-10)
    assert close(a.compose(a.inverse()).matrix, torch.eye(3, dtype=torch.float64), 1e-10)


def test_a_singular_map_has_no_inverse():
    flat = color.Affine(torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]]), torch.zeros(3))
    for matrix in (flat.matrix, torch.zeros(3, 3), torch.full((3, 3), float("nan"))):
        with pytest.raises(ValueError, match="invertible"):
            color.Affine(matrix, flat.bias).inverse()


def test_an_affine_map_commutes_with_rendering():
    """Pixels that mix vertex colours by weights of sum 1: mapping the vertices is mapping the pixels."""
    weights = torch.rand(40, 500, dtype=torch.float64)
    weights /= weights.sum(1, keepdim=True)
    a, theta = some_map(4), colors()
    assert close(weights @ a.apply(theta), a.apply(weights @ theta))


def test_recolor_gives_a_picture_the_colours_of_another():
    style, content = torch.rand(30, 20, 3) * 0.2 + 0.1, torch.rand(10, 10, 3) * 0.1 + 0.5
    recolored = color.recolor(style, like=color.Moments.of([content]))
    assert recolored.shape == style.shape
    assert close(recolored.reshape(-1, 3).mean(0), content.reshape(-1, 3).mean(0), 1e-5)
    extreme = color.recolor(torch.rand(9, 9, 3), like=color.Moments.of([torch.rand(9, 9, 3) * 9]))
    assert extreme.min() >= 0
    assert extreme.max() <= 1


YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64
)  # FCC NTSC, four digits


def test_keeping_colour_keeps_the_contents_chroma_and_the_results_luma():
    result, content = colors(seed=5), colors(seed=6)
    kept = color.keep_color(result, content) @ YIQ.t()
    assert close(kept[:, 0], (result @ YIQ.t())[:, 0])
    assert close(kept[:, 1:], (content @ YIQ.t())[:, 1:], 1e-3)
    assert close(color.luma(color.keep_color(result, content)), color.luma(result))
    assert close(color.keep_color(content, content), content)


def test_keeping_colour_commutes_with_rendering():
    weights = torch.rand(40, 500, dtype=torch.float64)
    result, content = colors(seed=7), colors(seed=8)
    kept = color.keep_color(weights @ result, weights @ content)
    assert close(weights @ color.keep_color(result, content), kept, 1e-10)


def test_luma_by_hand():
    assert color.luma(torch.eye(3)).tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert color.luma(torch.full((2, 2, 3), 0.4)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"got \[3, 4\]"):
        color.luma(torch.rand(3, 4))


def test_matching_histograms_of_one_size_is_sorting():
    picture, like = torch.rand(6, 7, 3), torch.rand(42, 3) ** 2
    found = color.match_histogram(picture, like)
    assert found.shape == picture.shape
    wanted = torch.empty(42, 3)
    for channel in range(3):
        for rank, pixel in enumerate(sorted(range(42), key=lambda i: picture.view(42, 3)[i, channel])):
            wanted[pixel, channel] = sorted(like[:, channel].tolist())[rank]
    assert torch.equal(found.view(42, 3), wanted)
    assert torch.equal(color.match_histogram(like, like), like)


@pytest.mark.parametrize(("count", "of"), [(30, 500), (500, 30), (7, 8)])
def test_matching_histograms_of_other_sizes_takes_quantiles(count, of):
    picture, like = torch.rand(count, 3), torch.rand(of, 3) ** 2
    found = color.match_histogram(picture, like)
    levels = (torch.arange(count) + 0.5) / count
    for channel in range(3):
        # The j-th smallest of M values is their (j + 1/2)/M quantile, linear in between, constant beyond the ends.
        ordered, place = like[:, channel].sort().values, (levels * of - 0.5).clamp(0, of - 1)
        low, high = ordered[place.floor().long()], ordered[place.ceil().long()]
        wanted = low + (place - place.floor()) * (high - low)
        assert close(found[:, channel].sort().values, wanted, 1e-5)
        assert (found[picture[:, channel].argsort(), channel].diff() > -1e-6).all()  # the order is kept
        assert like[:, channel].min() <= found[:, channel].min()
        assert found[:, channel].max() <= like[:, channel].max()


def test_matching_histograms_spreads_equal_values():
    """A flat picture has no order of its own: places decide, so that the histogram still comes out exactly."""
    like = torch.rand(9, 3)
    found = color.match_histogram(torch.full((3, 3, 3), 0.5), like)
    assert torch.equal(found.view(9, 3), like.sort(0).values)


def test_recolored_pictures_have_the_contents_statistics():
    content, *styles = (p.permute(1, 2, 0) for p in natural.pictures(3, 64))
    assert color.recolored(content, styles, "none")[1][0] is styles[0]
    seen, (first, _) = color.recolored(content, styles, "luminance")
    for picture in (seen, first):
        assert torch.equal(picture, picture[..., :1].expand_as(picture))
    lightness = color.luma(content)
    torch.testing.assert_close(seen[..., 0], lightness)
    assert float(first[..., 0].mean()) == pytest.approx(float(lightness.mean()), abs=0.02)
    assert float(first[..., 0].std()) == pytest.approx(float(lightness.std()), abs=0.03)
    seen, (first, _) = color.recolored(content, styles, "affine")
    assert seen is content
    torch.testing.assert_close(first.mean((0, 1)), content.mean((0, 1)), atol=0.02, rtol=0)
    flat = color.recolored(content, [torch.full((20, 20, 3), 0.3)], "luminance")[1][0]  # no deviation to divide by
    assert torch.isfinite(flat).all()
