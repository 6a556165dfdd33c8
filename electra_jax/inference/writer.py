"""Texts behind prompts: batches of them, one stream, what runs out of positions, and what stop strings cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from electra_jax.config.generation import GenerationConfig
from electra_jax.errors import UserError
from electra_jax.generation.beam import Hypotheses
from electra_jax.generation.buckets import Buckets, row_sizes, sizes
from electra_jax.generation.decode import Texts
from electra_jax.generation.filters import NEVER
from electra_jax.generation.settings import (
    beam_rule,
    build_filters,
    check_stop_strings,
    end_ids,
    resolve_method,
    texts_per_prompt,
)
from electra_jax.generation.stream import TextStream
from electra_jax.generation.written import Finish, Generation
from electra_jax.inference.writing_programs import beams_of_a_batch, padded, placement_of, rows_of_a_batch
from electra_jax.model.sizes import round_up
from electra_jax.tokenizers.text_ids import text_ids

if TYPE_CHECKING:
    from electra_jax.inference.model import Model

# Tokens that are written before stop strings are looked for, and between the pieces of a stream.
_TOKENS_BETWEEN_LOOKS = 16
_PIECE = 8


class Writer:
    """A model with settings to write by.

    Attributes:
        config: the settings.
        method: that is used.
        texts_per_prompt: how many each prompt gets.
        room: tokens that the model can read at once.
    """

    def __init__(self, model: Model, config: GenerationConfig):
        self._model, self.config = model, config
        self.method = resolve_method(config, is_pair=False)
        if self.method == "refine":
            raise UserError(
                "generation.method=refine needs a generator and a discriminator, which a causal language model does "
                "not have: leave it out"
            )
        if config.no_repeat_source_ngram:
            raise UserError(
                "generation.no_repeat_source_ngram is for tasks of kind seq2seq, which have a source: leave it out; "
                "no_repeat_ngram looks at the prompt, too"
            )
        self.texts_per_prompt = texts_per_prompt(config, self.method)
        self.room = min(model.config.data.sequence_length, model.config.model.max_positions)
        tokenizer = model.tokenizer
        check_stop_strings(config, tokenizer)
        self._ends = frozenset(end_ids(config, tokenizer))
        if "text ids" not in model._writing:
            rows = round_up(tokenizer.vocab_size, model.config.model.vocab_multiple)
            model._writing["text ids"] = text_ids(tokenizer, rows)
        self._filters = build_filters(config, tokenizer, model._writing["text ids"])
        self.buckets = self._buckets(self.texts_per_prompt)
        if self.method == "beam":
            self.buckets = self._buckets(config.beams, beams_of_a_batch(model._mesh))

    def _buckets(self, width: int, most: int | None = None) -> Buckets:
        """Return the shapes of batches of ``most`` rows (those of a batch) in which each prompt has ``width``."""
        most, lengths = most or rows_of_a_batch(self._model._mesh), sizes(self.room)
        return Buckets(row_sizes(max(1, most // width), self._model._mesh.size), lengths, lengths)

    def prompt(self, text: str, where: str) -> list[int]:
        """Return the ids of a prompt: [CLS] and its text.

        Raises:
            UserError: it leaves no room to write; ``where`` begins the message.
        """
        ids = [self._model.tokenizer.cls_id, *self._model.tokenizer.encode(text)]
        if len(ids) >= self.room:
            raise UserError(
                f"{where}: the prompt has {len(ids):,} tokens, [CLS] included, and the model reads {self.room:,} with "
                "what it writes: shorten it"
            )
        return ids

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        numbers: Sequence[int] | None = None,
        done: Callable[[int], Any] = lambda count: None,
    ) -> list[list[Generation]]:
        """Return the texts behind each prompt.

        Args:
            prompts: ids, as `prompt` returns them.
            numbers: of each, from which its random numbers follow; None: from 0 on.
            done: called with the number of prompts that are finished, as they are.
        """
        numbers = range(len(prompts)) if numbers is None else numbers
        found: list[list[Generation]] = [[] for _ in prompts]
        for batch in self.buckets.batches([len(ids) for ids in prompts]):
            some = [prompts[place] for place in batch]
            drawn_by = [numbers[place] for place in batch]
            texts = self._search(some) if self.method == "beam" else self._decode(some, drawn_by)
            for place, written in zip(batch, texts, strict=True):
                found[place] = written
            done(len(batch))
        return found

    def stream(self, prompt: Sequence[int]) -> Iterator[str]:
        """Return the text behind one prompt, in pieces, as they become certain.

        Raises:
            UserError: several texts are asked for, or beams.
        """
        if self.method == "beam" or self.texts_per_prompt > 1:
            raise UserError(
                "only one text can be streamed, and none of beams: leave beams and n out, or do not stream"
            )
        return self._pieces(prompt)

    def _pieces(self, prompt: Sequence[int]) -> Iterator[str]:
        text = self._text(prompt, 0, 0)
        while not text.finish:
            for _ in self._looks([text], 1, streams=True):
                if text.piece:
                    yield text.piece
                text.piece = ""
        if rest := text.stream.finish():
            yield rest

    def _text(self, prompt: Sequence[int], number: int, sample: int) -> _Text:
        tokenizer = self._model.tokenizer
        stream = TextStream(
            tokenizer.detokenize,
            self.config.stop_strings,
            prompt=prompt,
            whole_words=tokenizer.kind == "wordpiece",
        )
        return _Text(list(prompt), number, sample, stream)

    def _decode(self, prompts: Sequence[Sequence[int]], numbers: Sequence[int]) -> list[list[Generation]]:
        """Write greedily, or by drawing."""
        samples, most = self.texts_per_prompt, rows_of_a_batch(self._model._mesh)
        texts = [
            [self._text(prompt, number, sample) for sample in range(samples)]
            for prompt, number in zip(prompts, numbers, strict=True)
        ]
        # A prompt is read once for as many of its texts as a batch has room for.
        for start in range(0, samples, most):
            some = [text for of_prompt in texts for text in of_prompt[start : start + most]]
            self._write(some, len(some) // len(texts))
        # What met the end of the positions goes on from its last tokens, each text by itself.
        while open_texts := [text for of_prompt in texts for text in of_prompt if not text.finish]:
            for at in range(0, len(open_texts), most):
                self._write(open_texts[at : at + most], 1)
        return [[text.result() for text in of_prompt] for of_prompt in texts]

    def _write(self, texts: Sequence[_Text], samples: int) -> None:
        for _ in self._looks(texts, samples):
            pass

    def _looks(self, texts: Sequence[_Text], samples: int, *, streams: bool = False) -> Iterator[None]:
        """Write until each text is finished or has no room, and look at them as often as is needed.

        Args:
            texts: one after the other those of a prompt.
            samples: how many a prompt has.
            streams: whether they are looked at as soon as they go on.
        """
        windows = [self._window(text) for text in texts]
        left = [self.config.max_new_tokens - len(text.stream.ids) for text in texts]
        limits = [min(most, self.room - len(ids)) for most, ids in zip(left, windows, strict=True)]
        bucket = self._buckets(samples).fitting(
            len(texts) // samples, max(map(len, windows)), min(self.config.max_new_tokens, self.room)
        )
        place = placement_of(self._model, bucket.rows)
        # In a stream, a line that says what is compiled would come into the text.
        later = place.quiet_programs if streams else place.programs
        first = later if texts[0].stream.ids else place.programs
        ids, lengths = padded(windows[::samples], bucket)
        repeated = bucket.rows * samples

        def by_text(values: list[int]) -> np.ndarray:
            return np.array(values + [0] * (repeated - len(values)), np.int32)

        decoding = first.begin(
            place.params,
            *place.put(
                (
                    ids,
                    lengths,
                    by_text(limits),
                    by_text([text.number for text in texts]),
                    by_text([text.sample for text in texts]),
                    by_text([len(text.stream.ids) for text in texts]),
                )
            ),
            self._filters,
            np.int32(self.config.seed),
            bucket.slots,
            samples,
            self.method == "sample",
        )
        most, until = max(limits), 1
        taken = [len(ids) for ids in windows]
        while True:
            if streams or until > 1 or most == 1:
                finished = self._take(decoding.texts, texts, taken)
                yield
                if until >= most or finished or all(text.finish for text in texts):
                    return
            until = min(most, self._next_look(until, streams))
            decoding = later.advance(place.params, decoding, self._filters, np.int32(until))

    def _next_look(self, written: int, streams: bool) -> int:
        if streams:
            return written + min(written, _PIECE)
        return written + _TOKENS_BETWEEN_LOOKS if self.config.stop_strings else self.config.max_new_tokens

    def _take(self, written: Texts, texts: Sequence[_Text], taken: list[int]) -> bool:
        """Add to each text what is new; return whether all are finished, or have no room."""
        found: Texts = jax.device_get(written)
        tokens, log_probs, used = found.tokens, found.log_probs, found.used
        for row, text in enumerate(texts):
            new = slice(taken[row], int(used[row]))
            if text.finish or new.start == new.stop:
                continue
            text.add(tokens[row, new].tolist(), log_probs[row, new].tolist())
            taken[row] = new.stop
            if text.stream.stopped:
                text.finish = "stop"
            elif text.stream.ids[-1] in self._ends:
                text.finish = "end"
            elif len(text.stream.ids) >= self.config.max_new_tokens:
                text.finish = "length"
        return bool(found.finished.all())

    def _window(self, text: _Text) -> list[int]:
        """Return what is read: prompt and text, or where that has no room [CLS] and its last tokens."""
        ids = [*text.prompt, *text.stream.ids]
        return ids if len(ids) < self.room else [ids[0], *ids[1:][-max(1, self.room // 2) :]]

    def _search(self, prompts: Sequence[Sequence[int]]) -> list[list[Generation]]:
        """Write by beams."""
        longest = max(map(len, prompts))
        bucket = self.buckets.fitting(len(prompts), longest, min(self.config.max_new_tokens, self.room))
        place = placement_of(self._model, bucket.rows)
        ids, lengths = padded(prompts, bucket)
        limits = np.zeros(bucket.rows, np.int32)
        limits[: len(prompts)] = [min(self.config.max_new_tokens, self.room - len(ids)) for ids in prompts]
        found: Hypotheses = jax.device_get(
            place.programs.beams(
                place.params,
                *place.put((ids, lengths, limits)),
                self._filters,
                beam_rule(self.config),
                bucket.slots,
                self.buckets.room(int(limits.max())),
                len(self._ends),
            )
        )
        return [
            [
                self._hypothesis(prompt, found, row, beam)
                for beam in range(self.config.n_best)
                if found.scores[row, beam] > NEVER / 2
            ]
            for row, prompt in enumerate(prompts)
        ]

    def _hypothesis(self, prompt: Sequence[int], found: Hypotheses, row: int, beam: int) -> Generation:
        text = self._text(prompt, 0, 0)
        new = slice(len(prompt), len(prompt) + int(found.written[row, beam]))
        text.add(found.tokens[row, beam, new].tolist(), found.log_probs[row, beam, new].tolist())
        ended = text.stream.ids[-1] in self._ends
        text.finish = "stop" if text.stream.stopped else "end" if ended else "length"
        return replace(text.result(), score=float(found.scores[row, beam]))


@dataclass
class _Text:
    """A text that is being written.

    Attributes:
        prompt: ids it goes on from.
        number: of the prompt.
        sample: which of the prompt's texts.
        stream: its tokens and text so far.
        log_probs: of its tokens.
        finish: why it is no longer; None: it goes on.
        piece: what has become certain of it and was not asked for yet.
    """

    prompt: list[int]
    number: int
    sample: int
    stream: TextStream
    log_probs: list[float] = field(default_factory=list)
    finish: Finish | None = None
    piece: str = ""

    def add(self, ids: list[int], log_probs: list[float]) -> None:
        """Add tokens; where a stop string is met, those up to it."""
        self.piece += self.stream.add(ids)
        self.log_probs = (self.log_probs + log_probs)[: len(self.stream.ids)]

    def result(self) -> Generation:
        """Return the text as it is."""
        ids = tuple(self.stream.ids)
        assert self.finish is not None
        return Generation(self.stream.text, sum(self.log_probs), ids, tuple(self.log_probs), self.finish)
