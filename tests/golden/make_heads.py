"""Makes the goldens of the heads: tiny random checkpoints and what transformers 4.46.3 says.

    python tests/golden/make_heads.py      (in an environment with transformers==4.46.3)

Writes tests/golden/heads/NAME/ (config.json, model.safetensors, outputs.npz). Weights are random,
norms and biases moved away from 1 and 0. Every waveform case is computed for whole rows ("full")
and for rows of three lengths ("padded"): logits, loss, embedding, and the loss's gradient of every
parameter of the head. wav2vec2-pretraining: the quantiser and its losses.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.wav2vec2 import modeling_wav2vec2 as wav2vec2
from transformers.models.wavlm import modeling_wavlm as wavlm
from transformers.models.whisper import modeling_whisper as whisper

HERE = Path(__file__).parent / "heads"
VERSION = "4.46.3"

LISTENER = dict(
    hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=10,
    conv_dim=(5, 6, 6), conv_kernel=(10, 3, 2), conv_stride=(5, 2, 2), num_conv_pos_embeddings=6,
    num_conv_pos_embedding_groups=4,
)  # fmt: skip
WAVLM = dict(num_buckets=12, max_bucket_distance=30)
STABLE = dict(do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True)
TDNN = dict(
    tdnn_dim=(7, 6, 5), tdnn_kernel=(3, 2, 1), tdnn_dilation=(2, 3, 1), xvector_output_dim=9
)
CASES = {
    "wavlm-ctc": (  # over an adapter that narrows
        wavlm.WavLMForCTC,
        dict(
            LISTENER, **WAVLM, vocab_size=11, pad_token_id=2, ctc_loss_reduction="mean",
            add_adapter=True, num_adapter_layers=1, output_hidden_size=6,
        ),  # fmt: skip
    ),
    "wav2vec2-ctc": (  # one row has too few frames for its labels
        wav2vec2.Wav2Vec2ForCTC,
        dict(
            LISTENER, **STABLE, vocab_size=9, pad_token_id=0, ctc_loss_reduction="sum",
            ctc_zero_infinity=True,
        ),  # fmt: skip
    ),
    "wavlm-sequence": (
        wavlm.WavLMForSequenceClassification,
        dict(
            LISTENER, **WAVLM, **STABLE, use_weighted_layer_sum=True, num_labels=5,
            classifier_proj_size=7,
        ),  # fmt: skip
    ),
    "wav2vec2-frame": (
        wav2vec2.Wav2Vec2ForAudioFrameClassification,
        dict(LISTENER, use_weighted_layer_sum=True, num_labels=4),
    ),
    "wavlm-xvector": (
        wavlm.WavLMForXVector,
        dict(LISTENER, **WAVLM, **TDNN, use_weighted_layer_sum=True, num_labels=6),
    ),
    "wav2vec2-xvector": (
        wav2vec2.Wav2Vec2ForXVector,
        dict(LISTENER, **STABLE, **TDNN, num_labels=3),
    ),
}
WHISPER = dict(
    vocab_size=20, num_mel_bins=8, d_model=12, encoder_layers=2, decoder_layers=1,
    encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=14, decoder_ffn_dim=14,
    max_source_positions=15, max_target_positions=8, pad_token_id=3, bos_token_id=3,
    eos_token_id=3, decoder_start_token_id=4, suppress_tokens=None, begin_suppress_tokens=None,
    use_weighted_layer_sum=True, classifier_proj_size=7, num_labels=5,
)  # fmt: skip

PRETRAINING = dict(
    num_codevector_groups=2, num_codevectors_per_group=5, codevector_dim=6, proj_codevector_dim=7,
    num_negatives=6, contrastive_logits_temperature=0.2, diversity_loss_weight=0.3,
    mask_time_length=3, mask_time_prob=0.3,
)  # fmt: skip


def perturbed(model):
    """Every parameter random, and none without an effect."""
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        if name == "encoder.embed_positions.weight":
            continue
        if "norm" in name and name.endswith("weight"):
            parameter.data = 1 + 0.2 * noise
        elif name.endswith("original0"):  # sizes of the positional convolution
            parameter.data = parameter.data * (1 + 0.2 * noise)
        elif name.endswith("bias"):
            parameter.data = 0.2 * noise
        elif parameter.dim() < 2:
            parameter.data = noise
        else:
            parameter.data = parameter.data + noise / max(1, parameter[0].numel()) ** 0.5
    return model.eval()


def labels_of(model, rng, lengths):
    c, name = model.config, type(model).__name__
    frames = model._get_feat_extract_output_lengths(torch.tensor(lengths)).tolist()
    if name.endswith("CTC"):
        labels = rng.integers(0, c.vocab_size - 1, (3, max(frames[2] + 2, 6)))
        labels += labels >= c.pad_token_id  # no blanks
        labels[0, 5:] = labels[1, 3:] = -100
        labels[0, 2] = labels[0, 1]  # a blank must come between
        if not c.ctc_zero_infinity:
            labels[2, 2:] = -100
        return labels
    if name.endswith("FrameClassification"):
        return np.eye(c.num_labels, dtype=np.int64)[rng.integers(0, c.num_labels, (3, frames[0]))]
    return rng.integers(0, c.num_labels, 3)


def heard(model, out, tag, *args, **kwargs):
    """Logits, loss and the gradients of the head's parameters."""
    model.zero_grad()
    said = model(*args, **kwargs)
    said.loss.backward()
    out[f"{tag}.logits"], out[f"{tag}.loss"] = said.logits.detach(), said.loss.detach()
    if hasattr(said, "embeddings"):
        out[f"{tag}.embedding"] = said.embeddings.detach()
    for name, parameter in model.named_parameters():
        if not name.startswith(("wavlm.", "wav2vec2.", "encoder.")):
            if parameter.grad is not None:
                out[f"{tag}.gradient.{name}"] = parameter.grad.clone()


