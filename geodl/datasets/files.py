"""Data files: under GEODL_DATA, or fetched once into the user's cache and checked."""

import gzip
import hashlib
import os
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def data_dir() -> Path:
    """The folder that the environment variable GEODL_DATA names.

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


def fetch(
    name: str,
    urls: Sequence[str],
    sha256: str,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """The path of a checked file, downloaded once.

    A download that broke off, even with the process, is taken up where it stopped. The checksum
    is of the decompressed bytes, since mirrors compress anew; the file is kept decompressed.

    Args:
        name: path below `folder`, e.g. "mnist/train-images-idx3-ubyte".
        urls: mirrors, tried in turn; what they send may be gzipped or not.
        sha256: of the decompressed file, hexadecimal.
        folder: by default the user's cache folder for geodl.
        progress: show a progress bar.

    Raises:
        OSError: no mirror gave the file; the message names file, checksum, mirrors and faults.
    """
    import pooch

    path = Path(folder if folder is not None else pooch.os_cache("geodl")) / name
    if path.exists() and pooch.file_hash(str(path)) == sha256:
        return path
    pooch.get_logger().setLevel("WARNING")  # it would tell the user to record the archive's hash
    download: Any = ResumingDownloader(progress)
    faults = []
    for url in urls:
        try:
            # No hash of the archive is known: it is the content that is checked.
            archive = Path(pooch.retrieve(url, None, path=path.parent, downloader=download))
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


class ResumingDownloader:
    """A downloader for pooch that keeps what it has got and asks only for the rest.

    Pooch's own starts again from nothing. What has come of a URL waits beside the target, in a
    file named by the URL, for the next attempt in this process or a later one.
    """

    def __init__(self, progress: bool = True, attempts: int = 5) -> None:
        self.progress = progress
        self.attempts = attempts

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download `url` to `output_file`; raises requests' exceptions."""
        import requests

        target = Path(output_file)
        part = target.with_name(hashlib.sha256(url.encode()).hexdigest()[:16] + ".part")
        for attempt in range(self.attempts):
            try:
                self._append_rest(url, part)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ):
                if attempt == self.attempts - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
        os.replace(part, target)

    def _append_rest(self, url: str, part: Path) -> None:
        import requests
        from tqdm import tqdm

        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=30) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and have:
                return  # all of it is there
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0  # a server that cannot resume sends everything
            rest = response.headers.get("Content-Length")
            bar = tqdm(
                desc=url.rsplit("/", 1)[-1],
                total=have + int(rest) if rest else None,
                initial=have,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
                mininterval=0.1 if sys.stderr.isatty() else 30.0,
            )
            with bar, open(part, "r+b" if have else "wb") as file:
                file.seek(have)
                for block in response.iter_content(1 << 16):
                    file.write(block)
                    bar.update(len(block))
