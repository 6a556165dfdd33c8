"""What a seed of a fine-tuning trains on and is evaluated by."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.distributed.agreement import is_host_0, print_on_host_0
from electra_jax.tasks.averaging import average_of_recent, keep_recent
from electra_jax.tasks.batches import make_batch
from electra_jax.tasks.best_parameters import best_parameters, keep_best
from electra_jax.tasks.finetuning_data import FineTuningData
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import Rows, Task, TaskBatch
from electra_jax.tasks.results import PREDICTIONS, write_jsonl
from electra_jax.training.checkpoints import RunIdentity
from electra_jax.training.loop import Metrics
from electra_jax.training.program import Program
from electra_jax.training.workdir import WorkDir


class FineTuningWorkload:
    """Implements `loop.Workload`: bucketed batches, and the tasks' own metrics on their dev examples."""

    def __init__(
        self,
        config: Config,
        saved_config: Config,
        data: FineTuningData,
        objective: FineTuning,
        program: Program[FineTuning],
        workdir: WorkDir,
        root: WorkDir,
    ):
        self._config, self._data, self._program = config, data, program
        self._workdir, self._saved_config = workdir, saved_config
        self._step = make_predict_step(objective, program.mesh)
        self._shapes: list[
            tuple[int, int]
        ] = []  # rows and tokens of the batches since throughput was last logged
        self.settings = dict(data.settings)
        file, folder = (shlex.quote(str(path)) for path in (root.config, root.root))
        self.command = f"python -m electra_jax.train --config {file} --workdir {folder}"

    def batches(self, start: int) -> Iterator[TaskBatch]:
        """Yield this host's part of the batches after step ``start``."""
        data = self._data
        for name, plan in data.order(self._config.seed).plans(start, self._config.train.total_steps):
            batch = make_batch(name, data.rows[name], plan, data.tokenizer.pad_id, targets=True)
            written = len(plan.rows) * plan.target_length
            self._shapes.append((len(plan.rows), batch.inputs.input_ids.size + written))
            yield jax.tree.map(self._program.host_share.take, batch)

    def tokens_before(self, step: int) -> int:
        """Return the tokens of the batches before that of a step, were all rows as long as they may be."""
        return step * self._config.train.batch_size * self._config.data.sequence_length

    def throughput(self, seconds_per_step: float | None, step: int) -> Metrics:
        """Return sequences and tokens per second, padding included, since the last call."""
        shapes, self._shapes = self._shapes, []
        if not seconds_per_step or not shapes:
            return {"sequences_per_second": None, "tokens_per_second": None}
        rows, tokens = (float(value) / seconds_per_step for value in np.mean(shapes, axis=0))
        return {"sequences_per_second": rows, "tokens_per_second": tokens}

    def evaluate(self, params: Any, step: int) -> Metrics:
        """Return the metrics of the tasks on their dev examples; keep the parameters if they are the best so far."""
        metrics: Metrics = {}
        several = len(self._data.tasks) > 1
        primary = []
        for name, task in self._data.tasks.items():
            dev = self._data.examples[name]["dev"]
            scores = task.score(dev, task.predictions(dev, *self._outputs(params, task, "dev")))
            primary.append(scores[task.metric])
            metrics |= {f"{name}_{metric}" if several else metric: v for metric, v in scores.items()}
        if self._config.finetune.select == "best":
            keep_best(self._workdir.root, step, float(np.mean(primary)), params, self._identity)
        elif self._config.finetune.select == "average":
            keep_recent(self._workdir.root, step, params, self._identity, self._config.finetune.average_last)
        return metrics

    @property
    def _identity(self) -> RunIdentity:
        """What parameters that are kept beside the checkpoints belong to."""
        return RunIdentity(self._data.tokenizer.fingerprint, None, self._saved_config.model_dump())

    def selected(self, params: Any) -> Any:
        """Return the parameters to keep (``finetune.select``): those given, the best on the dev examples, or a mean."""
        finetune, abstract = self._config.finetune, self._program.abstract.params
        if finetune.select == "last":
            return params
        if finetune.select == "average":
            last = self._config.train.total_steps
            return average_of_recent(
                self._workdir.root, last, finetune.average_last, self._identity, abstract
            )
        return best_parameters(self._workdir.root, abstract)

    def _outputs(self, params: Any, task: Task, split: str) -> tuple[Rows, dict[str, np.ndarray]]:
        """Return the rows of a split, and the head's outputs for each row."""
        data = self._data
        rows = task.encode(data.examples[task.name][split], training=False)
        outputs = predict_rows(
            self._step,
            self._program.mesh,
            params,
            task.name,
            rows,
            batch_size=data.prediction_rows,
            buckets=data.buckets,
            pad_id=data.tokenizer.pad_id,
        )
        return rows, outputs

    def predict_all(self, params: Any) -> dict[str, dict[str, dict[str, float]]]:
        """Predict all splits but train, write the predictions, and return the scores of those with known labels."""
        scores: dict[str, dict[str, dict[str, float]]] = {}
        folder = self._workdir.root / PREDICTIONS
        for name, trained in self._data.tasks.items():
            scores[name] = {}
            splits = {split: some for split, some in self._data.examples[name].items() if split != "train"}
            outputs = {"dev": self._outputs(params, trained, "dev")}
            tuned = trained.tune(splits["dev"], trained.predictions(splits["dev"], *outputs["dev"]))
            self.settings[name] = replace(self.settings[name], **tuned.learned_settings)
            if tuned.note is not None:
                print_on_host_0(tuned.note)
            for split, examples in splits.items():
                found = outputs.pop(split) if split in outputs else self._outputs(params, tuned.task, split)
                predictions = tuned.task.predictions(examples, *found)
                if is_host_0():
                    write_jsonl(folder / f"{name}.{split}.jsonl", predictions)
                if not any(example.hidden for example in examples):
                    scores[name][split] = tuned.task.score(examples, predictions)
        return scores
