"""Takes the folders of a machine out of what is published: an absolute path keeps its last part alone.

``/home/me/data/xquad.json`` becomes ``xquad.json``, ``~/models/e5`` becomes ``e5``, and a home directory itself ``~``.
Relative paths stay as they were typed; addresses (http://...) stay too.
"""

import re
from typing import Any

_PATH = re.compile(r"""(?:(?<=[\s=,:;'"(\[])|^)(?:~[\w.-]*|[A-Za-z]:(?=[\\/]))?[\\/](?![\\/])[^\s,;'")\]]+""")
_HOME = re.compile(r"[\\/](?:home|Users)[\\/][^\\/]+|[\\/]root")


def cleaned(value: Any) -> Any:
    """Text, or lists and dicts of it, without the folders of absolute paths."""
    if isinstance(value, str):
        return _PATH.sub(lambda match: _last(match[0]), value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    return value


def _last(path: str) -> str:
    path = path.rstrip("/\\")
    return "~" if _HOME.fullmatch(path[2:] if path[1:2] == ":" else path) else re.split(r"[\\/]", path)[-1]
