"""wavlm-pretrained: a small WavLM that learned from sound alone, the start of all wavlm-* ones.

input -> output: clips of speech, no texts -> a listener whose frames tell sounds apart.
Special: WavLM's masked prediction (Chen et al. 2022, arXiv:2110.13900, section 3.2). Spans of
frames are hidden, and the recording is disturbed by noise, rooms, telephones and other voices; of
every frame, hidden or not, the model says which of a hundred kinds of sound (`sound_units.py`) the
undisturbed recording has there: HuBERT's loss (Hsu et al. 2021, arXiv:2106.07447, eq. 1), with a
linear layer in place of the cosine. In the first half a second layer also reads the loudness of
forty bands off the front end alone, which teaches the convolutions in minutes what they otherwise
learn in hours.

Notebook: 11_wavlm, 15_quantizer
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from speechlib import audio, spec_augment, training
from speechlib.corpus.waveforms import Disturbance, padded, perturbed
from speechlib.recipes import phone_probe, sound_units, wavlm_base, wavlm_clips
from speechlib.recipes.wavlm_base import FRAME
from speechlib.torch_models.loading import write_folder

NAME = "wavlm-pretrained"
DEFAULTS = {"steps": 2200, "batch": 12, "rate": 2.5e-3, "decay": 0.35}
TAKES = ("data", "start", "library")
SECONDS = 2.4  # of an example
VOICE_SECONDS = 25  # taken of each synthesised voice
HIDDEN = (0.4, 8)  # share of frames that hidden spans would cover side by side, and their length
BANDS = 40
DISTURBED = Disturbance(rooms=0.25, clean=0.3, babble=0.3, level_db=(0, 0), pad_s=(0, 0))


class MaskedPrediction(nn.Module):
    """A listener, the layer that names the units, and the one that reads loudness off the front
    end."""

    def __init__(self, encoder, units=sound_units.UNITS):
        super().__init__()
        self.encoder = encoder
        self.namer = nn.Linear(encoder.output_width, units)
        self.reader = nn.Linear(encoder.config.width, 2 * BANDS)
        # the front end's part of a pass is kept here, so that it is not computed twice
        encoder.projection.register_forward_hook(self._keep)
        self.register_buffer("filters", torch.tensor(audio.mel_filters(BANDS)).float(), False)

    def _keep(self, module, inputs, output):
        self.front_frames = output

    def forward(self, waveform, hidden=None):
        """-> logits (batch, frames, units)."""
        return self.namer(self.encoder.hidden_states(waveform, None, hidden)[-1])

    def loss(self, waveform, units, hidden, share):
        """units: (batch, frames), -100 = not counted; hidden: (batch, frames) bool; share: weight
        of the front end's own loss, 0 to 1."""
        logits = self(waveform, hidden).float()
        each = F.cross_entropy(logits.transpose(1, 2), units, ignore_index=-100, reduction="none")
        counted = units != -100
        masked, seen = hidden & counted, ~hidden & counted
        loss = each[masked].mean() + each[seen].mean()
        if share > 0:
            bands = self.bands(waveform, logits.shape[1])
            loss = loss + share * F.mse_loss(self.reader(self.front_frames).float(), bands)
        return loss

    @torch.no_grad()
    def bands(self, waveform, frames):
        """(batch, samples) -> (batch, frames, 2 x bands): log energies of the two 10 ms in a frame,
        over an utterance of mean 0, in units of 10 dB or so."""
        with torch.autocast(waveform.device.type, enabled=False):
            window = torch.hann_window(audio.WINDOW)
            spectrum = torch.stft(
                waveform, audio.WINDOW, audio.HOP, window=window, center=False, return_complex=True
            )
            level = (self.filters @ spectrum.abs().square()).clamp_min(1e-3).log10()
        level = level[:, :, : 2 * frames] - level.mean((1, 2), keepdim=True)
        level = F.pad(level, (0, 2 * frames - level.shape[2]))
        return level.transpose(1, 2).reshape(len(level), frames, 2 * BANDS)


# ---------------------------------------------------------------------------------------- batches


