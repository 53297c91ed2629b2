"""Real text that any machine has, in chunks of a known source: what the benchmarks of selection are run on.

Package descriptions, Python code, documentation, changelogs and manual pages, in a fixed order for one machine; another
machine has other text, so figures are compared within a run only.
"""

import gzip
import re
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

WORDS = 200  # of a chunk; a text's last chunk has fewer
SHORTEST = 20  # words; shorter chunks are dropped
LARGEST = 4 << 20  # bytes of a file; larger ones are data rather than text


class Chunk(NamedTuple):
    """A piece of a file."""

    source: str
    text: str


def sources() -> dict[str, list[Path]]:
    """The files of each source, sorted; a source that the machine lacks is empty."""
    packages, library = (Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib"))
    documents = sorted(Path("/usr/share/doc").rglob("*"))
    changelogs = [path for path in documents if "changelog" in path.name.lower()]
    rest = [path for path in documents if path not in set(changelogs)]
    return {
        "descriptions": sorted(packages.glob("*/METADATA")),
        "code": sorted(library.glob("*.py")) + sorted(library.glob("[!s]*/**/*.py")) + sorted(packages.rglob("*.py")),
        "documentation": [path for path in rest if path.suffix in {".gz", ".txt", ".md", ".rst", ".html", ""}],
        "changelogs": changelogs,
        "manuals": sorted(Path("/usr/share/man").glob("man*/*")),
    }


def chunks(source: str, files: Iterable[Path], words: int = WORDS) -> Iterator[Chunk]:
    """The text of files in chunks of so many words, their white space as it was."""
    for path in files:
        text = _read(path)
        starts = [match.start() for match in re.finditer(r"\S+", text)]
        cuts = [*starts[::words], len(text)]
        for place in range(len(cuts) - 1):
            if min(words, len(starts) - place * words) >= SHORTEST:
                yield Chunk(source, text[cuts[place] : cuts[place + 1]])


def documents(limit: int, words: int = WORDS) -> list[Chunk]:
    """Up to so many chunks of different text, one of each source in turn while it has any."""
    streams = [chunks(source, files, words) for source, files in sources().items()]
    return list(islice(_different(_in_turn(streams)), limit))


def _different(found: Iterator[Chunk]) -> Iterator[Chunk]:
    seen: set[str] = set()
    for chunk in found:
        if chunk.text not in seen:
            seen.add(chunk.text)
            yield chunk


def _in_turn(streams: list[Iterator[Chunk]]) -> Iterator[Chunk]:
    while streams:
        firsts = [(stream, next(stream, None)) for stream in streams]
        streams = [stream for stream, first in firsts if first]
        yield from chain(first for _, first in firsts if first)


def _read(path: Path) -> str:
    """The text of a file, empty where it is no text."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return ""
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError):
        return ""
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")
