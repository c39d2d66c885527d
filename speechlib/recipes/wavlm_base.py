"""The one small WavLM that every wavlm-* checkpoint has, so that each can start from the other.

input -> output: nothing -> a config; a fresh or pre-trained listener; files beside the weights.
Special: nine tenths of a million parameters. The front end is the published one, 25 ms wide and
20 ms apart, with fewer features, and its first layers, which run 3,200 times a second, have the
fewest. "group" norm as in the base models: nothing else is as quick on a processor, and it takes
the microphone's colour off. Its norm counts padding in, so batches hold waves of like lengths.

Notebook: 11_wavlm
"""

from pathlib import Path

import numpy as np

from speechlib import paths
from speechlib.audio import SAMPLE_RATE
from speechlib.configs import BlockConfig, SpecAugmentConfig, WavLMConfig
from speechlib.torch_models.loading import load
from speechlib.torch_models.wavlm import WavLM

START = "wavlm-pretrained"
FRAME, HEARD = 320, 400  # samples from frame to frame (20 ms), and that a frame hears (25 ms)
# 1 / sqrt(width). The published 0.02 suits widths from 768 on.
INIT_STD = 0.088


def config(dropout=0.05, **changes) -> WavLMConfig:
    """Four blocks of width 128 with four heads. changes: other fields of `WavLMConfig`."""
    block = BlockConfig(
        width=128,
        heads=4,
        feed_forward=512,
        dropout=dropout,
        norm_first=True,
        attention="eager",  # short windows: faster to train than the fused kernel
    )
    settings = {
        "block": block,
        "layers": 4,
        "buckets": 64,
        "max_distance": 200,  # frames: 4 s
        "conv_widths": (32, 64, 64, 64, 64, 128, 128),
        "conv_norm": "group",
        "position_kernel": 32,  # 0.64 s
        "position_groups": 8,
        "layer_drop": 0.0,  # four layers are few: none can be spared
        "init_std": INIT_STD,
        "spec_augment": SpecAugmentConfig(
            time_probability=0.05, time_length=8, time_min_spans=0, feature_probability=0.0
        ),
    }
    return WavLMConfig(**settings | changes)


def listener(start=None, dropout=0.05, **changes) -> WavLM:
    """A WavLM to train: fresh, or with the weights of `start` (a folder or a bundled name, a bare
    listener or any head on one) and this config's dropout. Raises ValueError where they differ in
    shape."""
    model = WavLM(config(dropout, **changes))
    if start is not None:
        found = load(start)
        found = getattr(found, "encoder", found)
        ours, theirs = model.state_dict(), found.state_dict()
        wrong = [
            name
            for name, value in ours.items()
            if name not in theirs or theirs[name].shape != value.shape
        ]
        if wrong:
            raise ValueError(
                f"{start} is not a listener of this shape, its {', '.join(wrong[:4])} differ; "
                f"start from {START}"
            )
        model.load_state_dict({name: theirs[name] for name in ours})
    return model


def frames_of(samples):
    """How many frames the front end makes of so many samples: a number, or an array of them."""
    return (samples - HEARD) // FRAME + 1


def middles_s(frames):
    """(frames,) seconds: the middle of what each frame hears."""
    return (np.arange(frames) * FRAME + HEARD // 2) / SAMPLE_RATE


def write_preprocessor(folder, normalise=True):
    """preprocessor_config.json: how a wave is made ready, for `sl.transcribe` and transformers."""
    content = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": normalise,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": SAMPLE_RATE,
    }
    paths.write_json(Path(folder, "preprocessor_config.json"), content)
