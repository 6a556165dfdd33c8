"""The heads of fine-tuning, figure for figure against the original and Hugging Face, and by themselves."""

import json
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from head_weights import drawn_variable, params_from_huggingface, params_from_reference
from safetensors.numpy import load_file
from small_run import SmallVocabulary, small_config

from electra_jax.config.schema import Config
from electra_jax.model.inputs import EncoderInputs
from electra_jax.model.task_heads import (
    AnswerBeam,
    ClassificationHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    SpanHead,
    TaggingHead,
    answer_mask,
    independent_beam,
)
from electra_jax.objectives import build_network
from electra_jax.optim import build_optimizer
from electra_jax.optim.decay_mask import weight_decay_mask
from electra_jax.partitioning.axes import parameter_specs, path_name
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.losses import (
    in_range,
    question_answering_loss,
    softmax_cross_entropy,
    span_loss,
    squared_error,
    tagging_loss,
    weighted_mean,
)

TASKS = ("mnli", "sts", "squad", "chunk")  # the original's order, in which task_id counts

# A softmax does not change when all its logits are shifted alike: the gradients of these are 0, and what either
# side records of them is rounding.
ZERO_GRADIENTS = {
    "joint": {"heads/squad/start/bias", "heads/squad/end/bias"},
    "independent": {"heads/squad/start/bias", "heads/squad/end/bias"},
    "qa": {"heads/task/prediction/bias"},
}
KEY_BIAS = "encoder/layers/attention/key/bias"


def _tiny_network():
    """The network of all recorded figures."""
    sizes = {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_size": 64,
        "embedding_size": 16,
        "max_positions": 64,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "vocab_multiple": 1,
    }
    return build_network(Config.model_validate({"model": sizes, "data": {"sequence_length": 24}}), 200)


def _inputs(ids, mask, token_types):
    positions = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    return EncoderInputs(ids, token_types, positions, mask)


def _encode(params, inputs):
    # Only the encoder's parameters are there: neither a generator nor the heads of pre-training.
    encoder = {name: params[name] for name in ("embeddings", "encoder")}
    return _tiny_network().apply({"params": encoder}, inputs, None, method="encode")


def _largest(ours, theirs):
    """The largest absolute difference of two arrays of one shape."""
    assert ours.shape == theirs.shape
    return np.abs(np.asarray(ours) - theirs).max()


def _assert_same_gradients(ours, theirs, zero, within, whose):
    theirs = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(theirs)}
    ours = {path_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(ours)}
    assert ours.keys() == theirs.keys()
    largest = max(np.linalg.norm(leaf) for leaf in theirs.values())
    for name, leaf in ours.items():
        if name in zero | {KEY_BIAS}:
            # rounding of probabilities that add up to 1, and of gradients that cancel
            assert max(np.linalg.norm(leaf), np.linalg.norm(theirs[name])) <= 1e-6 * max(1.0, largest), name
        else:
            assert leaf.shape == theirs[name].shape, name
            difference = np.linalg.norm(leaf - theirs[name]) / np.linalg.norm(theirs[name])
            within(f"{whose}: every gradient (norm of the difference, relative)", difference, 1e-4)


# --- the original ---------------------------------------------------------------------------------------------


def _reference_heads(joint):
    return {
        "mnli": ClassificationHead(3, "reference", jnp.float32),
        "sts": ClassificationHead(1, "reference", jnp.float32),
        "squad": QuestionAnsweringHead(joint=joint, answerable=True, dtype=jnp.float32),
        "chunk": TaggingHead(5, "reference", jnp.float32),
    }


@pytest.fixture(scope="module", params=["joint", "independent"])
def reference(request, shared):
    """(variant, recorded training, recorded prediction, parameters)."""
    folder = shared / "golden" / "tf"
    train, predict = (
        dict(np.load(folder / f"tiny_finetune_{mode}_{request.param}.npz")) for mode in ("train", "predict")
    )
    recorded = dict(np.load(folder / "tiny_weights.npz"))
    names = [name.removeprefix("grad/") for name in train if name.startswith("grad/")]
    params = params_from_reference(
        {n: recorded[n] if n in recorded else drawn_variable(n, train[f"grad/{n}"].shape) for n in names}
    )
    return request.param, train, predict, params


