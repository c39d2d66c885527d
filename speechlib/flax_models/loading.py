"""Checkpoint folders -> Flax models, and back: the same folders that PyTorch reads.

input -> output: a folder, a hub name or a bundled name -> a model in eval mode.
Special: the mirror of `torch_models/loading.py`. Files hold PyTorch's layout, so every array is
turned on its way: a dense kernel is transposed, a convolution's goes (out, in, place) -> (place,
in, out); norms call their weight `scale`, tables `embedding`. A model is first built as shapes
alone (`nnx.eval_shape`), then filled.
"""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlib import checkpoints, configs
from speechlib.flax_models.attention import BACKENDS
from speechlib.flax_models.transformer import Fixed

DTYPES = ("float32", "float64", "float16", "bfloat16")
LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}  # Flax's -> PyTorch's


def load(source, *, attention="sdpa", dtype="float32", param_dtype="float32", read=None):
    """A trained model, in eval mode.

    source, attention: as in `speechlib.load`. dtype: what is computed in; param_dtype: what the
    parameters are kept in. read: folder -> {name: array}, for files other than safetensors.
    Raises ValueError as `speechlib.load` does.
    """
    if attention not in list(BACKENDS):
        raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {attention!r}")
    how = {"dtype": _number_type(dtype), "param_dtype": _number_type(param_dtype)}
    checkpoint = checkpoints.open_checkpoint(source)

    def make():
        return build(checkpoint.kind, checkpoint.config, attention, rngs=nnx.Rngs(0), **how)

    parameters = named_parameters(nnx.eval_shape(make))
    names = {torch_name(name): name for name in parameters}
    ours = {theirs: turned(name, parameters[name].get_value()) for theirs, name in names.items()}
    found = checkpoints.match((read or read_tensors)(checkpoint.folder), ours, checkpoint)
    model = initialise(make, {names[n]: turned(names[n], array) for n, array in found.items()})
    model.checkpoint = nnx.static(checkpoint)
    model.eval()
    return model


def initialise(make, params=None):
    """A model whose parameters are `params` as far as they go; only what is missing is drawn.

    make: () -> a model, from whose own `nnx.Rngs` the rest comes. params: {"blocks": {0: …}}, a
    tree as `nnx.to_pure_dict(nnx.state(model, nnx.Param))` gives it, or flat, {"blocks.0.…": array}.
    Raises ValueError for a name that the model does not have and for another shape, all listed.
    """
    model = nnx.eval_shape(make)  # shapes without memory
    given = _flat(params or {})
    own = named_parameters(model)
    wrong = [f"{name}: no such parameter" for name in given if name not in own]
    wrong += [
        f"{name}: {np.shape(given[name])}, expected {tuple(p.shape)}"
        for name, p in own.items()
        if name in given and np.shape(given[name]) != tuple(p.shape)
    ]
    if wrong:
        raise ValueError("these do not fit the model: " + ", ".join(wrong))

    @jax.jit  # of all that `make` draws, only what is returned is ever computed
    def missing():
        return {n: v.get_value() for n, v in _variables(make()).items() if n not in given}

    fresh = missing()
    for name, variable in _variables(model).items():
        value = jnp.asarray(given[name], variable.dtype) if name in given else fresh[name]
        variable.set_value(value)
    return model


def named_parameters(model):
    """{"blocks.0.self_attention.query.kernel": nnx.Param, …}; tables that are not learned too."""
    return {n: v for n, v in _variables(model).items() if isinstance(v, nnx.Param | Fixed)}


def _variables(model):
    graph = nnx.iter_graph(model)
    return {".".join(map(str, path)): v for path, v in graph if isinstance(v, nnx.Variable)}


def _flat(tree, path=""):
    """A tree of dicts -> {dotted name: array}."""
    if not isinstance(tree, dict):
        return {path: tree}
    parts = [_flat(value, f"{path}.{key}" if path else str(key)) for key, value in tree.items()]
    return {name: value for part in parts for name, value in part.items()}


def torch_name(name):
    """What PyTorch calls a parameter: the last word is another one."""
    path, _, leaf = name.rpartition(".")
    return f"{path}.{LEAVES.get(leaf, leaf)}".lstrip(".")


def turned(name, array):
    """An array in PyTorch's layout -> Flax's, and the other way: it is the same turn."""
    if not name.endswith("kernel"):
        return array
    if isinstance(array, jax.ShapeDtypeStruct):  # the shape alone
        return jax.ShapeDtypeStruct(array.shape[::-1], array.dtype)
    return array.T


def build(kind, config, attention="sdpa", **how):
    """A fresh model of this `checkpoints.Architecture`, from a `config.json` as a dict."""
    parts = [
        build(part.architecture, config[name] if part.own_config else config, attention, **how)
        for name, part in kind.handed.items()
    ]
    settings = getattr(configs, kind.config).from_hugging_face(config)
    if hasattr(settings, "with_attention"):
        settings = settings.with_attention(attention)
    return _class_of(kind)(*parts, settings, **how)


def _class_of(kind):
    file, name = kind.model.split(".")
    try:
        return getattr(importlib.import_module(f"speechlib.flax_models.{file}"), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"{name} is not built in Flax, which has WavLM, wav2vec 2.0, Speech2Text2 and "
            'SpeechEncoderDecoder of these; framework="torch" has it'
        ) from error


def _number_type(dtype):
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return jnp.dtype(dtype)


def read_tensors(folder) -> dict:
    """All tensors of a checkpoint folder: name -> JAX array, from model.safetensors or its shards.

    Raises ValueError for none, and for one that cannot be read.
    """
    folder = Path(folder)
    if (folder / "model.safetensors").is_file():
        return _read_file(folder / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = [_read_file(folder / shard) for shard in checkpoints.shards(index)]
        return {name: tensor for part in parts for name, tensor in part.items()}
    raise ValueError(checkpoints.no_weights(folder, "model.safetensors"))


def _read_file(path):
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(checkpoints.unreadable(path, error)) from error


def save(model, folder):
    """Writes a folder that `load`, PyTorch and transformers read back to the same numbers.

    Raises ValueError as `speechlib.save` does.
    """
    from safetensors.flax import save_file

    architecture, kind = _architecture(model)
    tensors = {
        checkpoints.their_name(torch_name(name), kind): turned(name, p[...])
        for name, p in named_parameters(model).items()
    }
    checkpoints.write_folder(
        model,
        folder,
        (architecture, kind),
        lambda path: save_file(tensors, path, {"format": "pt"}),
        next(iter(tensors.values())).dtype.name,
    )
