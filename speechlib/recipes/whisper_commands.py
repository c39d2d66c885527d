"""whisper-commands: a Whisper of 1.4 million parameters that writes down spoken commands, and when
each of them begins and ends.

input -> output: recordings of the commands corpus -> a checkpoint folder.
Special: time tokens in the published form, <|0.00|>, <|0.02|>, ... at the end of the vocabulary.
Half of the examples are written with times, half with <|notimestamps|>; both ways work. An
utterance that the window cuts off gets only the time at which it begins, as in the paper.

Notebook: 09_whisper
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from speechlib import corpus, training
from speechlib.configs import BlockConfig, SpecAugmentConfig, WhisperConfig
from speechlib.corpus import library
from speechlib.corpus.grammar import command_words
from speechlib.corpus.mixing import GENTLE, Mix, clip_of, favoured
from speechlib.corpus.segments import SegmentMixer
from speechlib.corpus.utterances import read_manifest
from speechlib.corpus.voices import NATURAL
from speechlib.position_embeddings import sinusoidal_embeddings
from speechlib.recipes import alignment_heads, whisper_files
from speechlib.recipes.labels import padded_labels
from speechlib.recipes.with_reader import WithReader
from speechlib.torch_models.whisper import Whisper

NAME = "whisper-commands"
DEFAULTS = {"steps": 3900, "batch": 32, "rate": 1e-3, "decay": 0.4, "start": "whisper-digits"}
TAKES = ("data", "start", "library", "watch")
SECONDS = 6  # one window
FRAMES = 50 * SECONDS  # encoder frames, and steps of the time tokens: 20 ms each
WORDS = tuple(sorted(command_words()))
END, START, ENGLISH, TRANSCRIBE, NO_TIMES = range(len(WORDS), len(WORDS) + 5)
FIRST_TIME = NO_TIMES + 1
SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>",
    *(f"<|{step / 50:.2f}|>" for step in range(FRAMES + 1)),
)  # fmt: skip
NATURAL_WEIGHT = 3
WINDOWS, WINDOW_SHARES = (2.4, 3.6, SECONDS), (0.35, 0.4, 0.25)  # seconds, while training


def config() -> WhisperConfig:
    """Four encoder and two decoder blocks of width 128 with four heads."""
    block = {"width": 128, "heads": 4, "dropout": 0.1, "key_bias": False, "attention": "eager"}
    return WhisperConfig(
        encoder=BlockConfig(**block, feed_forward=512),
        decoder=BlockConfig(**block, feed_forward=384, cross_attention=True),
        encoder_layers=4,
        decoder_layers=2,
        vocabulary=len(WORDS) + len(SPECIAL),
        frames=FRAMES,
        slots=64,
        init_std=0.088,  # 1 / sqrt(width), as for whisper-digits
        pad=END,
        start=START,
        end=END,
        spec_augment=SpecAugmentConfig(
            time_probability=0.03, time_length=8, feature_probability=0.1, feature_length=8
        ),
    )


def fresh(settings=None, start=None):
    """A model that has learnt nothing, except that times are in order: the table's rows of the
    time tokens begin as sinusoids, so that neighbours are alike and each need not be learnt
    alone. start: whisper-digits, from which it takes over what it can."""
    model = Whisper(settings or config())
    if start is not None:
        _take_over(model, start)
    waves = sinusoidal_embeddings(FRAMES + 1, model.config.width)
    scale = model.config.init_std * 2**0.5  # sines are as large as the other rows then
    with torch.no_grad():
        model.decoder.token_embedding.weight[FIRST_TIME:] = torch.from_numpy(
            scale * np.asarray(waves, np.float32)
        )
    return model


@torch.no_grad()
def _take_over(model, start):
    """The encoder and the decoder's blocks, cut where ours are smaller, and its special tokens."""
    known = start.state_dict()
    for name, value in model.state_dict().items():
        if "token_embedding" not in name:
            sizes = zip(value.shape, known[name].shape, strict=True)
            kept = tuple(slice(min(pair)) for pair in sizes)
            value[kept] = known[name][kept]
    table = start.decoder.token_embedding.weight
    model.decoder.token_embedding.weight[END:FIRST_TIME] = table[: FIRST_TIME - END]


# ------------------------------------------------------------------------------- what to train on


def command_clips(folders, split):
    """The utterances of the bundled set, and of those made by `corpus build --set commands`."""
    rows = [row for folder in folders for row in read_manifest(Path(folder))]
    for spoken in corpus.commands(kind=None) + rows:
        if spoken.split == split:
            times = [(start_s, end_s) for _, start_s, end_s in spoken.words]
            words = tuple(spoken.text.split())
            yield clip_of(spoken.wave(), words, "string", spoken.voice, times)