def _reference_outputs(variant, golden, params):
    """Logits and losses by task, of all four heads on the same rows."""
    inputs = _inputs(golden["in/input_ids"], golden["in/input_mask"], golden["in/segment_ids"])
    hidden = _encode(params, inputs)
    heads = _reference_heads(variant == "joint")
    starts, ends = golden["in/squad_start_positions"], golden["in/squad_end_positions"]

    def head(task, *args):
        return heads[task].apply({"params": params["heads"][task]}, hidden, *args)

    answers = head("squad", answer_mask(inputs), starts)
    logits = {
        "mnli": head("mnli", inputs.segment_ids != 0),
        "sts": head("sts", inputs.segment_ids != 0)[:, 0],
        "squad": answers,
        "chunk": head("chunk", golden["in/chunk_labeled_positions"]),
    }
    losses = {
        "mnli": softmax_cross_entropy(logits["mnli"], golden["in/mnli_label_ids"]),
        "sts": squared_error(logits["sts"], golden["in/sts_targets"]),
        "squad": question_answering_loss(
            answers.start, answers.end, answers.answerable, starts, ends, golden["in/squad_is_impossible"]
        ),
        "chunk": tagging_loss(logits["chunk"], golden["in/chunk_labels"], golden["in/chunk_labels_mask"]),
    }
    return logits, losses


def _total(losses, golden):
    return sum((losses[task] * (golden["in/task_id"] == i)).sum() for i, task in enumerate(TASKS))


@pytest.mark.shared_data
def test_rule_of_the_recorded_weights(shared):
    """The heads' first weights are not recorded; every weight that is follows `drawn_variable` to the bit."""
    folder = shared / "golden" / "tf"
    recorded = np.load(folder / "tiny_weights.npz")
    for name in recorded.files:
        np.testing.assert_array_equal(
            drawn_variable(name, recorded[name].shape), recorded[name], err_msg=name
        )
    variables = json.loads((folder / "finetune_variables.json").read_text())
    tree = params_from_reference({name: np.zeros(shape) for name, shape in variables.items()})
    assert len(jax.tree.leaves(tree["heads"])) == sum(name.startswith("task_specific") for name in variables)


@pytest.mark.shared_data
def test_reference_logits_and_losses(reference, within):
    variant, train, _, params = reference
    logits, losses = jax.jit(lambda p: _reference_outputs(variant, train, p))(params)
    answers = logits.pop("squad")
    what = "TensorFlow's heads: logits of"
    within(f"{what} classification", _largest(logits["mnli"], train["out/mnli/logits"]), 2e-5)
    within(f"{what} regression", _largest(logits["sts"], train["out/sts/predictions"]), 2e-5)
    within(f"{what} tagging", _largest(logits["chunk"], train["out/chunk/logits"]), 2e-5)
    answerable = _largest(answers.answerable, train["out/squad/answerable_logit"])
    within(f"{what} 'has no answer'", answerable, 2e-5)
    for ours, theirs in ((answers.start, "start"), (answers.end, "end")):
        theirs = train[f"out/squad/{theirs}_logits"]
        possible = theirs > -500
        within(f"{what} starts and ends", _largest(ours[possible], theirs[possible]), 2e-5)
        # −1000 leaves float32 a step of 6e-5
        difference = _largest(ours[~possible], theirs[~possible])
        within(f"{what} starts and ends that are ruled out (near −1000)", difference, 1.3e-4)
    expected = np.concatenate([train[f"out/{task}/loss"] for task in TASKS])
    relative = _largest(np.concatenate([losses[task] for task in TASKS]) / expected, np.ones_like(expected))
    within("TensorFlow's heads: loss of every example (relative)", relative, 1e-5)
    total = abs(float(_total(losses, train)) / float(train["out/loss"]) - 1)
    within("TensorFlow's heads: loss of the batch (relative)", total, 1e-5)


