"""Texts and pairs of texts as rows of ids.

As in google-research/electra, finetune/classification/classification_tasks.py.
"""

from collections.abc import Sequence

import numpy as np

from electra_jax.config.networks import ModelConfig
from electra_jax.errors import UserError
from electra_jax.tasks.protocol import Rows, TextExample
from electra_jax.tokenizers import Tokenizer


def text_rows(
    tokenizer: Tokenizer, examples: Sequence[TextExample], max_length: int, *, both_orders: bool = False
) -> Rows:
    """Encode texts as ``[CLS] text [SEP]``, and pairs as ``[CLS] text [SEP] pair [SEP]``.

    Of a pair that is too long the longer text is cut first. A second text without tokens makes no pair, as in the
    reference. ``details`` says for each row whether it was cut.

    Args:
        tokenizer: encodes the texts.
        examples: the examples; their labels are ignored, so there are no targets.
        max_length: of a row, in tokens.
        both_orders: add a second row for each pair, with its texts swapped.
    """
    firsts = tokenizer.encode_batch([example.text for example in examples])
    seconds = tokenizer.encode_batch([example.pair or "" for example in examples])
    rows, is_cut = [], []
    for number, (example, first, second) in enumerate(zip(examples, firsts, seconds, strict=True)):
        orders = [(first, second)]
        if both_orders and example.pair is not None:
            orders.append((second, first))
        for one, other in orders:
            rows.append((number, *_row(tokenizer, one, other, max_length)))
            is_cut.append(len(one) + len(other) > max_length - (3 if other else 2))
    return Rows(
        input_ids=[ids for _, ids, _ in rows],
        token_type_ids=[types for *_, types in rows],
        targets={},
        example_index=np.array([number for number, *_ in rows], np.int32),
        details=is_cut,
    )


def check_token_types(name: str, rows: Rows, model: ModelConfig) -> None:
    """Refuse pairs of texts for a model without a token type for the second, whose embedding would be no number.

    Raises:
        UserError: a row has one.
    """
    known = model.type_vocab_size
    if model.block == "bert" and known < 2 and any((types >= known).any() for types in rows.token_type_ids):
        raise UserError(
            f"{name} has pairs of texts, and the model knows one token type: they need a model of "
            "model.type_vocab_size=2 or more"
        )


def _row(
    tokenizer: Tokenizer, first: Sequence[int], second: Sequence[int], max_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and token types, int32."""
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    if not second:
        ids = [cls, *first[: max_length - 2], sep]
        return np.array(ids, np.int32), np.zeros(len(ids), np.int32)
    first, second = truncate_pair(list(first), list(second), max_length - 3)
    ids = [cls, *first, sep, *second, sep]
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    return np.array(ids, np.int32), np.array(types, np.int32)


def truncate_pair(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Remove tokens from the end of the longer text until both fit ``room`` together, as the original does."""
    excess = len(first) + len(second) - room
    while excess > 0:
        longer = first if len(first) > len(second) else second
        longer.pop()
        excess -= 1
    return first, second
