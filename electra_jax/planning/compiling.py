"""Compiling the real training step for a machine, and what the compiler says of it."""

import re
import time
from dataclasses import dataclass
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config.fields import FINETUNING
from electra_jax.config.schema import Config
from electra_jax.config.text import TokenizerConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.layout import tree_bytes_per_device
from electra_jax.partitioning.mesh import batch_sharding
from electra_jax.planning.products import product_flops
from electra_jax.tokenizers import Tokenizer
from electra_jax.tokenizers.build import build_tokenizer
from electra_jax.tokenizers.characters_tokenizer import check_size
from electra_jax.tokenizers.training import check_trainable
from electra_jax.training.program import build_program

# How many a text in one alphabet has at most, before they are counted.
CHARACTERS = 128


@dataclass(frozen=True)
class StandInTokenizer:
    """What a step needs of a tokenizer: the size of the vocabulary, and any special ids."""

    vocab_size: int
    pad_id: int = 0
    unk_id: int = 1
    cls_id: int = 2
    sep_id: int = 3
    mask_id: int = 4


@dataclass(frozen=True)
class CompiledStep:
    """A step compiled for a machine; bytes are those of one device.

    Attributes:
        parameters: bytes of the parameters, part of what the step is given.
        optimizer: of the optimizer's state, too.
        other: of the rest of the state, too.
        batch: of the batch, too.
        product_flops: of the whole step, over all devices.
        seconds: that compiling took.
        temporaries: what it needs beside, at once; if it did not fit, what the compiler asked for, None if it did not
            say.
        program: bytes of its code.
        out_of_memory: the compiler's own words if it did not fit, else None.
        available: memory that the compiler may use, None if it did not say.
        text: the compiled program; None if it cannot be had, and then ``text_error`` says why.
        text_error: why there is no ``text``.
        bytes_accessed: the compiler's own count, in which a loop's body counts once.
    """

    parameters: float
    optimizer: float
    other: float
    batch: float
    product_flops: float
    seconds: float
    temporaries: float | None
    program: float | None = None
    out_of_memory: str | None = None
    available: float | None = None
    text: str | None = None
    text_error: str | None = None
    bytes_accessed: float | None = None


def tokenizer_for_plan(config: TokenizerConfig) -> Tokenizer:
    """Return the tokenizer if a file is named, else a stand-in of the configured size; nothing is trained.

    Raises:
        UserError: the file is missing or wrong, or the size is too small.
    """
    if config.vocab_file is not None:
        return build_tokenizer(config, lambda: iter(()))
    if config.kind == "characters":
        check_size(config.vocab_size)
        return cast(Tokenizer, StandInTokenizer(config.vocab_size or CHARACTERS))
    return cast(Tokenizer, StandInTokenizer(check_trainable(config)))


def compile_step(config: Config, tokenizer: Tokenizer, mesh: Mesh) -> CompiledStep:
    """Compile the step of `training.program` for the devices of ``mesh``, which may be a topology's.

    Raises:
        UserError: a parameter that the mesh does not divide.
    """
    program = build_program(config, tokenizer, mesh)
    shape = (config.train.batch_size, config.data.sequence_length)
    batch = jax.ShapeDtypeStruct(shape, np.int32, sharding=batch_sharding(mesh))
    state = program.abstract
    given: dict[str, Any] = {
        "parameters": tree_bytes_per_device(state.params),
        "optimizer": tree_bytes_per_device(state.opt_state),
        "other": tree_bytes_per_device((state.step, state.metric_sums)),
        "batch": tree_bytes_per_device(batch),
    }
    started = time.perf_counter()
    with program.on_mesh():
        traced: Any = cast(Any, program.train_step).trace(state, batch)
        given["product_flops"] = product_flops(traced.jaxpr.jaxpr)
        try:
            compiled = traced.lower().compile()
        except jax.errors.JaxRuntimeError as error:
            memory = parse_out_of_memory(str(error))
            if memory is None:
                raise
            return CompiledStep(
                **given,
                seconds=time.perf_counter() - started,
                temporaries=memory.needed,
                available=memory.available,
                out_of_memory=memory.message,
            )
    seconds = time.perf_counter() - started
    analysis = compiled.memory_analysis()
    text, text_error = _text(compiled)
    costs = compiled.cost_analysis() or {}
    return CompiledStep(
        **given,
        seconds=seconds,
        temporaries=temporaries(analysis, mesh.devices.flat[0].platform),
        program=analysis.generated_code_size_in_bytes,
        text=text,
        text_error=text_error,
        bytes_accessed=costs.get("bytes accessed"),
    )


def temporaries(analysis: Any, platform: str) -> float:
    """Return the bytes that a step needs at once beside what it is given.

    For a TPU they are the compiler's peak, which is what it compares with the memory there is (its size of
    temporaries is up to a third more, and may exceed the memory of a step that it compiles). Its peak for a CPU
    leaves temporaries out.
    """
    if platform == "tpu" and analysis.peak_memory_in_bytes:
        return float(analysis.peak_memory_in_bytes - analysis.argument_size_in_bytes)
    # Outputs lie where the state that was given up lay, all but a few scalars.
    outputs = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return float(analysis.temp_size_in_bytes + max(0, outputs))


def _text(compiled: Any) -> tuple[str | None, str | None]:
    try:
        return compiled.as_text(), None
    except Exception as error:  # some versions of libtpu cannot print programs for some chips
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass(frozen=True)
class OutOfMemory:
    """What a compiler says when memory does not suffice.

    Attributes:
        needed: bytes that the program needs, None if it does not say.
        available: bytes that there are, None if it does not say.
        message: its sentence.
    """

    needed: float | None
    available: float | None
    message: str


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"


def parse_out_of_memory(message: str) -> OutOfMemory | None:
    """Read a compile error; None if it is not about memory."""
    if "RESOURCE_EXHAUSTED" not in message and "out of memory" not in message.lower():
        return None
    sentence = next((line for line in message.splitlines() if "memory" in line.lower()), message)
    sentence = sentence.strip().removeprefix("RESOURCE_EXHAUSTED: ")

    def size(pattern: str) -> float | None:
        found = re.search(pattern, message)
        return float(found[1]) * _UNITS[found[2]] if found else None

    # "memory required for HLO temporaries (65.47G) exceeds available HBM (15.75G)"; "Used 45.70G of 15.75G hbm"
    return OutOfMemory(
        needed=size(rf"temporaries \({_SIZE}\)") or size(rf"Used {_SIZE}i?B? of "),
        available=size(rf"available HBM \({_SIZE}\)") or size(rf"Used [\d.]+[KMGT]?i?B? of {_SIZE}"),
        message=sentence,
    )


def check_plannable(kind_of_run: str) -> None:
    """Refuse a run that has no single training step to compile.

    Raises:
        UserError: it is a fine-tuning.
    """
    if kind_of_run in FINETUNING:
        raise UserError(
            "electra_jax.plan is for pre-training; fine-tuning (objective.kind=finetune) has a program for every "
            "length of examples: plan its pre-training configuration, or try a few steps"
        )
