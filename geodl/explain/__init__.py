"""Attributions: how much each entry of an input has to do with a model's output.

All have the signature ``method(f, x, ...) -> attribution``: f a pure scalar function of one input, as the logit of a
class, x one input of any shape, the attribution of the same shape. For a batch use ``vmap``:

    jax.vmap(lambda x, c: integrated_gradients(lambda x: model(x)[c], x))(images, classes)
"""

from geodl.explain.attribution import integrated_gradients, occlusion, saliency, smooth_grad


__all__ = ["integrated_gradients", "occlusion", "saliency", "smooth_grad"]
