"""Results kept on disk, so that a long evaluation survives being killed."""

import dataclasses
import functools
import hashlib
import io
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from geodl._core.locks import held_file
from geodl.train.sharding import shared_map


if TYPE_CHECKING:
    from tqdm import tqdm


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file whole or not at all: beside it first, then renamed onto it."""
    path = Path(path)
    # several processes of a run may write the same result
    part = path.with_name(f"{path.name}.{jax.process_index()}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:  # a full disk does not say which
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror}; what was there before stays", str(path)
        ) from error


@contextmanager
def lock(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Hold a file, made with its folder if need be, that no other process may hold; a killed one lets go of it.

    Of the processes of one run the first holds it for all. Where the system has no such locks (Windows) nothing is
    held.

    Args:
        path: of the file.
        what: for the message, as ``"the run runs/a"``.

    Returns:
        A context, at whose end the file is let go.

    Raises:
        RuntimeError: another process has it; the message says which.
    """
    if jax.process_index() != 0:
        yield
        return
    with held_file(Path(path), what, "name"):
        yield


def progress_bar(total: int, initial: int = 0, show: bool = True, **options: Any) -> "tqdm":
    """A bar with rate and remaining time, on the first process; rarely refreshed off a terminal."""
    from tqdm import tqdm

    quiet = not show or jax.process_index() != 0
    pace = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, initial=initial, disable=quiet, mininterval=pace, **options)


def cached_map(
    fn: Callable[[Any], Mapping[str, Any]],
    chunks: Sequence[Any],
    folder: str | os.PathLike[str],
    depends: Any = None,
    progress: bool = True,
) -> list[dict[str, np.ndarray]]:
    """``[fn(chunk) for chunk in chunks]``, each result kept on disk as soon as it is there.

    A second call reads what the first has finished, however it ended, so a long evaluation that
    was killed goes on where it stopped and ends with the same figures. The processes of a run share the chunks.

    Args:
        fn: from a chunk to a dict of arrays; with several processes of arrays of its own one.
        chunks: pytrees of arrays, numbers or slices.
        folder: gets one ``.npz`` per finished chunk.
        depends: all else that the results depend on (parameters, key, number of samples): a file
            made from other values, or from another chunk, is computed anew (``fingerprint``).
        progress: show a bar.

    Returns:
        The results, in the order of the chunks.

    Raises:
        TypeError: ``depends`` or a chunk holds something without a lasting identity, as a closure.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    share = -(-len(chunks) // jax.process_count())
    with progress_bar(share, show=progress, desc=folder.name) as bar:

        def kept(numbered: tuple[int, Any]) -> dict[str, np.ndarray]:
            i, chunk = numbered
            path = folder / f"{i:05d}.npz"
            digest = fingerprint((depends, chunk))
            result = _read_result(path, digest)
            if result is None:
                result = {name: np.asarray(value) for name, value in fn(chunk).items()}
                _write_result(path, digest, result)
            bar.update()
            return result

        return shared_map(kept, list(enumerate(chunks)))


def fingerprint(tree: Any) -> str:
    """SHA-256 of what a value is made of, the same in every process.

    Arrays count by type, shape and content, pytrees and dataclasses by type and fields, functions and
    classes of a module by their name, partial and jitted functions and bound methods by what they are made of.

    Returns:
        Hexadecimal digits.

    Raises:
        TypeError: it holds something that is known by its address in memory only, as a closure or a
            lambda (and so a network or a flow that is made of them).
    """
    digest = hashlib.sha256()
    _identify(tree, digest.update, "it")
    return digest.hexdigest()


def _identify(value: Any, update: Callable[[bytes], None], where: str) -> None:
    """Pass on what tells ``value`` from others, each part with its kind and length before it."""

    def whole(kind: str, content: bytes) -> None:
        update(f"{kind}:{len(content)}:".encode())
        update(content)

    def parts(kind: str, children: Iterable[tuple[str, Any]]) -> None:
        children = list(children)
        whole(kind, str(len(children)).encode())
        for name, child in children:
            whole("name", name.encode())
            _identify(child, update, f"{where}{name}")

    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        whole("key", str(jax.random.key_impl(value)).encode())
        value = jax.random.key_data(value)
    if isinstance(value, jax.Array | np.ndarray | np.generic) and value.dtype != object:
        content = np.asarray(value)
        whole("array", f"{content.dtype}{content.shape}".encode())
        whole("content", np.ascontiguousarray(content).tobytes())
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | slice):
        whole(type(value).__name__, repr(value).encode())
    elif isinstance(value, np.dtype | Path) or value is type(None):
        whole(type(value).__name__, str(value).encode())
    elif (name := _qualified_name(value)) is not None:
        whole("named", name.encode())
    elif isinstance(value, Enum):
        whole("enum", f"{_class_name(value)}.{value.name}".encode())
    elif isinstance(value, functools.partial):  # jax.tree_util.Partial too
        content = {"func": value.func, "args": value.args, "keywords": value.keywords}
        parts("partial", ((f".{k}", v) for k, v in content.items()))
    elif isinstance(value, MethodType):
        parts("method", [(".__self__", value.__self__), (".__name__", value.__name__)])
    elif isinstance(value, type(_JITTED)):
        parts("jit", [(".__wrapped__", cast(Any, value).__wrapped__)])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        parts(_class_name(value), ((f".{f.name}", getattr(value, f.name)) for f in fields))
    elif isinstance(value, Mapping):
        items = sorted(value.items(), key=repr)
        parts(_class_name(value), ((f"[{key!r}]", child) for key, child in items))
    elif isinstance(value, tuple | list):
        parts(_class_name(value), ((f"[{i}]", child) for i, child in enumerate(value)))
    elif isinstance(value, jax.tree_util.PyTreeDef):
        tree: Any = value
        children = ((f"<{i}>", child) for i, child in enumerate(tree.children()))
        parts("tree", [("<node>", tree.node_data()), *children])
    elif not jax.tree_util.all_leaves([value]):  # another registered pytree
        children, aux = jax.tree_util.default_registry.flatten_one_level(value)  # type: ignore[misc]
        content = {"aux": aux} | {str(i): child for i, child in enumerate(children)}
        parts(_class_name(value), ((f"<{k}>", v) for k, v in content.items()))
    else:
        raise TypeError(
            f"{where} is {value!r}: known by its address in memory, which says nothing of what it "
            "does; give a function of a module, or the arrays and settings that it is made of"
        )


_JITTED = jax.jit(lambda: None)


def _qualified_name(value: Any) -> str | None:
    """``module.name`` where that names the value; None for closures, lambdas and all that has no name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    try:
        found = functools.reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return f"{module}.{name}" if found is value else None


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


_DIGEST = "__depends__"


def _read_result(path: Path, digest: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        stored = dict(np.load(io.BytesIO(path.read_bytes())))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}) and computed anew", stacklevel=3)
        return None
    return stored if str(stored.pop(_DIGEST, "")) == digest else None


def _write_result(path: Path, digest: str, result: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**result, _DIGEST: np.asarray(digest)}
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getbuffer())
