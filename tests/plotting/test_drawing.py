"""The artists that the drawing functions leave on the axes."""

import numpy as np
import pytest
from matplotlib.colors import Normalize, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from geodl import plotting


CHARTS = [plotting.Disk(1.2), plotting.Plane(3.0)]


@pytest.fixture
def ax():
    return Figure(figsize=(2, 2)).subplots()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("chart", CHARTS)
def test_a_whole_panel_draws(ax, rng, chart):
    x = rng.uniform(-0.5, 0.5, (9, 2))
    parents = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3])
    w, b = rng.normal(size=(5, 2)), rng.normal(size=5)
    edge = plotting.frame(ax, chart)
    plotting.density(ax, chart, lambda z: np.exp(-np.sum(z**2, -1)), resolution=50)
    planes = plotting.hyperplanes(ax, chart, w, b)
    edges = plotting.geodesics(ax, chart, x[parents[1:]], x[1:])
    dots = plotting.points(ax, chart, x, c="C0")
    ax.figure.canvas.draw()
    assert edge in ax.patches
    assert ax.get_xlim() == ax.get_ylim() == (-chart.limit, chart.limit)
    np.testing.assert_allclose(planes.get_segments(), chart.hyperplane(w, b))
    np.testing.assert_allclose(edges.get_segments(), chart.geodesic(x[parents[1:]], x[1:]))
    np.testing.assert_allclose(dots.get_offsets(), x)


def test_density_masks_the_outside_of_the_disk(ax):
    disk = plotting.Disk(0.5)
    image = plotting.density(ax, disk, lambda z: 1 / (1 + np.sum(z**2, -1)), resolution=40)
    values = image.get_array()
    ticks = disk.limit * (2 * (np.arange(40) + 0.5) / 40 - 1)
    radius = np.hypot(ticks[:, None], ticks[None, :])
    np.testing.assert_array_equal(np.ma.getmaskarray(values), radius >= disk.limit)
    np.testing.assert_allclose(values.compressed(), 1 / (1 + radius[radius < disk.limit] ** 2))


def test_density_contours_are_at_the_sigmas(ax):
    scale = 0.8
    normal = lambda z: np.exp(-0.5 * np.sum(z**2, -1) / scale**2)  # noqa: E731
    plotting.density(ax, plotting.Plane(3.0), normal, sigmas=(1.0, 2.0), resolution=400)
    contours = ax.collections[0].get_paths()
    radii = sorted(np.linalg.norm(path.vertices, axis=-1).mean() for path in contours)
    np.testing.assert_allclose(radii, [scale, 2 * scale], rtol=1e-3)


def test_tile_places_every_image(rng):
    images = rng.uniform(size=(2, 3, 4, 5))
    picture = plotting.tile(images, border=1, fill=0.5)
    assert picture.shape == (2 * 5 - 1, 3 * 6 - 1)
    np.testing.assert_array_equal(picture[5:9, 12:17], images[1, 2])
    np.testing.assert_array_equal(picture[4], 0.5)
    assert plotting.tile(rng.uniform(size=(2, 3, 4, 5, 3))).shape == (9, 17, 3)


def test_reconstructions_stand_under_their_originals(ax, rng):
    originals, decoded = rng.uniform(size=(2, 4, 8, 8))
    picture = plotting.reconstructions(ax, originals, decoded, columns=2).get_array().data
    np.testing.assert_array_equal(picture[:8, :8], originals[0])
    np.testing.assert_array_equal(picture[9:17, :8], decoded[0])
    np.testing.assert_array_equal(picture[17 + 2 + 9 :, 9:], decoded[3])


