"""The public functions that work in both frameworks: `load`, `save` and `generate`.

input -> output: a name or a model -> the function of the framework that is meant.
Special: a framework is imported when it is asked for. So no model needs the other one's library.
"""

import importlib
import sys

from speechlib import setup_environment


def load(source, *, framework="torch", attention="sdpa", dtype="float32", device="cpu"):
    """A trained model, in eval mode.

    source: a folder in Hugging Face format, a hub name ("openai/whisper-tiny"), or a bundled name
        ("whisper-digits"; `available()` lists them).
    framework: "torch", or "flax" (WavLM, wav2vec 2.0, Speech2Text2 and SpeechEncoderDecoder).
    attention: "sdpa" (fused), "eager" (step by step) or another backend of the framework; the
        numbers are the same.
    dtype: "float32", "float64", "float16" or "bfloat16", whatever the file holds: what a PyTorch
        model is made of; what a Flax model computes in, while its parameters stay float32.
    device: as the framework calls it.
    Raises ValueError for an unknown source, architecture or option, for files that cannot be read,
    for a checkpoint whose tensors do not fit (all of them listed), and for a package that is not
    installed.
    """
    options = {"attention": attention, "dtype": dtype, "device": device}
    if framework == "torch":
        return _part("torch_models.loading").load(source, **options)
    if framework != "flax":
        raise ValueError(f'framework must be "torch" or "flax", got {framework!r}')
    return _part("flax_models.loading").load(source, **options, read_pickle=_pickled)


def save(model, folder):
    """Writes a folder that `load`, and transformers, read back to the same numbers. One with a
    SpeechEncoderDecoder that has a part of Whisper, or a bridge after an adapter of another width
    than its encoder, only `load` reads; a warning says so.

    The tokenizer and other files come along from the folder that the model was loaded from; those
    that another model left in `folder` are removed, and a warning names them. A model made from a
    config brings none: write them there after saving.

    Files are written beside their place and moved there whole, so a full disk leaves the old ones
    as they were. Raises ValueError for something else than a model of this package, and for a
    folder that cannot be made.
    """
    _part(f"{_framework_of(model)}_models.loading").save(model, folder)


def generate(
    model,
    inputs=None,
    *,
    max_tokens,
    beams=1,
    length_penalty=1.0,
    early_stopping=False,
    temperature=0.0,
    seed=None,
    prompt=None,
    rules=None,
    lengths=None,
    memory_mask=None,
    draft=None,
    cache=True,
):
    """Text for what the model hears, a token at a time -> `Generation`.

    inputs: mel (batch, mel bins, mel frames) or waveform (batch, samples), as `model.encode` takes
        them; of a lone decoder its memory (batch, frames, width), or None.
    max_tokens: counts new tokens. prompt: (batch, tokens) or (tokens,); None: the checkpoint's own.
    rules: a list of `generation_rules`; None: the checkpoint's own; []: none.
    `torch_models.generation.generate` says what the searches do and what is refused. A Flax model
    has greedy search, the whole of it one compiled program.
    Where a Speech2Text2 writes the pad token in the middle of a text, or a prompt is padded, the
    tokens are those of transformers 4.46.3 with use_cache=False: its cached path gives padding
    other positions.
    """
    options = dict(locals())
    model, inputs = options.pop("model"), options.pop("inputs")
    module = _part(f"{_framework_of(model)}_models.generation")
    return module.generate(model, inputs, **options)


def _part(name):
    try:
        return importlib.import_module(f"speechlib.{name}")
    except ModuleNotFoundError as error:
        package = error.name.split(".")[0]
        if package == "speechlib":
            raise
        needs, advice = "speechlib", '"python -m speechlib doctor" says what is missing'
        if package in ("jax", "jaxlib", "flax"):
            needs, advice = 'framework="flax"', f"type: {setup_environment.FLAX_COMMAND}"
        raise ValueError(f"{needs} needs {package}, which is not installed; {advice}") from error


def _framework_of(model):
    nnx = sys.modules.get("flax.nnx")  # no Flax model can be there before its library is
    return "flax" if nnx is not None and isinstance(model, nnx.Module) else "torch"


def _pickled(path):
    """The tensors of a .bin file as NumPy arrays: only PyTorch can read one."""
    tensors = _part("torch_models.loading").read_file(path)
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
