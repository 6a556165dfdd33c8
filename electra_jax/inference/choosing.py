"""Replies that are chosen among candidates: by their vectors, or each read together with the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from electra_jax.dialogue.turns import Turn, reply_text
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.inference.candidate_files import read_candidates
from electra_jax.inference.indexing import build_index
from electra_jax.inference.items import text_of
from electra_jax.inference.replying import KEPT, Proposal, Reading, Reply
from electra_jax.inference.searching import Searcher
from electra_jax.retrieval.candidates import Candidate
from electra_jax.retrieval.index import CandidateIndex, open_index
from electra_jax.tasks.ranking import RankingTask

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Texts, each once; or these with their vectors.
Candidates = Sequence[str] | CandidateIndex


def open_candidates(given: Any) -> Candidates:
    """Return the candidates of a list, or where a path is given those of a file, or an index.

    Raises:
        UserError: there are none, the file cannot be read or is no text, or something in the list is no text.
    """
    if isinstance(given, CandidateIndex):
        return given
    if isinstance(given, str | Path):
        path = local_path(given, "the candidates")
        if path.is_dir():
            return open_index(path)
        return [candidate.text for candidate in read_candidates(str(path))[0]]
    texts = [text_of(text, f"chat: candidate {number}") for number, text in enumerate(given)]
    found = list(dict.fromkeys(text for text in texts if text.strip()))
    if not found:
        raise UserError("chat: the list of candidates is empty: give one text or more")
    return found


class Ranker:
    """Finds candidates with a task of kind ranking; none that was said in the conversation, while there are others.

    A bi- or poly-encoder has the vectors of all candidates, made once; a cross-encoder reads all of them every time.
    """

    def __init__(self, model: Model, task: str, candidates: Candidates, reading: Reading):
        """Make the vectors of candidates, where they are wanted and not there.

        Raises:
            UserError: the index is another model's, or for a cross-encoder.
        """
        known = model.tasks[task]
        assert isinstance(known, RankingTask)
        self._model, self._task, self._reading = model, task, reading
        self._candidates = candidates
        self._room = (known.max_length if known.config.encoder == "cross" else known.longest[0]) - 2
        self._searcher: Searcher | None = None
        if known.config.encoder != "cross" or isinstance(candidates, CandidateIndex):
            if not isinstance(candidates, CandidateIndex):
                numbered = [Candidate(number, text) for number, text in enumerate(candidates)]
                candidates = build_index(model, numbered, None, task)
            self._searcher = Searcher(model, candidates, task)
        else:  # a candidate is in the same row
            longest = max(map(len, model.tokenizer.encode_batch(list(candidates))))
            self._room -= 1 + min(longest, (self._room - 1) // 2)

    def find(self, turns: Sequence[Turn]) -> tuple[Proposal, ...]:
        """Return the best candidates that were not said in the conversation, the best first; of those said none."""
        return self._ranking(turns, repeats=False).proposals

    def reply(self, turns: Sequence[Turn]) -> Reply:
        """Return the candidate that the model puts first."""
        return self._ranking(turns, repeats=True)

    def _ranking(self, turns: Sequence[Turn], *, repeats: bool) -> Reply:
        """Return the best candidates; of those that were said none, or with ``repeats`` where there are no others."""
        text, read = self._reading.read(turns, self._room, self._length)
        said = {_key(turn.text) for turn in turns}
        most = KEPT + len(said)
        while True:
            ranked, cut = self._ranked(text, most)
            fresh = [one for one in ranked if _key(one.text) not in said]
            if len(fresh) >= KEPT or len(ranked) == len(self._candidates):
                break
            most *= 2  # what was said is there several times, in other cases and with other blanks
        best = tuple((fresh or (ranked if repeats else []))[:KEPT])
        return Reply(best[0].text if best else "", best, len(self._candidates), len(read), cut)

    def _ranked(self, text: str, most: int) -> tuple[list[Proposal], bool]:
        """Return the best candidates, so many or all of them, and whether something was cut that is read now."""
        if self._searcher is not None:
            cut: list[bool] = []
            (found,) = self._searcher.search([text], most, cut)
            return [Proposal(one["candidate"], one["score"], one["number"]) for one in found], cut[0]
        (answer,) = self._model.rank_all([(text, self._candidates)], self._task)  # type: ignore[list-item]
        scores = answer["scores"]
        order = sorted(range(len(scores)), key=lambda number: -scores[number])
        texts: Any = self._candidates
        return [Proposal(texts[n], scores[n], n) for n in order], bool(answer.get("truncated"))

    def _length(self, text: str) -> int:
        return len(self._model.tokenizer.encode(text))


def _key(text: str) -> str:
    return reply_text(Turn(text)).casefold()
