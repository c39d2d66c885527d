"""Checkpoints in Hugging Face's format: a folder <-> our names. No framework in here.

input -> output: a folder with `config.json` and tensors -> its settings, and the name that every
tensor has in our models (and back).
Special: exact rename rows, one a module path, `*` for a layer number; order-free and invertible.
A tensor without a row, a parameter left unfilled or a wrong shape is an error that lists them all.
"""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from speechlib import paths

# architecture in config.json -> (our system, prefix of the tensor names that it is saved with)
ARCHITECTURES = {
    "WhisperForConditionalGeneration": ("whisper", "model."),
    "WhisperModel": ("whisper", ""),
}
# the prefix that the names of the whole model have; either kind of folder is read with or without
PREFIX = {"whisper": "model."}
BARE = {"whisper": "WhisperModel"}  # model_type -> architecture when config.json names none

_BLOCK = {
    "self_attn.q_proj": "self_attention.query",
    "self_attn.k_proj": "self_attention.key",
    "self_attn.v_proj": "self_attention.value",
    "self_attn.out_proj": "self_attention.output",
    "self_attn_layer_norm": "self_norm",
    "fc1": "feed_forward.up",
    "fc2": "feed_forward.down",
    "final_layer_norm": "feed_forward_norm",
}
_CROSS = {
    "encoder_attn.q_proj": "cross_attention.query",
    "encoder_attn.k_proj": "cross_attention.key",
    "encoder_attn.v_proj": "cross_attention.value",
    "encoder_attn.out_proj": "cross_attention.output",
    "encoder_attn_layer_norm": "cross_norm",
}


def _blocks(theirs, ours, rows):
    return {f"{theirs}.{a}": f"{ours}.{b}" for a, b in rows.items()}


# Hugging Face module path -> our module path; the leaf (weight, bias) stays
ROWS = {
    "whisper": {
        "encoder.conv1": "encoder.conv1",
        "encoder.conv2": "encoder.conv2",
        "encoder.embed_positions": "encoder.positions",
        **_blocks("encoder.layers.*", "encoder.blocks.*", _BLOCK),
        "encoder.layer_norm": "encoder.norm",
        "decoder.embed_tokens": "decoder.token_embedding",
        "decoder.embed_positions": "decoder.positions",
        **_blocks("decoder.layers.*", "decoder.blocks.*", _BLOCK | _CROSS),
        "decoder.layer_norm": "decoder.norm",
    }
}
# may be missing in a checkpoint: our own value stays (a sinusoid table is built, not learned)
OPTIONAL = {"whisper": {"encoder.positions.weight"}}
# a second copy of another tensor: absent, or present and equal
TIED = {"whisper": {"proj_out.weight": "decoder.token_embedding.weight"}}
# files beside the tensors that a saved copy keeps
COMPANIONS = (
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "normalizer.json",
    "card.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder, read but for its tensors."""

    folder: Path
    system: str  # a key of ROWS
    architecture: str
    prefix: str  # of the tensor names inside
    config: dict  # config.json as it is
    generation: dict = field(default_factory=dict)  # generation_config.json, or {}


def open_checkpoint(source) -> Checkpoint:
    """A folder, a hub name ("openai/whisper-tiny") or a bundled name ("whisper-digits").

    Raises ValueError for a source that is none of these, a folder without `config.json`, files
    that are not JSON, and an architecture that is not one of ours (named, with those that are).
    """
    folder = _resolve(source)
    config = read_json(folder / "config.json")
    named = config.get("architectures") or BARE.get(config.get("model_type"))
    architecture = named[0] if isinstance(named, list) else named
    if architecture not in ARCHITECTURES:
        came = architecture or f"model_type {config.get('model_type')!r}"
        raise ValueError(
            f"{folder / 'config.json'} asks for {came}; speechlib loads "
            f"{', '.join(ARCHITECTURES)}"
        )
    system, prefix = ARCHITECTURES[architecture]
    generation = folder / "generation_config.json"
    return Checkpoint(
        folder=folder,
        system=system,
        architecture=architecture,
        prefix=prefix,
        config=config,
        generation=read_json(generation) if generation.is_file() else {},
    )


def _resolve(source) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            f"expected a folder, a hub name or a bundled name, got {type(source).__name__}; "
            f'"whisper-digits", for example'
        )
    folder = Path(source)
    if os.path.isdir(folder):
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} has no config.json, so it is not a checkpoint folder")
        return folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and not str(source).startswith("."):
        return _from_hub(str(source))  # before the bundled ones: needs no data folder
    bundled = paths.data_folder() / "checkpoints" / str(source)
    if os.path.isfile(bundled / "config.json"):
        return bundled
    have = ", ".join(entry["name"] for entry in available()) or "none"
    raise ValueError(
        f"no checkpoint {str(source)!r}: it is neither a folder, nor a bundled name ({have}), nor "
        'a hub name like "openai/whisper-tiny"'
    )


