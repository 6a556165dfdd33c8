"""Options as pairs of ids with their context, one option a row or the options of an example together.

A context that is too long loses its start: the last turns of a dialogue decide what can follow.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from electra_jax.tasks.protocol import ChoiceExample, Rows
from electra_jax.tokenizers import Tokenizer


def option_rows(tokenizer: Tokenizer, examples: Sequence[ChoiceExample], max_length: int) -> Rows:
    """Encode each option as ``[CLS] context [SEP] question option [SEP]``, a row of its own.

    What is too long is cut as in `cut_pair`; ``details`` says for each row whether it was.

    Args:
        tokenizer: encodes the texts.
        examples: the examples; their answers are ignored, so there are no targets.
        max_length: of a row, in tokens.
    """
    contexts = tokenizer.encode_batch([example.context for example in examples])
    seconds = [
        f"{example.question} {option}" if example.question else option
        for example in examples
        for option in example.options
    ]
    owners = np.repeat(np.arange(len(examples)), [len(example.options) for example in examples])
    ids, types, is_cut = [], [], []
    for owner, second in zip(owners, tokenizer.encode_batch(seconds), strict=True):
        row, kinds, cut = pair_row(tokenizer, contexts[owner], second, max_length)
        ids.append(row)
        types.append(kinds)
        is_cut.append(cut)
    return Rows(ids, types, {}, owners.astype(np.int32), is_cut)


def pair_row(
    tokenizer: Tokenizer, context: Sequence[int], second: Sequence[int], max_length: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the ids and token types of ``[CLS] context [SEP] second [SEP]``, int32, and whether it was cut."""
    first, last = cut_pair(context, second, max_length - 3)
    ids = [tokenizer.cls_id, *first, tokenizer.sep_id, *last, tokenizer.sep_id]
    types = [0] * (len(first) + 2) + [1] * (len(last) + 1)
    is_cut = len(first) + len(last) < len(context) + len(second)
    return np.array(ids, np.int32), np.array(types, np.int32), is_cut


def cut_pair(context: Sequence[int], second: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return both so that they fit ``room``: the context loses its start, and then what follows it its end.

    Of what follows nothing is lost while it has half of the room or less.
    """
    second = second[: max(0, room - min(len(context), room // 2))]
    return context[max(0, len(context) - (room - len(second))) :], second


def together(rows: Rows, pad_id: int) -> Rows:
    """Return the rows of each example as one, ``[options, length]``; missing options are padding.

    Args:
        rows: one for each option, those of an example one after the other.
        pad_id: the id of [PAD].
    """
    starts = np.flatnonzero(np.diff(rows.example_index, prepend=-1)).tolist()
    ends = [*starts[1:], len(rows)]
    most = max(end - start for start, end in zip(starts, ends, strict=True))
    ids, types, segments, lengths = [], [], [], rows.lengths
    for start, end in zip(starts, ends, strict=True):
        shape = (most, int(lengths[start:end].max()))
        some = np.full(shape, pad_id, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for place, row in enumerate(range(start, end)):
            size = len(rows.input_ids[row])
            some[0][place, :size] = rows.input_ids[row]
            some[1][place, :size] = rows.token_type_ids[row]
            some[2][place, :size] = 1
        ids.append(some[0])
        types.append(some[1])
        segments.append(some[2])
    return replace(
        rows,
        input_ids=ids,
        token_type_ids=types,
        segment_ids=segments,
        example_index=rows.example_index[starts],
        details=[any(rows.details[start:end]) for start, end in zip(starts, ends, strict=True)],
    )
