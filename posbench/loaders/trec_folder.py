"""A folder with a TREC-style collection: documents, topics and qrels, recognised by their names.

Documents: ``*.tar.gz`` of one HTML or text file each (CACM), or SMART ``.I .T .A .B .W`` records (``*.all*``,
Cranfield), or TREC SGML (``*.trec``, ``*.sgml``). Topics: ``*.tsv`` (id, text), SMART ``*.qry``, or TREC ``<top>``
records (``topics*``). Qrels: a file with "qrel" in its name. Each of them may be gzipped, with ".gz" appended.
"""

import re
import tarfile
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from posbench.errors import DataError
from posbench.loaders import hub, trec
from posbench.loaders.assemble import Judgements, Texts, assemble
from posbench.loaders.context import Context
from posbench.loaders.lines import content, separated, texts_of, whole
from posbench.loaders.tables import Rows
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, strings

_CRANFIELD_GRADES = {-1: 0, 0: 0, 1: 4, 2: 3, 3: 2, 4: 1, 5: 0}  # its code 1 is the best; -1 is not relevant


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collection of a subset's folder under the source, or of the source's folder itself."""
    place = recipe.subsets.get(subset or recipe.default, subset)
    found = hub.find(context.name, recipe.source, base, [f"{place}/*" if place else "*"])
    name = f"{context.name}/{subset}" if subset else context.name
    return from_path(found.folder / place, context.named(name, **found.provenance))


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collection of a folder."""
    topics, numbered = _topics(path)
    docs, judged = _documents(path), _judgements(path, numbered)
    # As trec_eval does: a judged document that is not in the collection counts as relevant, and no run finds it.
    lenient = context.keeping("empty_texts").keeping("unknown_ids")
    return [assemble(lenient, docs, topics, judged, only_judged=True)]


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return path.is_dir() and _one(path, "*qrel*") is not None


def _one(path: Path, *patterns: str) -> Path | None:
    """The first file that matches a pattern, plain or gzipped, patterns in order."""
    return next((file for pattern in patterns for file in _all(path, pattern)), None)


def _all(path: Path, pattern: str) -> list[Path]:
    """The files that match a pattern, plain or gzipped."""
    found = {*path.glob(pattern), *path.glob(f"{pattern}.gz")}
    return sorted(file for file in found if file.is_file())


def _documents(path: Path) -> Texts:
    readers: list[tuple[str, Callable[[Path], Iterator[tuple[str, str]]]]] = [
        ("*.tar.gz", _tar),
        ("*.all*", _smart),
        ("*.trec", _sgml),
        ("*.sgml", _sgml),
    ]
    for pattern, read in readers:
        files = _all(path, pattern)
        if files:
            parts = [list(read(file)) for file in files]
            rows = Rows(tuple(files), tuple(len(part) for part in parts), "document")
            pairs = [pair for part in parts for pair in part]
            return texts_of([pair[0] for pair in pairs], [pair[1] for pair in pairs], rows, id_column="id")
    raise DataError(f"{path}: no documents; expected *.tar.gz, *.all* (SMART), *.trec or *.sgml")


def _topics(path: Path) -> tuple[Texts, bool]:
    """The topics, and whether they are numbered by their order."""
    file = _one(path, "*.tsv", "*.qry", "topics*")
    if file is None:
        raise DataError(f"{path}: no topics; expected *.tsv, *.qry (SMART) or topics*")
    name = file.name.removesuffix(".gz")
    if name.endswith(".tsv"):
        fields, rows = separated(file, 2)
        return texts_of([row[0] for row in fields], [row[1] for row in fields], rows, id_column="1"), False
    if name.endswith(".qry"):
        texts = [text for _, text in _smart(file)]
        rows = Rows((file,), (len(texts),), "topic")
        # Cranfield's qrels number the queries by their order in the file, not by their .I field.
        return texts_of([str(n) for n in range(1, len(texts) + 1)], texts, rows, id_column=".I"), True
    pairs = list(_tops(file))
    return texts_of([p[0] for p in pairs], [p[1] for p in pairs], Rows((file,), (len(pairs),), "topic")), False


