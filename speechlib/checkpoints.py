"""Checkpoints in Hugging Face's format: a folder <-> our names. No framework in here.

input -> output: a folder with `config.json` and tensors -> its settings, and the name that every
tensor has in our models (and back).
Special: exact rename rows, one a module path, `*` for a layer number; order-free and invertible.
A tensor without a row, a parameter left unfilled or a wrong shape is an error that lists them all.
"""

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from speechlib import generation_rules, paths
from speechlib.rename_rows import (
    ARCHITECTURES,
    BARE,
    LISTENERS,
    OLD_ENDINGS,
    OPTIONAL,
    PARAMETERS,
    ROWS,
    SPEAKERS,
    UNUSED,
    Architecture,
)

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
)


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: a Flax model carries one
class Checkpoint:
    """A checkpoint folder, read but for its tensors."""

    folder: Path  # absolute: it stays the same where the working directory changes
    architecture: str  # as in config.json
    kind: Architecture  # what we make of it
    config: dict  # config.json as it is
    generation: dict = field(default_factory=dict)  # generation_config.json, or {}


def open_checkpoint(source) -> Checkpoint:
    """A folder, a hub name ("openai/whisper-tiny") or a bundled name ("whisper-digits").

    Raises ValueError for a source that is none of these, a folder without `config.json`, files
    that are not JSON, generation settings of another kind, and an architecture that is not one of
    ours (named, with those that are).
    """
    folder = _resolve(source).resolve()
    config = read_json(folder / "config.json")
    architecture, kind = architecture_of(config, folder / "config.json")
    file = folder / "generation_config.json"
    generation = read_json(file) if file.is_file() else {}
    generation_rules.check_settings(generation, file)
    for settings in (config, config.get("decoder")):
        if isinstance(settings, dict):
            generation_rules.check_settings(settings, folder / "config.json")
    return Checkpoint(
        folder=folder,
        architecture=architecture,
        kind=kind,
        config=config,
        generation=generation,
    )


