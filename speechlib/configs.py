"""Shapes of the models: one frozen dataclass for a block, one per system.

input -> output: a checkpoint's `config.json` as a dict -> a checked, typed, unchangeable config.
Only what changes a computation is here; everything else in a `config.json` is carried along
unread (`checkpoints.py`), so that saving gives it back.
"""

from dataclasses import dataclass, field, fields, replace
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """One Transformer block. Two switches, `norm_first` and `cross_attention`, and no third."""

    width: int  # features of a frame or token
    heads: int
    feed_forward: int  # features between the two layers of the feed-forward part
    activation: str = "gelu"
    dropout: float = 0.0  # after each part, before it is added back
    attention_dropout: float = 0.0  # on the attention weights
    activation_dropout: float = 0.0  # between the two feed-forward layers
    norm_first: bool = True  # pre-norm (Whisper) or post-norm (the 2017 paper)
    norm_eps: float = 1e-5
    cross_attention: bool = False
    key_bias: bool = True  # Whisper's keys have none
    attention: str = "sdpa"  # backend: a name in torch_models.attention.BACKENDS

    def __post_init__(self):
        _at_least_one(self, "width", "heads", "feed_forward")
        _probabilities(self, "dropout", "attention_dropout", "activation_dropout")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not a multiple of heads {self.heads}: every head gets "
                "width / heads features"
            )


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much of the input is hidden while training (Park et al. 2019)."""

    time_probability: float = 0.05  # share of frames that start a hidden span, times its length
    time_length: int = 10  # frames
    time_min_spans: int = 2
    feature_probability: float = 0.0
    feature_length: int = 10  # mel bins or features
    feature_min_spans: int = 0

    def __post_init__(self):
        _probabilities(self, "time_probability", "feature_probability")
        _at_least_one(self, "time_length", "feature_length")


class SystemConfig:
    """What the config of every system has: it is read from a `config.json`, and written back."""

    # key in config.json -> (our fields, with a dot inside a part; the published default)
    keys: ClassVar[dict] = {}
    parts: ClassVar[dict] = {}  # field -> the config class of that part
    fixed: ClassVar[dict] = {}  # our field -> its value, whatever config.json says

    @classmethod
    def from_hugging_face(cls, c: dict):
        """`config.json` as a dict. Missing keys take the published defaults. Raises ValueError
        for a value of another kind."""
        found = {name: {} for name in cls.parts}
        settings = {names: _setting(c, key, default) for key, (names, default) in cls.keys.items()}
        for names, value in (settings | cls.fixed).items():
            for name in names.split():
                part, _, leaf = name.rpartition(".")
                (found[part] if part else found)[leaf] = value
        found |= {name: kind(**found[name]) for name, kind in cls.parts.items()}
        return cls(**found)

    def to_hugging_face(self) -> dict:
        """The keys of `config.json` that this config decides: the inverse of
        `from_hugging_face`."""
        written = {}
        for key, (names, _) in self.keys.items():
            part, _, leaf = names.split()[0].rpartition(".")
            owner = getattr(self, part) if part else self
            if owner is not None:
                value = getattr(owner, leaf)
                written[key] = list(value) if isinstance(value, tuple) else value
        return written

    def pad_and_start(self):
        """The tokens that fill up and start a text, for `tokenizers.shift_tokens_right`. Raises
        ValueError for one that is outside the vocabulary; None stays None."""
        named = {"pad_token_id": self.pad, "decoder_start_token_id": self.start}
        return tuple(token_in(self.vocabulary, name, token) for name, token in named.items())

    def with_attention(self, backend: str):
        """The same config with another attention backend in every block."""
        blocks = {f.name: getattr(self, f.name) for f in fields(self)}
        blocks = {name: b for name, b in blocks.items() if isinstance(b, BlockConfig)}
        return replace(self, **{name: replace(b, attention=backend) for name, b in blocks.items()})


_MASKS = {  # the keys of `spec_augment`
    "mask_time_prob": ("spec_augment.time_probability", 0.05),
    "mask_time_length": ("spec_augment.time_length", 10),
    "mask_time_min_masks": ("spec_augment.time_min_spans", 2),
    "mask_feature_prob": ("spec_augment.feature_probability", 0.0),
    "mask_feature_length": ("spec_augment.feature_length", 10),
    "mask_feature_min_masks": ("spec_augment.feature_min_spans", 0),
}


@dataclass(frozen=True, kw_only=True)
class WhisperConfig(SystemConfig):
    """Whisper (Radford et al. 2022): mel -> audio encoder -> text decoder."""

    encoder: BlockConfig
    decoder: BlockConfig
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    mel_bins: int = 80
    frames: int = 1500  # encoder frames: half of the mel frames, 20 ms each
    slots: int = 448  # longest text, in tokens
    encoder_layer_drop: float = 0.0
    decoder_layer_drop: float = 0.0
    init_std: float = 0.02
    pad: int | None = 50256
    start: int = 50257
    end: int | tuple[int, ...] = 50256  # some checkpoints have several
    spec_augment: SpecAugmentConfig | None = None

    keys: ClassVar[dict] = {
        "vocab_size": ("vocabulary", 51865),
        "num_mel_bins": ("mel_bins", 80),
        "d_model": ("encoder.width decoder.width", 384),
        "encoder_layers": ("encoder_layers", 4),
        "encoder_attention_heads": ("encoder.heads", 6),
        "encoder_ffn_dim": ("encoder.feed_forward", 1536),
        "encoder_layerdrop": ("encoder_layer_drop", 0.0),
        "decoder_layers": ("decoder_layers", 4),
        "decoder_attention_heads": ("decoder.heads", 6),
        "decoder_ffn_dim": ("decoder.feed_forward", 1536),
        "decoder_layerdrop": ("decoder_layer_drop", 0.0),
        "activation_function": ("encoder.activation decoder.activation", "gelu"),
        "dropout": ("encoder.dropout decoder.dropout", 0.0),
        "attention_dropout": ("encoder.attention_dropout decoder.attention_dropout", 0.0),
        "activation_dropout": ("encoder.activation_dropout decoder.activation_dropout", 0.0),
        "init_std": ("init_std", 0.02),
        "max_source_positions": ("frames", 1500),
        "max_target_positions": ("slots", 448),
        "pad_token_id": ("pad", 50256),
        "eos_token_id": ("end", 50256),
        "decoder_start_token_id": ("start", 50257),
        **_MASKS,
    }
    parts: ClassVar[dict] = {
        "encoder": BlockConfig,
        "decoder": BlockConfig,
        "spec_augment": SpecAugmentConfig,
    }
    fixed: ClassVar[dict] = {
        "encoder.key_bias decoder.key_bias": False,
        "decoder.cross_attention": True,
    }

    def __post_init__(self):
        _at_least_one(self, "encoder_layers", "decoder_layers", "vocabulary", "mel_bins")
        _at_least_one(self, "frames", "slots")
        _probabilities(self, "encoder_layer_drop", "decoder_layer_drop")
        if self.encoder.width != self.decoder.width:
            raise ValueError(
                f"Whisper's encoder and decoder share one width; got {self.encoder.width} and "
                f"{self.decoder.width}"
            )
        if self.width % 2:
            raise ValueError(f"a sinusoid table needs an even width, got {self.width}")
        if self.pad is not None and not 0 <= self.pad < self.vocabulary:
            raise ValueError(
                f"the pad token {self.pad} is outside the vocabulary of {self.vocabulary} tokens "
                f"(0 to {self.vocabulary - 1})"
            )

    @property
    def width(self) -> int:
        """Features of a frame or token, the same on both sides."""
        return self.encoder.width

    @property
    def mel_frames(self) -> int:
        """Mel frames of one window: the second convolution halves them."""
        return 2 * self.frames

    @classmethod
    def from_hugging_face(cls, c: dict) -> "WhisperConfig":
        """As every system; without `apply_spec_augment` nothing is ever hidden."""
        config = super().from_hugging_face(c)
        applied = _setting(c, "apply_spec_augment", False)
        return config if applied else replace(config, spec_augment=None)

    def to_hugging_face(self) -> dict:
        """The inverse of `from_hugging_face`."""
        applied = self.spec_augment is not None
        return super().to_hugging_face() | {"model_type": "whisper", "apply_spec_augment": applied}


@dataclass(frozen=True, kw_only=True)
class WavLMConfig(SystemConfig):
    """WavLM (Chen et al. 2022): waveform -> frames; with buckets=0 wav2vec 2.0 (Baevski et al.
    2020)."""

    block: BlockConfig
    layers: int
    buckets: int = 320  # of relative distances; 0: none, plain attention
    max_distance: int = 800  # frames; all beyond share a bucket
    conv_widths: tuple = (512,) * 7  # features after each convolution of the front end
    conv_kernels: tuple = (10, 3, 3, 3, 3, 2, 2)  # samples, then frames of the layer before
    conv_strides: tuple = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    conv_norm: str = "group"  # "group": after the first convolution; "layer": after each one
    conv_activation: str = "gelu"
    position_kernel: int = 128  # frames
    position_groups: int = 16
    projection_dropout: float = 0.0
    layer_drop: float = 0.1
    init_std: float = 0.02
    apply_spec_augment: bool = True
    spec_augment: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    adapter: bool = False  # convolutions after the blocks that shorten the output
    adapter_layers: int = 3
    adapter_kernel: int = 3
    adapter_stride: int = 2
    adapter_width: int | None = None  # None: that of the blocks

    keys: ClassVar[dict] = {
        "hidden_size": ("block.width", 768),
        "num_hidden_layers": ("layers", 12),
        "num_attention_heads": ("block.heads", 12),
        "intermediate_size": ("block.feed_forward", 3072),
        "hidden_act": ("block.activation", "gelu"),
        "hidden_dropout": ("block.dropout", 0.1),
        "activation_dropout": ("block.activation_dropout", 0.1),
        "attention_dropout": ("block.attention_dropout", 0.1),
        "do_stable_layer_norm": ("block.norm_first", False),
        "layer_norm_eps": ("block.norm_eps", 1e-5),
        "num_buckets": ("buckets", 320),
        "max_bucket_distance": ("max_distance", 800),
        "conv_dim": ("conv_widths", (512,) * 7),
        "conv_kernel": ("conv_kernels", (10, 3, 3, 3, 3, 2, 2)),
        "conv_stride": ("conv_strides", (5, 2, 2, 2, 2, 2, 2)),
        "conv_bias": ("conv_bias", False),
        "feat_extract_norm": ("conv_norm", "group"),
        "feat_extract_activation": ("conv_activation", "gelu"),
        "num_conv_pos_embeddings": ("position_kernel", 128),
        "num_conv_pos_embedding_groups": ("position_groups", 16),
        "feat_proj_dropout": ("projection_dropout", 0.0),
        "layerdrop": ("layer_drop", 0.1),
        "initializer_range": ("init_std", 0.02),
        "apply_spec_augment": ("apply_spec_augment", True),
        **_MASKS,
        "add_adapter": ("adapter", False),
        "num_adapter_layers": ("adapter_layers", 3),
        "adapter_kernel_size": ("adapter_kernel", 3),
        "adapter_stride": ("adapter_stride", 2),
        "output_hidden_size": ("adapter_width", None),
    }
    parts: ClassVar[dict] = {"block": BlockConfig, "spec_augment": SpecAugmentConfig}

    def __post_init__(self):
        _at_least_one(self, "layers", "position_kernel", "position_groups")
        _at_least_one(self, "adapter_layers", "adapter_kernel", "adapter_stride")
        _probabilities(self, "projection_dropout", "layer_drop")
        counts = {len(self.conv_widths), len(self.conv_kernels), len(self.conv_strides)}
        if len(counts) > 1 or not min(counts):
            raise ValueError(
                "expected one width, one kernel and one stride for each convolution, got "
                f"{self.conv_widths}, {self.conv_kernels} and {self.conv_strides}"
            )
        if min(self.conv_widths + self.conv_kernels + self.conv_strides) < 1:
            raise ValueError(
                "widths, kernels and strides of convolutions must be at least 1, got "
                f"{self.conv_widths}, {self.conv_kernels} and {self.conv_strides}"
            )
        if self.conv_norm not in ("group", "layer"):
            raise ValueError(
                f'feat_extract_norm must be "group" or "layer", got {self.conv_norm!r}'
            )
        if self.width % self.position_groups:
            raise ValueError(
                f"width {self.width} is not a multiple of position_groups {self.position_groups}"
            )
        if self.buckets and (self.buckets < 4 or self.max_distance <= self.buckets // 4):
            raise ValueError(
                "expected buckets of at least 4 (or 0: none) and a max_distance above a quarter "
                f"of them, got {self.buckets} and {self.max_distance}"
            )

    @property
    def width(self) -> int:
        """Features of a frame inside the blocks."""
        return self.block.width

    @property
    def output_width(self) -> int:
        """Features of a frame of the output."""
        return self.adapter_width if self.adapter and self.adapter_width else self.width

    @classmethod
    def from_hugging_face(cls, c: dict) -> "WavLMConfig":
        """As every system; a wav2vec 2.0 has no relative distances."""
        if c.get("adapter_attn_dim") is not None:
            raise ValueError(
                f"config.json has adapter_attn_dim {c['adapter_attn_dim']}: attention adapters for "
                "a target_lang (MMS) are not built here; load a checkpoint without them"
            )
        config = super().from_hugging_face(c)
        return replace(config, buckets=0) if c.get("model_type") == "wav2vec2" else config

    def to_hugging_face(self) -> dict:
        """The inverse of `from_hugging_face`."""
        written = super().to_hugging_face() | {"num_feat_extract_layers": len(self.conv_widths)}
        written["output_hidden_size"] = self.adapter_width or self.width
        if self.buckets:
            return written | {"model_type": "wavlm"}
        written = {k: v for k, v in written.items() if v is not None and "bucket" not in k}
        return written | {"model_type": "wav2vec2"}


@dataclass(frozen=True, kw_only=True)
class Speech2Text2Config(SystemConfig):
    """Speech2Text2 (Wang et al. 2021): tokens and a memory -> the next token."""

    decoder: BlockConfig
    decoder_layers: int
    vocabulary: int
    positions: int = 1024  # of the stored sinusoid table; longer texts build what it lacks
    scale_embedding: bool = True  # by sqrt(width)
    decoder_layer_drop: float = 0.0
    init_std: float = 0.02
    cross_attention_width: int | None = None  # null: a bridge fits any encoder to this decoder
    pad: int = 1
    start: int | None = 2
    end: int | tuple[int, ...] | None = 2

    slots: ClassVar[None] = None  # a text may have any length

    keys: ClassVar[dict] = {
        "vocab_size": ("vocabulary", 10000),
        "d_model": ("decoder.width", 256),
        "decoder_layers": ("decoder_layers", 6),
        "decoder_attention_heads": ("decoder.heads", 4),
        "decoder_ffn_dim": ("decoder.feed_forward", 2048),
        "decoder_layerdrop": ("decoder_layer_drop", 0.0),
        "activation_function": ("decoder.activation", "relu"),
        "dropout": ("decoder.dropout", 0.1),
        "attention_dropout": ("decoder.attention_dropout", 0.0),
        "activation_dropout": ("decoder.activation_dropout", 0.0),
        "init_std": ("init_std", 0.02),
        "scale_embedding": ("scale_embedding", True),
        "max_target_positions": ("positions", 1024),
        "cross_attention_hidden_size": ("cross_attention_width", None),
        "pad_token_id": ("pad", 1),
        "eos_token_id": ("end", 2),
        "decoder_start_token_id": ("start", 2),
    }
    parts: ClassVar[dict] = {"decoder": BlockConfig}
    fixed: ClassVar[dict] = {"decoder.norm_first": False, "decoder.cross_attention": True}

    def __post_init__(self):
        _at_least_one(self, "decoder_layers", "vocabulary", "positions")
        _probabilities(self, "decoder_layer_drop")
        if self.pad is None or not 0 <= self.pad < self.vocabulary:
            raise ValueError(
                "Speech2Text2 counts the tokens that are no padding, so it needs a pad token in "
                f"its vocabulary (0 to {self.vocabulary - 1}), got {self.pad}: set pad_token_id"
            )

    @property
    def width(self) -> int:
        """Features of a token."""
        return self.decoder.width

    def to_hugging_face(self) -> dict:
        """The inverse of `from_hugging_face`."""
        return super().to_hugging_face() | {"model_type": "speech_to_text_2", "is_decoder": True}


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderDecoderConfig(SystemConfig):
    """What an encoder and a decoder have in common; each has a config of its own."""

    pad: int | None = None
    start: int | None = None
    end: int | tuple[int, ...] | None = None
    bridge: tuple[int, int] | None = None  # widths of a linear layer between the two
    vocabulary: int = 0
    slots: int | None = None

    keys: ClassVar[dict] = {
        "pad_token_id": ("pad", None),
        "decoder_start_token_id": ("start", None),
        "eos_token_id": ("end", None),
    }

    @classmethod
    def joining(cls, encoder, decoder, config=None):
        """The config of these two parts' configs; without a `config` the decoder's tokens count.

        Hugging Face's rule: a bridge stands where the encoder's `output_hidden_size` is not the
        decoder's width, unless the decoder names a `cross_attention_hidden_size`, which must be
        the encoder's `hidden_size`. Raises ValueError for widths that do not fit.
        """
        named = getattr(decoder, "cross_attention_width", None)
        if named is not None and named != encoder.width:
            raise ValueError(
                f"cross_attention_hidden_size of the decoder, {named}, must equal the encoder's "
                f"hidden_size, {encoder.width}; or be null: then a bridge fits the widths"
            )
        said = getattr(encoder, "adapter_width", None) or encoder.width
        comes = getattr(encoder, "output_width", encoder.width)
        bridge = (comes, decoder.width) if said != decoder.width and named is None else None
        if bridge is None and comes != decoder.width:
            raise ValueError(
                f"the encoder gives frames of {comes} features, the decoder looks at "
                f"{decoder.width}, and nothing stands between them (output_hidden_size {said}, "
                f"cross_attention_hidden_size {named}): a null cross_attention_hidden_size and "
                "an output_hidden_size that is true make a bridge"
            )
        config = config or cls(pad=decoder.pad, start=decoder.start, end=decoder.end)
        slots, vocabulary = decoder.slots, decoder.vocabulary
        return replace(config, bridge=bridge, vocabulary=vocabulary, slots=slots)

    def to_hugging_face(self) -> dict:
        """The inverse of `from_hugging_face`."""
        fixed = {"model_type": "speech-encoder-decoder", "is_encoder_decoder": True}
        return super().to_hugging_face() | fixed | {"tie_word_embeddings": False}


@dataclass(frozen=True, kw_only=True)
class HeadConfig(SystemConfig):
    """A head that says one class, over any listener."""

    classes: int = 2
    weighted_layer_sum: bool = False  # reads all layers, not only the last
    projector: int = 256  # features between the listener and the mean over time

    keys: ClassVar[dict] = {
        "num_labels": ("classes", 2),
        "use_weighted_layer_sum": ("weighted_layer_sum", False),
        "classifier_proj_size": ("projector", 256),
    }

    def __post_init__(self):
        _at_least_one(self, "classes", "projector")

    @classmethod
    def from_hugging_face(cls, c: dict):
        """As every system; the classes may also come as a table of their names, `id2label`."""
        names = c.get("id2label")
        if not isinstance(names, dict | None):
            raise ValueError(
                f"expected id2label as a table of class numbers and names, got {names!r}"
            )
        return super().from_hugging_face(c | {"num_labels": len(names)} if names else c)


@dataclass(frozen=True, kw_only=True)
class CTCConfig(SystemConfig):
    """A head that says a class or the blank for every frame."""

    classes: int = 32  # the vocabulary, the blank included
    blank: int = 0  # the pad token
    dropout: float = 0.1
    reduction: str = "sum"
    zero_infinity: bool = False

    weighted_layer_sum: ClassVar[bool] = False
    keys: ClassVar[dict] = {
        "vocab_size": ("classes", 32),
        "pad_token_id": ("blank", 0),
        "final_dropout": ("dropout", 0.1),
        "ctc_loss_reduction": ("reduction", "sum"),
        "ctc_zero_infinity": ("zero_infinity", False),
    }

    def __post_init__(self):
        _at_least_one(self, "classes")
        _probabilities(self, "dropout")
        if self.blank is None or not 0 <= self.blank < self.classes:
            raise ValueError(
                "CTC needs a blank, the pad_token_id of config.json, in the vocabulary of "
                f"{self.classes} (0 to {self.classes - 1}), got {self.blank}"
            )
        if self.reduction not in ("sum", "mean", "none"):
            raise ValueError(
                f'ctc_loss_reduction must be "sum", "mean" or "none", got {self.reduction!r}'
            )

    @classmethod
    def from_hugging_face(cls, c: dict):
        """As every system; WavLM's published reduction is the mean."""
        reduction = {"ctc_loss_reduction": "mean"} if c.get("model_type") == "wavlm" else {}
        return super().from_hugging_face(reduction | c)


