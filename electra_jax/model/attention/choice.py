"""Which attention back end a run uses, and why not another."""

from dataclasses import dataclass

import jax

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.model.block import Backend
from electra_jax.model.sizes import network_sizes

FUSED_BACKENDS: dict[str, Backend] = {"gpu": "cudnn", "cuda": "cudnn", "tpu": "splash"}
REQUIRED_PLATFORMS = {"cudnn": ("gpu", "cuda"), "splash": ("tpu",)}
# Rows of so many tokens are computed in blocks: scores of all of a row's tokens at once are [length, length]. On a TPU
# a block's scores stay in the chip, and the whole row's do not (docs/scaling.md).
BLOCKED_FROM_LENGTH = {"tpu": 512}
DEFAULT_BLOCKED_FROM_LENGTH = 1025
# cuDNN's fused attention; jax does not look, and the compiler then fails.
_LEAST_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class AttentionChoice:
    """A back end, and a line that says why.

    Attributes:
        backend: The chosen back end.
        line: What was chosen and why.
    """

    backend: Backend
    line: str


def choose_attention(config: Config, platform: str) -> AttentionChoice:
    """Choose the attention back end for devices of ``platform`` (cpu, gpu, tpu).

    Raises:
        UserError: compute.attention names one that cannot do what the configuration asks.
    """
    requested = config.compute.attention
    if requested != "auto":
        if reason := _why_unusable(requested, config, platform):
            raise UserError(f"compute.attention={requested} {reason}; compute.attention=auto takes another")
        return AttentionChoice(requested, f"attention: {requested}, as compute.attention says")
    length = config.data.sequence_length
    blocked_from = BLOCKED_FROM_LENGTH.get(platform, DEFAULT_BLOCKED_FROM_LENGTH)
    plain: Backend = "xla" if length < blocked_from else "blocked"
    fused = FUSED_BACKENDS.get(platform)
    if fused is None:
        return AttentionChoice(plain, f"attention: {plain} ({length} tokens on {platform})")
    if reason := _why_unusable(fused, config, platform):
        return AttentionChoice(
            plain, f"warning: attention: {plain} instead of the faster {fused}, which {reason}"
        )
    return AttentionChoice(fused, f"attention: {fused} ({length} tokens on {platform})")


def _why_unusable(backend: Backend, config: Config, platform: str) -> str | None:
    """Return why ``backend`` cannot be used, as the end of a sentence; None if it can."""
    if backend in ("xla", "blocked"):
        return None
    if platform not in REQUIRED_PLATFORMS[backend]:
        needed = REQUIRED_PLATFORMS[backend][0].upper()
        return f"needs a {needed}, and the devices here are {platform.upper()}s: choose xla or blocked"
    if rate := config.model.attention_dropout:
        return f"has no dropout: set model.attention_dropout=0 (it is {rate}), or choose xla or blocked"
    if backend == "splash":
        return None
    if reason := _why_too_old():
        return reason
    if config.compute.dtype == "float32":
        return "computes in bfloat16 only: set compute.dtype=bfloat16"
    if config.data.sequence_length % 2:
        return f"needs an even data.sequence_length (it is {config.data.sequence_length})"
    buckets = config.finetune.length_buckets if config.finetuning else []
    if odd := [length for length in buckets if length % 2 and length < config.data.sequence_length]:
        return f"needs even finetune.length_buckets (there is {odd[0]})"
    sizes = network_sizes(config.model, config.generator, 1)
    for name, encoder in (("discriminator", sizes.discriminator), ("generator", sizes.generator)):
        head = encoder.hidden_size // encoder.num_heads
        if head % 8 or head > 128:
            return f"needs heads of a multiple of 8 up to 128, and those of the {name} are {head} wide"
    return None


def _why_too_old() -> str | None:
    """Return why cuDNN's fused attention cannot run on the GPU of this machine; None if it can, or there is none."""
    if jax.default_backend() not in REQUIRED_PLATFORMS["cudnn"]:
        return None
    found = str(getattr(jax.local_devices()[0], "compute_capability", ""))
    try:
        capability = tuple(int(part) for part in found.split("."))
    except ValueError:
        return "needs an NVIDIA GPU: choose xla or blocked"
    if capability < _LEAST_CAPABILITY:
        least = ".".join(map(str, _LEAST_CAPABILITY))
        return (
            f"needs a GPU of compute capability {least} (Ampere) or newer, and this one has {found}: choose xla or "
            "blocked"
        )
    return None
