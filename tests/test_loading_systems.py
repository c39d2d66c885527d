"""Loading chooses among the systems: what every architecture shares, and what a misfit says."""

import json
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from golden_cases import GOLDEN, folder
from safetensors.torch import load_file, save_file

import speechlib as sl
from speechlib import checkpoints
from speechlib.rename_rows import ARCHITECTURES

torch.set_num_threads(1)
FOLDERS = sorted(file.parent.name for file in GOLDEN.glob("*/config.json"))


def tensors_of(path):
    file = path / "pytorch_model.bin"
    if file.is_file():
        return {n: t.clone() for n, t in torch.load(file, weights_only=True).items()}
    return load_file(path / "model.safetensors")


@pytest.fixture
def copy(tmp_path):
    """A function that copies a golden checkpoint for a test to spoil: (folder, tensors)."""

    def make(name):
        shutil.copy(folder(name) / "config.json", tmp_path)
        tensors = tensors_of(folder(name))
        write(tmp_path, tensors)
        return tmp_path, tensors

    return make


def write(path, tensors):
    save_file(tensors, path / "model.safetensors", {"format": "pt"})


def change_config(path, **changes):
    config = json.loads((path / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", FOLDERS)
def test_all_values_come_from_the_file(name):
    """Models are built without memory; nothing of that is left, and no chance is used up."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model = sl.load(folder(name))
    values = [*model.parameters(), *model.buffers()]
    assert values and not any(value.is_meta for value in values)
    assert torch.equal(torch.get_rng_state(), before)
    stored = {t.data_ptr() for t in values}
    assert len(stored) == len(values)  # no two share memory


def test_loading_does_not_import_the_compiler():
    """That takes PyTorch seconds, and operations on models without memory do it at times."""
    code = "import sys, speechlib as sl\nfor f in sys.argv[1:]:\n    sl.load(f)\n"
    code += "print('torch._dynamo' in sys.modules)"
    folders = [str(folder(name)) for name in FOLDERS]
    ran = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True)
    assert ran.stdout.strip() == "False", ran.stderr


@pytest.mark.parametrize("name", FOLDERS)
def test_every_parameter_has_one_name_there_and_back(name, tmp_path):
    model, kind = sl.load(folder(name)), checkpoints.open_checkpoint(folder(name)).kind
    ours = [n for n, _ in model.named_parameters()]
    theirs = [checkpoints.their_name(n, kind) for n in ours]
    assert len(set(theirs)) == len(ours)
    assert [checkpoints.place_of(n, kind) for n in theirs] == ours
    sl.save(model, tmp_path)
    again = sl.load(tmp_path)
    assert type(again) is type(model) and again.config == model.config
    for (a, x), (b, y) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert a == b and torch.equal(x, y)


@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_a_null_that_transformers_5_refuses_is_not_handed_on(framework, copy, tmp_path):
    pytest.importorskip("flax" if framework == "flax" else "torch")
    path, _ = copy("speech-encoder-decoder-a")
    config = json.loads((path / "config.json").read_text())
    config["use_cache"] = config["decoder"]["use_cache"] = None
    (path / "config.json").write_text(json.dumps(config))
    sl.save(sl.load(path, framework=framework), tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "use_cache" not in saved and "use_cache" not in saved["decoder"]
    config["use_cache"] = config["decoder"]["use_cache"] = True  # another value is handed on
    (path / "config.json").write_text(json.dumps(config))
    sl.save(sl.load(path), tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["use_cache"] is saved["decoder"]["use_cache"] is True


def test_a_number_type_of_transformers_5_does_not_outlive_its_file(copy, tmp_path):
    """It writes `dtype`, and believes that more than `torch_dtype`."""
    path, _ = copy("speech-encoder-decoder-a")
    config = json.loads((path / "config.json").read_text())
    config["dtype"] = config["encoder"]["dtype"] = config["decoder"]["dtype"] = "float16"
    config["encoder"]["torch_dtype"] = "float16"
    config["encoder"]["label2id"] = {"dtype": 0}  # a label may be called so
    (path / "config.json").write_text(json.dumps(config))
    model = sl.load(path)
    sl.save(model, tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["torch_dtype"] == "float32" and saved["encoder"]["label2id"] == {"dtype": 0}
    assert saved["encoder"]["torch_dtype"] is None
    assert not [part for part in (saved, saved["encoder"], saved["decoder"]) if "dtype" in part]
    assert model.checkpoint.config == config  # what was read stays as it was read
    (path / "vocab.json").write_text("{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # over itself: no other model's files to clear away
        sl.save(model, path)
    assert (path / "vocab.json").read_text() == "{}"


def test_transformers_5_reads_the_number_type_that_was_saved(tmp_path):
    transformers = pytest.importorskip("transformers")
    sl.save(sl.load(folder("whisper-a")), tmp_path / "five")
    config = json.loads((tmp_path / "five" / "config.json").read_text()) | {"dtype": "float16"}
    (tmp_path / "five" / "config.json").write_text(json.dumps(config))
    sl.save(sl.load(tmp_path / "five"), tmp_path / "saved")
    read = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert read.dtype == torch.float32


@pytest.mark.parametrize("name", FOLDERS)
def test_one_storage_for_several_tensors_is_untangled(name, tmp_path):
    """A `.bin` may store one value under several names, or all in one piece of memory."""
    shutil.copy(folder(name) / "config.json", tmp_path)
    tensors = tensors_of(folder(name))
    together = torch.cat([t.flatten() for t in tensors.values()])
    parts = together.split([t.numel() for t in tensors.values()])
    views = {n: p.view(t.shape) for p, (n, t) in zip(parts, tensors.items(), strict=True)}
    torch.save(views, tmp_path / "pytorch_model.bin")
    model, expected = sl.load(tmp_path), sl.load(folder(name))
    for (n, x), y in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(x, y), n
        assert x.untyped_storage().nbytes() == x.numel() * 4


def test_a_head_that_is_not_in_the_file_is_missing(copy):
    """The bare model's file with a head asked for: what is missing is the head alone."""
    path, _ = copy("wavlm-base")
    change_config(path, architectures=["WavLMForCTC"], vocab_size=7)
    with pytest.raises(ValueError) as error:
        sl.load(path)
    said = str(error.value)
    assert "no tensor fills: lm_head.bias, lm_head.weight" in said and "no place" not in said


def test_a_head_that_was_not_asked_for_has_no_place(copy):
    path, tensors = copy("wav2vec2-base")
    extra = {"lm_head.weight": torch.ones(7, 24), "lm_head.bias": torch.ones(7)}
    write(path, {"wav2vec2." + n: t for n, t in tensors.items()} | extra)
    with pytest.raises(ValueError, match="no place for: lm_head.weight, lm_head.bias|lm_head.bias"):
        sl.load(path)
    change_config(path, architectures=["Wav2Vec2ForCTC"], vocab_size=7)
    assert type(sl.load(path)).__name__ == "CTCModel"


@pytest.mark.parametrize("architecture", ["HubertModel", "WavLMForPreTraining", "BertModel"])
def test_the_error_names_what_came_and_what_there_is(copy, architecture):
    path, _ = copy("wavlm-base")
    change_config(path, architectures=[architecture])
    with pytest.raises(ValueError, match=f"asks for {architecture}; speechlib loads Whisper"):
        sl.load(path)


@pytest.mark.parametrize(
    "part, config, came",
    [
        ("encoder", {"model_type": "hubert"}, "hubert"),
        ("encoder", None, "not described"),
        ("decoder", {"model_type": "bart"}, "bart"),
        ("decoder", {}, "not described"),
    ],
)
def test_the_error_names_the_part_of_a_speech_encoder_decoder(copy, part, config, came):
    path, _ = copy("wavlm-base")
    parts = {"encoder": {"model_type": "wavlm"}, "decoder": {"model_type": "speech_to_text_2"}}
    parts[part] = config
    change_config(path, architectures=["SpeechEncoderDecoderModel"], **parts)
    with pytest.raises(ValueError, match=f"whose {part} is {came}; speechlib has "):
        sl.load(path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("conv_dim", 512),
        ("conv_dim", ["a", "b", "c"]),
        ("conv_stride", [5, 2, 2.0]),
        ("do_stable_layer_norm", "yes"),
        ("output_hidden_size", "wide"),
        ("layer_norm_eps", "small"),
        ("hidden_size", True),
    ],
)
def test_settings_of_another_kind_are_named(copy, name, value):
    path, _ = copy("wavlm-base")
    change_config(path, **{name: value})
    with pytest.raises(ValueError, match=f"expected {name} in config.json"):
        sl.load(path)


def test_the_table_of_architectures_is_whole():
    """Every line names a class, a config and rows that exist."""
    import importlib

    from speechlib import configs
    from speechlib.rename_rows import ROWS

    for kind in ARCHITECTURES.values():
        file, name = kind.model.split(".")
        assert hasattr(importlib.import_module(f"speechlib.torch_models.{file}"), name)
        assert hasattr(configs, kind.config) and kind.rows in ROWS