@pytest.mark.shared_data
def test_reference_gradients(reference, within):
    variant, train, _, params = reference
    gradient = jax.jit(jax.grad(lambda p: _total(_reference_outputs(variant, train, p)[1], train)))(params)
    recorded = {n.removeprefix("grad/"): a for n, a in train.items() if n.startswith("grad/")}
    expected = params_from_reference(recorded)
    _assert_same_gradients(gradient, expected, ZERO_GRADIENTS[variant], within, "TensorFlow's heads")


@pytest.mark.shared_data
def test_reference_updates_with_layer_wise_decay(reference, within):
    """Three updates; TensorFlow clips by a norm that leaves the rows of repeated tokens unsummed (docs/parity.md)."""
    variant, train, _, params = reference
    config = Config.model_validate(
        {
            "objective": {"kind": "finetune"},
            "finetune": {"tasks": {"rte": {}}, "reference_quirks": True},
            "optimizer": {"learning_rate": 0.01, "warmup_steps": 2, "layer_decay": 0.8, "clip_norm": None},
            "train": {"steps": 10},
        }
    )
    shape = (*train["in/input_ids"].shape, params["embeddings"]["word"]["embedding"].shape[1])

    def loss(params, added):
        def add(call, args, kwargs, context):
            found = call(*args, **kwargs)
            looked_up = context.module.path == ("embeddings", "word") and context.method_name == "__call__"
            return found + added if looked_up else found

        with nn.intercept_methods(add):
            return _total(_reference_outputs(variant, train, params)[1], train)

    gradients_of = jax.jit(jax.grad(loss, argnums=(0, 1)))
    optimizer = build_optimizer(
        config.optimizer, params, total_steps=config.train.total_steps, finetune=config.finetune
    )
    state = optimizer.init(params)
    for _ in range(3):
        gradients, rows = gradients_of(params, jnp.zeros(shape))
        summed = gradients["embeddings"]["word"]["embedding"]
        squared = optax.tree.norm(gradients) ** 2 - jnp.sum(summed**2) + jnp.sum(rows**2)
        norm = jnp.maximum(1.0, jnp.sqrt(squared))
        clipped = jax.tree.map(lambda g, norm=norm: g / norm, gradients)
        updates, state = optimizer.update(clipped, state, params)
        params = optax.apply_updates(params, updates)
    prefix = "step3_layerwise0.8/"
    expected = params_from_reference(
        {n.removeprefix(prefix): a for n, a in train.items() if n.startswith(prefix)}
    )
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(expected), strict=True
    ):
        what = "TensorFlow's heads: parameters after three updates with layer-wise decay"
        # Where a gradient is 0, Adam makes steps of the rounding.
        if path_name(path) not in ZERO_GRADIENTS[variant] | {KEY_BIAS}:
            within(what, _largest(ours, theirs), 1e-5)


@pytest.mark.shared_data
def test_reference_beam(reference, within):
    variant, _, predict, params = reference
    if variant == "independent":
        pytest.skip("the original records a beam for joint prediction only")
    inputs = _inputs(predict["in/input_ids"], predict["in/input_mask"], predict["in/segment_ids"])

    @jax.jit
    def beam(params):
        variables = {"params": params["heads"]["squad"]}
        head = _reference_heads(joint=True)["squad"]
        return head.apply(variables, _encode(params, inputs), answer_mask(inputs), 5, method="beam")

    ours, answerable = beam(params)
    np.testing.assert_array_equal(ours.start_positions, predict["out/squad/start_top_index"])
    np.testing.assert_array_equal(ours.end_positions, predict["out/squad/end_top_index"])
    for scores, which in ((ours.start_scores, "start"), (ours.end_scores, "end")):
        difference = _largest(scores, predict[f"out/squad/{which}_top_log_probs"])
        within("TensorFlow's heads: scores of the beam of answers", difference, 2e-5)
    difference = _largest(answerable, predict["out/squad/answerable_logit"])
    within("TensorFlow's heads: logits of 'has no answer'", difference, 2e-5)


# --- Hugging Face ---------------------------------------------------------------------------------------------

HUGGINGFACE_HEADS = {
    "seqcls": ClassificationHead(3, "huggingface", jnp.float32),
    "seqreg": ClassificationHead(1, "huggingface", jnp.float32),
    "tokcls": TaggingHead(5, "huggingface", jnp.float32),
    "qa": SpanHead(jnp.float32),
}

