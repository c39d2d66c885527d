"""Heads: what a listener hears, turned into an answer. CTC (Graves et al. 2006), one class an
utterance or a frame (SUPERB, Yang et al. 2021), x-vectors (Snyder et al. 2018).

input -> output: waveform (batch, samples) or mel (batch, mel bins, mel frames) -> logits.
Special: a head takes any listener: Whisper's encoder, WavLM or wav2vec 2.0. It may read all of its
layers, weighted; it pools over real frames only.

Notebook: 12_ctc, 13_heads, 14_xvector
"""

import torch
from torch import nn
from torch.nn import functional as F

from speechlib import ctc_decoding
from speechlib.torch_models import inputs as checked
from speechlib.torch_models import losses


class Head(nn.Module):
    """What all heads share: the listener, which layers of it are read, what is frozen.

    encoder: offers `encoder(inputs, lengths)`, `.hidden_states`, `.frame_mask`, `.output_lengths`.
    lengths: (batch,) in samples or mel frames, what is real in each row; None: everything.
    """

    over_adapter = True  # whether it may stand on a listener that has an adapter

    def __init__(self, encoder, config):
        super().__init__()
        if getattr(encoder.config, "adapter", False) and not self.over_adapter:
            raise ValueError(
                f"a {type(self).__name__} cannot stand over an adapter (add_adapter in config.json "
                "is true): it would answer for other frames than those that were heard; use a "
                "listener without one"
            )
        self.encoder = encoder
        self.config = config
        if config.weighted_layer_sum:
            layers = len(encoder.blocks) + 1  # the first block's input counts too
            self.layer_weights = nn.Parameter(torch.full((layers,), 1 / layers))

    def heard(self, inputs, lengths):
        """-> (batch, frames, width): the last layer, or all of them, weighted by a softmax."""
        if not self.config.weighted_layer_sum:
            return self.encoder(inputs, lengths)
        states = self.encoder.hidden_states(inputs, lengths)
        weights = self.layer_weights.softmax(0)
        return sum(weight * state for weight, state in zip(weights, states, strict=True))

    @torch.no_grad()
    def initialise(self):
        """Fresh weights as published: normal with the listener's `init_std`, biases 0."""
        for name, module in self.named_children():
            for part in module.modules() if name != "encoder" else ():
                if isinstance(part, nn.Linear):
                    part.weight.normal_(0.0, self.encoder.config.init_std)
                    part.bias.zero_()

    def freeze_encoder(self):
        """Only the head learns from now on."""
        self.encoder.requires_grad_(False)

    freeze_base = freeze_encoder  # what it is called where the listener is called the base model

    def freeze_feature_encoder(self):
        """The convolutions that make frames of samples learn no more."""
        if not hasattr(self.encoder, "freeze_feature_encoder"):
            raise ValueError(
                f"a {type(self.encoder).__name__} has no feature encoder of its own to freeze; "
                "freeze_encoder() freezes all of it"
            )
        self.encoder.freeze_feature_encoder()


class CTCModel(Head):
    """A class or the blank for every frame; the loss adds up all alignments with the labels."""

    def __init__(self, encoder, config):
        super().__init__(encoder, config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(encoder.output_width, config.classes)
        self.initialise()

    def forward(self, inputs, lengths=None):
        """-> logits (batch, frames, classes)."""
        return self.classifier(self.dropout(self.encoder(inputs, lengths)))

    def loss(self, inputs, labels, lengths=None):
        """labels: (batch, labels), filled up with -100, never with the blank (the pad token).

        Labels that need more frames than there are cost infinity, or 0 with `zero_infinity`.
        """
        c = self.config
        labels = checked.tokens(labels, c.classes, self.classifier.weight.device, ignored=-100)
        log_probs, said = self._log_probs(inputs, lengths), labels != -100
        if len(labels) != len(log_probs):
            raise ValueError(f"expected {len(log_probs)} rows of labels, got {len(labels)}")
        return losses.ctc_loss(
            log_probs.transpose(0, 1),
            labels[said],
            self._frames(log_probs, lengths),
            said.sum(1),
            c.blank,
            c.reduction,
            c.zero_infinity,
        )

    @torch.no_grad()
    def recognise(self, inputs, lengths=None, beams=1):
        """-> a list of labels for each row; beams=1: greedy, more: prefix beam search."""
        log_probs = self._log_probs(inputs, lengths).cpu().double()
        frames = self._frames(log_probs, lengths).tolist()
        rows = [row[:n].numpy() for row, n in zip(log_probs, frames, strict=True)]
        if beams == 1:
            return [ctc_decoding.greedy(row, self.config.blank) for row in rows]
        return [ctc_decoding.prefix_beam(row, beams, self.config.blank)[0][0] for row in rows]

    def _log_probs(self, inputs, lengths):
        logits = self(inputs, lengths)
        return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))

    def _frames(self, log_probs, lengths):
        """(batch,) real frames."""
        if lengths is None:
            return torch.full((len(log_probs),), log_probs.shape[1])
        return self.encoder.output_lengths(checked.lengths(lengths))


