"""Scorers that read an integer from 0 to 10, as ERank: what is asked for it, and again, and what it is worth."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from posbench.errors import UsageError
from posbench.rankers import grades
from posbench.rankers.llm.calls import Answer, Request, Sampling, Token
from posbench.rankers.llm.client import Client
from posbench.rankers.scorers import REFUSED, TOP, Pair, Scorer
from posbench.reranking import PointwiseRecipe
from posbench.types import Float64

DIGITS = tuple("0123456789")
_UNASKED = grades.Grade(None, "too_long")


class Graded(Scorer):
    """An integer from 0 to 10, as ERank; see ``grades``.

    Where the prompt itself opens the answer, the expected value is read off its first place, whatever was said there.
    """

    def __init__(self, recipe: PointwiseRecipe, client: Client) -> None:
        super().__init__(recipe, client)
        self._weighed, self._expects = recipe.scored != "integer", recipe.scored == "expected"
        self._first = self._expects and self.prompt is not None and self.prompt.opening.endswith("<answer>")

    def score(self, pairs: Sequence[Pair]) -> Float64:
        """A score a pair; prompts whose answer has none are asked again as often as the recipe says."""
        replies = [Reply(request) for request in self.requests(pairs)]
        asks = 1 if self._first else self.recipe.asks
        todo = [reply for reply in replies if reply.request is not None]
        for ask in range(asks):
            self.counts["asked_again"] += len(todo) if ask else 0
            for reply in todo if ask else ():
                reply.again(ask)
            answers = self.ask([reply.request for reply in todo], self._sampling(ask))
            for reply, answer in zip(todo, answers, strict=True):
                reply.read(answer)
            todo = [reply for reply in todo if reply.grade.score is None and not reply.answer.missing]
        self.counts.update(reply.grade.kind for reply in replies)
        if self._expects:
            return self._expected(replies)
        return np.array([self._value(reply) for reply in replies], np.float64)

    def _sampling(self, ask: int) -> Sampling:
        return Sampling(
            max_tokens=self.recipe.answer_tokens,
            temperature=self.recipe.temperature if ask else 0.0,
            top=TOP if self._expects else 1 if self._weighed else 0,
            also=DIGITS if self._expects else (),
            after="" if self._first else "<answer>",
        )

    def _value(self, reply: "Reply") -> float:
        """The score, times its probability if that is wanted."""
        if reply.grade.score is None:
            return math.nan
        if not self._weighed:
            return float(reply.grade.score)
        place = self._place(reply)
        return math.nan if place is None else reply.grade.score * grades.probability(reply.answer.tokens, place)

    def _place(self, reply: "Reply") -> grades.Spelled | None:
        """Where the score is spelled; one that cannot be found has no probability, and so no score."""
        if reply.answer.missing or (reply.grade.score is None and not self._first):
            return None
        if not reply.answer.tokens:
            raise UsageError(
                f"score {self.recipe.scored!r} needs log-probabilities, which this backend does not give; "
                'say score = "integer"'
            )
        if self._first:
            return grades.Spelled(0, 1, "")
        place = grades.spelled(reply.answer.tokens, reply.digits)
        self.counts["unplaced"] += place is None
        return place

    def _expected(self, replies: Sequence["Reply"]) -> Float64:
        """Expected values; where 1 is a likely first digit, what follows it is read or asked for."""
        places = {row: place for row, reply in enumerate(replies) if (place := self._place(reply)) is not None}
        begins = {
            row: grades.first_digits(replies[row].answer.tokens[place.first], place.before)
            for row, place in places.items()
        }
        splits: dict[int, tuple[float, float]] = {}
        for row, place in places.items():
            if begins[row].get("1", 0.0) <= grades.SPLIT_FROM:
                splits[row] = (0.0, 1.0)
            elif (behind := _behind_one(replies[row].answer, place)) is not None:
                splits[row] = grades.followed(behind)
        unknown = [row for row in places if row not in splits]
        asked = [replies[row].with_one() for row in unknown]
        self.counts["split_asked"] += len(asked)
        for row, answer in zip(unknown, self.ask(asked, Sampling(max_tokens=1, top=TOP, also=DIGITS)), strict=True):
            splits[row] = grades.followed(answer.tokens[0]) if answer.tokens else (0.0, 1.0)
        values = np.full(len(replies), math.nan)
        for row in places:
            shares = grades.distribution(begins[row], splits[row])
            values[row] = grades.expected(shares)
            self.masses.append(sum(shares))
        return values


class Reply:
    """A request, what was answered, and the score in it."""

    def __init__(self, request: Request | None) -> None:
        self.request, self.answer, self.grade = request, REFUSED, _UNASKED

    def again(self, ask: int) -> None:
        """Makes it the request for another answer."""
        assert self.request is not None
        self.request = msgspec.structs.replace(self.request, sample=ask)

    def read(self, answer: Answer) -> None:
        """Takes an answer."""
        self.answer = answer
        self.grade = grades.read(self._whole, answer.finish)

    @property
    def _whole(self) -> str:
        return (self.request.opening if self.request else "") + self.answer.text

    @property
    def digits(self) -> str:
        """The score as the answer spells it."""
        return self._whole[self.grade.start : self.grade.end]

    def with_one(self) -> Request:
        """The request for what would follow, had the answer begun its score with a 1."""
        assert self.request is not None
        start = self.grade.start if self.grade.score is not None else len(self.request.opening)
        return Request(self.request.messages, self.request.text, self._whole[:start] + "1")


def _behind_one(answer: Answer, place: grades.Spelled) -> Token | None:
    """The token behind a first digit 1, where that is what the answer begins with and its alternatives are there."""
    first = answer.tokens[place.first].text[len(place.before) :].strip()
    if first != "1" or len(answer.tokens) <= place.first + 1:
        return None
    behind = answer.tokens[place.first + 1]
    return behind if behind.top else None