HUGGINGFACE_CLASSES = {
    "seqcls": "ForSequenceClassification",
    "seqreg": "ForSequenceClassification, regression",
    "tokcls": "ForTokenClassification",
    "qa": "ForQuestionAnswering",
}


def _huggingface_outputs(name, golden, params):
    """({recorded name: logits}, loss)."""
    rows = {k: golden[f"in/{k}"] for k in ("input_ids", "attention_mask", "token_type_ids")}
    length = rows["input_ids"].shape[-1]
    ids, mask, token_types = (rows[k].reshape(-1, length) for k in rows)
    inputs = _inputs(ids, mask, token_types)
    hidden, head = _encode(params, inputs), HUGGINGFACE_HEADS[name]
    real = (inputs.segment_ids != 0,) if isinstance(head, ClassificationHead) else ()
    logits = head.apply({"params": params["heads"]["task"]}, hidden, *real)
    if name == "qa":
        positions = golden["in/start_positions"], golden["in/end_positions"]
        loss = span_loss(logits.start, logits.end, *positions).mean()
        return {"start_logits": logits.start, "end_logits": logits.end}, loss
    labels = golden["in/labels"]
    if name == "seqreg":
        loss = weighted_mean(squared_error(logits[:, 0], labels), np.ones(len(labels)))
    else:
        loss = weighted_mean(softmax_cross_entropy(logits, labels), in_range(labels, logits.shape[-1]))
    return {"logits": logits}, loss


@pytest.mark.shared_data
@pytest.mark.parametrize("name", HUGGINGFACE_HEADS)
def test_huggingface_figures(name, shared, within):
    golden = dict(np.load(shared / "golden" / "hf" / f"tiny_{name}.npz"))
    params = params_from_huggingface(
        load_file(shared / "golden" / "hf" / f"tiny_{name}" / "model.safetensors")
    )

    @jax.jit
    def loss_and_gradient(params):
        def loss(params):
            logits, value = _huggingface_outputs(name, golden, params)
            return value, logits

        return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, logits), gradient = loss_and_gradient(params)
    for key, value in logits.items():
        difference = _largest(value, golden[f"out/{key}"])
        within(f"Hugging Face's heads: logits of {HUGGINGFACE_CLASSES[name]}", difference, 2e-5)
    relative = abs(float(loss) / float(golden["out/loss"]) - 1)
    within("Hugging Face's heads: losses (relative)", relative, 1e-5)
    recorded = {n.removeprefix("grad/"): a for n, a in golden.items() if n.startswith("grad/")}
    if name == "qa":
        # Padding is in this loss, and its logits do depend on the row of [PAD]: PyTorch's `padding_idx` sets that
        # gradient to 0, here it is what it is.
        words = gradient["embeddings"]["word"]["embedding"]
        assert np.linalg.norm(words[0]) > 0.1
        gradient["embeddings"]["word"]["embedding"] = words.at[0].set(0.0)
    expected, zero = params_from_huggingface(recorded), ZERO_GRADIENTS.get(name, set())
    _assert_same_gradients(gradient, expected, zero, within, "Hugging Face's heads")


# --- by themselves --------------------------------------------------------------------------------------------

STYLES = ("reference", "huggingface", "modernbert")
HEADS = {
    **{f"classification-{s}": ClassificationHead(3, s, jnp.float32) for s in STYLES},
    "choice": MultipleChoiceHead("reference", jnp.float32),
    "choice-modernbert": MultipleChoiceHead("modernbert", jnp.float32),
    **{f"tagging-{s}": TaggingHead(5, s, jnp.float32) for s in STYLES},
    "span": SpanHead(jnp.float32),
    "span-modernbert": SpanHead(jnp.float32, style="modernbert"),
    "joint": QuestionAnsweringHead(joint=True, answerable=True, dtype=jnp.float32),
    "independent": QuestionAnsweringHead(joint=False, answerable=True, dtype=jnp.float32),
    "unanswerable-is-not-asked": QuestionAnsweringHead(joint=False, answerable=False, dtype=jnp.float32),
}


