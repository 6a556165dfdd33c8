"""Texts that are read and texts to be written, as rows of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Rows, Seq2SeqExample
from electra_jax.tasks.retrieved_texts import retrieved_ids, source_room
from electra_jax.tokenizers import Tokenizer

# Below this share of words that a vocabulary does not give back as they are, nothing is said.
_LOSSY = 0.001


@dataclass(frozen=True)
class SourceRow:
    """What became of a source.

    Attributes:
        tokens: that it has, its prefix included.
        cut: of which this many are not read.
    """

    tokens: int
    cut: int


def seq2seq_rows(
    name: str,
    config: Seq2SeqConfig,
    tokenizer: Tokenizer,
    examples: Sequence[Seq2SeqExample],
    longest: tuple[int, int],
    *,
    training: bool,
) -> Rows:
    """Encode sources as ``[CLS] text [SEP]``, and in training targets as ``text [SEP]``, a row for each reference.

    Behind a source stands what was retrieved for it, ``text [SEP]``, of the second token type.

    ``details`` has a `SourceRow` for each row. With ``long: chunks`` a source that is too long has a row for each
    chunk, except in training.

    Args:
        name: of the task, for messages.
        config: its section.
        tokenizer: encodes the texts.
        examples: the examples; hidden ones only without ``training``.
        longest: source and target in tokens, [CLS] and [SEP] included.
        training: whether targets are needed.

    Raises:
        UserError: hidden targets in training; a source that is too long, with ``long: error``.
    """
    where, room = f"finetune.tasks.{name}", source_room(config, longest[0])
    sources = tokenizer.encode_batch([config.prefix + example.source for example in examples])
    references: list[tuple[str, ...]] = [(example.targets or ()) if training else () for example in examples]
    flat = [text for texts in references for text in texts]
    encoded = iter(tokenizer.encode_batch(flat))
    retrieved: list[list[int]] = []
    notes: list[str] = []
    if config.retrieval is not None:
        retrieved, notes = retrieved_ids(config, tokenizer, examples, references)
    rows: list[np.ndarray] = []
    types: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    owners: list[int] = []
    details: list[SourceRow] = []
    long_targets = 0
    for number, (example, ids) in enumerate(zip(examples, sources, strict=True)):
        if training and example.targets is None:
            raise UserError(
                f"{where}: the example {example.id!r} has no target to learn; leave it out, or give one"
            )
        if len(ids) > room and config.long == "error":
            raise UserError(
                f"{where}: the source of the example {example.id!r} has {len(ids):,} tokens, and {room:,} can be read: "
                f"shorten it, or set {where}.long to truncate or chunks"
            )
        # Of a conversation the last turns are read.
        pieces = [ids[:room] if config.conversations is None else ids[max(0, len(ids) - room) :]]
        if config.long == "chunks" and not training:
            pieces = [ids[start : start + room] for start in range(0, max(len(ids), 1), room)]
        cut = len(ids) - sum(map(len, pieces))
        for piece in pieces * (len(references[number]) or 1):
            behind = retrieved[len(rows)] if retrieved else []
            behind = [*behind, tokenizer.sep_id] if behind else []
            rows.append(np.array([tokenizer.cls_id, *piece, tokenizer.sep_id, *behind], np.int32))
            types.append(np.repeat(np.array([0, 1], np.int32), [len(piece) + 2, len(behind)]))
            owners.append(number)
            details.append(SourceRow(len(ids), cut))
        for _ in references[number]:
            wanted = next(encoded)
            long_targets += len(wanted) >= longest[1]
            targets.append(np.array([*wanted[: longest[1] - 1], tokenizer.sep_id], np.int32))
    notes = [*_cut_notes(details, owners, room), *notes, *_target_notes(flat, long_targets, longest[1])]
    if training:
        notes += _lossy_notes(flat, tokenizer)
    return Rows(
        input_ids=rows,
        token_type_ids=types,
        targets={},
        example_index=np.array(owners, np.int32),
        details=details,
        target_ids=targets,
        notes=tuple(notes),
    )


def _cut_notes(details: Sequence[SourceRow], owners: Sequence[int], room: int) -> list[str]:
    by_example = dict(zip(owners, details, strict=True))
    cut = [row.cut for row in by_example.values() if row.cut]
    tokens = sum(row.tokens for row in by_example.values())
    if not cut:
        return []
    return [
        f"note: {len(cut):,} of {len(by_example):,} sources have more than {room:,} tokens, and {sum(cut):,} of "
        f"{tokens:,} tokens are not read"
    ]


def _target_notes(targets: Sequence[str], long: int, most: int) -> list[str]:
    if not long:
        return []
    return [f"note: {long:,} of {len(targets):,} targets are cut at {most:,} tokens"]


def _lossy_notes(targets: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Say which share of the targets' words the vocabulary cannot write."""
    words: dict[str, int] = {}
    for text in targets:
        for word in text.split():
            words[word] = words.get(word, 0) + 1
    encoded = tokenizer.encode_batch(list(words))
    lost = {
        word: written
        for word, ids in zip(words, encoded, strict=True)
        if (written := tokenizer.detokenize(ids).strip()) != word
    }
    share = sum(words[word] for word in lost) / max(1, sum(words.values()))
    if share < _LOSSY:
        return []
    word, written = max(lost.items(), key=lambda item: words[item[0]])
    return [
        f"warning: the vocabulary cannot write {share:.1%} of the words of the targets as they are ({word!r} becomes "
        f"{written!r}): train one with tokenizer.lowercase=false and tokenizer.strip_accents=false"
    ]
