"""The files of a checkpoint folder: which hold the weights, and how a folder is written.

input -> output: a folder -> paths of its weights; a model and a way to write tensors -> a folder.
Special: no framework in here. Files are written beside their place and moved there whole, so a full
disk leaves the old ones as they were.
"""

import json
import shutil
import warnings
from pathlib import Path

from speechlib import checkpoints, paths


def weight_files(folder) -> list[Path]:
    """The files that hold the tensors: model.safetensors, its shards, pytorch_model.bin, its shards
    (the first that is there counts: the order of transformers). Raises ValueError for none."""
    folder = Path(folder)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return [folder / shard for shard in _shards(index)]
    if (folder / "flax_model.msgpack").is_file():
        raise ValueError(
            f"{folder} holds its weights as flax_model.msgpack, which is not read here; convert it "
            "to model.safetensors first"
        )
    raise ValueError(
        f"{folder} has no weights: expected model.safetensors or pytorch_model.bin, found "
        f"{', '.join(sorted(p.name for p in folder.iterdir()))}"
    )


def _shards(index):
    """Names of the files that an index lists; they lie beside it."""
    weight_map = checkpoints.read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        raise ValueError(f"expected a weight_map of tensor names and files in {index}")
    return sorted({Path(name).name for name in weight_map.values()})


def unreadable(path, error) -> ValueError:
    """What to raise for a file of weights that could not be read."""
    why = (str(error) or type(error).__name__).splitlines()[0]
    if path.suffix == ".safetensors":
        return ValueError(f"{path} could not be read as safetensors: {why}")
    # PyTorch's own words advise to open it anyway, those of its reader tell of bytes and indices
    if not isinstance(error, OSError | RuntimeError | MemoryError):
        why = "it is damaged, or a pickle with other objects, which can run code when it is opened"
    return ValueError(
        f"expected tensors by name, plain weights, in {path}, but it could not be read: {why}; ask "
        "for model.safetensors, or save its state_dict() alone where you trust it"
    )


def kind_of(model):
    """(name, `checkpoints.Architecture`) of a model: as it was loaded, or by its class."""
    checkpoint = getattr(model, "checkpoint", None)
    if checkpoint is not None:
        return checkpoint.architecture, checkpoint.kind
    return checkpoints.architecture_of_model(model)


def write(model, folder, tensors, save_file, number_type):
    """A folder with config.json, model.safetensors and what else the model came with.

    tensors: their name -> array; save_file: of safetensors, for arrays of this framework;
    number_type: "float32". Raises ValueError for a folder that cannot be made, and warns where the
    folder that the model came from is gone, and of what another model had left in this one.
    """
    architecture, kind = kind_of(model)
    checkpoint = getattr(model, "checkpoint", None)
    _warn_where_gone(checkpoint, folder)
    folder = _made(folder)
    encoder = getattr(model, "encoder", None)
    if note := checkpoints.ours_alone(kind, model.config, getattr(encoder, "config", None)):
        warnings.warn(note, stacklevel=5)
    carried = checkpoint.config if checkpoint else _first_token(model)
    config = _without_number_type(checkpoints.settings_of(model, kind, carried))
    config["architectures"] = [architecture]
    config["torch_dtype"] = number_type
    left_over = _left_over(checkpoint, folder, config)
    for name in checkpoints.COMPANIONS if checkpoint else ():
        source = checkpoint.folder / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            paths.write_whole(folder / name, lambda path, s=source: shutil.copyfile(s, path))
    _write_card(checkpoint, folder)
    if checkpoint is not None and checkpoint.generation:  # as it was read, whatever is there now
        paths.write_json(folder / "generation_config.json", checkpoint.generation, sort_keys=True)
    paths.write_whole(
        folder / "model.safetensors", lambda path: save_file(tensors, path, {"format": "pt"})
    )
    paths.write_json(folder / "config.json", config, sort_keys=True)
    for name in left_over:
        (folder / name).unlink()
    if left_over:
        warnings.warn(
            f"{folder} held another model; of that one {', '.join(left_over)} was removed, which "
            "would be read as this model's: what this one needs of it, write there now",
            stacklevel=5,
        )


def _write_card(checkpoint, folder):
    """The card goes along, but for its figures: nobody has measured these weights."""
    if checkpoint is None or checkpoint.folder.resolve() == folder.resolve():
        return
    source = checkpoint.folder / "card.json"
    if source.is_file():
        card = checkpoints.read_json(source)
        card.pop("metrics", None)
        paths.write_json(folder / "card.json", card)


def _warn_where_gone(checkpoint, folder):
    if checkpoint is not None and not checkpoint.folder.is_dir():
        warnings.warn(
            f"{checkpoint.folder}, where the model came from, is no longer there: what it had of a "
            f"tokenizer and a preprocessor_config.json is not saved; copy them into {folder}",
            stacklevel=6,
        )


def _left_over(checkpoint, folder, config):
    """Names of the files of another model in this folder that would be read as this one's.

    A folder without config.json holds no model yet, and one whose config.json says the same holds
    an earlier state of this one: what lies there was put there for it.
    """
    try:
        former = checkpoints.read_json(folder / "config.json")
    except ValueError:
        return []
    present = json.loads(json.dumps(config))
    if _without_number_type(former) == _without_number_type(present):  # in float16, too
        return []
    names = checkpoints.COMPANIONS
    mine = {name for name in names if checkpoint and (checkpoint.folder / name).is_file()}
    if checkpoint and checkpoint.generation:
        mine.add("generation_config.json")
    return [name for name in names if name not in mine and (folder / name).is_file()]


def _without_number_type(config):
    """A config.json that does not say its number type, also inside encoder and decoder: null for
    `torch_dtype`, as transformers 4 writes there; no `dtype`, which 5 has and believes more."""
    kept = {
        name: _without_number_type(value) if _is_part(name, value) else value
        for name, value in config.items()
        if name != "dtype"
    }
    return kept | {"torch_dtype": None}


def _is_part(name, value):
    return name in ("encoder", "decoder") and isinstance(value, dict)


def _first_token(model):
    """Transformers wants a token to begin texts with, even where none is used."""
    end = getattr(model.config, "end", None)
    return {} if end is None else {"bos_token_id": end[0] if isinstance(end, tuple) else end}


def _made(folder):
    try:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"expected a folder to save to, got {folder!r}: {why}") from error
    return folder