def _hidden(batch=4, length=12, size=32, seed=0):
    return jax.random.normal(jax.random.key(seed), (batch, length, size))


def _arguments(head, hidden):
    if isinstance(head, QuestionAnsweringHead):
        return hidden, jnp.ones(hidden.shape[:2], bool), jnp.arange(hidden.shape[0])
    if isinstance(head, ClassificationHead | MultipleChoiceHead):
        return hidden, jnp.ones(hidden.shape[:-1], bool)
    return (hidden,)


@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_has_its_place_on_the_mesh(name):
    """On a mesh with all three axes, sharded by the table, a head computes what it does on one device."""
    head, hidden = HEADS[name], _hidden()
    params = head.init(jax.random.key(1), *_arguments(head, hidden))["params"]
    tree = {"heads": {"some-task": params}}
    assert {
        path[-1].key for path, decayed in jax.tree.leaves_with_path(weight_decay_mask(tree)) if decayed
    } == {"kernel"}
    mesh = make_mesh(Config.model_validate({"mesh": {"data": 2, "fsdp": 2, "tensor": 2}}).mesh)
    specs = parameter_specs(tree, mesh)["heads"]["some-task"]
    sharded = jax.device_put(params, jax.tree.map(lambda spec: jax.sharding.NamedSharding(mesh, spec), specs))
    apply = jax.jit(lambda p: head.apply({"params": p}, *_arguments(head, hidden)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), apply(sharded), apply(params))


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_float32_when_the_network_computes_in_bfloat16(name):
    head, hidden = HEADS[name], _hidden().astype(jnp.bfloat16)
    params = head.init(jax.random.key(1), *_arguments(head, hidden))["params"]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    logits = head.clone(dtype=jnp.dtype("bfloat16")).apply({"params": params}, *_arguments(head, hidden))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(logits)} == {"float32"}


@pytest.mark.parametrize(
    ("name", "drops"),
    [
        ("classification-reference", True),
        ("classification-huggingface", True),
        ("tagging-reference", False),
        ("tagging-huggingface", True),
        ("span", False),
        *((f"{kind}-modernbert", True) for kind in ("classification", "tagging", "choice", "span")),
    ],
)
def test_dropout_is_where_each_implementation_has_it(name, drops):
    head, hidden = HEADS[name], _hidden()
    arguments = _arguments(head, hidden)
    variables = head.init(jax.random.key(1), *arguments)

    def logits(rng=None):
        return np.concatenate([*map(np.ravel, jax.tree.leaves(head.apply(variables, *arguments, rng=rng)))])

    plain, dropped = logits(), [logits(jax.random.key(k)) for k in (2, 3)]
    assert (not np.allclose(plain, dropped[0])) == drops
    assert (not np.allclose(dropped[0], dropped[1])) == drops
    np.testing.assert_array_equal(dropped[0], logits(jax.random.key(2)), "same key, same mask")


def test_dropout_keeps_the_expected_logits():
    """The head of the reference is linear after its dropout: the mean over keys is the logit without it."""
    head, hidden = HEADS["classification-reference"], _hidden()
    arguments = _arguments(head, hidden)
    variables = head.init(jax.random.key(1), *arguments)
    keys = jax.random.split(jax.random.key(2), 4000)
    dropped = jax.vmap(lambda key: head.apply(variables, *arguments, key))(keys)
    np.testing.assert_allclose(dropped.mean(0), head.apply(variables, *arguments), atol=0.05)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "make", [partial(ClassificationHead, 3), MultipleChoiceHead], ids=["class", "choice"]
)
def test_a_head_reads_the_state_of_cls_or_the_mean_of_what_is_no_padding(make, style):
    hidden = _hidden()
    lengths = 1 + np.arange(len(hidden)) % hidden.shape[1]
    real = jnp.asarray(np.arange(hidden.shape[1]) < lengths[:, None])
    means = jnp.stack([row[:length].mean(axis=0) for row, length in zip(hidden, lengths, strict=True)])
    first, mean = (make(style=style, dtype=jnp.float32, pooling=pooling) for pooling in ("first", "mean"))
    variables = first.init(jax.random.key(1), hidden, real)
    np.testing.assert_array_equal(
        first.apply(variables, hidden, real), first.apply(variables, hidden[:, :1], real[:, :1])
    )
    np.testing.assert_allclose(
        mean.apply(variables, hidden, real), first.apply(variables, means[:, None], real[:, :1]), atol=1e-5
    )


