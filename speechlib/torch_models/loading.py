"""Checkpoint folders -> PyTorch models, and back.

input -> output: a folder, a hub name or a bundled name -> a model in eval mode.
Special: tensors come from safetensors, or from a `.bin` read as plain weights only (a pickle can
run code when it is opened, so anything else in it is refused). A model is built without memory
for its parameters (PyTorch's "meta" device), so no time goes into values that are then replaced.
"""

import importlib
import warnings

import torch
from torch.overrides import TorchFunctionMode

from speechlib import checkpoint_files, checkpoints, configs
from speechlib.torch_models.attention import BACKENDS

DTYPES = ("float32", "float64", "float16", "bfloat16")


def load(source, *, attention="sdpa", dtype="float32", device="cpu"):
    """As `speechlib.load`."""
    if attention not in list(BACKENDS):
        raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {attention!r}")
    device = _device(device)
    number_type = _quick_number_type(_number_type(dtype), device)
    checkpoint = checkpoints.open_checkpoint(source)
    with torch.device("meta"), _Unfilled():
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


class _Unfilled(TorchFunctionMode):
    """While it lasts, nothing is filled with random numbers. Without memory there is nothing to
    fill, but PyTorch would import its compiler to find that out: seconds."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        random = function in (torch.Tensor.normal_, torch.Tensor.uniform_)
        if random or getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


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


def _quick_number_type(number_type, device):
    """float32 in place of bfloat16 on an x86 processor that has no instructions for it: there it
    would be slower, not quicker."""
    able = getattr(torch.cpu, "get_capabilities", dict)()  # {}: an older PyTorch, nothing is known
    known = number_type == torch.bfloat16 and device.type == "cpu" and "x86" in str(able)
    if known and not (able.get("avx512_bf16") or able.get("amx_bf16")):
        warnings.warn(
            "this processor has no bfloat16 instructions, with which it would be slower than "
            "float32: the model is loaded as float32",
            stacklevel=4,
        )
        return torch.float32
    return number_type


def _device(device):
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f'device must be one that PyTorch has here, such as "cpu", got {device!r}: {why}'
        ) from error


def read_tensors(folder) -> dict:
    """All tensors of a checkpoint folder: name -> torch tensor. Raises ValueError for a folder
    without any, and for a file that cannot be read."""
    parts = [read_file(path) for path in checkpoint_files.weight_files(folder)]
    return {name: tensor for part in parts for name, tensor in part.items()}


def read_file(path):
    """The tensors of one file. Of a pickle only plain weights are taken."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its first bytes lead to
        raise checkpoint_files.unreadable(path, error) from error
    entries = tensors.items() if isinstance(tensors, dict) else [(None, tensors)]
    if not all(isinstance(name, str) and torch.is_tensor(t) for name, t in entries):
        raise ValueError(
            f"expected tensors by name, plain weights, in {path}, got other things; save the "
            "model's state_dict() alone"
        )
    return tensors


def save(model, folder):
    """As `speechlib.save`."""
    write_folder(model, folder)


def write_folder(model, folder, dtype=None):
    """As `save`; dtype: "float16" halves the file, None keeps the model's own."""
    from safetensors.torch import save_file

    number_type = None if dtype is None else _number_type(dtype)
    _, kind = checkpoint_files.kind_of(model)
    tensors = {
        checkpoints.their_name(name, kind): p.detach().to("cpu", number_type).contiguous()
        for name, p in model.named_parameters()
    }
    number_type = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    checkpoint_files.write(model, folder, tensors, save_file, number_type)
