r"""Prompts as text files: sections under [system], [user], [text], [opening] and [target], with fields in braces.

A section begins with its name in brackets on a line of its own; a file without any is one [user] section. {query},
{document}, {instruction} and other known fields are replaced all at once, so that what stands in a document is never
taken for a field; other braces stay as they are. Line breaks around a section do not count; in
[opening] and [target] \n writes one.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from posbench.errors import RecipeError, unknown_name
from posbench.rankers.llm.calls import Message, Request
from posbench.recipe import ROOT

FOLDER = ROOT / "rankers" / "prompts"
FIELDS = ("query", "document", "instruction", "passages", "count", "example")
_SECTION = re.compile(r"^\[(system|user|assistant|text|opening|target)\][ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"\{(" + "|".join(FIELDS) + r")\}")
_TURNS = ("system", "user", "assistant")


class Template:
    """A prompt with places for fields.

    Args:
        text: of the file.
        name: of the prompt, for messages.

    Raises:
        RecipeError: it has neither a chat nor a text, or both.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name, self.digest = name, sha256(text.encode()).hexdigest()[:16]
        if not _SECTION.search(text):
            text = f"[user]\n{text}"
        parts = _SECTION.split(text)[1:]
        sections = [(parts[n], _FIELD.split(_own(*parts[n : n + 2]))) for n in range(0, len(parts), 2)]
        self._turns = [(role, pieces) for role, pieces in sections if role in _TURNS]
        self._others = {role: pieces for role, pieces in sections if role not in _TURNS}
        if bool(self._turns) == ("text" in self._others):
            raise RecipeError(
                f"prompt {name}: expected sections [user] and the like, or one [text]; found both or none"
            )
        self.opening = "".join(self._others.get("opening", []))
        self.fields = [field for _, pieces in sections for field in pieces[1::2]]

    def require(self, *fields: str) -> None:
        """Refuses a prompt that lacks a field.

        Raises:
            RecipeError: it does.
        """
        missing = [field for field in fields if field not in self.fields]
        if missing:
            names = " and ".join(f"{{{field}}}" for field in missing)
            raise RecipeError(f"prompt {self.name} has no place for {names}; write it where it belongs")

    def fill(self, fields: Mapping[str, str]) -> Request:
        """The request with the fields in their places; a field that is not given is empty."""
        others = {role: _filled(pieces, fields) for role, pieces in self._others.items()}
        turns = tuple(Message(role, _filled(pieces, fields)) for role, pieces in self._turns)
        return Request(turns, others.get("text", ""), others.get("opening", ""), others.get("target", ""))


def _own(role: str, text: str) -> str:
    """A section's text."""
    text = text.strip("\n")
    return text.replace("\\n", "\n") if role in ("opening", "target") else text


def _filled(pieces: list[str], fields: Mapping[str, str]) -> str:
    return "".join([fields.get(piece, "") if place % 2 else piece for place, piece in enumerate(pieces)])


def template(name: str) -> Template:
    """A shipped prompt by its name, or a file.

    Raises:
        RecipeError: there is none, or it is no prompt.
    """
    path = FOLDER / f"{name}.txt" if "/" not in name and not name.endswith(".txt") else Path(name)
    try:
        return Template(path.read_text(encoding="utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        known = sorted(file.stem for file in FOLDER.glob("*.txt"))
        raise unknown_name("prompt", name, known, f"shipped are {', '.join(known)}; or give a .txt file") from error
