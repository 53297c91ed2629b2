"""SQuAD-format JSON (and XQuAD's parquet): questions with the offset of their answer in a paragraph."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from posbench.errors import DataError, UsageError
from posbench.loaders import hub
from posbench.loaders.assemble import Judgements, Spans, assemble
from posbench.loaders.context import Context, subset_of
from posbench.loaders.lines import texts_of
from posbench.loaders.tables import Rows, read_table
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, strings


class _Answer(msgspec.Struct):
    text: str
    answer_start: int


class _Question(msgspec.Struct):
    id: str
    question: str
    answers: list[_Answer] = []


class _Paragraph(msgspec.Struct):
    context: str
    qas: list[_Question]


class _Article(msgspec.Struct):
    paragraphs: list[_Paragraph]
    title: str = ""


class _File(msgspec.Struct):
    data: list[_Article]


@dataclass(frozen=True)
class _Asked:
    """A question, the number of its document and its first answer there."""

    question: _Question
    doc: int
    start: int
    answer: str


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collection of one subset, a folder of parquet or a JSON file under the source.

    Raises:
        RecipeError: there is no such subset.
        MissingPartError: the files cannot be had.
        DataError: a file is wrong.
    """
    subset = subset_of(recipe, context.name, subset)
    place = recipe.subsets[subset]
    found = hub.find(context.name, recipe.source, base, [place, f"{place}/*"])
    named = context.named(f"{context.name}/{subset}", language=subset, **found.provenance)
    files = sorted((found.folder / place).glob(f"{context.split}*.parquet"))
    file = files[0] if files else found.folder / place
    return from_path(file, named)


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collection of one file."""
    path = _only_file(path)
    if path.suffix == ".parquet":
        if context.documents == "article":
            raise UsageError(f"{path} does not say which article a paragraph is from; use the original JSON file")
        articles = _from_parquet(path)
    else:
        articles = _from_json(path)
    return [_collection(path, articles, context)]


def recognised(path: Path) -> bool:
    """Whether a file, or a folder with one parquet file, has this layout."""
    file = _only_file(path)
    return file.is_file() and file.suffix in (".json", ".parquet")


def _only_file(path: Path) -> Path:
    """The file itself, or the one parquet file of a folder."""
    inside = list(path.glob("*.parquet")) if path.is_dir() else []
    return inside[0] if len(inside) == 1 else path


def _from_json(path: Path) -> list[_Article]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).data
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise DataError(f"{path}: at {where.strip('`.') or 'the top'}: {message[:1].lower()}{message[1:]}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not a readable JSON file in UTF-8: {error}") from error


def _from_parquet(path: Path) -> list[_Article]:
    rows = read_table(path, ["id", "context", "question", "answers"]).to_pylist()
    paragraphs: dict[str, _Paragraph] = {}
    for number, row in enumerate(rows, 1):
        try:
            pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
            answers = [_Answer(text, int(start)) for text, start in pairs]
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"{path}: row {number}, column answers: expected lists text and answer_start") from error
        for column in ("id", "context", "question"):
            if not isinstance(row[column], str):
                raise DataError(f"{path}: row {number}, column {column}: {row[column]!r}; expected a string")
        paragraph = paragraphs.setdefault(row["context"], _Paragraph(row["context"], []))
        paragraph.qas.append(_Question(row["id"], row["question"], answers))
    return [_Article(list(paragraphs.values()))]


def _collection(path: Path, articles: list[_Article], context: Context) -> Collection:
    docs: dict[str, int] = {}
    titles: list[str] = []
    asked: list[_Asked] = []
    unanswered = 0
    for title, text, starts, paragraphs in _documents(articles, context.documents == "article"):
        doc = docs.setdefault(text, len(docs))
        titles += [title] * (len(docs) - len(titles))
        for offset, paragraph in zip(starts, paragraphs, strict=True):
            for question in paragraph.qas:
                if not question.answers:
                    unanswered += 1
                    continue
                first = question.answers[0]
                asked.append(_Asked(question, doc, offset + first.answer_start, first.text))
    if not asked:
        raise DataError(f"{path}: no question has an answer; expected data[].paragraphs[].qas[].answers[]")
    return _assembled(path, list(docs), titles, asked, unanswered, context)


def _documents(articles: list[_Article], whole: bool) -> Iterator[tuple[str, str, list[int], list[_Paragraph]]]:
    """(title, text, where each paragraph starts in it, its paragraphs); an article's are joined by a blank line."""
    for article in articles:
        if not whole:
            yield from ((article.title, paragraph.context, [0], [paragraph]) for paragraph in article.paragraphs)
            continue
        lengths = [len(paragraph.context) + 2 for paragraph in article.paragraphs]
        starts = [sum(lengths[:n]) for n in range(len(lengths))]
        text = "\n\n".join(paragraph.context for paragraph in article.paragraphs)
        yield article.title, text, starts, article.paragraphs


def _assembled(
    path: Path, docs: list[str], titles: list[str], asked: list[_Asked], unanswered: int, context: Context
) -> Collection:
    doc_ids = [f"d{number}" for number in range(len(docs))]
    doc_rows, rows = Rows((path,), (len(docs),), "document"), Rows((path,), (len(asked),), "question")
    query_ids = strings([item.question.id for item in asked])
    questions = [item.question.question for item in asked]
    positives = strings([doc_ids[item.doc] for item in asked])
    groups = {"group": strings(titles)} if any(titles) else {}  # the article that a paragraph is from
    start = np.array([item.start for item in asked], np.int64)
    end = start + np.array([len(item.answer) for item in asked], np.int64)
    unknown = np.full(len(asked), -1, np.int64)
    return assemble(
        context,
        texts_of(doc_ids, docs, doc_rows, text_column="context", labels=groups),
        texts_of(query_ids.to_pylist(), questions, rows, id_column="id", text_column="question"),
        Judgements(query_ids, positives, np.ones(len(asked), np.int32), rows),
        Spans(
            query_ids,
            positives,
            start,
            end,
            rows,
            unknown,
            unknown,
            column="answer_start",
            quotes=strings([item.answer for item in asked]),
        ),
        notes={"questions_without_answers": unanswered} if unanswered else {},
    )
