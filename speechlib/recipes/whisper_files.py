"""What lies beside a small Whisper's weights: the files that say how it hears, writes and reads.

input -> output: a model, its generation settings and its tokens -> a folder in Hugging Face's
format, weights in float16.
"""

import json
from pathlib import Path

from speechlib import audio
from speechlib.tokenizers import word_tokenizer
from speechlib.torch_models.loading import write_folder


def write(model, folder, generation, words, special):
    """words: the first ids; special: those after them, as in Whisper's own vocabulary."""
    folder = Path(folder)
    write_folder(model, folder, dtype="float16")
    word_tokenizer(words, special, folder, words_first=True)
    file = folder / "tokenizer.json"  # hundreds of time tokens: without line breaks it is half
    file.write_text(json.dumps(json.loads(file.read_text("utf-8"))) + "\n", encoding="utf-8")
    write_json(folder / "generation_config.json", generation)
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
    write_json(Path(folder) / "preprocessor_config.json", extractor)


def write_json(path, content):
    """One JSON file, in lines that can be read."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