def pretraining():
    """wav2vec 2.0 and its quantiser: guesses, targets, perplexity, loss and gradients."""
    torch.manual_seed(200)
    config = wav2vec2.Wav2Vec2Config(**LISTENER, **PRETRAINING)
    model = perturbed(wav2vec2.Wav2Vec2ForPreTraining(config))
    wave, lengths = torch.randn(3, 500), torch.tensor([500, 421, 333])
    mask = torch.arange(500) < lengths[:, None]
    frames = int(model._get_feat_extract_output_lengths(500))
    real = model._get_feature_vector_attention_mask(frames, mask.long()).long()
    np.random.seed(5)
    hidden = wav2vec2._compute_mask_indices((3, frames), 0.4, 3, real, min_masks=2)
    np.random.seed(6)
    negatives = wav2vec2._sample_negative_indices((3, frames), config.num_negatives, hidden)
    out = dict(wave=wave, lengths=lengths, hidden=hidden, negatives=negatives)
    for tag, batch, given in (("full", wave, None), ("padded", wave * mask, mask.long())):
        model.zero_grad()
        said = model(
            batch,
            attention_mask=given,
            mask_time_indices=torch.tensor(hidden),
            sampled_negative_indices=torch.tensor(negatives),
        )
        said.loss.backward()
        out[f"{tag}.guesses"] = said.projected_states.detach()
        out[f"{tag}.targets"] = said.projected_quantized_states.detach()
        out[f"{tag}.perplexity"] = said.codevector_perplexity.detach()
        out[f"{tag}.loss"] = said.loss.detach()
        out[f"{tag}.gradient.quantizer.codevectors"] = model.quantizer.codevectors.grad.clone()
        out[f"{tag}.gradient.project_hid.weight"] = model.project_hid.weight.grad.clone()
    write("wav2vec2-pretraining", model, out)


def write(name, model, out):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    arrays = {key: np.asarray(value) for key, value in out.items()}
    np.savez_compressed(folder / "outputs.npz", **arrays)


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    for seed, (name, (model_class, settings)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = perturbed(model_class(model_class.config_class(**settings)))
        lengths = [500, 421, 333]
        wave = rng.normal(0, 1, (3, 500)).astype(np.float32)
        mask = np.arange(500) < np.array(lengths)[:, None]
        labels = labels_of(model, rng, lengths)
        out = dict(wave=wave, lengths=lengths, labels=labels)
        labels = torch.tensor(labels)
        heard(model, out, "full", torch.tensor(wave), labels=labels)
        padded, mask = torch.tensor(wave * mask), torch.tensor(mask).long()
        heard(model, out, "padded", padded, attention_mask=mask, labels=labels)
        write(name, model, out)
    torch.manual_seed(100)
    config = transformers.WhisperConfig(**WHISPER)
    model = perturbed(whisper.WhisperForAudioClassification(config))
    mel, labels = torch.randn(3, 8, 30), torch.tensor([4, 0, 2])
    out = dict(mel=mel, labels=labels)
    heard(model, out, "full", mel, labels=labels)
    write("whisper-sequence", model, out)
    pretraining()


if __name__ == "__main__":
    main()
