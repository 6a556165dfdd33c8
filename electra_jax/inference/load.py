"""A trained model in Python: ``load(path)`` and ask it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding

from electra_jax.config.schema import Config, MeshConfig
from electra_jax.convert.flat_parameters import unflatten
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.recognise import recognise
from electra_jax.convert.tensorflow_format import read_tensorflow
from electra_jax.errors import UserError
from electra_jax.local_paths import local_path
from electra_jax.model.electra import Electra, build_electra
from electra_jax.partitioning.axes import parameter_specs
from electra_jax.partitioning.mesh import batch_sharding, make_mesh
from electra_jax.tasks.batches import usable_buckets
from electra_jax.tasks.build import build_task
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import predict_rows
from electra_jax.tasks.protocol import QuestionExample, Rows, Task, TaskBatch, TextExample, WordsExample
from electra_jax.tasks.settings import FILE, TaskSettings, check_heads, read_settings
from electra_jax.tokenizers import Tokenizer, load_tokenizer
from electra_jax.training.checkpoints import find_checkpoint, read_params
from electra_jax.training.chosen_run import run_of
from electra_jax.training.compilation_cache import use_compilation_cache
from electra_jax.training.workdir import WorkDir

Text = str | tuple[str, str]

# Rows of a batch for each device; of all CPU devices together, which are one machine.
ROWS_A_DEVICE = 32


def load(path: str | Path) -> "Model":
    """The model in ``path``: a work directory (fine-tuned, pre-trained or converted) or a foreign checkpoint.

    Of a directory with several seeds the one with the best dev metric is taken.

    Raises:
        UserError: nothing that can be read, or a checkpoint without a vocabulary.
    """
    path = local_path(path, "the model")
    found = recognise(path)
    if found.format == "electra_jax":
        return _native(path)
    foreign = found.format == "huggingface"
    weights = read_huggingface(found.paths) if foreign else read_tensorflow(found.paths[0])
    if weights.tokenizer is None:
        raise UserError(f"{path} has no vocabulary, so no text can be read: put its vocab.txt beside it")
    params = unflatten(weights.parameters, weights.config.model.vocab_multiple)
    return Model(
        weights.config,
        weights.tokenizer,
        params,
        _tasks(path, weights.config, weights.tokenizer, weights.tasks),
    )


def _native(path: Path) -> "Model":
    step, directory = find_checkpoint(path)
    workdir = WorkDir(run_of(directory))
    config = workdir.load_config()
    if not workdir.tokenizer.is_dir():
        raise UserError(f"{workdir.root} has no vocabulary: convert it again with --vocab FILE")
    tokenizer = load_tokenizer(workdir.tokenizer)
    settings = read_settings(workdir.root) if (workdir.root / FILE).is_file() else {}
    tasks = _tasks(workdir.root, config, tokenizer, settings)
    params = read_params(directory, step)
    if settings:
        check_heads(workdir.root, settings, params.get("heads", {}))
    return Model(config, tokenizer, params, tasks)


def _tasks(
    where: Path, config: Config, tokenizer: Tokenizer, settings: Mapping[str, TaskSettings]
) -> dict[str, Task]:
    tasks = {name: build_task(name, settings[name], config, tokenizer) for name in settings}
    for name, task in tasks.items():
        if settings[name].classes != task.labels:
            raise UserError(
                f"{where}: the classes of {name} are not those it was trained with: use the version of electra_jax "
                "that trained it"
            )
    return tasks


@dataclass(frozen=True)
class Token:
    """A token of a text and how likely it is that another stood there.

    Attributes:
        text: its characters in the text.
        start: of its first character.
        end: behind its last.
        replaced: probability that it was replaced.
    """

    text: str
    start: int
    end: int
    replaced: float


class Model:
    """A trained encoder with its tokenizer and heads; every method takes a list and answers in its order.

    Texts are batched by length, over all devices there are. What does not fit ``max_length`` is cut off, except
    contexts of questions and sentences to tag, which are read in overlapping windows.
    """

    def __init__(
        self, config: Config, tokenizer: Tokenizer, params: Mapping[str, Any], tasks: Mapping[str, Task]
    ):
        self.config, self.tokenizer, self.tasks = config, tokenizer, dict(tasks)
        self.max_length = config.data.sequence_length if tasks else config.model.max_positions
        self._mesh: Mesh = make_mesh(MeshConfig())
        use_compilation_cache(config, self._mesh.devices.flat[0].platform)
        # What it was trained with may not run here.
        compute = config.compute.model_copy(update={"attention": "auto"})
        self._network: Electra = build_electra(
            config.model_copy(update={"compute": compute}), tokenizer.vocab_size
        )
        specs: Any = parameter_specs(params, self._mesh)
        self._params = jax.tree.map(
            lambda array, spec: jax.device_put(array, NamedSharding(self._mesh, spec)), dict(params), specs
        )
        self._steps: dict[str, Callable[..., Any]] = {}

    def classify(self, texts: Sequence[Text], task: str | None = None) -> list[dict[str, Any]]:
        """Label and probabilities (or the value, for regression) of each text or (text, text).

        Raises:
            UserError: the model has no such task.
        """
        examples = [
            TextExample(str(i), *((text, None) if isinstance(text, str) else text))
            for i, text in enumerate(texts)
        ]
        return self._predict(examples, task, ("classification", "regression"))

    def tag(self, sentences: Sequence[str | Sequence[str]], task: str | None = None) -> list[dict[str, Any]]:
        """Tags and entities of each sentence, given as words or as a string to be split at white space.

        Raises:
            UserError: the model has no such task.
        """
        words = [sentence.split() if isinstance(sentence, str) else sentence for sentence in sentences]
        examples = [WordsExample(str(i), tuple(some)) for i, some in enumerate(words)]
        return self._predict(examples, task, ("tagging",))

    def answer(self, question: str, context: str, task: str | None = None) -> dict[str, Any]:
        """The answer to a question in a context; "" where there is none."""
        return self.answer_all([(question, context)], task)[0]

    def answer_all(
        self, questions: Sequence[tuple[str, str]], task: str | None = None
    ) -> list[dict[str, Any]]:
        """The same for many (question, context).

        Raises:
            UserError: the model has no such task.
        """
        examples = [QuestionExample(str(i), q, c, hidden=True) for i, (q, c) in enumerate(questions)]
        return self._predict(examples, task, ("question_answering",))

    def detect(self, texts: Sequence[str]) -> list[list[Token]]:
        """Of each token how likely it is that it was replaced: the pre-training task of the discriminator.

        Raises:
            UserError: the model has no discriminator's head; fine-tuning drops it.
        """
        if "discriminator_head" not in self._params:
            raise UserError(
                "this model has no discriminator's head: detect needs a pre-trained one, not fine-tuned"
            )
        encodings = [self.tokenizer.encode_with_offsets(text) for text in texts]

        def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
            used = {name: params[name] for name in ("embeddings", "encoder", "discriminator_head")}
            logits: Any = self._network.apply({"params": used}, batch.inputs, None, method="discriminate")
            return {"replaced": jax.nn.sigmoid(logits)}

        found = self._run("detect", outputs, self._rows([encoding.ids for encoding in encodings]))
        results = []
        for number, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            spans = encoding.offsets[: self.max_length - 2]
            results.append(
                [
                    Token(text[begin:end], begin, end, float(found["replaced"][number, place + 1]))
                    for place, (begin, end) in enumerate(spans)
                ]
            )
        return results

    def encode(self, texts: Sequence[str], pooling: Literal["mean", "first"] = "mean") -> np.ndarray:
        """One vector a text, float32 ``[texts, hidden]``: the mean over its tokens, or the state of [CLS]."""
        if pooling not in ("mean", "first"):
            raise UserError(f"pooling is {pooling!r}, but must be 'mean' or 'first'")

        def outputs(params: Any, batch: TaskBatch) -> dict[str, Array]:
            used = {name: params[name] for name in ("embeddings", "encoder")}
            hidden: Any = self._network.apply({"params": used}, batch.inputs, None, method="encode")
            if pooling == "first":
                return {"vector": hidden[:, 0].astype(jnp.float32)}
            real = (batch.inputs.segment_ids != 0).astype(jnp.float32)[..., None]
            total = (hidden.astype(jnp.float32) * real).sum(axis=1)
            return {"vector": total / jnp.maximum(real.sum(axis=1), 1.0)}

        rows = self._rows(self.tokenizer.encode_batch(list(texts)))
        if not len(rows):
            return np.zeros((0, self.config.model.hidden_size), np.float32)
        return self._run(f"encode {pooling}", outputs, rows)["vector"]

    def _rows(self, ids: Sequence[Sequence[int]]) -> Rows:
        """``[CLS] text [SEP]``, cut to the length."""
        cls, sep = self.tokenizer.cls_id, self.tokenizer.sep_id
        rows = [np.array([cls, *some[: self.max_length - 2], sep], np.int32) for some in ids]
        return Rows(rows, [np.zeros_like(row) for row in rows], {}, np.arange(len(rows), dtype=np.int32))

    def _predict(
        self, examples: Sequence[Any], name: str | None, kinds: Sequence[str]
    ) -> list[dict[str, Any]]:
        fitting = [known for known, task in self.tasks.items() if task.kind in kinds]
        if name is None and len(fitting) == 1:
            name = fitting[0]
        if name not in fitting:
            there = ", ".join(fitting) or "none"
            wanted = f"no task {name!r}" if name else "no single task"
            raise UserError(f"the model has {wanted} of kind {' or '.join(kinds)}; there is: {there}")
        task = self.tasks[name]
        rows = task.encode(examples, training=False)
        objective = FineTuning(self.config, self._network, self.tasks, {})
        outputs = self._run(f"task {name}", objective.outputs, rows, name)
        return task.predictions(examples, rows, outputs)

    def _run(
        self, what: str, outputs: Callable[..., Any], rows: Rows, task: str = ""
    ) -> dict[str, np.ndarray]:
        if what not in self._steps:
            self._steps[what] = jax.jit(
                outputs,
                in_shardings=(None, batch_sharding(self._mesh)),
                out_shardings=batch_sharding(self._mesh),
            )
        return predict_rows(
            self._steps[what],
            self._mesh,
            self._params,
            task,
            rows,
            batch_size=_batch_size(self._mesh),
            buckets=usable_buckets(fine_buckets(), self.max_length),
            pad_id=self.tokenizer.pad_id,
        )


def _batch_size(mesh: Mesh) -> int:
    """Rows of a batch, a multiple of the devices."""
    if mesh.devices.flat[0].platform == "cpu":
        return -(-ROWS_A_DEVICE // mesh.size) * mesh.size
    return ROWS_A_DEVICE * mesh.size


def fine_buckets(longest: int = 8192) -> list[int]:
    """Multiples of 8 that grow by about 15 %: so much of a batch is padding at the most, above some 50 tokens."""
    buckets = [8]
    while buckets[-1] < longest:
        grown = int(buckets[-1] * 1.15) // 8 * 8
        buckets.append(max(buckets[-1] + 8, grown))
    return buckets
