"""Data files: under GEODL_DATA, or fetched once into the user's cache and checked."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path


def data_dir() -> Path:
    """The folder that the environment variable GEODL_DATA names.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: the variable is not set, or names no folder.
    """
    value = os.environ.get("GEODL_DATA")
    if not value:
        raise FileNotFoundError(
            "the environment variable GEODL_DATA is not set; it should name the folder of the "
            "data sets, with a folder for each (mnist/, ...)"
        )
    if not Path(value).is_dir():
        raise FileNotFoundError(f"GEODL_DATA={value} is not a folder of data sets")
    return Path(value)


def find(
    name: str,
    urls: Sequence[str],
    sha256: str,
    root: str | os.PathLike[str] | None,
    download: bool,
    call: str,
) -> Path:
    """The path of a data file below a folder, gzipped or not, or of one that is fetched.

    Args:
        name: path below ``root``, as in :func:`fetch`.
        urls: mirrors.
        sha256: of the decompressed file.
        root: the folder, by default GEODL_DATA.
        download: whether to fetch the file if it is missing.
        call: what a user calls to have it fetched, for the message.

    Returns:
        The path.

    Raises:
        FileNotFoundError: the file is missing; the message says where it was looked for.
        OSError: no mirror could be reached, or gave the right content.
    """
    try:
        path = (Path(root) if root is not None else data_dir()) / name
    except FileNotFoundError:
        if not download:
            raise
    else:
        packed = path.with_name(f"{path.name}.gz")
        for found in (path, packed):
            if found.exists():
                return found
        if not download:
            raise FileNotFoundError(
                f"neither {path} nor {packed.name} is there; put it there, or call {call} "
                "(--download on the command line)"
            )
    return fetch(name, urls, sha256, root)


def fetch(
    name: str,
    urls: Sequence[str],
    sha256: str,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """The path of a checked file, downloaded once.

    The file is there whole or not at all. The checksum is of the decompressed bytes, since mirrors
    compress anew; the file is kept decompressed.

    Args:
        name: path below ``folder``, e.g. "mnist/train-images-idx3-ubyte".
        urls: mirrors, tried in turn; what they send may be gzipped or not.
        sha256: of the decompressed file, hexadecimal.
        folder: by default the user's cache folder for geodl.
        progress: show a progress bar.

    Returns:
        The path of the decompressed file.

    Raises:
        OSError: no mirror gave the file; the message names file, checksum, mirrors and faults.
    """
    import pooch

    path = Path(folder if folder is not None else pooch.os_cache("geodl")) / name
    if path.exists() and pooch.file_hash(str(path)) == sha256:
        return path
    pooch.get_logger().setLevel("WARNING")  # it would tell the user to record the archive's hash
    faults = []
    for url in urls:
        try:
            # No hash of the archive is known: it is the content that is checked.
            archive = Path(pooch.retrieve(url, None, path=path.parent, progressbar=progress))
            packed = archive.read_bytes()
            archive.unlink()
            content = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed
        except (OSError, EOFError, zlib.error) as error:  # requests' errors are OSErrors
            faults.append(f"{url}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            unfinished = path.with_name(path.name + ".unpacked")
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
            return path
        faults.append(f"{url}: the content has SHA-256 {found}")
    raise OSError(
        f"{path} could not be fetched; expected content of SHA-256 {sha256}\n  "
        + "\n  ".join(faults)
    )
