"""State dicts of PyTorch: which of their tensors are an ELECTRA's, by the names of today's transformers.

Trainers put prefixes before the names (``module.``, ``model.``, ``state_dict.``), and store other things beside them.
The names that remain, those of the encoder in `transformers`, show where the network is.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from electra_jax.convert.files.differences import first_difference
from electra_jax.convert.weights import FlatParams
from electra_jax.errors import UserError, listed

# Parts that wrappers insert anywhere into the names of a network's tensors.
_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"),
}
_OLDER = {"gamma": "weight", "beta": "bias"}
_ENCODER = re.compile(
    r"((?:.*?\.)??)(electra\.)?(?:embeddings\.(?:word|position|token_type)_embeddings\.weight"
    r"|encoder\.layer\.\d+\.attention\.self\.query\.weight)"
)
_BARE = ("embeddings.", "embeddings_project.", "encoder.")
# How the names of an ELECTRA with any head of `transformers` begin.
_PARTS = (
    *("electra.", *_BARE, "discriminator_predictions.", "generator_"),
    *("classifier.", "qa_outputs.", "sequence_summary."),
)
# Other networks whose tensors have the same names as ELECTRA's.
_OTHER_NETWORKS = {
    *("albert", "bert", "camembert", "convbert", "deberta", "distilbert", "ernie", "funnel", "layoutlm"),
    *("mobilebert", "mpnet", "roberta", "xlm_roberta"),
}
# A trainer may keep copies, averaged ones among them.
_MAX_NETWORKS = 8
# Buffers that older versions saved beside the parameters.
_BUFFERS = ("electra.embeddings.position_ids", "electra.embeddings.token_type_ids")
TIED = "generator_lm_head.weight"
WORDS = "electra.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class NetworkStateDict:
    """The tensors of one network.

    Attributes:
        tensors: by the names of today's `transformers`, with ``electra.`` before the encoder's; without buffers and the
            tied copy of the word table.
        bare: whether the encoder's names had no ``electra.``, like those of an `ElectraModel`.
        tied: whether a copy of the word table was stored as the output table.
    """

    tensors: FlatParams
    bare: bool
    tied: bool

    @property
    def is_generator(self) -> bool:
        """Whether its head is that of masked language modelling."""
        return any(name.startswith(("generator_", "decoder.")) for name in self.tensors)

    @property
    def is_discriminator(self) -> bool:
        """Whether its head is that of replaced token detection."""
        modern = "head.dense.weight" in self.tensors and "classifier.weight" in self.tensors
        return modern or any(name.startswith("discriminator_predictions.") for name in self.tensors)


def split_networks(
    where: str, stored: FlatParams, others: Iterable[str] = ()
) -> tuple[list[NetworkStateDict], list[str]]:
    """Return the network in a file, or generator and discriminator, with notes on which tensors are used.

    Args:
        where: the file, for messages.
        stored: its tensors by the names they have there.
        others: names of what else is in it.

    Raises:
        UserError: two names mean one parameter and their values differ; it has several encoders, and nothing says which
            is meant; the output table of a generator is not its word table.
    """
    canonical = {name: canonical_name(name) for name in stored}
    roots = _encoder_prefixes(canonical.values()) or [""]
    if len(roots) > _MAX_NETWORKS:
        raise UserError(f"{where} holds {len(roots)} networks: save the state dict of the one that is meant")
    parts: dict[str, list[str]] = {root: [] for root in roots}
    left: list[str] = []
    beginnings = {
        _stored_prefix(name, match[1])
        for name, todays in canonical.items()
        if (match := _ENCODER.fullmatch(todays)) and match[1] in roots
    }
    for name, todays in canonical.items():
        home = max((root for root in roots if todays.startswith(root)), key=len, default=None)
        # Beside module.electra.… a trainer may keep tensors of its own, whose names do not begin with module.
        if home is not None and not todays[len(home) :].startswith(_PARTS) and beginnings:
            home = home if _stored_prefix(name, home) in beginnings else None
        (left if home is None else parts[home]).append(name)
    found = {
        root: _state_dict(where, {name: (canonical[name][len(root) :], stored[name]) for name in names})
        for root, names in parts.items()
    }
    found, notes = _choose_networks(where, found)
    left += [name for name in others if name]
    prefixes = sorted({_stored_prefix(name, root) for root in found for name in parts[root]} - {""})
    if prefixes or left:
        count = sum(len(parts[root]) for root in found)
        under = f" under {' and '.join(prefixes)}" if prefixes else ""
        notes.append(f"{where}: taken are {count} tensors{under}, left {listed(first_parts(left)) or 'none'}")
    return list(found.values()), notes


def split_encoder_decoder(
    where: str, stored: FlatParams, others: Iterable[str] = ()
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the tensors of an encoder with a decoder by today's names, and notes on which tensors are used.

    Args:
        where: the file, for messages.
        stored: its tensors by the names they have there.
        others: names of what else is in it.

    Raises:
        UserError: as `split_networks`, of encoder or decoder.
    """
    tensors: dict[str, np.ndarray] = {}
    notes: list[str] = []
    # An `ElectraModel` has no electra. before its names, an `ElectraForCausalLM` has.
    for half, root in (("encoder", "electra."), ("decoder", "")):
        own = {
            name.removeprefix(f"{half}."): array
            for name, array in stored.items()
            if name.startswith(f"{half}.")
        }
        networks, more = split_networks(f"the {half} of {where}", own)
        if len(networks) != 1:
            raise UserError(f"the {half} of {where} is two networks: save the one that is meant")
        found = networks[0].tensors
        tensors |= {f"{half}.{name.removeprefix(root)}": array for name, array in found.items()}
        notes += more
    rest = {name: array for name, array in stored.items() if not name.startswith(("encoder.", "decoder."))}
    if left := list(others):
        notes.append(f"{where}: left {listed(first_parts(left))}")
    return {**tensors, **rest}, notes