def other_clips(folders, split, strings=6):
    """What is not to be written, of libraries made by `python -m speechlib.corpus.synthesise`:
    words that no command has, and of each voice a few digits and strings of digits."""
    for voice, clips in library.voices(folders, split):
        unknown = [clip for clip in clips if not {word for word, *_ in clip.words} & set(WORDS)]
        digits = [clip for clip in unknown if clip.kind != "other"]
        few = digits[:: 1 + len(digits) // strings]
        for clip in unknown:
            if clip.kind == "other" or clip in few:
                yield clip_of(clip.wave(), (), "other", voice)


def weighted(clips):
    """Voices of recorded speech count several times."""
    return favoured(clips, NATURAL, NATURAL_WEIGHT, ("string",))


def labels_of(said, timed, first=0, nothing=0):
    """`Said` -> the tokens after the start token. first: the encoder frame of the model's window at
    which these mel frames begin; nothing: the time step to write where nothing is said."""
    if not timed:
        words = [WORDS.index(word) for spoken in said.utterances for word, _, _ in spoken]
        return [ENGLISH, TRANSCRIBE, NO_TIMES, *words, END]
    tokens = [ENGLISH, TRANSCRIBE]
    for spoken in said.utterances:
        begins, ends = _step(spoken[0][1], first), _step(spoken[-1][2], first)
        words = [WORDS.index(word) for word, _, _ in spoken]
        tokens += [FIRST_TIME + begins, *words, FIRST_TIME + max(ends, begins + 1)]
    if said.cut:  # the next window is to begin here
        tokens.append(FIRST_TIME + _step(said.cut[0][1], first))
    if not said.utterances:  # a transcript with times begins with one; then nothing is said
        tokens.append(FIRST_TIME + nothing)
    return [*tokens, END]


def _step(mel_frame, first):
    return min(FRAMES, first + (mel_frame + 1) // 2)


def batches(clips, batch, seed, gentle_from):
    """-> function step -> (mel (batch, mel bins, mel frames), labels (batch, tokens), what is said
    in each encoder frame (batch, frames): 0 nothing, else 1 + the word, first frame's place).

    Three of four batches are shorter than the window, which saves half of the time; they stand
    anywhere in it, so that late times are learnt as well. From step `gentle_from` on, while the
    rate decays, rooms and noise are nearer to what a microphone at home gives."""
    shares = {"real": 0, "string": 0.7, "synthetic": 0.14, "other": 0.1, "silence": 0.06}
    mixer = SegmentMixer(clips, Mix(mel_frames=2 * FRAMES, **shares), seed=seed)

    def batch_at(step):
        rng = np.random.default_rng((seed, step))
        frames = round(50 * rng.choice(WINDOWS, p=WINDOW_SHARES))
        first = int(rng.choice([0, rng.integers(FRAMES - frames + 1), FRAMES - frames]))
        mix = replace(mixer.mix, mel_frames=2 * frames, **(GENTLE if step >= gentle_from else {}))
        mels, rows = [], []
        said = torch.zeros(batch, frames, dtype=torch.long)
        for n in range(batch):
            number, timed = step * batch + n, n % 2 == 0
            mel, heard = mixer.example(number, mix, cut=timed and first + frames == FRAMES)
            mels.append(mel)
            # any time: a single one would be likelier than each of those at which a word may begin
            rows.append(labels_of(heard, timed, first, int(rng.integers(FRAMES))))
            for word, begin, end in sum(heard.utterances, []) + heard.cut:
                said[n, begin // 2 : end // 2] = 1 + WORDS.index(word)
        return torch.from_numpy(np.stack(mels)), padded_labels(rows), said, first

    return batch_at


# --------------------------------------------------------------------------------------- the run


def run(args) -> int:
    """`python -m speechlib train whisper-commands`: trains, watches, writes the checkpoint."""
    from speechlib.recipes import command_figures

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = weighted(list(command_clips(args.data, "train")))
    clips += list(other_clips(args.library, "train"))
    watched = command_figures.watched(corpus.commands("valid", kind=None), args.watch)
    print(f"{len(clips)} clips to train on; watching {len(watched)} windows")
    same = ("mel_bins", "width", "encoder_layers", "decoder_layers")
    start = whisper_files.start_from(args.start, config(), same)
    model = WithReader(fresh(start=start), names=len(WORDS) + 1)
    plan = training.Plan.of(args, warmup=100, evaluate_every=250, save_every=100)
    training.train(
        model,
        batches(clips, args.batch, args.seed, plan.decay_from),
        plan,
        args.out,
        evaluate=lambda m: command_figures.seen(m.whisper, watched),
    )
    folder = Path(args.out) / NAME
    write_checkpoint(model.whisper, folder)
    alignment_heads.write_into(folder, corpus.commands("valid"))
    return 0


def write_checkpoint(model, folder):
    """The folder in Hugging Face's format: weights (float16), configs and tokenizer."""
    generation = {
        "decoder_start_token_id": START,
        "forced_decoder_ids": [[1, ENGLISH], [2, TRANSCRIBE]],
        "no_timestamps_token_id": NO_TIMES,
        "eos_token_id": END,
        "pad_token_id": END,
        "bos_token_id": END,
        "suppress_tokens": [START, ENGLISH, TRANSCRIBE, NO_TIMES],
        "max_length": model.config.slots,
    }
    whisper_files.write(model, folder, generation, WORDS, SPECIAL)


def measure(model, args=None) -> dict:
    """Figures on voices never trained on."""
    from speechlib.recipes import command_figures

    return command_figures.measure(model)
