"""Files that one process holds."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def held_file(path: Path, what: str, instead: str) -> Iterator[None]:
    """Hold a file, made with its folder if need be, that no other process may hold; a killed one lets go of it.

    Where the system has no such locks (Windows) nothing is held.

    Args:
        path: of the file.
        what: for the message, as ``"the run runs/a"``.
        instead: likewise, as ``"name"``.

    Returns:
        A context, at whose end the file is let go.

    Raises:
        RuntimeError: another process has it; the message says which.
    """
    if fcntl is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 200).decode()
            raise RuntimeError(
                f"{what} is going on already, in {holder or 'another process'}: "
                f"wait for its end, or use another {instead}"
            ) from None
        except OSError:  # a file system without locks
            pass
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(file)