def test_initial_kernels():
    """Glorot-uniform over fan-in + fan-out, or a normal of .02; biases are 0."""
    hidden = _hidden(size=256)
    for name, deviation in (("joint", (2 / (512 + 512)) ** 0.5), ("classification-huggingface", 0.02)):
        params = HEADS[name].init(jax.random.key(1), *_arguments(HEADS[name], hidden))["params"]
        kernel = params["end_hidden" if name == "joint" else "dense"]["kernel"]
        assert float(kernel.std()) == pytest.approx(deviation, rel=0.02)
        assert (float(abs(kernel).max()) <= 3**0.5 * deviation) == (name == "joint")
        assert not any(leaf.any() for leaf in jax.tree.leaves(params) if leaf.ndim == 1)


def _gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _modernbert(x, params, epsilon):
    """dense → gelu → LayerNorm → dense of ``[…, hidden]``, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = _gelu(np.asarray(x, np.float64) @ params["dense"]["kernel"])
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * params["layer_norm"]["scale"]
    return x @ params["prediction"]["kernel"] + params["prediction"]["bias"]


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("kind", ["classification", "choice", "tagging", "span"])
def test_modernberts_heads_are_its_formula(kind, pooling, within):
    """Worked out in NumPy, with an epsilon that matters and rows of which some are padded."""
    head = HEADS[f"{kind}-modernbert"].clone(layer_norm_epsilon=0.5)
    pools = kind in ("classification", "choice")
    head = head.clone(pooling=pooling) if pools else head
    hidden, lengths = _hidden(), np.array([12, 7, 1, 9])
    real = np.arange(hidden.shape[1]) < lengths[:, None]
    arguments = (hidden, jnp.asarray(real)) if pools else (hidden,)
    shapes = jax.eval_shape(head.init, jax.random.key(1), *arguments)["params"]
    rng = np.random.default_rng(3)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)
    assert {path_name(path) for path, _ in jax.tree.leaves_with_path(params)} == {
        "dense/kernel",
        "layer_norm/scale",
        "prediction/bias",
        "prediction/kernel",
    }
    x = np.asarray(hidden, np.float64)
    if pools:
        mean = (x * real[..., None]).sum(axis=1) / lengths[:, None]
        x = x[:, 0] if pooling == "first" else mean
    expected = _modernbert(x, params, 0.5)
    logits = head.apply({"params": params}, *arguments)
    if kind == "span":
        logits = np.stack([logits.start, logits.end], axis=-1)
    elif kind == "choice":
        logits = logits[..., None]
    within("ModernBERT's heads: logits by the formula", np.abs(logits - expected).max(), 2e-5)


def test_modernberts_initial_kernels():
    """Normals cut at three deviations: that of the hidden layer as given, of the last 1/√hidden; scales are 1."""
    hidden = _hidden(size=256)
    head = ClassificationHead(64, "modernbert", jnp.float32, initializer_range=0.01)
    params = head.init(jax.random.key(1), *_arguments(head, hidden))["params"]
    for name, deviation in (("dense", 0.01), ("prediction", 256**-0.5)):
        kernel = params[name]["kernel"]
        assert float(kernel.std()) == pytest.approx(
            0.9866 * deviation, rel=0.02
        )  # what is left of it by the cut
        assert 2.5 * deviation < float(abs(kernel).max()) <= 3 * deviation
    assert not params["prediction"]["bias"].any()
    assert (params["layer_norm"]["scale"] == 1).all()


def test_tagging_at_positions_is_tagging_everywhere_and_then_choosing():
    head, hidden = HEADS["tagging-reference"], _hidden()
    variables = head.init(jax.random.key(1), hidden)
    positions = np.array([[1, 3, 3, 11]] * 4)
    everywhere = np.asarray(head.apply(variables, hidden))
    np.testing.assert_allclose(
        head.apply(variables, hidden, positions), everywhere[:, positions[0]], atol=1e-6
    )


def test_answer_mask_is_the_second_sentence_and_cls():
    token_types = np.array([[0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]])
    segments = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 0, 0]])  # types may run into padding
    mask = answer_mask(EncoderInputs(segments, token_types, segments, segments))
    np.testing.assert_array_equal(mask, [[1, 0, 0, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 0, 0, 0]])


def _passage_mask(hidden, passage=5):
    column = np.arange(hidden.shape[1])
    return jnp.asarray(
        np.broadcast_to((column == 0) | (column >= hidden.shape[1] - passage), hidden.shape[:2])
    )


def test_joint_beam_is_the_end_after_each_start():
    """Every beam against the logits that training computes when that start is the gold one."""
    head, hidden = HEADS["joint"], _hidden()
    mask = _passage_mask(hidden)
    variables = head.init(jax.random.key(1), hidden, mask, jnp.zeros(4, int))
    beam, answerable = head.apply(variables, hidden, mask, 3, method="beam")
    for k in range(3):
        logits = head.apply(variables, hidden, mask, beam.start_positions[:, k])
        scores, positions = jax.lax.top_k(jax.nn.log_softmax(logits.end), 3)
        np.testing.assert_array_equal(beam.end_positions[:, k], positions)
        np.testing.assert_allclose(beam.end_scores[:, k], scores, atol=1e-5)
        np.testing.assert_allclose(answerable, logits.answerable, atol=1e-6)
        starts = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits.start)), beam.start_positions, 1)
        np.testing.assert_allclose(beam.start_scores, starts, atol=1e-6)
    assert bool(np.take_along_axis(np.asarray(mask), beam.start_positions, 1).all())


def test_independent_beam_is_the_best_of_each():
    rng = np.random.default_rng(0)
    start, end = rng.normal(size=(2, 3, 9)).astype(np.float32)
    beam = independent_beam(start, end, 4)
    order = np.argsort(-end, axis=1)[:, :4]
    np.testing.assert_array_equal(beam.start_positions, np.argsort(-start, axis=1)[:, :4])
    for k in range(4):
        np.testing.assert_array_equal(beam.end_positions[:, k], order)
        np.testing.assert_array_equal(beam.end_scores[:, k], np.take_along_axis(end, order, 1))


@pytest.mark.parametrize("name", ["joint", "independent"])
def test_beam_wider_than_the_row_or_the_passage(name):
    head, hidden = HEADS[name], _hidden(length=6)
    mask = _passage_mask(hidden, passage=2)
    variables = head.init(jax.random.key(1), hidden, mask, jnp.zeros(4, int))
    beam, _ = head.apply(variables, hidden, mask, 20, method="beam")
    assert isinstance(beam, AnswerBeam)
    assert beam.end_positions.shape == (4, 6, 6)
    for row in np.asarray(beam.start_positions[:, :3]):
        assert set(row) == {0, 4, 5}, "[CLS] and the passage come first"
    assert bool((beam.start_scores[:, 3:] < -500).all())


def test_independent_end_does_not_look_at_the_start():
    for name, same in (("independent", True), ("joint", False)):
        head, hidden = HEADS[name], _hidden()
        mask = _passage_mask(hidden)
        variables = head.init(jax.random.key(1), hidden, mask, jnp.zeros(4, int))
        ends = [head.apply(variables, hidden, mask, jnp.full(4, k)).end for k in (8, 9)]
        assert np.allclose(*ends) == same


def test_encoder_can_be_made_and_used_alone():
    network = build_network(small_config(), SmallVocabulary.vocab_size)
    ids = jnp.array([[2, 40, 41, 3]])
    inputs = _inputs(ids, jnp.ones_like(ids), jnp.zeros_like(ids))
    params = jax.jit(lambda: network.init(jax.random.key(0), inputs, method="encode")["params"])()
    assert set(params) == {"embeddings", "encoder"}
    encode = jax.jit(lambda params: network.apply({"params": params}, inputs, method="encode"))
    assert encode(params).shape == (1, 4, 32)
