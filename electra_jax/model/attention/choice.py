"""Which attention back end a run uses, and why not another."""

from dataclasses import dataclass

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.model.block import Backend
from electra_jax.model.sizes import network_sizes

FUSED: dict[str, Backend] = {"gpu": "cudnn", "cuda": "cudnn", "tpu": "splash"}
NEEDS = {"cudnn": ("gpu", "cuda"), "splash": ("tpu",)}
# Rows of so many tokens are computed in blocks: scores of all of a row's tokens at once are [length, length]. On a TPU
# a block's scores stay in the chip, and the whole row's do not (docs/scaling.md).
BLOCKED_FROM = {"tpu": 512}
BLOCKED_FROM_ELSEWHERE = 1025


@dataclass(frozen=True)
class AttentionChoice:
    """``line`` says what was chosen and why."""

    backend: Backend
    line: str


def choose_attention(config: Config, platform: str) -> AttentionChoice:
    """The back end for ``config`` on devices of ``platform`` (cpu, gpu, tpu).

    Raises:
        UserError: compute.attention names one that cannot do what the configuration asks.
    """
    asked = config.compute.attention
    if asked != "auto":
        if reason := _obstacle(asked, config, platform):
            raise UserError(f"compute.attention={asked} {reason}; compute.attention=auto takes another")
        return AttentionChoice(asked, f"attention: {asked}, as compute.attention says")
    length = config.data.sequence_length
    blocked_from = BLOCKED_FROM.get(platform, BLOCKED_FROM_ELSEWHERE)
    plain: Backend = "xla" if length < blocked_from else "blocked"
    fused = FUSED.get(platform)
    if fused is None:
        return AttentionChoice(plain, f"attention: {plain} ({length} tokens on {platform})")
    if reason := _obstacle(fused, config, platform):
        return AttentionChoice(
            plain, f"warning: attention: {plain} instead of the faster {fused}, which {reason}"
        )
    return AttentionChoice(fused, f"attention: {fused} ({length} tokens on {platform})")


def _obstacle(backend: Backend, config: Config, platform: str) -> str | None:
    """Why ``backend`` cannot be used, as the end of a sentence; None if it can."""
    if backend in ("xla", "blocked"):
        return None
    if platform not in NEEDS[backend]:
        needed = NEEDS[backend][0].upper()
        return f"needs a {needed}, and the devices here are {platform.upper()}s: choose xla or blocked"
    if rate := config.model.attention_dropout:
        return f"has no dropout: set model.attention_dropout=0 (it is {rate}), or choose xla or blocked"
    if backend == "splash":
        return None
    if config.compute.dtype == "float32":
        return "computes in bfloat16 only: set compute.dtype=bfloat16"
    if config.data.sequence_length % 2:
        return f"needs an even data.sequence_length (it is {config.data.sequence_length})"
    sizes = network_sizes(config.model, config.generator, 1)
    for name, encoder in (("discriminator", sizes.discriminator), ("generator", sizes.generator)):
        head = encoder.hidden_size // encoder.num_heads
        if head % 8 or head > 128:
            return f"needs heads of a multiple of 8 up to 128, and those of the {name} are {head} wide"
    return None
