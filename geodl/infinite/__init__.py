"""Networks of infinite width: Gaussian processes at initialization, kernel regression when trained.

A :class:`Layer` is a finite network and its kernels: of the Gaussian process that it becomes as its width grows
(NNGP), and of its training by gradient flow (NTK, neural tangent kernel). ``serial`` composes layers, ``kernels``
gives the matrices, ``predict`` what training does with them, ``empirical`` the tangent kernel of any finite network.

``layers`` has dense layers and nonlinearities, ``planar`` group convolutions of images, ``spherical`` convolutions of
the sphere and of SO(3).
"""

from geodl.infinite import duals, empirical, predict
from geodl.infinite.layers import (
    Inputs,
    Kernel,
    Kernels,
    Layer,
    activation,
    dense,
    erf,
    gelu,
    kernels,
    relu,
    serial,
)
from geodl.infinite.planar import average_pool, group_conv, group_pool, lifting_conv, mean_pool
from geodl.infinite.predict import Gaussian, gradient_flow, posterior
from geodl.infinite.spherical import rotation_conv, rotation_pool, sphere_conv


__all__ = [
    "Gaussian",
    "Inputs",
    "Kernel",
    "Kernels",
    "Layer",
    "activation",
    "average_pool",
    "dense",
    "duals",
    "empirical",
    "erf",
    "gelu",
    "gradient_flow",
    "group_conv",
    "group_pool",
    "kernels",
    "lifting_conv",
    "mean_pool",
    "posterior",
    "predict",
    "relu",
    "rotation_conv",
    "rotation_pool",
    "serial",
    "sphere_conv",
]
