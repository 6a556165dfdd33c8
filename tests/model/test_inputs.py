import numpy as np

from electra_jax.model.inputs import packed_inputs

CLS, SEP, PAD = 2, 3, 0


def _by_loop(row):
    """The definition, a token at a time."""
    segments, positions, types = [], [], []
    segment, position, separators = 0, 0, 0
    for token in row:
        if token == CLS:
            segment, position, separators = segment + 1, 0, 0
        real = token != PAD
        segments.append(segment if real else 0)
        positions.append(position if real else 0)
        types.append(min(separators, 1) if real else 0)
        position += 1
        separators += token == SEP
    return segments, positions, types


def test_packed_inputs_follow_the_definition():
    rows = np.array(
        [
            [CLS, 9, 8, SEP, CLS, 7, SEP, CLS, 6, 5, SEP, PAD],
            [CLS, 9, SEP, 8, 7, SEP, PAD, PAD, PAD, PAD, PAD, PAD],
            [CLS, 9, SEP, 8, SEP, CLS, 7, SEP, 6, 5, 4, SEP],
            # Rows of language models: [SEP] where a document ends, not where a row does.
            [CLS, 9, 8, SEP, CLS, 7, 6, SEP, CLS, 5, 4, 9],
            [CLS, 9, 8, 7, 6, 5, 4, 9, 8, 7, 6, PAD],
            [PAD] * 12,
        ],
        np.int32,
    )
    inputs = packed_inputs(rows, pad_id=PAD, cls_id=CLS, sep_id=SEP)
    expected = [_by_loop(row) for row in rows]
    np.testing.assert_array_equal(inputs.segment_ids, [e[0] for e in expected])
    np.testing.assert_array_equal(inputs.position_ids, [e[1] for e in expected])
    np.testing.assert_array_equal(inputs.token_type_ids, [e[2] for e in expected])
