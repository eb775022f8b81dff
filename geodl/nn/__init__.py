"""Neural networks as pure ``(init, apply)`` pairs over plain dicts of arrays."""

from geodl.nn.conv import (
    ConvClassifier,
    ConvDecoder,
    ConvFeatures,
    ConvNet,
    MixerNet,
    conv_classifier,
    conv_decoder,
    conv_features,
    conv_net,
    mixer_net,
)
from geodl.nn.fourier import circle, fourier_features
from geodl.nn.functional import Net, functional
from geodl.nn.hyperbolic import Gyroplane, MobiusLinear, gyroplane
from geodl.nn.mlp import MLP, linear, mlp


__all__ = [
    "MLP",
    "ConvClassifier",
    "ConvDecoder",
    "ConvFeatures",
    "ConvNet",
    "Gyroplane",
    "MixerNet",
    "MobiusLinear",
    "Net",
    "circle",
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
]
