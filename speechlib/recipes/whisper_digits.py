"""whisper-digits: a Whisper of 1.4 million parameters that writes down spoken English digits.

input -> output: clips (bundled corpus, a synthesised library, recordings of people) -> a
checkpoint folder.
Special: the audio window is 6 s instead of 30 s and the vocabulary has fifteen tokens; all else is
Whisper. Training examples are mixed on the fly (`corpus/mixing.py`).

Notebook: 00_start_here, 09_whisper
"""

from pathlib import Path

import numpy as np
import torch

from speechlib import audio, corpus, metrics, paths, training
from speechlib.configs import BlockConfig, SpecAugmentConfig, WhisperConfig
from speechlib.corpus import library
from speechlib.corpus.mixing import GENTLE, Mix, Mixer, clip_of, favoured
from speechlib.corpus.voices import NATURAL
from speechlib.recipes import alignment_heads, people, whisper_files
from speechlib.recipes.digit_figures import measure  # noqa: F401, what `evaluate` asks a recipe for
from speechlib.recipes.labels import padded_labels
from speechlib.recipes.with_reader import WithReader
from speechlib.tokenizers import DIGIT_WORDS, word_tokenizer
from speechlib.torch_models.generation import generate
from speechlib.torch_models.loading import write_folder
from speechlib.torch_models.whisper import Whisper

NAME = "whisper-digits"
DEFAULTS = {"steps": 8300, "batch": 32, "rate": 1.2e-3, "decay": 0.551}
TAKES = ("start", "library", "real", "leave_out", "watch")
SECONDS = 6  # one window
MAX_TOKENS = 14  # digits in one window, and the end token
PROMPT = (1, 2, 3, 4)  # start, English, transcribe, no timestamps
FIRST_WORD = 5  # the token of "zero"
NATURAL_WEIGHT = 4
SAME_SIZE = ("mel_bins", "frames", "width", "encoder_layers", "decoder_layers", "vocabulary")
WINDOWS, WINDOW_SHARES = (2.4, 3.6, SECONDS), (0.5, 0.3, 0.2)  # seconds, while training


def config() -> WhisperConfig:
    """Four encoder and two decoder blocks of width 128 with four heads."""
    block = {
        "width": 128,
        "heads": 4,
        "feed_forward": 512,
        "dropout": 0.1,
        "key_bias": False,
        "attention": "eager",  # short windows: faster to train than the fused kernel
    }
    return WhisperConfig(
        encoder=BlockConfig(**block),
        decoder=BlockConfig(**block, cross_attention=True),
        encoder_layers=4,
        decoder_layers=2,
        vocabulary=15,
        frames=SECONDS * 50,
        slots=32,
        # 1 / sqrt(width). The published 0.02 suits widths from 384 on: here the sound would enter
        # the encoder twenty times weaker than the sinusoids, and learning starts late.
        init_std=0.088,
        pad=0,
        start=1,
        end=0,
        spec_augment=SpecAugmentConfig(
            time_probability=0.03, time_length=8, feature_probability=0.1, feature_length=8
        ),
    )


# ------------------------------------------------------------------------------- what to train on


def library_clips(folders, split):
    """Clips of libraries made by `python -m speechlib.corpus.synthesise`."""
    groups = {"digit": "synthetic", "string": "string", "other": "other"}
    for voice, clips in library.voices(folders, split):
        for clip in clips:
            words = clip.text.split()
            times = [(start_s, end_s) for _, start_s, end_s in clip.words] if words else None
            yield clip_of(clip.wave(), words, groups[clip.kind], voice, times)


def corpus_clips(split):
    """The bundled strings, and every word of them cut out as a clip of its own."""
    for spoken in corpus.digits(split, kind=None):
        wave = spoken.wave()
        group = "string" if spoken.text else "other"
        times = [(start_s, end_s) for _, start_s, end_s in spoken.words]
        yield clip_of(wave, spoken.text.split(), group, spoken.voice, times)
        for word, start_s, end_s in spoken.words:
            piece = wave[int(start_s * audio.SAMPLE_RATE) : int(end_s * audio.SAMPLE_RATE)]
            yield clip_of(piece, [word], "synthetic", spoken.voice)


def real_clips(folder, leave_out=(), only=(), indices=people.EVERY[5:]):
    """Single digits that people said; see `people.recordings`."""
    for path, word, speaker in people.recordings(folder, leave_out, only, indices):
        yield clip_of(audio.load(path), [word], "real", speaker)


# -------------------------------------------------------------------------------------- measuring


def strings_of(clips, count, seed, longest=4):
    """Test strings: 1 to `longest` clips of one voice with gaps of 0.1 to 0.5 s, mixed plainly.

    -> list of (log-mel, words). No augmentation: what a microphone would give."""
    rng = np.random.default_rng(seed)
    voices = {}
    for clip in clips:
        if len(clip.words) == 1:
            voices.setdefault(clip.voice, []).append(clip)
    names, filters, strings = sorted(voices), audio.mel_filters(80), []
    for number in range(count):
        mine = voices[names[number % len(names)]]
        power = np.zeros((80, SECONDS * 100), dtype=np.float32)
        place, words = int(rng.integers(5, 40)), []
        for _ in range(number % longest + 1):
            clip = mine[rng.integers(len(mine))]
            sound = filters @ clip.power.astype(np.float32) ** 4
            if place + sound.shape[1] > power.shape[1]:
                break
            power[:, place : place + sound.shape[1]] += sound
            words += clip.words
            place += sound.shape[1] + int(rng.integers(10, 50))
        strings.append((audio.log_scaled(power).astype(np.float32), tuple(words)))
    return strings