def is_encoder_decoder(names: Iterable[str]) -> bool:
    """Return whether tensors of these names are an encoder and a decoder that attends to it."""
    return any(name.startswith("decoder.") and ".crossattention." in name for name in names)


def comparable_tensors(where: str, stored: FlatParams) -> dict[str, np.ndarray]:
    """Return the tensors by today's names, without buffers and tied copies, to compare two files of one model."""
    if is_encoder_decoder(stored):
        return split_encoder_decoder(where, stored)[0]
    return {
        f"{number}.{name}" if number else name: array
        for number, network in enumerate(split_networks(where, stored)[0])
        for name, array in network.tensors.items()
    }


def canonical_name(name: str) -> str:
    """Return today's name in `transformers`, with its prefixes except those of wrappers."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts[-2:-1] == ["LayerNorm"]:
        parts[-1] = _OLDER.get(parts[-1], parts[-1])
    return ".".join(parts)


def _encoder_prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefix of each encoder among some names."""
    roots: dict[str, None] = {}
    for name in names:
        if (match := _ENCODER.fullmatch(name)) is not None:
            root, own = match[1], match[2]
            if own or root.rstrip(".").rpartition(".")[2] not in _OTHER_NETWORKS:
                roots[root] = None
    return list(roots)


def _stored_prefix(name: str, root: str) -> str:
    """Return the beginning of a stored name that stands for the prefix ``root``, wrappers included."""
    parts, count = name.split("."), root.count(".")
    taken = 0
    while taken < len(parts) and (count or parts[taken] in _WRAPPERS):
        count -= parts[taken] not in _WRAPPERS
        taken += 1
    return "".join(f"{part}." for part in parts[:taken])


def first_parts(names: Iterable[str]) -> list[str]:
    """Return the first two parts of names, each once: there may be thousands of an optimizer's."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def _state_dict(where: str, named: Mapping[str, tuple[str, np.ndarray]]) -> NetworkStateDict:
    """Return one network of {stored name: (today's name, tensor)}.

    Raises:
        UserError: two names mean one parameter, and differ; the output table is not the word table.
    """
    spelled: dict[str, str] = {}
    tensors: dict[str, np.ndarray] = {}
    bare = not any(todays.startswith("electra.") for todays, _ in named.values())
    for stored, (todays, array) in named.items():
        name = f"electra.{todays}" if todays.startswith(_BARE) else todays
        if name in _BUFFERS:
            continue
        if name not in tensors:
            spelled[name], tensors[name] = stored, array
        elif difference := first_difference(tensors[name], array):
            raise UserError(
                f"{where} holds {name} twice, as {spelled[name]} and as {stored}, which differ {difference}: save it "
                "with one of them"
            )
    tied = tensors.pop(TIED, None)
    if tied is not None and WORDS in tensors and (difference := first_difference(tied, tensors[WORDS])):
        raise UserError(
            f"{where}: {TIED} is not the word table ({WORDS}), they differ {difference}; ELECTRA's generator has one "
            "table for both"
        )
    return NetworkStateDict(tensors, bare=bare, tied=tied is not None)


def _choose_networks(
    where: str, found: Mapping[str, NetworkStateDict]
) -> tuple[dict[str, NetworkStateDict], list[str]]:
    """Return the single network, or generator and discriminator; copies of each other count once.

    Raises:
        UserError: there are others.
    """
    chosen: dict[str, NetworkStateDict] = {}
    notes: list[str] = []
    for root, network in found.items():
        of = next((r for r, other in chosen.items() if _have_same_tensors(network, other)), None)
        if of is None:
            chosen[root] = network
        else:
            notes.append(f"{where}: what is under {root or 'no name'} is the same as under {of or 'no name'}")
    both = [network.is_generator for network in chosen.values()] in ([True, False], [False, True])
    if len(chosen) > 1 and not (both and any(network.is_discriminator for network in chosen.values())):
        raise UserError(
            f"{where} holds several networks, under {' and '.join(r or 'no name' for r in list(chosen)[:5])}: save the "
            "state dict of the one that is meant, or a generator and a discriminator"
        )
    return chosen, notes


def _have_same_tensors(one: NetworkStateDict, other: NetworkStateDict) -> bool:
    return one.tensors.keys() == other.tensors.keys() and not any(
        first_difference(array, other.tensors[name]) for name, array in one.tensors.items()
    )
