"""Speed of log_mel and span_mask beside the published ones, in one run, taking turns.

Run by hand on a quiet machine: python tests/bench/bench_log_mel.py [rounds]
Prints the median and the quickest of each in ms, and how much slower the others are than ours.
"""

import statistics
import sys
import time

import numpy as np
import torch
from transformers import WhisperFeatureExtractor
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices
from whisper.audio import log_mel_spectrogram, pad_or_trim

from speechlib import audio, spec_augment


def measure(title, ours, others, rounds):
    """Times functions in turns, so that a busy moment of the machine meets all of them."""
    functions = {"ours": ours, **others}
    seconds = {name: [] for name in functions}
    for turn in range(rounds + 3):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= 3:  # the first turns fill caches
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(title)
    for name, values in seconds.items():
        print(
            f"  {name:28s} median {1e3 * medians[name]:8.3f} ms   quickest {1e3 * min(values):8.3f}"
            f" ms   {medians[name] / medians['ours']:5.1f} x ours"
        )


def main(rounds=40):
    print(f"PyTorch threads: {torch.get_num_threads()}")
    noise = np.random.default_rng(0).standard_normal(35 * audio.SAMPLE_RATE).astype(np.float32) / 9
    for mel_bins in (80, 128):
        extractor = WhisperFeatureExtractor(feature_size=mel_bins)
        for seconds in (2, 11, 30):
            wave = noise[: seconds * audio.SAMPLE_RATE]
            measure(
                f"log-mel of {seconds} s in a window of 30 s, {mel_bins} bins",
                lambda w=wave, m=mel_bins: audio.log_mel(w, m),
                {
                    "openai whisper": lambda w=wave, m=mel_bins: log_mel_spectrogram(
                        pad_or_trim(w), m
                    ),
                    "transformers": lambda w=wave, e=extractor: e(
                        w, sampling_rate=audio.SAMPLE_RATE, return_tensors="np"
                    ),
                },
                rounds,
            )
    generator, old = np.random.default_rng(0), np.random.RandomState(0)
    for probability in (0.05, 0.065, 0.65):
        arguments = ((32, 1500), probability, 10)
        measure(
            f"span mask (32, 1500), spans of 10, probability {probability}",
            lambda a=arguments: spec_augment.span_mask(*a, min_spans=2, rng=generator),
            {
                "ours, RandomState": lambda a=arguments: spec_augment.span_mask(
                    *a, min_spans=2, rng=old
                ),
                "transformers": lambda a=arguments: _compute_mask_indices(*a, min_masks=2),
            },
            5 * rounds,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