def _from_hub(name) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "*.safetensors", "*.bin"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"{name} is not in the local cache and could not be downloaded "
            f"({type(error).__name__}); check the name and the network, or give a folder"
        ) from error


def read_json(path) -> dict:
    """A JSON file that holds names and values. Raises ValueError for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} could not be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected names and values in {path}, got a {type(content).__name__}")
    return content


def available() -> list[dict]:
    """The bundled checkpoints: name, task, parameters, metrics, licence, as their cards say."""
    cards = sorted((paths.data_folder() / "checkpoints").glob("*/card.json"))
    return [{"name": card.parent.name, **read_json(card)} for card in cards]


def our_name(name, system, prefix="") -> str | None:
    """A tensor's name in our models, or None when no row fits."""
    name = name.removeprefix(prefix)
    module, _, leaf = name.rpartition(".")
    return _renamed(module, leaf, ROWS[system])


def their_name(name, system, prefix="") -> str | None:
    """The inverse of `our_name`."""
    module, _, leaf = name.rpartition(".")
    found = _renamed(module, leaf, {ours: theirs for theirs, ours in ROWS[system].items()})
    return None if found is None else prefix + found


def _renamed(module, leaf, rows):
    numbers = re.findall(r"\.(\d+)(?=\.|$)", module)
    row = rows.get(re.sub(r"\.\d+(?=\.|$)", ".*", module))
    if row is None:
        return None
    for number in numbers:
        row = row.replace("*", number, 1)
    return f"{row}.{leaf}"


def match(theirs: dict, ours: dict, checkpoint: Checkpoint) -> dict:
    """Pairs tensors with parameters, strictly.

    theirs: name -> array of the checkpoint (anything with .shape); ours: name -> our parameter.
    Returns our name -> their array. Raises one ValueError that lists every tensor without a row,
    every parameter left unfilled and every wrong shape.
    """
    system, tied = checkpoint.system, TIED[checkpoint.system]
    found, unknown, wrong, misshapen = {}, [], [], set()
    for name, tensor in theirs.items():
        if name in tied:
            continue
        mine = our_name(name, system, PREFIX[system])
        if mine not in ours or mine in found:
            unknown.append(name)
        elif tuple(tensor.shape) != tuple(ours[mine].shape):
            wrong.append(f"{name}: {tuple(tensor.shape)}, expected {tuple(ours[mine].shape)}")
            misshapen.add(mine)
        else:
            found[mine] = tensor
    wrong += [
        f"{copy}: differs from {_theirs(original, checkpoint)}, which it must equal"
        for copy, original in tied.items()
        if copy in theirs and original in found and not _equal(theirs[copy], found[original])
    ]
    missing = sorted(set(ours) - set(found) - OPTIONAL[system] - misshapen)
    problems = {
        "tensors that the model has no place for": unknown,
        "parameters that no tensor fills": [_theirs(name, checkpoint) for name in missing],
        "tensors of a wrong shape or value": wrong,
    }
    if any(problems.values()):
        lines = [f"  {what}: {', '.join(names)}" for what, names in problems.items() if names]
        raise ValueError(
            f"{checkpoint.folder} does not fit {checkpoint.architecture} with its config.json:\n"
            + "\n".join(lines)
        )
    return found


def _theirs(name, checkpoint):
    """How a parameter is called in this checkpoint, for a message."""
    return their_name(name, checkpoint.system, checkpoint.prefix) or name


def _equal(a, b):
    return tuple(a.shape) == tuple(b.shape) and bool((a == b).all())