class Tracks:
    """Examples without end: clips of one voice after another, disturbed, and their units."""

    def __init__(self, clips, batch, seed=0, how=DISTURBED, units=None):
        self.batch, self.seed, self.how = batch, seed, how
        self.voices = wavlm_clips.by_voice(clips)
        self.names = sorted(self.voices)
        self.shares = wavlm_clips.weighted(self.names)
        self.units, self.silence = units or sound_units.of_voices(self.voices)

    def track(self, rng, samples):
        """Clips of one voice with short gaps: (samples,) float32, units (frames,)."""
        frames = -(-samples // FRAME)
        wave = np.zeros(frames * FRAME, np.float32)
        units = np.full(frames, self.silence)
        clips = self.voices[rng.choice(self.names, p=self.shares)]
        place = -int(rng.integers(0, 40))  # frames; the first clip may have begun before
        while place < frames:
            clip = clips[rng.integers(len(clips))]
            own, sound = self.units[clip], clip.wave()
            if place + len(own) > 0:
                skip, room = max(0, -place), frames - max(0, place)
                piece = sound[skip * FRAME :][: room * FRAME]
                first = max(0, place) * FRAME
                wave[first : first + len(piece)] = piece
                units[max(0, place) : place + len(own)] = own[skip : skip + room]
            place += len(own) + int(rng.integers(0, 12))
        return wave, units

    def example(self, rng):
        """-> wave (samples,), units (frames,)."""
        samples = int(SECONDS * audio.SAMPLE_RATE)
        wave, units = self.track(rng, int(samples * self.how.speed[1]) + 2000)
        other, _ = self.track(rng, samples)
        made, moved = perturbed(wave, rng, self.how, talkers=[other])
        middles = wavlm_base.middles_s(wavlm_base.frames_of(samples))
        came_from = (middles - moved.offset_s) / moved.factor * audio.SAMPLE_RATE
        return made[:samples], units[(came_from / FRAME).astype(int)]

    def __call__(self, step):
        """-> waveform (batch, samples), units (batch, frames), hidden (batch, frames)."""
        rng = np.random.default_rng((self.seed, step))
        examples = [self.example(rng) for _ in range(self.batch)]
        waveform, _ = padded([wave for wave, _ in examples])
        units = np.stack([units for _, units in examples]).astype(np.int64)
        hidden = spec_augment.span_mask(units.shape, *HIDDEN, rng=rng)
        return torch.from_numpy(waveform), torch.from_numpy(units), torch.from_numpy(hidden)


# --------------------------------------------------------------------------------------- the run


def clips_for(args, split):
    """All clips of a split: libraries, the bundled corpus, further sets."""
    clips = list(wavlm_clips.of_libraries(args.library, split, VOICE_SECONDS))
    return clips + list(wavlm_clips.of_corpus(args.data, split, seconds=VOICE_SECONDS))


def accuracy(model, tracks, batches=4):
    """Share of hidden and of seen frames whose unit is named rightly."""
    right = {"hidden": [], "seen": []}
    with torch.no_grad():
        for number in range(batches):
            waveform, units, hidden = tracks(number)
            found = model(waveform, hidden).argmax(-1) == units
            right["hidden"].append(found[hidden].float().mean().item())
            right["seen"].append(found[~hidden].float().mean().item())
    return {name: float(np.mean(values)) for name, values in right.items()}


def run(args) -> int:
    """`python -m speechlib train wavlm-pretrained`: trains and writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = clips_for(args, "train")
    rng = np.random.default_rng(args.seed)
    kept = sorted(rng.permutation(len(clips))[: max(1, len(clips) // 40)])
    tracks = Tracks(clips, args.batch, args.seed)
    # The units of other voices are not known to these clusters; watching clips of the train voices
    # shows learning well enough, and `measure` tells what it is worth on voices never heard.
    watched = Tracks(
        [clips[n] for n in kept], 16, args.seed + 1, units=(tracks.units, tracks.silence)
    )
    hours = sum(len(clip.samples) for clip in clips) / audio.SAMPLE_RATE / 3600
    print(f"{len(clips)} clips of {len(tracks.names)} voices, {hours:.1f} h", flush=True)
    model = MaskedPrediction(wavlm_base.listener(args.start))

    def batch_at(step):
        return *tracks(step), max(0.0, 1 - 2 * step / args.steps)

    plan = training.Plan.of(args, warmup=200, evaluate_every=250)
    training.train(model, batch_at, plan, args.out, evaluate=lambda m: accuracy(m, watched))
    write_checkpoint(model.encoder, Path(args.out) / NAME)
    return 0


def write_checkpoint(encoder, folder):
    """The bare listener in Hugging Face's format (WavLMModel), float16."""
    folder = Path(folder)
    write_folder(encoder, folder, dtype="float16")
    wavlm_base.write_preprocessor(folder)


def measure(model, args=None):
    """Phones by a linear probe on frozen frames, beside random weights and the log-mel spectrum."""
    fresh = [wavlm_base.listener(dropout=0.0).eval()]
    return {"test": phone_probe.figure(model, fresh)}
