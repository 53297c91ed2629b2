"""Which versions of packages are installed: part of what identifies a number."""

from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The version of each package that is installed, in the order given; the others are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def own_code() -> str:
    """A hash of this package's source: 16 hexadecimal digits. What other code derived is not taken for what this does.

    A version would not do: it stays the same while the code is worked on.
    """
    folder = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
