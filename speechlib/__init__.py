"""speechlib: speech transformers, built from scratch to be learned from.

This file holds the public names and nothing else. Each is imported when it is first used, so that
`import speechlib` stays light (no torch, no jax, no plotting).
"""

import importlib
import sys
import types

__version__ = "0.1.0"

# public name -> (module, attribute); attribute None: the module itself
_PUBLIC = {
    "load": ("speechlib.frameworks", "load"),
    "save": ("speechlib.frameworks", "save"),
    "available": ("speechlib.checkpoints", "available"),
    "Whisper": ("speechlib.torch_models.whisper", "Whisper"),
    "WhisperDecoder": ("speechlib.torch_models.whisper", "WhisperDecoder"),
    "CTCModel": ("speechlib.torch_models.heads", "CTCModel"),
    "SequenceClassifier": ("speechlib.torch_models.heads", "SequenceClassifier"),
    "FrameClassifier": ("speechlib.torch_models.heads", "FrameClassifier"),
    "XVector": ("speechlib.torch_models.heads", "XVector"),
    "PretrainingModel": ("speechlib.torch_models.pretraining", "PretrainingModel"),
    "WavLM": ("speechlib.torch_models.wavlm", "WavLM"),
    "Speech2Text2": ("speechlib.torch_models.speech_to_text_2", "Speech2Text2"),
    "SpeechEncoderDecoder": (
        "speechlib.torch_models.speech_encoder_decoder",
        "SpeechEncoderDecoder",
    ),
    "generate": ("speechlib.frameworks", "generate"),
    "transcribe": ("speechlib.torch_models.transcription", "transcribe"),
    "trace": ("speechlib.trace", "trace"),
    "alignment": ("speechlib.alignment", None),
    "attention_masks": ("speechlib.attention_masks", None),
    "audio": ("speechlib.audio", None),
    "configs": ("speechlib.configs", None),
    "corpus": ("speechlib.corpus", None),
    "ctc_decoding": ("speechlib.ctc_decoding", None),
    "lessons": ("speechlib.lessons", None),
    "losses": ("speechlib.torch_models.losses", None),
    "metrics": ("speechlib.metrics", None),
    "position_embeddings": ("speechlib.position_embeddings", None),
    "quantizer": ("speechlib.torch_models.quantizer", None),
    "spec_augment": ("speechlib.spec_augment", None),
    "tokenizers": ("speechlib.tokenizers", None),
    "training": ("speechlib.training", None),
    "viz": ("speechlib.viz", None),
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"speechlib has no public name {name!r}; it has {', '.join(_PUBLIC)}")
    module_name, attribute = _PUBLIC[name]
    module = importlib.import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value  # found once; the next look-up does not come here
    return value


def __dir__():
    return sorted(__all__)


class _Package(types.ModuleType):
    """Importing the file trace.py binds the name `trace` in here to that file; the public name is
    the function of the same name, so the file does not get it."""

    def __setattr__(self, name, value):
        is_file = isinstance(value, types.ModuleType)
        if is_file and name in _PUBLIC and _PUBLIC[name][1] is not None:
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
