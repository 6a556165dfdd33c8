"""Sections on the devices and hosts that a run is computed on."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from electra_jax.config.fields import PRETRAINING, LocalPath, Section, field


class ComputeConfig(Section):
    """How the same mathematics is carried out."""

    dtype: Literal["float32", "bfloat16"] = field(
        "float32",
        "Type of activations and products; parameters, softmax, LayerNorm and losses stay float32. Products of float32 "
        "are TF32 on GPUs that have it and bfloat16 on TPUs, unless JAX_DEFAULT_MATMUL_PRECISION=highest.",
        free=True,
    )
    scan_layers: bool | None = field(
        None,
        "Compile one layer and loop over it: the time to compile and the memory of one layer, a few per cent slower. "
        "null: on CPUs from 6 layers on.",
        free=True,
    )
    remat: Literal["none", "dots", "full"] = field(
        "none",
        "What is recomputed in the backward pass: nothing, all but matrix products, or whole layers.",
        free=True,
    )
    attention: Literal["auto", "xla", "blocked", "cudnn", "splash"] = field(
        "auto",
        "xla: plain array operations; blocked: the same in memory linear in the length; cudnn: fused, NVIDIA GPUs; "
        "splash: fused, TPUs; auto: the fused one where it can do what is asked, else xla, above 1,024 tokens (on TPUs "
        "from 512) blocked.",
        free=True,
    )
    compilation_cache: LocalPath | None = field(
        "auto",
        "Directory where compiled programs are kept for the next start, apart by version and processor, 2 GB at most; "
        "auto: compiled/ in data.cache_dir, or where JAX_COMPILATION_CACHE_DIR says; null: none.",
        free=True,
    )
    keep_memory: bool = field(
        True,
        "On CPU, keep the memory that a step of training or evaluation frees, for the next one: a sixth less time, up "
        "to twice the memory. Linux only.",
        free=True,
    )


class MeshConfig(Section):
    """Devices along each axis of the mesh; their product is the number of devices."""

    data: int = field(
        -1, "Replicas that split the batch; -1: all devices the other axes leave.", free=True, ge=-1
    )
    fsdp: int = field(1, "Devices that split the batch and shard the parameters.", free=True, ge=1)
    tensor: int = field(1, "Devices that split heads, feed-forward and vocabulary.", free=True, ge=1)
    dcn_data: int = field(
        -1,
        "Slices (parts of the machine joined by a slower network) that split the axis data, which counts those of all; "
        "-1: as many as the devices say they are; 1: take no account of slices.",
        free=True,
        ge=-1,
    )

    @model_validator(mode="after")
    def _check(self) -> MeshConfig:
        if self.data == 0:
            raise ValueError("data must be -1 (all the devices left) or at least 1")
        if self.dcn_data == 0:
            raise ValueError("dcn_data must be -1 (as many as there are slices) or at least 1")
        return self


class HostsConfig(Section):
    """Several processes, on as many hosts or not, as one run."""

    join: Literal["auto", "on", "off"] = field(
        "auto",
        "auto: join the others where these keys, JAX_COORDINATOR_ADDRESS and the like, Slurm or a TPU pod say that "
        "there are any; on: always; off: never. If they do not all connect, the run fails.",
        free=True,
    )
    coordinator: str | None = field(
        None, "ADDRESS:PORT of host 0; null: JAX_COORDINATOR_ADDRESS, or what the cluster says.", free=True
    )
    num_processes: int | None = field(
        None, "Processes in the run; null: JAX_NUM_PROCESSES, or what the cluster says.", free=True, ge=1
    )
    process_id: int | None = field(
        None,
        "Number of this process, from 0; null: JAX_PROCESS_ID, JOB_COMPLETION_INDEX, or what the cluster says.",
        free=True,
        ge=0,
    )
    join_timeout: int = field(300, "Seconds to wait for all hosts at the start.", free=True, ge=1)
    prepare_timeout: int = field(
        86_400,
        "Seconds that hosts wait for each other while tokenizer and text are prepared.",
        free=True,
        kinds=PRETRAINING,
        ge=1,
    )
    heartbeat_timeout: int = field(
        60,
        "Seconds without a sign of life after which a host counts as lost and the others stop.",
        free=True,
        ge=1,
    )