class SequenceClassifier(Head):
    """One class for the whole utterance, from the mean of its real frames."""

    over_adapter = False

    def __init__(self, encoder, config):
        super().__init__(encoder, config)
        self.projector = nn.Linear(encoder.output_width, config.projector)
        self.classifier = nn.Linear(config.projector, config.classes)
        self.initialise()

    def forward(self, inputs, lengths=None):
        """-> logits (batch, classes)."""
        x = self.projector(self.heard(inputs, lengths))
        real = self.encoder.frame_mask(lengths, x.shape[1])
        if real is None:
            return self.classifier(x.mean(1))
        real = real[..., None]
        return self.classifier((x * real).sum(1) / real.sum(1))

    def loss(self, inputs, labels, lengths=None):
        """Cross-entropy; labels: (batch,)."""
        logits = self(inputs, lengths)
        return F.cross_entropy(logits, checked.classes(labels, *logits.shape, logits.device))


class FrameClassifier(Head):
    """One class for every frame: who speaks when."""

    over_adapter = False

    def __init__(self, encoder, config):
        super().__init__(encoder, config)
        self.classifier = nn.Linear(encoder.output_width, config.classes)
        self.initialise()

    def forward(self, inputs, lengths=None):
        """-> logits (batch, frames, classes)."""
        return self.classifier(self.heard(inputs, lengths))

    def loss(self, inputs, labels, lengths=None):
        """Cross-entropy over all frames; labels: (batch, frames), -100 = not counted, or one-hot
        (batch, frames, classes).

        As published, frames of padding count too unless they are labelled -100, and where several
        classes are marked in a one-hot row, the first one is meant.
        """
        logits = self(inputs, lengths)
        labels = checked.as_tensor(labels, "labels (batch, frames)").to(logits.device)
        labels = labels.argmax(-1) if labels.shape == logits.shape else labels
        if labels.shape != logits.shape[:2]:
            raise ValueError(
                f"expected labels of shape (batch, frames) = {tuple(logits.shape[:2])} or (batch, "
                f"frames, classes) = {tuple(logits.shape)}, got {tuple(labels.shape)}"
            )
        labels = checked.tokens(labels, logits.shape[2], logits.device, ignored=-100)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


class XVector(Head):
    """Whose voice is this? An embedding of the utterance, from means and deviations over time."""

    def __init__(self, encoder, config):
        super().__init__(encoder, config)
        width = encoder.config.width
        if not config.weighted_layer_sum and encoder.output_width != width:
            raise ValueError(
                f"an XVector reads {width} features a frame, the width of the listener's blocks; "
                f"its adapter makes {encoder.output_width} of them"
            )
        widths = config.tdnn_widths
        self.projector = nn.Linear(width, widths[0])
        sizes = widths[:1] + widths[:-1], widths, config.tdnn_kernels, config.tdnn_dilations
        self.tdnn = nn.ModuleList(TimeDelay(*size) for size in zip(*sizes, strict=True))
        self.embedding = nn.Linear(2 * widths[-1], config.embedding)
        self.classifier = nn.Linear(config.embedding, config.embedding)
        self.objective = AMSoftmax(config.embedding, config.classes)
        self.initialise()

    def forward(self, inputs, lengths=None):
        """-> logits (batch, embedding width): what the loss compares with a direction a speaker.
        For comparing two recordings take the cosine of their `embed`."""
        return self.classifier(self.embed(inputs, lengths))

    def embed(self, inputs, lengths=None):
        """-> (batch, embedding width)."""
        x = self.projector(self.heard(inputs, lengths))
        frames = [x.shape[1]] * len(x)
        if lengths is not None:
            frames = self.encoder.output_lengths(checked.lengths(lengths)).tolist()
        # as published: dilation is not counted, so the last frames counted may be of padding
        c = self.config
        lost = sum(kernel - 1 for kernel in c.tdnn_kernels)
        reach = sum((k - 1) * d for k, d in zip(c.tdnn_kernels, c.tdnn_dilations, strict=True))
        if x.shape[1] < reach + 2 or min(frames) < lost + 2:
            raise ValueError(
                f"expected at least {reach + 2} frames, and {lost + 2} real ones in each row, got "
                f"{x.shape[1]} frames, {min(frames)} real: a longer recording, or smaller tdnn "
                "kernels"
            )
        for layer in self.tdnn:
            x = layer(x)
        pooled = [torch.std_mean(row[: n - lost], dim=0) for row, n in zip(x, frames, strict=True)]
        return self.embedding(torch.stack([torch.cat([mean, std]) for std, mean in pooled]))

    def loss(self, inputs, labels, lengths=None):
        """AM-softmax; labels: (batch,), the speakers."""
        return losses.am_softmax_loss(self(inputs, lengths), self.objective.weight, labels)


class TimeDelay(nn.Linear):
    """A dilated convolution over time with ReLU, kept as a linear layer over `kernel` frames."""

    def __init__(self, width, out_width, kernel, dilation):
        super().__init__(width * kernel, out_width)
        self.kernel, self.dilation = kernel, dilation

    def forward(self, x):
        """(batch, frames, width) -> (batch, frames - (kernel - 1) x dilation, out width)."""
        weight = self.weight.unflatten(1, (self.kernel, -1)).transpose(1, 2)
        return F.conv1d(x.transpose(1, 2), weight, self.bias, dilation=self.dilation).mT.relu()


class AMSoftmax(nn.Module):
    """A direction for each class: the parameter of `losses.am_softmax_loss`."""

    def __init__(self, width, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, classes))
