"""The clock of flows from noise to data: the logarithm of the time that is left.

Data are met at t = 1, and the law at time t is theirs blurred by about 1 - t. A sharp law is made in the last hundredth
of the time, for which uniform times and harmonics of t leave a field no more than a hundredth of its training.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float


RESOLUTION = 0.01  # time left from which on the clock is linear


def clock(t: ArrayLike) -> Array:
    """log(1 + (1 - t) / 0.01) / log(1 + 1 / 0.01) for times t (...): 1 at t = 0, and 0 at t = 1."""
    return jnp.log1p((1 - jnp.asarray(t)) / RESOLUTION) / np.log1p(1 / RESOLUTION)


def random_times(key: Array, n: int) -> Float[Array, " n"]:
    """Times (n,) in [0, 1], uniform by the clock, one in each n-th part of it: half of them are later than t = 0.91."""
    reading = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return 1 - RESOLUTION * jnp.expm1(reading * np.log1p(1 / RESOLUTION))
