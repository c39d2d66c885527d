"""Names of tensors and of models, Hugging Face's beside ours. Data, read by `checkpoints.py`.

input -> output: none; tables. A *system* is a table of rows; an *architecture* (the word in
config.json) is a system by itself, or one that is handed others, each under a prefix.
Special: one row a module path, `*` for a layer number; the leaf (weight, bias) stays.
"""

from dataclasses import dataclass, field


def _under(theirs, ours, rows):
    return {f"{theirs}.{a}": f"{ours}.{b}" for a, b in rows.items()}


_ATTENTION = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "output",
}
_BLOCK = {
    **_under("self_attn", "self_attention", _ATTENTION),
    "self_attn_layer_norm": "self_norm",
    "fc1": "feed_forward.up",
    "fc2": "feed_forward.down",
    "final_layer_norm": "feed_forward_norm",
}
_CROSS = {
    **_under("encoder_attn", "cross_attention", _ATTENTION),
    "encoder_attn_layer_norm": "cross_norm",
}
_WHISPER_ENCODER = {
    "conv1": "conv1",
    "conv2": "conv2",
    "embed_positions": "positions",
    **_under("layers.*", "blocks.*", _BLOCK),
    "layer_norm": "norm",
}
_WHISPER_DECODER = {
    "embed_tokens": "token_embedding",
    "embed_positions": "positions",
    **_under("layers.*", "blocks.*", _BLOCK | _CROSS),
    "layer_norm": "norm",
}
_WAVLM_BLOCK = {
    **_under("attention", "self_attention", _ATTENTION),
    "attention.gru_rel_pos_linear": "self_attention.gate",
    "attention.rel_attn_embed": "self_attention.distance_bias",
    "layer_norm": "self_norm",
    "feed_forward.intermediate_dense": "feed_forward.up",
    "feed_forward.output_dense": "feed_forward.down",
    "final_layer_norm": "feed_forward_norm",
}

# system -> {Hugging Face module path: our module path}
ROWS = {
    "whisper": {
        **_under("encoder", "encoder", _WHISPER_ENCODER),
        **_under("decoder", "decoder", _WHISPER_DECODER),
    },
    "whisper_encoder": _WHISPER_ENCODER,
    "whisper_decoder": _WHISPER_DECODER,
    "wavlm": {
        "feature_extractor.conv_layers.*.conv": "front.layers.*.conv",
        "feature_extractor.conv_layers.*.layer_norm": "front.layers.*.norm",
        "feature_projection.layer_norm": "projection.norm",
        "feature_projection.projection": "projection.linear",
        **_under("encoder.layers.*", "blocks.*", _WAVLM_BLOCK),
        "encoder.layer_norm": "norm",
        "adapter.proj": "adapter.projection",
        "adapter.proj_layer_norm": "adapter.norm",
        "adapter.layers.*.conv": "adapter.layers.*",
    },
    "speech_to_text_2": {
        "embed_tokens": "token_embedding",
        **_under("layers.*", "blocks.*", _BLOCK | _CROSS),
    },
    "bridge": {"enc_to_dec_proj": "bridge"},
    "ctc": {"lm_head": "classifier"},
    "sequence": {"projector": "projector", "classifier": "classifier"},
    "frame": {"classifier": "classifier"},
    "xvector": {
        "projector": "projector",
        "tdnn.*.kernel": "tdnn.*",
        "feature_extractor": "embedding",
        "classifier": "classifier",
        "objective": "objective",
    },
    "pretraining": {
        "quantizer": "quantizer",
        "quantizer.weight_proj": "quantizer.scores",
        "project_hid": "guess",
        "project_q": "target",
    },
}
# system -> {Hugging Face tensor: our parameter}: those that are no weight or bias of a module
PARAMETERS = {
    "wavlm": {
        "masked_spec_embed": "mask_embedding",
        "encoder.pos_conv_embed.conv.bias": "positions.bias",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "positions.size",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "positions.direction",
        "encoder.layers.*.attention.gru_rel_pos_const": "blocks.*.self_attention.gate_scale",
    },
    "speech_to_text_2": {"embed_positions.weights": "positions.table"},
    "sequence": {"layer_weights": "layer_weights"},
    "frame": {"layer_weights": "layer_weights"},
    "xvector": {"layer_weights": "layer_weights"},
}
# endings before PyTorch 2.1 -> endings since then
OLD_ENDINGS = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
# system -> our parameters that a checkpoint may lack: they are made as in a fresh model
OPTIONAL = {
    "whisper": {"encoder.positions.weight"},  # sinusoids: built, not learned
    "whisper_encoder": {"positions.weight"},
    "speech_to_text_2": {"positions.table"},
    "wavlm": {"mask_embedding"},  # several released checkpoints lack it
}
# system -> Hugging Face tensors that a model may have no place for: they have no effect on it
UNUSED = {
    "wavlm": {"masked_spec_embed"},  # stored, but the config never masks
}


