"""log_mel and span_mask beside the published ones; how long `import speechlib` takes.

By hand, on a quiet machine: python tests/bench/bench_log_mel.py [rounds]
"""

import subprocess
import sys

import numpy as np
import torch
from measuring import THREADS, in_turns, table
from transformers import WhisperFeatureExtractor
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices
from whisper.audio import log_mel_spectrogram, pad_or_trim

from speechlib import audio, spec_augment

IMPORT = "import time; t = time.perf_counter(); import speechlib; print(time.perf_counter() - t)"


def log_mel(seconds, mel_bins, rounds):
    noise = np.random.default_rng(0).standard_normal(seconds * audio.SAMPLE_RATE)
    wave = noise.astype(np.float32) / 9
    extractor = WhisperFeatureExtractor(feature_size=mel_bins)
    jobs = {
        "ours": lambda: audio.log_mel(wave, mel_bins),
        "openai-whisper": lambda: log_mel_spectrogram(pad_or_trim(wave), mel_bins),
        "transformers": lambda: extractor(
            wave, sampling_rate=audio.SAMPLE_RATE, return_tensors="np"
        ),
    }
    table(
        f"log-mel of {seconds} s in a window of 30 s, {mel_bins} bins", in_turns(jobs, rounds, 10)
    )


def span_mask(probability, rounds):
    generator, old = np.random.default_rng(0), np.random.RandomState(0)
    given = ((32, 1500), probability, 10)
    jobs = {
        "ours, Generator": lambda: spec_augment.span_mask(*given, min_spans=2, rng=generator),
        "ours, RandomState": lambda: spec_augment.span_mask(*given, min_spans=2, rng=old),
        "transformers": lambda: _compute_mask_indices(*given, min_masks=2),
    }
    table(f"span_mask (32, 1500), probability {probability}", in_turns(jobs, rounds, 100))


def importing(rounds):
    seconds = []
    for _ in range(rounds):
        command = [sys.executable, "-c", IMPORT]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    table("import speechlib", {"ours": seconds})


def main(rounds=5):
    """Prints the tables."""
    print(f"Log-mel, SpecAugment, import; {THREADS} threads")
    for seconds, mel_bins in ((30, 80), (30, 128), (11, 80)):
        log_mel(seconds, mel_bins, 4 * rounds)  # they are close together: more turns
    for probability in (0.05, 0.65):
        span_mask(probability, rounds)
    importing(rounds)


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    main(*map(int, sys.argv[1:]))