def test_latent_grid_decodes_where_the_chart_is(ax):
    def decode(z):  # a 1 x 2 image that shows its latent
        return (z / 4 + 0.5)[:, None, :]

    disk = plotting.Disk(1.0)
    latents = plotting.square_lattice(disk, 6)
    image = plotting.latent_grid(ax, decode, latents, disk)
    picture = image.get_array().filled(np.nan).reshape(6, 6, 2)
    inside = np.linalg.norm(latents, axis=-1) < 1
    np.testing.assert_array_equal(np.isnan(picture).any(-1), ~inside)
    np.testing.assert_allclose(picture[inside], latents[inside] / 4 + 0.5)
    assert latents[0, 0, 0] < 0 < latents[0, 0, 1]  # top left
    assert tuple(image.get_extent()) == (-1, 1, -1, 1)


def test_quantile_lattice_has_equal_mass():
    lattice = plotting.quantile_lattice(4, scale=2.0)
    np.testing.assert_allclose(lattice[0, 2:, 0], [2 * 0.318639, 2 * 1.150349], rtol=1e-5)
    np.testing.assert_allclose(lattice, -lattice[::-1, ::-1], atol=1e-12)


ALIASES = {
    "lw": ("linewidth", 3.0),
    "linewidth": ("linewidth", 3.0),
    "linewidths": ("linewidth", 3.0),
    "color": ("color", "green"),
    "ec": ("edgecolor", "green"),
}


@pytest.mark.parametrize("alias", ALIASES)
def test_a_style_by_any_of_its_names(ax, rng, alias):
    """As matplotlib draws it without our defaults."""
    name, value = ALIASES[alias]
    x, plane = rng.uniform(-0.5, 0.5, (4, 2)), plotting.Plane(1.0)
    sphere, view = np.eye(3), plotting.Orthographic(30, 40)
    given = {alias: value}
    drawn = [
        plotting.points(ax, plane, x, **given),
        plotting.geodesics(ax, plane, x, x[::-1], **given),
        plotting.hyperplanes(ax, plane, x, np.ones(4), **given),
        plotting.sphere_points(ax, view, sphere, **given),
        plotting.sphere_frame(ax, view, **given),
        plotting.sphere_paths(ax, view, sphere[None], **given),
    ]
    if alias != "linewidths":  # of collections only
        drawn.append(plotting.frame(ax, plane, **given))
        if alias != "ec":
            bars = plotting.learning_curves(ax, {"a": ([1, 2], x[:2])}, **given)
            drawn.append(bars[0].lines[0])
    ax.figure.canvas.draw()
    for artist in drawn:
        if name == "linewidth":
            assert np.all(np.asarray(artist.get_linewidth()) == value)
        else:
            got = artist.get_color() if isinstance(artist, Line2D) else artist.get_edgecolor()
            assert np.all(to_rgba_array(got)[:, :3] == to_rgba_array(value)[:, :3])
    with pytest.raises(TypeError, match="aliases"):
        plotting.points(ax, plane, x, lw=1, linewidths=2)


def test_a_norm_replaces_the_limits(ax, rng):
    norm = Normalize(0.1, 0.4)
    images = rng.uniform(size=(4, 4, 4))
    for image in (
        plotting.density(ax, plotting.Plane(1.0), lambda z: z[:, 0] ** 2, norm=norm, resolution=20),
        plotting.image_grid(ax, images[None], norm=norm),
        plotting.reconstructions(ax, images, images, columns=2, norm=norm),
    ):
        assert image.norm is norm


def test_bad_shapes_are_named(ax):
    plane = plotting.Plane(1.0)
    with pytest.raises(ValueError, match=r"x has shape \(3,\); expected \(any, 2\)"):
        plotting.points(ax, plane, np.zeros(3))
    with pytest.raises(ValueError, match=r"y has shape \(4, 2\); expected \(5, 2\)"):
        plotting.geodesics(ax, plane, np.zeros((5, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="the density has shape"):
        plotting.density(ax, plane, lambda z: z)
    with pytest.raises(ValueError, match="images has shape"):
        plotting.tile(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="columns=3"):
        plotting.reconstructions(ax, np.zeros((4, 2, 2)), np.zeros((4, 2, 2)), columns=3)
    with pytest.raises(ValueError, match="the decoded has shape"):
        plotting.latent_grid(ax, lambda z: z, plotting.quantile_lattice(3))
