"""Checkpoint folders -> Flax models, and back: the same folders that PyTorch reads.

input -> output: a folder, a hub name or a bundled name -> a model in eval mode.
Special: the mirror of `torch_models/loading.py`. Files hold PyTorch's layout, so every array is
turned on its way: a dense kernel is transposed, a convolution's goes (out, in, place) -> (place,
in, out); norms call their weight `scale`, tables `embedding`. A model is first built as shapes
alone (`nnx.eval_shape`), then filled.
"""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from speechlib import checkpoint_files, checkpoints, configs
from speechlib.flax_models.attention import BACKENDS
from speechlib.flax_models.transformer import Fixed

DTYPES = ("float32", "float64", "float16", "bfloat16")
LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}  # Flax's -> PyTorch's


def refuse_pickle(path):
    """What stands in for a reader of .bin files where there is none."""
    raise ValueError(
        f"{path} is a pickle, which PyTorch alone can open: speechlib.load reads it, or "
        "speechlib.save(speechlib.load(folder), new_folder) makes safetensors of it"
    )


def load(
    source,
    *,
    attention="sdpa",
    dtype="float32",
    param_dtype="float32",
    device="cpu",
    read_pickle=refuse_pickle,
):
    """As `speechlib.load`. dtype: what is computed in; param_dtype: what parameters are kept in."""
    if attention not in list(BACKENDS):
        raise ValueError(f"attention must be one of {', '.join(BACKENDS)}, got {attention!r}")
    how = {"dtype": _number_type(dtype), "param_dtype": _number_type(param_dtype)}
    device = _device(device)
    checkpoint = checkpoints.open_checkpoint(source)

    def make(rngs):
        return build(checkpoint.kind, checkpoint.config, attention, rngs=rngs, **how)

    model = nnx.eval_shape(make, streams(0))  # shapes without memory
    parameters = named_parameters(model)
    names = {torch_name(name): name for name in parameters}
    shapes = {theirs: turned(name, parameters[name].get_value()) for theirs, name in names.items()}
    tensors = read_tensors(checkpoint.folder, read_pickle)
    found = checkpoints.match(tensors, shapes, checkpoint)
    _fill(model, make, {names[n]: turned(names[n], array) for n, array in found.items()}, 0)
    nnx.update(model, jax.device_put(nnx.state(model), device))
    model.checkpoint = checkpoint
    model.eval()
    return model


class Stream(nnx.RngStream):
    """A stream of random keys: Flax's own, but its counter is set as a whole. Inside a compiled
    program `count[...] += 1` searches all that has been traced before."""

    def __call__(self):
        count = self.count.get_value()
        self.count.set_value(count + 1)
        return jax.random.fold_in(self.key.get_value(), count)


def streams(seed):
    """The `rngs` that a model wants, from one seed."""
    rngs = nnx.Rngs(seed)
    rngs.default = Stream(rngs.default.key.get_value(), tag="default")
    return rngs


def initialise(make, params=None, seed=0):
    """A model whose parameters are `params` as far as they go; only what is missing is drawn.

    make: rngs -> a model, `lambda rngs: WavLM(config, rngs)`. params: {"blocks": {0: …}}, a tree as
    `nnx.to_pure_dict(nnx.state(model, nnx.Param))` gives it, or flat: {"blocks.0.…": …}.
    Raises ValueError for a name that the model does not have and for another shape, all listed.
    """
    model = nnx.eval_shape(make, streams(seed))
    given, own = _flat(params or {}), named_parameters(model)
    wrong = [f"{name}: no such parameter" for name in given if name not in own]
    wrong += [
        f"{name}: {np.shape(given[name])}, expected {tuple(p.shape)}"
        for name, p in own.items()
        if name in given and np.shape(given[name]) != tuple(p.shape)
    ]
    if wrong:
        raise ValueError("these do not fit the model: " + ", ".join(wrong))
    _fill(model, make, given, seed)
    return model


def _fill(model, make, given, seed):
    """Values for all variables of a model that is shapes only."""

    @jax.jit  # of all that `make` draws, only what is returned is ever computed
    def drawn():
        made = named_parameters(make(streams(seed))).items()
        return {name: p.get_value() for name, p in made if name not in given}

    parameters = named_parameters(model)
    fresh = drawn() if parameters.keys() - given.keys() else {}
    for name, p in parameters.items():
        p.set_value(jnp.asarray(given[name], p.dtype) if name in given else fresh[name])
    graph = [each for _, each in nnx.iter_graph(model) if isinstance(each, nnx.RngStream)]
    keys = jax.random.split(jax.random.key(seed), len(graph) + 1)
    for stream, key in zip(graph, keys, strict=False):
        stream.key.set_value(key)
        stream.count.set_value(jnp.zeros((), jnp.uint32))


def named_parameters(model):
    """{"blocks.0.self_attention.query.kernel": nnx.Param, …}; tables that are not learned too."""
    graph = nnx.iter_graph(model)
    found = {path: v for path, v in graph if isinstance(v, nnx.Param | Fixed)}
    return {".".join(map(str, path)): v for path, v in found.items()}


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
    if dtype == "float64" and not jax.config.jax_enable_x64:
        raise ValueError(
            'dtype="float64" is switched off in JAX; jax.config.update("jax_enable_x64", True) '
            "before anything else switches it on"
        )
    return jnp.dtype(dtype)


def _device(device):
    try:
        return jax.devices(device)[0]
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f'device must be one that JAX has here, such as "cpu", got {device!r}: {why}'
        ) from error


def read_tensors(folder, read_pickle) -> dict:
    """All tensors of a checkpoint folder: name -> array, in PyTorch's layout. read_pickle: a .bin
    file -> its tensors; only PyTorch can open one, so whoever calls from outside brings it."""
    parts = [
        read_file(path) if path.suffix == ".safetensors" else read_pickle(path)
        for path in checkpoint_files.weight_files(folder)
    ]
    return {name: tensor for part in parts for name, tensor in part.items()}


def read_file(path):
    """The tensors of one safetensors file."""
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise checkpoint_files.unreadable(path, error) from error


def save(model, folder):
    """As `speechlib.save`."""
    from safetensors.flax import save_file

    _, kind = checkpoint_files.kind_of(model)
    tensors = {
        checkpoints.their_name(torch_name(name), kind): turned(name, p[...])
        for name, p in named_parameters(model).items()
    }
    number_type = next(iter(tensors.values())).dtype.name
    checkpoint_files.write(model, folder, tensors, save_file, number_type)