def word_error_rate(model, strings, batch=50):
    """WER of greedy search over (log-mel, words) pairs."""
    wanted, written = [], []
    for first in range(0, len(strings), batch):
        part = strings[first : first + batch]
        mel = torch.from_numpy(np.stack([mel for mel, _ in part]))
        tokens = generate(model, mel, max_tokens=MAX_TOKENS, prompt=PROMPT, rules=[]).tokens
        wanted += [" ".join(words) for _, words in part]
        for row in tokens.tolist():
            words = [DIGIT_WORDS[token - FIRST_WORD] for token in row if token >= FIRST_WORD]
            written.append(" ".join(words))
    return metrics.wer(wanted, written)


# --------------------------------------------------------------------------------------- the run


def batches(clips, batch, seed, gentle_from):
    """-> function step -> (mel (batch, mel bins, mel frames), labels (batch, tokens), what is said
    in each encoder frame (batch, frames): 0 nothing, else 1 + the digit).

    Four of five batches are shorter than the window, which saves half of the time. From step
    `gentle_from` on, while the rate decays, rooms and noise are nearer to what a microphone at
    home gives."""
    mixer = Mixer(clips, Mix(mel_frames=SECONDS * 100), seed=seed)

    def batch_at(step):
        seconds = np.random.default_rng((seed, step)).choice(WINDOWS, p=WINDOW_SHARES)
        mix = Mix(mel_frames=round(100 * seconds), **(GENTLE if step >= gentle_from else {}))
        examples = [mixer.example(step * batch + n, mix) for n in range(batch)]
        said = torch.zeros(batch, mix.mel_frames // 2, dtype=torch.long)
        for row, (_, words) in enumerate(examples):
            for word, first, end in words:
                said[row, first // 2 : end // 2] = 1 + DIGIT_WORDS.index(word)
        return torch.from_numpy(np.stack([mel for mel, _ in examples])), labels_of(examples), said

    return batch_at


def labels_of(examples):
    """Examples of a `Mixer` -> (batch, tokens): the prompt after the start, the digits, the end."""
    return padded_labels(
        [[*PROMPT[1:], *(token_of(word) for word, _, _ in words), 0] for _, words in examples]
    )


def token_of(word):
    """A digit word -> its token."""
    return FIRST_WORD + DIGIT_WORDS.index(word)


def run(args) -> int:
    """`python -m speechlib train whisper-digits`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    whisper = (
        whisper_files.start_from(args.start, config(), SAME_SIZE)
        if args.start
        else Whisper(config())
    )
    clips = list(corpus_clips("train"))
    clips += list(library_clips(args.library, "train"))
    clips += list(real_clips(args.real, leave_out=args.leave_out)) if args.real else []
    clips = favoured(clips, NATURAL, NATURAL_WEIGHT, ("synthetic", "string"))
    watch = {"valid": list(library_clips(args.library, "valid")) if args.library else
             list(corpus_clips("valid"))}  # fmt: skip
    if args.real:
        known = real_clips(args.real, leave_out=args.leave_out, indices=people.EVERY[:5])
        watch["known"] = list(known)
        if args.leave_out:
            unseen = real_clips(args.real, only=args.leave_out, indices=people.EVERY)
            watch["unseen"] = list(unseen)
    sets = {name: strings_of(found, args.watch, seed=7) for name, found in watch.items()}
    sets["spoken"] = [
        (u.mel(pad_to_seconds=SECONDS), tuple(u.text.split())) for u in corpus.digits("valid")
    ]
    print(f"{len(clips)} clips to train on; watching " + ", ".join(sets))
    model = WithReader(whisper, names=len(DIGIT_WORDS) + 1)
    plan = training.Plan.of(args)
    training.train(
        model,
        batches(clips, args.batch, args.seed, plan.decay_from),
        plan,
        args.out,
        evaluate=lambda m: {k: word_error_rate(m.whisper, strings) for k, strings in sets.items()},
    )
    write_checkpoint(model.whisper, Path(args.out) / NAME)
    alignment_heads.write_into(Path(args.out) / NAME, corpus.digits("valid"))
    return 0


def write_checkpoint(model, folder):
    """The folder in Hugging Face's format: weights (float16), configs and tokenizer."""
    folder = Path(folder)
    write_folder(model, folder, dtype="float16")
    word_tokenizer(folder=folder)
    generation = {
        "decoder_start_token_id": PROMPT[0],
        "forced_decoder_ids": [[place, token] for place, token in enumerate(PROMPT) if place],
        "eos_token_id": 0,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "suppress_tokens": list(PROMPT),
        "max_length": 32,
    }
    paths.write_json(folder / "generation_config.json", generation)
    whisper_files.write_extractor(folder, model.config.mel_frames // 100)
