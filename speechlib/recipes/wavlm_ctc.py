"""wavlm-ctc: a WavLM that writes down spoken English digits, a token a word.

input -> output: clips of digits and the pre-trained listener -> a checkpoint of WavLMForCTC.
Special: CTC finds out itself where each word is said (Graves et al. 2006). Its ten labels are whole
words: letters were tried, and needed several times as long to be spelt rightly. A second layer that
is dropped afterwards tells in every frame which word is being said, as far as that is known: it
takes CTC over the hill where it writes only blanks.

Notebook: 12_ctc
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import audio, corpus, metrics, paths, training
from speechlib.configs import CTCConfig, SpecAugmentConfig
from speechlib.corpus.waveforms import GENTLE, Disturbance, padded
from speechlib.recipes import digit_figures, wavlm_base, wavlm_clips
from speechlib.recipes.digit_strings import Strings
from speechlib.tokenizers import DIGIT_WORDS, word_tokenizer
from speechlib.torch_models.heads import CTCModel
from speechlib.torch_models.loading import load, write_folder

NAME = "wavlm-ctc"
DEFAULTS = {"steps": 8000, "batch": 12, "rate": 1.2e-3, "decay": 0.4, "start": wavlm_base.START}
TAKES = ("data", "start", "library", "real", "leave_out")
CLASSES = 1 + len(DIGIT_WORDS)  # 0 is the blank, 1 + n the digit n
WINDOWS = (0.7, 1.1, 1.6, 2.2, 3.2, 4.2)  # seconds, while training
WINDOW_SHARES = (0.12, 0.2, 0.25, 0.2, 0.15, 0.08)
LIBRARY_SECONDS = 30  # taken of each synthesised voice
# The blank's score is lowered by this much in the end: nearly all errors on the valid voices were
# words left out. Chosen there, out of 0 to 3.
BLANK_LESS = 2.0
HARSH = Disturbance(babble=0.15)
tokenizer = word_tokenizer(special=("<pad>",))


class WithReader(nn.Module):
    """A CTC model and the layer that tells the word of each frame, while training."""

    def __init__(self, ctc):
        super().__init__()
        self.ctc = ctc
        self.reader = nn.Linear(ctc.encoder.output_width, CLASSES)

    def loss(self, waveform, lengths, labels, said, share):
        """labels: (batch, words), -100 at the end; said: (batch, frames), 0 nothing, else 1 + the
        digit, -100 = padding; share: weight of the reader's loss."""
        heard = self.ctc.encoder(waveform, lengths)
        logits = self.ctc.classifier(self.ctc.dropout(heard)).float()
        real = labels != -100
        frames = self.ctc.encoder.output_lengths(lengths)
        loss = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), labels[real], frames, real.sum(1),
            blank=0, reduction="none", zero_infinity=True,
        )  # fmt: skip
        loss = (loss / (1 + real.sum(1))).mean()  # a long string does not count for more
        if share > 0:
            read = self.reader(heard).float().transpose(1, 2)
            loss = loss + share * F.cross_entropy(read, said, ignore_index=-100)
        return loss


# ---------------------------------------------------------------------------------------- batches


def batches(strings, args):
    """-> function step -> what `WithReader.loss` takes. While the rate decays, noise is nearer to
    what a microphone at home gives, and the reader has less to say."""
    gentle_from = args.steps * (1 - args.decay)

    def batch_at(step):
        rng = np.random.default_rng((args.seed, step))
        seconds = rng.choice(WINDOWS, p=WINDOW_SHARES)
        # as many as fit into the time of `batch` middle windows
        rows = min(2 * args.batch, max(4, round(args.batch * 2.0 / seconds)))
        how = GENTLE if rng.random() < (0.3 if step < gentle_from else 0.6) else HARSH
        samples = int(seconds * audio.SAMPLE_RATE)
        examples = [strings.example(rng, how, samples) for _ in range(rows)]
        share = max(0.1, 1 - 2 * step / args.steps)
        return *together(examples), share

    return batch_at


