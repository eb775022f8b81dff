"""What a report says about the machine and the code."""

import platform
import subprocess
from pathlib import Path


def table(header, rows):
    """Markdown, all columns but the first aligned to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "--:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def cpu_name():
    """The processor, in its maker's words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


HERE = Path(__file__).resolve().parents[1]


def revision(root=HERE):
    """Of a checkout, by default this one."""
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"


def write_between_markers(path, name, text):
    """Put the text between ``<!-- name -->`` and ``<!-- /name -->`` in a file; one without them becomes just that."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = path.read_text() if path.exists() else ""
    before, after = "", "\n"
    if start in old and end in old:
        before, after = old.split(start, 1)[0], old.split(end, 1)[1]
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")