@dataclass(frozen=True, kw_only=True)
class XVectorConfig(HeadConfig):
    """Time-delay layers (widths, kernels and dilations in frames), then an embedding."""

    tdnn_widths: tuple[int, ...] = (512, 512, 512, 512, 1500)
    tdnn_kernels: tuple[int, ...] = (5, 3, 3, 1, 1)
    tdnn_dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
    embedding: int = 512  # features of a voice

    keys: ClassVar[dict] = {
        "num_labels": ("classes", 2),
        "use_weighted_layer_sum": ("weighted_layer_sum", False),
        "tdnn_dim": ("tdnn_widths", (512, 512, 512, 512, 1500)),
        "tdnn_kernel": ("tdnn_kernels", (5, 3, 3, 1, 1)),
        "tdnn_dilation": ("tdnn_dilations", (1, 2, 3, 1, 1)),
        "xvector_output_dim": ("embedding", 512),
    }

    def __post_init__(self):
        super().__post_init__()
        sizes = self.tdnn_widths, self.tdnn_kernels, self.tdnn_dilations
        counts = {len(size) for size in sizes}
        if counts & {0} or len(counts) > 1 or min(*sum(sizes, ()), self.embedding) < 1:
            raise ValueError(
                "expected one width, one kernel and one dilation of at least 1 for each time-delay "
                f"layer, got {', '.join(map(str, sizes))}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig(SystemConfig):
    """wav2vec 2.0 while it learns without labels: its quantiser, and what it must tell apart."""

    groups: int = 2
    codes: int = 320  # a group
    codevector_dim: int = 256  # features of the code vectors of all groups
    width: int = 256  # features in which guess and target are compared
    dropout: float = 0.0  # on what is quantised
    negatives: int = 100  # wrong answers for each hidden frame
    temperature: float = 0.1  # of the choice between them
    diversity_weight: float = 0.1

    keys: ClassVar[dict] = {
        "num_codevector_groups": ("groups", 2),
        "num_codevectors_per_group": ("codes", 320),
        "codevector_dim": ("codevector_dim", 256),
        "proj_codevector_dim": ("width", 256),
        "feat_quantizer_dropout": ("dropout", 0.0),
        "num_negatives": ("negatives", 100),
        "contrastive_logits_temperature": ("temperature", 0.1),
        "diversity_loss_weight": ("diversity_weight", 0.1),
    }

    def __post_init__(self):
        _at_least_one(self, "width", "negatives")
        _probabilities(self, "dropout")


def _setting(config: dict, name: str, default):
    """config[name], of the kind that the default is; a whole number may stand for a float. Token
    ids may be null or several, and a default of None stands for a whole number."""
    value = config.get(name, default)
    if name.endswith("_token_id"):
        ids = value if isinstance(value, list) else [value]
        if value is None or all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            return tuple(value) if isinstance(value, list) else value
    elif value is None:
        return default
    elif isinstance(default, tuple) and isinstance(value, list | tuple):
        if all(isinstance(i, int) and not isinstance(i, bool) for i in value):
            return tuple(value)
    else:
        like = 0 if default is None else default
        kinds = (int, float) if isinstance(like, float) else type(like)
        if isinstance(value, kinds) and isinstance(value, bool) == isinstance(like, bool):
            return value
    raise ValueError(
        f"expected {name} in config.json to be of type {type(default).__name__}, as in "
        f"{default!r}, came {value!r}"
    )


def token_in(vocabulary: int, name: str, token: int | None) -> int | None:
    """The token that this entry of a checkpoint names. Raises ValueError for one outside the
    vocabulary: found later, it would look like a token that the caller gave."""
    if token is not None and not 0 <= token < vocabulary:
        raise ValueError(
            f"{name} must lie in 0 to {vocabulary - 1}, the vocabulary, got {token}: set it in the "
            "checkpoint's config.json or generation_config.json (where it is missing, a published "
            "default counts)"
        )
    return token


def _at_least_one(config, *names):
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")


def _probabilities(config, *names):
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must lie in 0 to 1, got {getattr(config, name)}")
