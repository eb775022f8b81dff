"""Defaults under what a caller gives, by matplotlib's own names."""

from collections.abc import Mapping
from typing import Any

from matplotlib.artist import Artist
from matplotlib.cbook import normalize_kwargs


# What says the same as a default, other than by an alias that matplotlib knows (as ``lw`` of ``linewidth``).
_SAME = {
    "c": {"color", "facecolor"},
    "color": {"colors", "edgecolor", "array"},
    "edgecolor": {"color"},
    "array": {"color", "colors", "edgecolor"},
    "vmin": {"norm"},
    "vmax": {"norm"},
}


def over(
    artist: type[Artist], defaults: Mapping[str, Any], given: dict[str, Any]
) -> dict[str, Any]:
    """The given style of an artist, and of the defaults what it does not say by this or another name.

    Raises ``TypeError`` where two of the given names are aliases.
    """
    given = normalize_kwargs(given, artist)
    return {k: v for k, v in defaults.items() if not _SAME.get(k, set()) & given.keys()} | given
