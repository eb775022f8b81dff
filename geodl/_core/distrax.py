"""The names of distrax that geodl stands on, in one place: an incompatible release is one file's work."""

from distrax import Bijector as Bijector
from distrax import Categorical as Categorical
from distrax import Chain as Chain
from distrax import Distribution as Distribution
from distrax import Inverse as Inverse
from distrax import MaskedCoupling as MaskedCoupling
from distrax import MixtureSameFamily as MixtureSameFamily
from distrax import RationalQuadraticSpline as RationalQuadraticSpline
from distrax import SplitCoupling as SplitCoupling
from distrax import Transformed as Transformed
