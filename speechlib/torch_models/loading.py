"""Checkpoint folders -> PyTorch models, and back.

input -> output: a folder, a hub name or a bundled name -> a model in eval mode.
Special: tensors come from safetensors, or from a `.bin` read as plain weights only (a pickle can
run code when it is opened, so anything else in it is refused). A model is built without memory
for its parameters (PyTorch's "meta" device), so no time goes into values that are then replaced.
"""

import importlib
import json
import pickle
import shutil
from pathlib import Path

import torch

from speechlib import checkpoints, configs, paths
from speechlib.torch_models.attention import BACKENDS

DTYPES = ("float32", "float64", "float16", "bfloat16")


def load(source, *, framework="torch", attention="sdpa", dtype="float32", device="cpu"):
    """A trained model, in eval mode.

    source: a folder in Hugging Face format, a hub name ("openai/whisper-tiny"), or a bundled name
        ("whisper-digits"; `available()` lists them).
    attention: "sdpa" (fused) or "eager" (step by step); the numbers are the same.
    dtype: of the model, whatever the file holds: "float32", "float64", "float16" or "bfloat16".
    Raises ValueError for an unknown source, architecture or option, for files that cannot be read,
    and for a checkpoint whose tensors do not fit (all of them listed).
    """
    if framework != "torch":
        raise ValueError(f'framework must be "torch" in this release, got {framework!r}')
    if attention not in list(BACKENDS):
        raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {attention!r}")
    number_type, device = _number_type(dtype), _device(device)
    checkpoint = checkpoints.open_checkpoint(source)
    with torch.device("meta"):
        model = build(checkpoint.kind, checkpoint.config, attention)
    parameters = dict(model.named_parameters())
    found = checkpoints.match(read_tensors(checkpoint.folder), parameters, checkpoint)
    for name, parameter in parameters.items():
        owner, leaf = _owner(model, name)
        if name in found:
            value = found[name].to(device, number_type, copy=True).contiguous()
        else:  # one that the file may lack
            value = torch.empty(parameter.shape, device=device, dtype=number_type)
        setattr(owner, leaf, torch.nn.Parameter(value, parameter.requires_grad))
    for name in set(parameters) - set(found):
        _owner(model, name)[0].reset_parameters()
    model.checkpoint = checkpoint
    return model.to(device=device, dtype=number_type).eval()


def build(kind, config, attention="sdpa"):
    """A fresh model of this `checkpoints.Architecture`, from a `config.json` as a dict."""
    parts = [
        build(part.architecture, config[name] if part.own_config else config, attention)
        for name, part in kind.handed.items()
    ]
    settings = getattr(configs, kind.config).from_hugging_face(config)
    if hasattr(settings, "with_attention"):
        settings = settings.with_attention(attention)
    return _class_of(kind)(*parts, settings)


def _class_of(kind):
    file, name = kind.model.split(".")
    return getattr(importlib.import_module(f"speechlib.torch_models.{file}"), name)


def _owner(model, name):
    """The module that a parameter belongs to, and what it is called there."""
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _number_type(dtype):
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return getattr(torch, dtype)


def _device(device):
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f'device must be one that PyTorch has here, such as "cpu", got {device!r}: {why}'
        ) from error


def read_tensors(folder) -> dict:
    """All tensors of a checkpoint folder: name -> torch tensor.

    Of several files the first counts: model.safetensors, its shards, pytorch_model.bin, its shards
    (the order of transformers). Raises ValueError for none, and for one that cannot be read.
    """
    folder = Path(folder)
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return _read_file(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = [_read_file(folder / shard) for shard in _shards(index)]
            return {name: tensor for part in parts for name, tensor in part.items()}
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


def _read_file(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        kind = "safetensors" if path.suffix == ".safetensors" else "plain weights, no other objects"
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} could not be read as {kind}: {why}") from error
    if not (isinstance(tensors, dict) and all(torch.is_tensor(t) for t in tensors.values())):
        raise ValueError(f"{path} holds other things than tensors; a plain state dict is expected")
    return tensors


def save(model, folder):
    """Writes a folder that `load`, and transformers, read back to the same numbers.

    Files are written beside their place and moved there whole, so a full disk leaves the old ones
    as they were. Raises ValueError for something else than a model of this package, and for a
    folder that cannot be made.
    """
    write_folder(model, folder)


def write_folder(model, folder, dtype=None):
    """As `save`; dtype: "float16" halves the file, None keeps the model's own."""
    from safetensors.torch import save_file

    number_type = None if dtype is None else _number_type(dtype)
    architecture, kind = _architecture(model)
    folder = _made(folder)
    checkpoint = getattr(model, "checkpoint", None)
    tensors = {
        checkpoints.their_name(name, kind): p.detach().to("cpu", number_type).contiguous()
        for name, p in model.named_parameters()
    }
    carried = checkpoint.config if checkpoint else _first_token(model)
    config = checkpoints.settings_of(model, kind, carried)
    config["architectures"] = [architecture]
    config["torch_dtype"] = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    for name in checkpoints.COMPANIONS if checkpoint else ():
        source = checkpoint.folder / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            paths.write_whole(folder / name, lambda path, s=source: shutil.copyfile(s, path))
    paths.write_whole(
        folder / "model.safetensors", lambda path: save_file(tensors, path, {"format": "pt"})
    )
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    paths.write_whole(
        folder / "config.json", lambda path: Path(path).write_text(text, encoding="utf-8")
    )


def _architecture(model):
    """(name, `checkpoints.Architecture`) of a model: as it was loaded, or by its class."""
    checkpoint = getattr(model, "checkpoint", None)
    if checkpoint is not None:
        return checkpoint.architecture, checkpoint.kind
    if isinstance(model, torch.nn.Module):
        return checkpoints.architecture_of_model(model)
    raise ValueError(f"expected a model of this package, got {type(model).__name__}")


def _first_token(model):
    """Transformers wants a token to begin texts with, even where none is used."""
    end = getattr(model.config, "end", None)
    return {} if end is None else {"bos_token_id": end[0] if isinstance(end, list) else end}


def _made(folder):
    try:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"expected a folder to save to, got {folder!r}: {why}") from error
    return folder