def together(examples):
    """[(wave, words)] -> waveform (batch, samples), lengths (batch,), labels (batch, words), said
    (batch, frames)."""
    waveform, lengths = padded([wave for wave, _ in examples], samples=None)
    rows = [[1 + DIGIT_WORDS.index(word) for word, _, _ in words] for _, words in examples]
    labels = np.full((len(rows), max(1, *map(len, rows))), -100)
    said = np.full((len(rows), wavlm_base.frames_of(waveform.shape[1])), -100)
    for n, (_, words) in enumerate(examples):
        labels[n, : len(rows[n])] = rows[n]
        said[n, : wavlm_base.frames_of(lengths[n])] = 0
        for word, start_s, end_s in words:
            said[n, int(start_s * 50) : int(end_s * 50)] = 1 + DIGIT_WORDS.index(word)
    return tuple(torch.from_numpy(part) for part in (waveform, lengths, labels, said))


# -------------------------------------------------------------------------------------- measuring


def written(model, wave):
    """The text of a wave by a CTC model that need not come from a checkpoint."""
    with torch.no_grad():
        labels = model.recognise(torch.from_numpy(audio.normalise(wave))[None])[0]
    return tokenizer.decode(labels).strip()


def word_error_rate(model, pairs):
    """WER of greedy decoding over (wave, text) pairs."""
    return metrics.wer([text for _, text in pairs], [written(model, wave) for wave, _ in pairs])


def measure(model, args=None):
    """WER on voices and people never trained on, and what is written where there are no digits."""
    return digit_figures.measure(model, args, times=False)


# --------------------------------------------------------------------------------------- the run


def model_from(start):
    """A CTC model on the listener of `start`; its classifier too, where it has one for these
    words."""
    augment = SpecAugmentConfig(
        time_probability=0.1, time_length=8, time_min_spans=0,
        feature_probability=0.05, feature_length=8,
    )  # fmt: skip
    encoder = wavlm_base.listener(start, dropout=0.1, spec_augment=augment)
    model = CTCModel(
        encoder, CTCConfig(classes=CLASSES, dropout=0.1, reduction="mean", zero_infinity=True)
    )
    found = load(start) if start is not None else None
    if isinstance(found, CTCModel) and found.config.classes == CLASSES:
        model.classifier.load_state_dict(found.classifier.state_dict())
    return model


def run(args) -> int:
    """`python -m speechlib train wavlm-ctc`: fine-tunes and writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = list(wavlm_clips.of_libraries(args.library, "train", LIBRARY_SECONDS))
    clips += list(wavlm_clips.of_corpus(args.data, "train", seconds=20))
    watch = {"valid": [(u.wave(), u.text) for u in corpus.digits("valid")]}
    if args.real:
        clips += list(wavlm_clips.of_people(args.real, leave_out=args.leave_out))
        known = {clip.voice for clip in clips if clip.kind == "real"}
        print("people: " + ", ".join(sorted(known)), flush=True)
    print(f"{len(clips)} clips of {len(wavlm_clips.by_voice(clips))} voices", flush=True)
    model = WithReader(model_from(args.start))
    plan = training.Plan.of(args, warmup=150, evaluate_every=300)
    training.train(
        model, batches(Strings.of(clips), args), plan, args.out,
        evaluate=lambda m: {name: word_error_rate(m.ctc, pairs) for name, pairs in watch.items()},
    )  # fmt: skip
    with torch.no_grad():
        model.ctc.classifier.bias[0] -= BLANK_LESS
    write_checkpoint(model.ctc, Path(args.out) / NAME)
    return 0


def write_checkpoint(model, folder):
    """The folder in Hugging Face's format: WavLMForCTC, float16, and the words."""
    folder = Path(folder)
    write_folder(model, folder, dtype="float16")
    wavlm_base.write_preprocessor(folder)
    word_tokenizer(special=("<pad>",), folder=folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    paths.write_json(folder / "tokenizer_config.json", settings)
