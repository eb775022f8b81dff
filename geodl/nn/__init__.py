"""Neural networks as pure ``(init, apply)`` pairs over plain dicts of arrays."""

from geodl.nn.conv import conv_classifier, conv_decoder, conv_features, conv_net, mixer_net
from geodl.nn.dense import MLP, linear, mlp
from geodl.nn.fourier import fourier_features, sincos_2pi
from geodl.nn.hyperbolic import Gyroplane, MobiusLinear, gyroplane
from geodl.nn.net import Net, functional


__all__ = [
    "MLP",
    "Gyroplane",
    "MobiusLinear",
    "Net",
    "conv_classifier",
    "conv_decoder",
    "conv_features",
    "conv_net",
    "fourier_features",
    "functional",
    "gyroplane",
    "linear",
    "mixer_net",
    "mlp",
    "sincos_2pi",
]