def architecture_of(config, where="config.json"):
    """A `config.json` -> (the name of its architecture, what we make of it).

    `where`: for the message of the ValueError that an unknown architecture or part raises.
    """
    named, model_type = config.get("architectures"), config.get("model_type")
    named = named or (BARE.get(model_type) if isinstance(model_type, str) else None)
    name = named[0] if isinstance(named, list) else named
    if not isinstance(name, str) or name not in ARCHITECTURES:
        came = name or f"model_type {model_type!r}"
        came = came if isinstance(came, str) else f"architectures {named!r}"
        raise ValueError(f"{where} asks for {came}; speechlib loads {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[name]
    if name != "SpeechEncoderDecoderModel":
        return name, kind
    listener = LISTENERS[_part(config, "encoder", LISTENERS, where)][1]
    speaker = ARCHITECTURES[SPEAKERS[_part(config, "decoder", SPEAKERS, where)]]
    handed = {
        attribute: replace(kind.handed[attribute], architecture=part)
        for attribute, part in (("encoder", listener), ("decoder", speaker))
    }
    return name, replace(kind, handed=handed)


def _part(config, name, known, where):
    """The model_type of the encoder or the decoder inside a SpeechEncoderDecoderModel."""
    part = config.get(name)
    came = part.get("model_type") if isinstance(part, dict) else None
    if not isinstance(came, str) or came not in known:
        raise ValueError(
            f"{where} asks for a SpeechEncoderDecoderModel whose {name} is "
            f"{came or 'not described'}; speechlib has {', '.join(known)}"
        )
    return came


def settings_of(model, kind, carried=None) -> dict:
    """The `config.json` of a model: what it came with, and what our configs decide.

    A `use_cache` of null, which transformers 4 wrote and 5 refuses to read, is left out."""
    carried, written = dict(carried or {}), {}
    if carried.get("use_cache", True) is None:
        del carried["use_cache"]
    for name, part in kind.handed.items():
        inner, own = getattr(model, name), part.own_config
        settings = settings_of(inner, part.architecture, carried.get(name) if own else None)
        written |= {name: settings} if own else settings
    return carried | written | model.config.to_hugging_face()


def architecture_of_model(model):
    """(name, Architecture) for a model that was not loaded, by the file and the name of its
    class. Raises ValueError where Hugging Face has no such model."""
    classes = {f"{c.__module__.rpartition('.')[2]}.{c.__name__}" for c in type(model).__mro__}
    for name, kind in ARCHITECTURES.items():
        if kind.model in classes:
            settings = settings_of(model, kind)
            if settings.get("model_type") == kind.model_type:
                return architecture_of(settings | {"architectures": [name]}, "the model")
    raise ValueError(
        f"expected a model of this package that Hugging Face has too, got {type(model).__name__}"
    )


def ours_alone(kind: Architecture, config, encoder) -> str | None:
    """Why transformers cannot read a model of this kind, or None where it can.

    config: the model's; encoder: its encoder's config, of a SpeechEncoderDecoder."""
    if kind.model_type != "speech-encoder-decoder":
        return None
    named = [part.architecture.model_type for part in kind.handed.values()]
    what = f"of {' and '.join(named)}"
    if "whisper" not in named:
        if config.bridge is None or config.bridge[0] == encoder.width:
            return None
        what = (
            f"whose bridge takes the {config.bridge[0]} features of an adapter, and not the "
            f"{encoder.width} of the encoder's hidden_size,"
        )
    return (
        f"a SpeechEncoderDecoder {what} is speechlib's alone: sl.load reads the folder back, "
        "transformers does not"
    )


def _resolve(source) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise ValueError(
            f"expected a folder, a hub name or a bundled name, got {type(source).__name__}; "
            f'"whisper-digits", for example'
        )
    if source == "":  # Path would take it for the working directory
        raise ValueError(
            'expected a folder, a hub name or a bundled name, got an empty text; "whisper-digits", '
            'for example, or "." for the folder that you are in'
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
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    wanted = ["*.json", "*.txt", "*.safetensors", "*.bin"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"huggingface.co has no model {name}, or none without a login: check the name"
        ) from error
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"{name} is not in the local cache and could not be downloaded, because "
            f"huggingface.co cannot be reached ({type(error).__name__}): connect to the network "
            "once, or give the folder of a model"
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
    """The bundled checkpoints: name, task, parameters, metrics, licence, as their cards say (but
    for the tables of what is confused, which would fill a screen each)."""
    entries = []
    for file in sorted((paths.data_folder() / "checkpoints").glob("*/card.json")):
        card = read_json(file)
        for figure in card.get("metrics", {}).values():
            figure.pop("confusion", None)
        entries.append({"name": file.parent.name, **card})
    return entries


def our_name(name, system, prefix="") -> str | None:
    """A tensor's name in our models, or None when no row of the system fits."""
    name = name.removeprefix(prefix)
    module, _, leaf = name.rpartition(".")
    found = _renamed(module, ROWS[system])
    return None if found is None else f"{found}.{leaf}"


def _renamed(path, rows):
    """A path by the row that fits it; `*` in a row stands for a layer number."""
    numbers = re.findall(r"\.(\d+)(?=\.|$)", path)
    row = rows.get(re.sub(r"\.\d+(?=\.|$)", ".*", path))
    if row is None:
        return None
    for number in numbers:
        row = row.replace("*", number, 1)
    return row


def place_of(name, kind: Architecture) -> str | None:
    """Where a tensor of a checkpoint belongs in our model: its name there, or None."""
    for attribute, handed in kind.handed.items():
        for prefix in {handed.prefix, handed.prefix if handed.own_config else ""}:
            inner = name.startswith(prefix) and place_of(
                name.removeprefix(prefix), handed.architecture
            )
            if inner:
                return f"{attribute}.{inner}"
    for prefix in (kind.prefix, kind.also):
        if name.startswith(prefix):
            short = name.removeprefix(prefix)
            for old, new in OLD_ENDINGS.items():
                short = short.removesuffix(old) + new if short.endswith(old) else short
            found = _renamed(short, PARAMETERS.get(kind.rows, {})) or our_name(short, kind.rows)
            if found is not None:
                return found
    return None


def their_name(name, kind: Architecture) -> str | None:
    """What Hugging Face calls one of our parameters: the inverse of `place_of`."""
    attribute, _, inner = name.partition(".")
    if attribute in kind.handed:
        handed = kind.handed[attribute]
        found = their_name(inner, handed.architecture)
        return None if found is None else handed.prefix + found
    found = _renamed(name, _turned(PARAMETERS.get(kind.rows, {})))
    if found is None:
        module, _, leaf = name.rpartition(".")
        path = _renamed(module, _turned(ROWS[kind.rows]))
        found = None if path is None else f"{path}.{leaf}"
    return None if found is None else kind.prefix + found


def _turned(rows):
    return {ours: theirs for theirs, ours in rows.items()}


def _copies(kind):
    """Tensors that are a second copy of a parameter: their name -> our parameter."""
    found = dict(kind.tied)
    for attribute, handed in kind.handed.items():
        inner = _copies(handed.architecture).items()
        found |= {handed.prefix + copy: f"{attribute}.{original}" for copy, original in inner}
    return found


def _optional(kind):
    """Our parameters that a checkpoint may lack."""
    found = set(OPTIONAL.get(kind.rows, ()))
    for attribute, handed in kind.handed.items():
        found |= {f"{attribute}.{name}" for name in _optional(handed.architecture)}
    return found


def _unused(kind):
    """Tensors that may be there although the model has no place for them."""
    rows = UNUSED.get(kind.rows, ())
    found = {prefix + name for prefix in (kind.prefix, kind.also) for name in rows}
    for handed in kind.handed.values():
        found |= {handed.prefix + name for name in _unused(handed.architecture)}
    return found


def match(theirs: dict, ours: dict, checkpoint: Checkpoint) -> dict:
    """Pairs tensors with parameters, strictly.

    theirs: name -> array of the checkpoint (anything with .shape); ours: name -> our parameter.
    Returns our name -> their array. Raises one ValueError that lists every tensor without a row,
    every parameter left unfilled and every wrong shape.
    """
    kind = checkpoint.kind
    copies, may_lack, unused = _copies(kind), _optional(kind), _unused(kind)
    found, unknown, wrong, misshapen = {}, [], [], set()
    for name, tensor in theirs.items():
        if name in copies:
            continue
        mine = place_of(name, kind)
        if mine in ours and mine not in found:
            if tuple(tensor.shape) == tuple(ours[mine].shape):
                found[mine] = tensor
            else:
                wrong.append(f"{name}: {tuple(tensor.shape)}, expected {tuple(ours[mine].shape)}")
                misshapen.add(mine)
        elif mine in ours or name not in unused:
            unknown.append(name)
    wrong += [
        f"{copy}: differs from {their_name(original, kind)}, which it must equal"
        for copy, original in copies.items()
        if copy in theirs and original in found and not _equal(theirs[copy], found[original])
    ]
    missing = sorted(set(ours) - set(found) - may_lack - misshapen)
    problems = {
        "tensors that the model has no place for": unknown,
        "parameters that no tensor fills": [their_name(name, kind) or name for name in missing],
        "tensors of a wrong shape or value": wrong,
    }
    if any(problems.values()):
        lines = [f"  {what}: {', '.join(names)}" for what, names in problems.items() if names]
        raise ValueError(
            f"{checkpoint.folder} does not fit {checkpoint.architecture} with its config.json:\n"
            + "\n".join(lines)
        )
    return found


def _equal(a, b):
    return tuple(a.shape) == tuple(b.shape) and bool((a == b).all())
