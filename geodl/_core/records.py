"""Frozen dataclasses as pytrees, and functions as such."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.tree_util import Partial, all_leaves


T = TypeVar("T")


def register_record(cls: type[T]) -> type[T]:
    """Register a frozen dataclass as a pytree: static fields are structure, the others children.

    As ``jax.tree_util.register_dataclass``, with two differences. Records of different classes have
    different tree structures; there, Sphere(3) and Torus(3) have equal ones (jax 0.12), and the
    cache of ``jit`` now and then runs the one's program for the other. And a record that JAX
    rebuilds is not checked anew, so that gradients and placeholders can stand in one.

    Returns:
        The class.
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    static = [f.name for f in fields if f.metadata.get("static")]
    children = [f.name for f in fields if not f.metadata.get("static")]

    def structure(record):
        return tuple(getattr(record, name) for name in static)

    def flatten(record):
        return [getattr(record, name) for name in children], structure(record)

    def flatten_with_keys(record):
        values = [(jax.tree_util.GetAttrKey(name), getattr(record, name)) for name in children]
        return values, structure(record)

    def unflatten(structure, values):
        record = object.__new__(cls)
        for name, value in zip((*static, *children), (*structure, *values), strict=True):
            object.__setattr__(record, name, value)
        return record

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def as_pytree(function: Callable[..., Any] | None) -> Any:
    """A function as a pytree without arrays; what is a pytree already (a ``Partial``, a record, None) stays."""
    return Partial(function) if all_leaves([function]) else function
