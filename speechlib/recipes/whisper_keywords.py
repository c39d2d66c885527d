"""whisper-keywords: whisper-commands' encoder, and a head that says which of ten words it was.

input -> output: recordings of the commands corpus, and whisper-commands -> a checkpoint folder.
Special: no decoder and no text: a mean over all frames of a window of 2 s, over all layers,
weighted. The weights of the layers are learnt, too.

Notebook: 13_heads
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from speechlib import audio, corpus, paths, training
from speechlib.configs import HeadConfig
from speechlib.corpus.grammar import KEYWORDS
from speechlib.corpus.mixing import GENTLE, Mix
from speechlib.corpus.segments import SegmentMixer, words_of
from speechlib.corpus.utterances import read_manifest
from speechlib.recipes import scoring, whisper_commands, whisper_files
from speechlib.torch_models import heads, loading
from speechlib.torch_models.whisper import AudioEncoder

NAME = "whisper-keywords"
DEFAULTS = {"steps": 350, "batch": 32, "rate": 6e-4, "decay": 0.5, "start": whisper_commands.NAME}
TAKES = ("data", "start")
SECONDS = 2  # one window
PROJECTOR = 128  # features of a frame that the mean is taken of
CUT_OUT = 0.3  # share of keywords that are cut out of commands


def model_from(whisper):
    """A classifier over the encoder of a Whisper, for a shorter window."""
    settings = replace(whisper.config, frames=50 * SECONDS).with_attention("eager")
    encoder = AudioEncoder(settings)
    table = encoder.positions.weight.clone()
    weights = whisper.encoder.state_dict()
    encoder.load_state_dict(weights | {"positions.weight": table})
    head = HeadConfig(classes=len(KEYWORDS), weighted_layer_sum=True, projector=PROJECTOR)
    return heads.SequenceClassifier(encoder, head)


def keyword_clips(folders, split):
    """The ten words, spoken alone (group "string") or cut out of commands (group "real")."""
    for clip in whisper_commands.command_clips(folders, split):
        if len(clip.words) == 1:
            yield clip
            continue
        for word, piece in words_of(clip):
            if word in KEYWORDS:
                yield replace(piece, group="real")


def batches(clips, batch, seed, gentle_from):
    """-> function step -> (mel (batch, mel bins, mel frames), classes (batch,))."""
    shares = {"real": CUT_OUT, "string": 1 - CUT_OUT, "synthetic": 0, "other": 0, "silence": 0}
    mixer = SegmentMixer(clips, Mix(mel_frames=100 * SECONDS, **shares), seed, counts=(1.0,))

    def batch_at(step):
        mix = replace(mixer.mix, **(GENTLE if step >= gentle_from else {}))
        mels, classes, number = [], [], 1000 * step * batch
        while len(mels) < batch:
            mel, said = mixer.example(number, mix)
            number += 1
            if said.utterances:  # a word that was drawn out beyond the window is not there
                mels.append(mel)
                classes.append(KEYWORDS.index(said.utterances[0][0][0]))
        return torch.from_numpy(np.stack(mels)), torch.tensor(classes)

    return batch_at


def heard(model, utterances, batch=100):
    """Recordings of single words -> which of KEYWORDS the model takes each for."""
    found = []
    for first in range(0, len(utterances), batch):
        waves = [spoken.wave() for spoken in utterances[first : first + batch]]
        mel = np.stack([audio.log_mel(wave, pad_to_seconds=SECONDS) for wave in waves])
        with torch.no_grad():
            found += model(torch.from_numpy(mel)).argmax(-1).tolist()
    return [KEYWORDS[number] for number in found]


def run(args) -> int:
    """`python -m speechlib train whisper-keywords`: trains, watches, writes the checkpoint."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    clips = whisper_commands.weighted(list(keyword_clips(args.data, "train")))
    like = whisper_commands.config()
    model = model_from(whisper_files.start_from(args.start, like, ("mel_bins",)))
    watched = corpus.commands("valid", kind="keyword")
    print(f"{len(clips)} clips to train on; watching {len(watched)} words")
    plan = training.Plan.of(args, warmup=50, evaluate_every=100)
    training.train(
        model,
        batches(clips, args.batch, args.seed, plan.decay_from),
        plan,
        args.out,
        evaluate=lambda m: {"wrong": 1 - _share_right(m, watched)},
    )
    write_checkpoint(model, Path(args.out) / NAME)
    return 0


def _share_right(model, utterances):
    found = heard(model, utterances)
    return float(np.mean([u.text == word for u, word in zip(utterances, found, strict=True)]))


def write_checkpoint(model, folder):
    """The folder in Hugging Face's format: weights (float16), configs, the names of the classes."""
    folder = Path(folder)
    loading.write_folder(model, folder, dtype="float16")
    whisper_files.write_extractor(folder, SECONDS)
    file = folder / "config.json"
    names = {
        "id2label": {str(number): word for number, word in enumerate(KEYWORDS)},
        "label2id": {word: number for number, word in enumerate(KEYWORDS)},
    }
    paths.write_json(file, json.loads(file.read_text("utf-8")) | names)


def measure(model, args=None) -> dict:
    """Figures on voices never trained on; args.data: sets of which the test split is measured as
    well, since the bundled one is small."""
    figures = {}
    for split in ("test", "valid"):
        said = corpus.commands(split, kind="keyword")
        figures[split] = _accuracy(model, said, f"the corpus' {split} split", split == "test")
    folders = getattr(args, "data", None) or []
    made = [one for folder in folders for one in read_manifest(Path(folder))]
    made = [one for one in made if (one.split, one.kind) == ("test", "keyword")]
    if made:
        figures["more"] = _accuracy(model, made, "a larger set of the same kind", True)
    figures["layers"] = {
        "on": "how much of each layer the head reads, the first block's input first",
        "shares": [round(share, 3) for share in model.layer_weights.softmax(0).tolist()],
    }
    return figures


def _accuracy(model, utterances, where, picture):
    voices = len({spoken.voice for spoken in utterances})
    wanted = [spoken.text for spoken in utterances]
    on = f"single words, {voices} synthetic voices of {where}"
    return scoring.accuracy_figure(wanted, heard(model, utterances), on, KEYWORDS, picture=picture)
