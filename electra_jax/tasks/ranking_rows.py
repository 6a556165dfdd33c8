"""A context with candidates as one row of ids, each a segment of its own, for encoders that read them apart."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from electra_jax.tasks.protocol import RankingExample, Rows
from electra_jax.tokenizers import Tokenizer

Side = Literal["context", "candidate"]

# Of the rows that are predicted: candidates, and tokens of candidates, that are read beside one context.
CANDIDATES_PER_ROW = 32
_CANDIDATE_TOKENS = 512


def training_rows(
    tokenizer: Tokenizer,
    examples: Sequence[RankingExample],
    max_length: int,
    max_candidate: int,
    *,
    keeps_start: bool = False,
) -> Rows:
    """Encode each example as ``[CLS] context [SEP] [CLS] candidate [SEP] …``, the right candidate first.

    The target ``candidate`` is int32 ``[rows, candidates]``: a number for each text, the same for the same text, and 0
    where an example has fewer candidates than another. ``context``, int32 ``[rows]``, is the number of the context,
    which a candidate with the same text has, too.

    Args:
        tokenizer: encodes the texts.
        examples: each with one right candidate.
        max_length: of a context, in tokens; a longer one is cut at its start.
        max_candidate: of a candidate; a longer one is cut at its end.
        keeps_start: cut contexts at their end, too.
    """
    chosen = []
    for example in examples:
        (right,) = example.relevant or (0,)
        chosen.append((right, *(n for n in range(len(example.candidates)) if n != right)))
    numbers: dict[str, int] = {}
    most = max(map(len, chosen), default=1)
    targets = np.zeros((len(examples), most), np.int32)
    for row, (example, order) in enumerate(zip(examples, chosen, strict=True)):
        for place, number in enumerate(order):
            text = example.candidates[number]
            targets[row, place] = numbers.setdefault(text, len(numbers) + 1)
    rows, _ = _packed(
        tokenizer, examples, chosen, range(len(examples)), max_length, max_candidate, keeps_start
    )
    contexts = [numbers.setdefault(example.context, len(numbers) + 1) for example in examples]
    return Rows(**rows, targets={"candidate": targets, "context": np.array(contexts, np.int32)})


def prediction_rows(
    tokenizer: Tokenizer,
    examples: Sequence[RankingExample],
    max_length: int,
    max_candidate: int,
    *,
    keeps_start: bool = False,
) -> Rows:
    """Encode examples as `training_rows` does, their candidates in order, over several rows where they are many.

    ``details`` says for each row how many candidates it has, and whether a text was cut.
    """
    pieces, owners = [], []
    for owner, example in enumerate(examples):
        lengths = [
            min(len(ids) + 2, max_candidate) for ids in tokenizer.encode_batch(list(example.candidates))
        ]
        piece: list[int] = []
        tokens = 0
        for number, length in enumerate(lengths):
            if piece and (len(piece) == CANDIDATES_PER_ROW or tokens + length > _CANDIDATE_TOKENS):
                pieces.append(tuple(piece))
                owners.append(owner)
                piece, tokens = [], 0
            piece.append(number)
            tokens += length
        pieces.append(tuple(piece))
        owners.append(owner)
    rows, is_cut = _packed(tokenizer, examples, pieces, owners, max_length, max_candidate, keeps_start)
    return Rows(**rows, targets={}, details=list(zip(map(len, pieces), is_cut, strict=True)))


def text_rows(
    tokenizer: Tokenizer, texts: Sequence[str], side: Side, longest: int, *, keeps_start: bool = False
) -> Rows:
    """Encode texts alone, as contexts, which are cut at their start, or as candidates, which are cut at their end.

    ``details`` says of each whether it was cut.

    Args:
        tokenizer: encodes the texts.
        texts: a row each.
        side: what they are.
        longest: in tokens.
        keeps_start: cut contexts at their end, too.
    """
    encoded = tokenizer.encode_batch(list(texts))
    room, is_context = longest - 2, side == "context"
    keeps_end = is_context and not keeps_start
    kept = [ids[max(0, len(ids) - room) :] if keeps_end else ids[:room] for ids in encoded]
    rows = [np.array([tokenizer.cls_id, *ids, tokenizer.sep_id], np.int32) for ids in kept]
    return Rows(
        rows,
        [np.zeros_like(row) for row in rows],
        {},
        np.arange(len(rows), dtype=np.int32),
        details=[len(some) < len(ids) for some, ids in zip(kept, encoded, strict=True)],
        segment_ids=[np.full_like(row, 1 if is_context else 2) for row in rows],
    )


def _packed(
    tokenizer: Tokenizer,
    examples: Sequence[RankingExample],
    pieces: Sequence[Sequence[int]],
    owners: Sequence[int],
    max_length: int,
    max_candidate: int,
    keeps_start: bool = False,
) -> tuple[dict[str, Any], list[bool]]:
    """Return the arrays of rows with these candidates of these examples, and which were cut."""
    contexts = tokenizer.encode_batch([example.context for example in examples])
    texts = [
        examples[owner].candidates[n] for owner, piece in zip(owners, pieces, strict=True) for n in piece
    ]
    encoded = iter(tokenizer.encode_batch(texts))
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    rows, segments, is_cut = [], [], []
    for owner, piece in zip(owners, pieces, strict=True):
        context = contexts[owner]
        first = 0 if keeps_start else max(0, len(context) - (max_length - 2))
        kept = context[first : first + max_length - 2]
        ids, numbers, cut = [cls, *kept, sep], [1] * (len(kept) + 2), len(kept) < len(context)
        for place in range(len(piece)):
            candidate = next(encoded)
            some = candidate[: max_candidate - 2]
            ids += [cls, *some, sep]
            numbers += [place + 2] * (len(some) + 2)
            cut = cut or len(some) < len(candidate)
        rows.append(np.array(ids, np.int32))
        segments.append(np.array(numbers, np.int32))
        is_cut.append(cut)
    return {
        "input_ids": rows,
        "token_type_ids": [np.zeros_like(row) for row in rows],
        "segment_ids": segments,
        "example_index": np.array(owners, np.int32),
    }, is_cut
