"""A small Whisper's files: what lies beside its weights, and a folder to begin a training with.

input -> output: a model, its generation settings and its tokens -> a folder in Hugging Face's
format, weights in float16; a folder -> the Whisper in it.
"""

import json
from pathlib import Path

from speechlib import audio, paths
from speechlib.tokenizers import word_tokenizer
from speechlib.torch_models.loading import load, write_folder
from speechlib.torch_models.whisper import Whisper


def start_from(source, like, names):
    """The Whisper of `source` (a folder or a bundled name), to begin a training with.

    like: a WhisperConfig; names: what both must have in common, for example ("mel_bins",).
    Raises ValueError where it is no Whisper, or another one."""
    found = load(source, attention="eager")
    if not isinstance(found, Whisper):
        raise ValueError(f"--start: expected a Whisper, got {source}, a {type(found).__name__}")
    flat, wanted = ({**vars(c), "width": c.encoder.width} for c in (found.config, like))
    other = [f"{name} {flat[name]} instead of {wanted[name]}" for name in names
             if flat[name] != wanted[name]]  # fmt: skip
    if other:
        raise ValueError(f"--start: {source} is a Whisper of another size: {', '.join(other)}")
    return found


def write(model, folder, generation, words, special):
    """words: the first ids; special: those after them, as in Whisper's own vocabulary."""
    folder = Path(folder)
    write_folder(model, folder, dtype="float16")
    word_tokenizer(words, special, folder, words_first=True)
    file = folder / "tokenizer.json"  # hundreds of time tokens: without line breaks it is half
    file.write_text(json.dumps(json.loads(file.read_text("utf-8"))) + "\n", encoding="utf-8")
    paths.write_json(folder / "generation_config.json", generation)
    write_extractor(folder, model.config.mel_frames // 100)


def write_extractor(folder, seconds):
    """`preprocessor_config.json`: how a wave becomes the log-mel of a window of `seconds`."""
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 80,
        "sampling_rate": audio.SAMPLE_RATE,
        "hop_length": audio.HOP,
        "n_fft": audio.WINDOW,
        "chunk_length": seconds,
        "n_samples": seconds * audio.SAMPLE_RATE,
        "nb_max_frames": seconds * 100,
        "padding_value": 0.0,
    }
    paths.write_json(Path(folder) / "preprocessor_config.json", extractor)