@dataclass(frozen=True)
class Architecture:
    """How a checkpoint of this kind becomes one of our models, in either framework."""

    model_type: str  # as in config.json
    model: str  # our file and class, "whisper.Whisper"; built with the models of `handed`, config
    config: str  # our class in configs.py
    rows: str  # the system: a key of ROWS
    prefix: str = ""  # before the names of `rows` in a saved file
    also: str = ""  # a prefix that other files of it have
    handed: dict = field(default_factory=dict)  # attribute -> Handed: models that it is built of
    tied: dict = field(default_factory=dict)  # tensor -> our parameter that it must equal


@dataclass(frozen=True)
class Handed:
    """A model inside another one."""

    prefix: str  # before its tensor names in the whole model's file
    architecture: Architecture
    own_config: bool = False  # its settings are under its own key in config.json


# what can listen inside a larger model: model_type -> (prefix of its names there, architecture)
LISTENERS = {
    "whisper": (
        "encoder.",
        Architecture("whisper", "whisper.AudioEncoder", "WhisperConfig", "whisper_encoder"),
    ),
    "wavlm": (
        "wavlm.",
        Architecture("wavlm", "wavlm.WavLM", "WavLMConfig", "wavlm", also="wavlm."),
    ),
    "wav2vec2": (
        "wav2vec2.",
        Architecture("wav2vec2", "wavlm.WavLM", "WavLMConfig", "wavlm", also="wav2vec2."),
    ),
}


def _head(model_type, model, rows):
    """A head over a listener: the rows are the head's, the listener is its `encoder`."""
    handed = {"encoder": Handed(*LISTENERS[model_type])}
    configs = {
        "ctc": "CTCConfig",
        "xvector": "XVectorConfig",
        "pretraining": "PretrainingConfig",
    }
    return Architecture(model_type, model, configs.get(rows, "HeadConfig"), rows, handed=handed)


_WHISPER = {
    "model_type": "whisper",
    "model": "whisper.Whisper",
    "config": "WhisperConfig",
    "rows": "whisper",
    "tied": {"proj_out.weight": "decoder.token_embedding.weight"},
}
# architecture in config.json -> what we make of it. Of several for one of our models, the first
# is what a fresh one is saved as.
ARCHITECTURES = {
    "WhisperForConditionalGeneration": Architecture(**_WHISPER, prefix="model."),
    "WhisperModel": Architecture(**_WHISPER, also="model."),
    "WhisperForCausalLM": Architecture(
        "whisper",
        "whisper.WhisperDecoder",
        "WhisperConfig",
        "whisper_decoder",
        prefix="model.decoder.",
        tied={"proj_out.weight": "token_embedding.weight"},
    ),
    "WhisperForAudioClassification": _head("whisper", "heads.SequenceClassifier", "sequence"),
    "WavLMModel": LISTENERS["wavlm"][1],
    "WavLMForCTC": _head("wavlm", "heads.CTCModel", "ctc"),
    "WavLMForSequenceClassification": _head("wavlm", "heads.SequenceClassifier", "sequence"),
    "WavLMForAudioFrameClassification": _head("wavlm", "heads.FrameClassifier", "frame"),
    "WavLMForXVector": _head("wavlm", "heads.XVector", "xvector"),
    "Wav2Vec2Model": LISTENERS["wav2vec2"][1],
    "Wav2Vec2ForCTC": _head("wav2vec2", "heads.CTCModel", "ctc"),
    "Wav2Vec2ForSequenceClassification": _head("wav2vec2", "heads.SequenceClassifier", "sequence"),
    "Wav2Vec2ForAudioFrameClassification": _head("wav2vec2", "heads.FrameClassifier", "frame"),
    "Wav2Vec2ForXVector": _head("wav2vec2", "heads.XVector", "xvector"),
    "Wav2Vec2ForPreTraining": _head("wav2vec2", "pretraining.PretrainingModel", "pretraining"),
    "Speech2Text2ForCausalLM": Architecture(
        "speech_to_text_2",
        "speech_to_text_2.Speech2Text2",
        "Speech2Text2Config",
        "speech_to_text_2",
        prefix="model.decoder.",
        also="decoder.",
        tied={"lm_head.weight": "token_embedding.weight"},
    ),
}
ARCHITECTURES["SpeechEncoderDecoderModel"] = Architecture(
    "speech-encoder-decoder",
    "speech_encoder_decoder.SpeechEncoderDecoder",
    "SpeechEncoderDecoderConfig",
    "bridge",
    handed={  # of what kind they are says its config: `checkpoints.architecture_of`
        "encoder": Handed("encoder.", LISTENERS["wavlm"][1], own_config=True),
        "decoder": Handed("decoder.", ARCHITECTURES["Speech2Text2ForCausalLM"], own_config=True),
    },
)
# model_type -> the architecture when config.json names none
BARE = {
    "whisper": "WhisperModel",
    "wavlm": "WavLMModel",
    "wav2vec2": "Wav2Vec2Model",
    "speech_to_text_2": "Speech2Text2ForCausalLM",
    "speech-encoder-decoder": "SpeechEncoderDecoderModel",
}
# model_type -> the architecture that speaks inside a SpeechEncoderDecoderModel
SPEAKERS = {"speech_to_text_2": "Speech2Text2ForCausalLM", "whisper": "WhisperForCausalLM"}