def _judgements(path: Path, smart: bool) -> Judgements:
    file = _one(path, "*qrel*")
    assert file is not None
    if not smart:
        return trec.judgements(file)
    fields, rows = separated(file, 3, tab=False)
    grades = [_cranfield_grade(row[2], file, rows.at(n)) for n, row in enumerate(fields)]
    first = {(row[0], row[1]): n for n, row in reversed(list(enumerate(fields)))}
    keep = np.array(sorted(first.values()), np.int64)  # one pair is judged twice, alike; the first counts
    queries, docs = strings([fields[n][0] for n in keep]), strings([fields[n][1] for n in keep])
    return Judgements(queries, docs, np.array(grades, np.int32)[keep], rows.take(keep), "1", "2")


def _cranfield_grade(text: str, file: Path, line: str) -> int:
    """Cranfield's code turned round, so that more is better."""
    code = whole(text, file, line, "3")
    if code not in _CRANFIELD_GRADES:
        raise DataError(f"{line}, column 3: code {code}; expected one of {sorted(_CRANFIELD_GRADES)}")
    return _CRANFIELD_GRADES[code]


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: bytes that are not UTF-8 text") from error


class _Text(HTMLParser):
    """The text of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keeps a piece of text."""
        self.parts.append(data)


def _tar(file: Path) -> Iterator[tuple[str, str]]:
    """(member's name without suffix, text); members are read in memory, in order of their names."""
    try:
        with tarfile.open(file) as archive:
            for member in sorted(archive.getmembers(), key=lambda item: item.name):
                opened = archive.extractfile(member) if member.isfile() else None
                if opened is None:
                    continue
                text = _decoded(opened.read(), f"{file}: {member.name}")
                if member.name.endswith((".html", ".htm")):
                    parser = _Text()
                    parser.feed(text)
                    text = "".join(parser.parts).strip()
                yield Path(member.name).stem, text
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{file}: not a readable archive (truncated or damaged?): {error}") from error


def _smart(file: Path) -> Iterator[tuple[str, str]]:
    """(.I field, title and text) of SMART records."""
    text = _decoded(content(file), str(file))
    records = re.split(r"^\.I[ \t]+(\d+)[ \t]*$", text, flags=re.MULTILINE)[1:]
    for number, rest in zip(records[::2], records[1::2], strict=True):
        fields = re.split(r"^\.([TABWKCNX])\s*$", rest, flags=re.MULTILINE)
        parts = {key: " ".join(part.split()) for key, part in zip(fields[1::2], fields[2::2], strict=True)}
        title, body = parts.get("T", ""), parts.get("W", "")
        # Cranfield's texts begin with the title again.
        yield number.strip(), body if body.startswith(title) else f"{title}\n{body}".strip()


def _sgml(file: Path) -> Iterator[tuple[str, str]]:
    whole_text = _decoded(content(file), str(file))
    for record in re.findall(r"<DOC>(.*?)</DOC>", whole_text, flags=re.DOTALL | re.IGNORECASE):
        name = re.search(r"<DOCNO>\s*(\S+)\s*</DOCNO>", record, flags=re.IGNORECASE)
        if name is None:
            raise DataError(f"{file}: a <DOC> without <DOCNO>")
        text = unescape(re.sub(r"</?[A-Za-z][^<>]*>", " ", record[name.end() :]))
        yield name[1], " ".join(text.split())


def _tops(file: Path) -> Iterator[tuple[str, str]]:
    text = _decoded(content(file), str(file))
    for record in re.findall(r"<top>(.*?)</top>", text, flags=re.DOTALL | re.IGNORECASE):
        number = re.search(r"<num>\s*(?:Number:)?\s*(\S+)", record, flags=re.IGNORECASE)
        title = re.search(r"<title>\s*(?:Topic:)?([^<]*)", record, flags=re.IGNORECASE)
        if number is None or title is None:
            raise DataError(f"{file}: a <top> without <num> or <title>")
        yield number[1], " ".join(title[1].split())
