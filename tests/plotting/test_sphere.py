"""Maps of the sphere: that they are what they are called, and the artists left on the axes."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure

from geodl import plotting
from geodl.plotting.sphere import SEA, TIME


MAPS = [plotting.Mollweide(), plotting.Mollweide(35.0, -100.0), plotting.Orthographic(20.0, 60.0)]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture
def ax():
    return Figure(figsize=(2, 2)).subplots()


@pytest.fixture
def points():
    return unit(np.random.default_rng(0).normal(size=(200, 3)))


@pytest.mark.parametrize("view", MAPS)
def test_there_and_back(view, points):
    places = view.project(points)
    seen = ~np.isnan(places[:, 0])
    hidden = isinstance(view, plotting.Orthographic)
    assert (60 < seen.sum() < 140) if hidden else seen.all()
    np.testing.assert_allclose(view.inverse(places[seen]), points[seen], atol=1e-12)
    assert np.all(np.linalg.norm(places[seen] / view.radii, axis=-1) < 1)
    # outside of the edge: the nearest of its points
    np.testing.assert_allclose(
        view.inverse(np.array([9.0, 0])), view.inverse(np.array([view.radii[0], 0]))
    )


@pytest.mark.parametrize("view", MAPS)
def test_north_is_up_and_east_is_right(view):
    lat, lon = np.radians([view.latitude, view.longitude])
    middle = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    np.testing.assert_allclose(view.project(middle), [0, 0], atol=1e-15)
    east = view.project(unit(middle + 1e-3 * np.array([-np.sin(lon), np.cos(lon), 0])))
    north = view.project(unit(middle + 1e-3 * np.array([0, 0, 1])))
    assert east[0] > 100 * abs(east[1]) and north[1] > 100 * abs(north[0])


def test_mollweide_at_known_places():
    view = plotting.Mollweide()
    axes = np.array([[0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0], [-1, 1e-16, 0], [-1, -1e-16, 0]])
    half, whole, top = np.sqrt(2), 2 * np.sqrt(2), np.sqrt(2)
    expected = [[0, top], [0, -top], [half, 0], [-half, 0], [whole, 0], [-whole, 0]]
    np.testing.assert_allclose(view.project(axes), expected, atol=1e-14)
    # the map's equation: sin lat = (2 t + sin 2 t) / pi at the height sin t
    lat = np.radians([-89.99, -60, -1e-3, 0, 12, 40, 75, 89.9999])
    places = view.project(np.stack([0 * lat, np.cos(lat), np.sin(lat)], -1))
    t = np.arcsin(places[:, 1] / top)
    np.testing.assert_allclose((2 * t + np.sin(2 * t)) / np.pi, np.sin(lat), atol=1e-14)
    np.testing.assert_allclose(places[:, 0], half * np.cos(t), atol=1e-7)


def test_mollweide_keeps_areas():
    view = plotting.Mollweide(35.0, -100.0)
    rng = np.random.default_rng(1)
    places = rng.uniform(-0.6, 0.6, (50, 2)) * view.radii
    step = 1e-4
    shifted = [
        view.inverse(places + s) for s in step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    ]
    normal = np.cross(shifted[0] - shifted[1], shifted[2] - shifted[3]) / (2 * step) ** 2
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("view", MAPS)
def test_a_whole_panel_draws(ax, points, view):
    graticule = plotting.sphere_frame(ax, view)
    image = plotting.sphere_density(ax, view, lambda x: np.exp(x[:, 2]), resolution=40)
    dots = plotting.sphere_points(ax, view, points)
    time = np.linspace(0, 0.5, 20)[:, None]
    paths = plotting.sphere_paths(ax, view, unit(points[:9, None] + time * [0.3, 1.0, 0.0]))
    bar = plotting.sphere_colorbar(ax, image)
    ax.figure.canvas.draw()
    assert ax.get_xlim() == (-view.radii[0], view.radii[0])
    assert ax.get_ylim() == (-view.radii[1], view.radii[1])
    assert bar.ax.get_xlabel() == "density per steradian"
    places = view.project(points)
    np.testing.assert_array_equal(np.ma.getmaskarray(dots.get_offsets()), np.isnan(places))
    np.testing.assert_array_equal(dots.get_offsets().filled(np.nan), places)
    for lines in (graticule, paths):
        segments = np.array(lines.get_segments())
        assert np.all(np.abs(segments) <= np.multiply(view.radii, 1 + 1e-9))
        assert np.max(np.linalg.norm(np.diff(segments, axis=1), axis=-1)) < 0.3  # none across


def test_the_density_is_that_of_the_place(ax):
    view = plotting.Mollweide(10.0, 20.0)
    image = plotting.sphere_density(ax, view, lambda x: 2 + x[:, 0], resolution=50)
    picture = image.get_array()
    assert picture.shape == (50, 100)
    rows, columns = np.meshgrid(np.arange(50) + 0.5, np.arange(100) + 0.5, indexing="ij")
    places = np.stack([columns / 50 - 1, rows / 25 - 1], -1)
    inside = np.linalg.norm(places, axis=-1) < 1
    assert not np.ma.getmaskarray(picture)[inside].any()
    assert np.ma.getmaskarray(picture)[0, 0]
    expected = 2 + view.inverse(places[inside] * view.radii)[:, 0]
    np.testing.assert_allclose(picture[inside], expected)


def test_the_scale_is_that_of_the_uniform_distribution(ax):
    view, uniform = plotting.Orthographic(), 1 / (4 * np.pi)
    norms = [
        plotting.sphere_density(ax, view, lambda x: np.full(len(x), uniform), 20),
        plotting.sphere_density(ax, view, lambda x: np.where(x[:, 0] > 0.9, 5.0, 0.0), 20),
        plotting.sphere_density(ax, view, lambda x: x[:, 0] ** 2, 20, vmin=0.01, vmax=2.0),
        plotting.sphere_density(ax, view, lambda x: x[:, 0] ** 2, 20, norm=LogNorm(0.5, 7)),
    ]
    found = [(image.norm.vmin, image.norm.vmax) for image in norms]
    expected = [(uniform / 10, 10 * uniform), (uniform / 10, 5), (0.01, 2), (0.5, 7)]
    np.testing.assert_allclose(found, expected)
    ax.figure.canvas.draw()


def test_paths_are_cut_where_the_map_is(ax):
    angle = np.radians(np.linspace(90, 270, 181))  # over the back: the Mollweide map's seam
    path = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)[None]
    lines = plotting.sphere_paths(ax, plotting.Mollweide(), path)
    segments = np.array(lines.get_segments())
    assert len(segments) in (179, 180)
    assert np.max(np.abs(np.diff(segments, axis=1))) < 0.02
    assert np.all(np.diff(lines.get_array()) > 0)  # colored by time
    assert len(plotting.sphere_paths(ax, plotting.Orthographic(), path).get_segments()) == 0
    turned = plotting.Orthographic(longitude=180)
    whole = plotting.sphere_paths(ax, turned, path, colors="C1").get_segments()
    assert 178 <= len(whole) <= 180


@pytest.mark.parametrize("view", MAPS)
def test_every_point_keeps_its_color_and_size(ax, points, view):
    labels, seen = np.arange(len(points)) % 7, ~np.isnan(view.project(points)[:, 0])
    sizes, opacity = np.linspace(1, 9, len(points)), np.linspace(0.1, 1, len(points))
    dots = plotting.sphere_points(ax, view, points, c=labels, s=sizes, alpha=opacity, cmap="tab10")
    ax.figure.canvas.draw()
    offsets = np.ma.getmaskarray(dots.get_offsets())[:, 0]
    np.testing.assert_array_equal(offsets, ~seen)
    np.testing.assert_array_equal(dots.get_sizes()[seen], sizes[seen])
    np.testing.assert_allclose(dots.get_facecolors()[seen, 3], opacity[seen])
    # the same label has the same color where another half is seen
    assert (dots.norm.vmin, dots.norm.vmax) == (0, 6)
    rgb = plotting.sphere_points(ax, view, points, color=np.eye(4)[labels % 4])
    ax.figure.canvas.draw()
    np.testing.assert_array_equal(rgb.get_facecolors()[seen, :3], np.eye(4)[labels % 4][seen, :3])
    assert dots.norm(3.0) == 0.5
    few = plotting.sphere_points(ax, view, points, c=labels, vmin=2, vmax=3)
    assert (few.norm.vmin, few.norm.vmax) == (2, 3)


def test_every_path_keeps_its_color(ax, points):
    paths = unit(points[:9, None] + np.linspace(0, 3, 30)[:, None] * [0.3, 1.0, 0.0])
    view = plotting.Orthographic(20.0, 60.0)
    colors = [f"C{i}" for i in range(9)]
    lines = plotting.sphere_paths(ax, view, paths, color=colors)
    found = {tuple(c) for c in lines.get_colors()}
    segments = np.array(lines.get_segments())
    for i in range(9):
        mine = view.project(paths[i])
        starts = segments[np.all(lines.get_colors() == to_rgba(colors[i]), -1), 0]
        assert all(np.any(np.all(start == mine, -1)) for start in starts)
    assert len(found) > 3
    with pytest.raises(ValueError, match="colors are 2; expected one or 9"):
        plotting.sphere_paths(ax, view, paths, colors=["C0", "C1"])


@pytest.mark.parametrize("colors", [SEA, TIME])
def test_the_colors_are_even_in_lightness(colors):
    srgb = colors(np.linspace(0, 1, 101))[:, :3]
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = -np.diff(lightness)
    assert steps.min() > 0.6 * steps.mean() and steps.max() < 1.4 * steps.mean()


def test_bad_input_is_named(ax, points):
    view = plotting.Mollweide()
    points[7] *= 1.5
    with pytest.raises(
        ValueError, match=r"x\[7\] is \[.*\], of norm 1\.[45].*; expected unit vectors"
    ):
        plotting.sphere_points(ax, view, points)
    with pytest.raises(ValueError, match=r"x\[3, 1\] is \[nan"):
        paths = np.tile(points[0], (5, 2, 1))
        paths[3, 1] = np.nan
        plotting.sphere_paths(ax, view, paths)
    with pytest.raises(ValueError, match=r"x has shape \(200, 2\); expected \(any, 3\)"):
        plotting.sphere_points(ax, view, points[:, :2])
    with pytest.raises(ValueError, match="the density has shape"):
        plotting.sphere_density(ax, view, lambda x: x, resolution=10)
    with pytest.raises(ValueError, match=r"the density is nan at \[.*\]; expected numbers >= 0"):
        plotting.sphere_density(ax, view, lambda x: np.sqrt(np.where(x[:, 0] > 0, x[:, 0], np.nan)))
