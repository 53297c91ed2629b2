"""Asks a language model for the order of windows: held to valid rankings where that can be, else read and repaired."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import msgspec

from posbench.errors import UsageError
from posbench.listwise import ListwiseRecipe
from posbench.rankers.listwise import answers, grammars
from posbench.rankers.listwise.answers import Ranking
from posbench.rankers.listwise.fit import ListFitter, Window
from posbench.rankers.llm.calls import Answer, Constraint, Request, Sampling
from posbench.rankers.llm.client import Client
from posbench.rankers.llm.hf import TransformersBackend
from posbench.rankers.llm.prompts import template

_SLACK = 16  # tokens of an answer beyond its ranking
_PER_NAME = 8  # tokens of an identifier, where there is no tokenizer
_APART = 1 << 16  # between the samples of one ask and those of the next


@dataclass
class Asked:
    """A window, what the model said of it, and what that took.

    ``ranking`` holds places in the window; ``answers`` are those that the text was put together from.
    """

    window: Window
    request: Request | None
    text: str = ""
    finish: str = "stop"
    answers: list[Answer] = field(default_factory=list)
    ranking: Ranking = field(default_factory=lambda: Ranking((), 0, "empty"))

    @property
    def tokens(self) -> tuple[int, int]:
        """Of prompts and of answers."""
        return sum(one.prompt_tokens for one in self.answers), sum(one.answer_tokens for one in self.answers)


class Asker:
    """Ranks windows with one recipe's prompt.

    ``kinds`` counts windows by the kind of their (last) answer.
    """

    def __init__(self, recipe: ListwiseRecipe, client: Client) -> None:
        self.recipe, self.client = recipe, client
        self.kinds: Counter[str] = Counter()
        self.asked_again = 0
        self._masses: list[float] = []
        self.prompt = template(recipe.prompt)
        self.prompt.require("query", "passages")
        self.fitter = ListFitter(client.backend, self.prompt, recipe)
        self._how = self._held()
        self._room = lru_cache(None)(self._room_now)

    def describe(self) -> dict[str, Any]:
        """All that rankings of windows depend on."""
        recipe = self.recipe
        return {
            "prompt": self.prompt.digest,
            "fit": self.fitter.rule(),
            "held_by": self._how,
            "top": recipe.top,
            "reasoning_tokens": recipe.reasoning_tokens,
            "asks": [recipe.asks, recipe.temperature if recipe.asks > 1 else 0.0],
            "context": recipe.backend.context,
            "backend": dict(self.client.backend.describe()),
        }

    def begin(self) -> None:
        """Forgets what happened so far."""
        self.kinds.clear()
        self.asked_again = 0
        self._masses.clear()
        self.fitter.begin()
        self.client.begin()

    def facts(self) -> dict[str, Any]:
        """Answers by kind, what was cut, and what it cost; all since ``begin``.

        ``held_mass``, where answers are held by a mask, is the mean probability that the tokens it let through had.
        """
        mass = {"held_mass": sum(self._masses) / len(self._masses)} if self._masses else {}
        return {
            **mass,
            "answers": dict(sorted(self.kinds.items())),
            "asked_again": self.asked_again,
            "fit": dict(sorted(self.fitter.counts.items())),
            "chat_template": self.client.template(),
            "cost": self.client.cost(),
        }

    def rank(self, windows: Sequence[Window]) -> list[Asked]:
        """The order of each window; one that is malformed is asked for again as often as the recipe says."""
        found = [Asked(one, self.fitter.fill(one, self._room(len(one.passages)))) for one in windows]
        todo = found
        for ask in range(self.recipe.asks):
            self.asked_again += len(todo) if ask else 0
            self._ask(todo, ask)
            todo = [one for one in todo if one.ranking.kind != "ok" and one.request is not None]
        self.kinds.update(one.ranking.kind for one in found)
        return found

    def _held(self) -> Literal["mask", "grammar", ""]:
        """How answers are held to valid rankings; "" where they are not."""
        if self.recipe.constrained == "no" or self.recipe.reasoning_tokens:
            return ""
        if isinstance(self.client.backend, TransformersBackend):
            return "mask"
        backend = self.recipe.backend
        if backend.engine == "vllm" or (backend.engine == "openai" and backend.dialect == "vllm"):
            return "grammar"
        if self.recipe.constrained == "yes":
            raise UsageError(
                f'constrained = "yes": engine {backend.engine} cannot hold an answer to a ranking; '
                'use transformers, vllm, or a server with dialect = "vllm"'
            )
        return ""

    def _room_now(self, n: int) -> int:
        """Tokens that an answer about n passages may have."""
        names = range(n)[-(self.recipe.top or n) :]
        tokens = self.client.backend.tokens
        own = tokens.count([answers.written(names)])[0] if tokens is not None else len(names) * _PER_NAME
        return own + _SLACK + self.recipe.reasoning_tokens

    def _left(self, one: Asked) -> int:
        """Tokens that the rest of an answer may have: what it said so far stands in its prompt now."""
        tokens = self.client.backend.tokens
        said = tokens.count([one.text])[0] if tokens is not None and one.text else 0
        return self._room(len(one.window.passages)) - said

    def _ask(self, todo: Sequence[Asked], ask: int) -> None:
        for one in todo:
            one.text, one.finish = "", "stop"
        if self._how == "grammar":
            self._ask_in_steps(todo, ask)
        else:
            held = self._how == "mask"
            requests = [
                one.request and self._again(one.request, ask, _masked(one, self.recipe.top) if held else None)
                for one in todo
            ]
            self._take(todo, requests, ask)
        for one in todo:
            one.ranking = self._read(one)

    def _ask_in_steps(self, todo: Sequence[Asked], ask: int) -> None:
        """Asks for as much of each ranking as one grammar can hold, then goes on from there."""
        plans = [grammars.steps(len(one.window.passages), self.recipe.top) for one in todo]
        free = [place for place, plan in enumerate(plans) if not plan]
        self._take(
            [todo[place] for place in free],
            [request and self._again(request, ask, None) for request in (todo[place].request for place in free)],
            ask,
        )
        for step in range(max(map(len, plans), default=0)):
            going = [(one, plan[step]) for one, plan in zip(todo, plans, strict=True) if len(plan) > step]
            requests = [one.request and self._step(one, one.request, count, ask) for one, count in going]
            self._take([one for one, _ in going], requests, ask)

    def _step(self, one: Asked, request: Request, count: int, ask: int) -> Request:
        n = len(one.window.passages)
        said = answers.read(one.text, n) if one.text else Ranking((), 0, "empty")
        used = set(said.order[: said.said])
        left = [name + 1 for name in range(n) if name not in used]
        grammar = Constraint("grammar", (grammars.ranking(left, count, bool(one.text)),))
        again = self._again(request, ask, grammar)
        return msgspec.structs.replace(again, opening=request.opening + one.text)

    def _again(self, request: Request, ask: int, constraint: Constraint | None) -> Request:
        return msgspec.structs.replace(request, sample=request.sample + _APART * ask, constraint=constraint)

    def _take(self, todo: Sequence[Asked], requests: Iterable[Request | None], ask: int) -> None:
        """Asks, those together whose answers have the same room, and adds what comes to what was said."""
        groups: dict[int, list[tuple[Asked, Request]]] = {}
        for one, request in zip(todo, requests, strict=True):
            if request is None:
                one.finish = "too_long"
            else:
                groups.setdefault(self._left(one), []).append((one, request))
        for room, group in groups.items():
            sampling = Sampling(max_tokens=room, temperature=self.recipe.temperature if ask else 0.0)
            came = self.client.ask([request for _, request in group], sampling)
            for (one, _), answer in zip(group, came, strict=True):
                one.text += answer.text
                one.finish = answer.finish
                one.answers.append(answer)
                self._masses += [answer.mass] if answer.mass is not None else []

    def _read(self, one: Asked) -> Ranking:
        n = len(one.window.passages)
        finish: Any = one.finish
        found = answers.read(one.text, n, finish, self.recipe.top)
        return found if not one.window.names else _placed(found, one.window.names)


def _masked(one: Asked, top: int) -> Constraint:
    n = len(one.window.passages)
    return Constraint("ranking", (str(n), str(min(top or n, n))))


def _placed(found: Ranking, names: Sequence[int]) -> Ranking:
    """A ranking of identifiers as one of places; what is missing follows in the order shown, not of identifiers."""
    place = {name - 1: at for at, name in enumerate(names)}
    said = [place[item] for item in found.order[: found.said]]
    rest = sorted(set(range(len(names))) - set(said))
    return Ranking((*said, *rest), found.said, found.kind, found.repeated, found.outside)
