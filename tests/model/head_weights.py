"""Fine-tuned weights and gradients of the two other implementations, as trees of ours."""

import re
import zlib

import numpy as np

ENCODER = (
    (r"electra/embeddings/(word|position|token_type)_embeddings(?:/weight)?", r"embeddings/\1/embedding"),
    (r"electra/embeddings/LayerNorm", "embeddings/layer_norm"),
    (r"electra/embeddings_project", "encoder/embeddings_project"),
    (r"electra/encoder/layer[_/](\d+)/", r"encoder/\1/"),
    (r"attention/self/", "attention/"),
    (r"attention/output/dense", "attention/output"),
    (r"attention/output/LayerNorm", "attention_layer_norm"),
    (r"(intermediate|output)/dense", r"\1"),
    (r"output/LayerNorm", "output_layer_norm"),
    (r"layer_norm/(gamma|weight)", "layer_norm/scale"),
    (r"beta", "bias"),
)
REFERENCE_HEADS = (
    (r"task_specific/squad/dense/", "heads/squad/start/"),
    (r"task_specific/squad/qa_hidden/", "heads/squad/end_hidden/"),
    (r"task_specific/squad/dense_1/", "heads/squad/end/"),
    (r"task_specific/squad/dense_2/", "heads/squad/answerable_hidden/"),
    (r"task_specific/squad/dense_3/", "heads/squad/answerable_prediction/"),
    (r"task_specific/(\w+)/dense/", r"heads/\1/prediction/"),
)
HUGGINGFACE_HEADS = (
    (r"^(classifier/dense|sequence_summary/summary)/", "heads/task/dense/"),
    (r"^(classifier/out_proj|classifier|qa_outputs)/", "heads/task/prediction/"),
)


def params_from_reference(variables):
    """Variables of the original's fine-tuning, or anything that is recorded by their names."""
    return _tree({_renamed(name, REFERENCE_HEADS): array for name, array in variables.items()})


def params_from_huggingface(tensors):
    """Tensors of one Hugging Face model, or their gradients; its head is that of the task ``task``."""
    flat = {}
    for name, tensor in tensors.items():
        ours = _renamed(name.replace(".", "/"), HUGGINGFACE_HEADS)
        if ours.endswith("/weight"):
            ours, tensor = ours.replace("/weight", "/kernel"), tensor.T
        flat[ours] = tensor
    return _tree(flat)


def drawn_variable(name, shape):
    """The weights that the recorded runs of the original started from, by the name of the variable.

    Those of the heads were not recorded. All that were recorded are uniform numbers of standard deviation .05
    (LayerNorm scales: 1 ± .1), seeded by a checksum of their name.
    """
    uniform = np.random.RandomState(zlib.crc32(name.encode())).rand(*shape) * 2 - 1
    scale = name.endswith("gamma")
    return (uniform * 3**0.5 * (0.1 if scale else 0.05)).astype(np.float32) + np.float32(scale)


def _renamed(name, heads):
    for pattern, ours in (*heads, *ENCODER):
        if name.startswith("heads/"):
            return name
        name = re.sub(pattern, ours, name)
    return name


def _tree(flat):
    tree = {}
    for name, array in flat.items():
        *modules, leaf = name.split("/")
        node = tree
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = np.asarray(array)
    encoder = tree["encoder"]
    numbers = sorted(key for key in encoder if key.isdigit())
    encoder["layers"] = _stack([encoder.pop(number) for number in numbers])
    return tree


def _stack(trees):
    if isinstance(trees[0], dict):
        return {key: _stack([tree[key] for tree in trees]) for key in trees[0]}
    return np.stack(trees)
