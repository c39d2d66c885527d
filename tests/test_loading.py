"""Checkpoint folders: strict both ways, every kind of file, and saving gives them back."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from golden_cases import NAMES, assert_close, folder, inputs, outputs
from safetensors.torch import load_file, save_file

import speechlib as sl
from speechlib import checkpoints
from speechlib.torch_models.loading import write_folder

torch.set_num_threads(1)
NAME = "whisper-b"


@pytest.fixture
def copy(tmp_path):
    """A copy of a golden checkpoint that a test may spoil."""
    for file in folder(NAME).iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def golden():
    return outputs(NAME)


def change_tensors(path, change):
    tensors = load_file(path / "model.safetensors")
    save_file(change(tensors) or tensors, path / "model.safetensors", {"format": "pt"})


def change_config(path, **changes):
    config = json.loads((path / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (path / "config.json").write_text(json.dumps(config))


@torch.no_grad()
def assert_same_numbers(path, golden, tolerance=1e-5):
    mel, tokens, _, _ = inputs(golden)
    assert_close(sl.load(path)(mel, tokens), golden["logits"], "logits", tolerance)


def test_every_misfit_is_listed_at_once(copy):
    def spoil(tensors):
        tensors.pop("model.encoder.conv1.bias")
        tensors.pop("model.decoder.layers.1.fc2.weight")
        tensors["model.decoder.layers.0.gate.weight"] = torch.ones(2)
        tensors["model.encoder.layers.7.fc1.bias"] = torch.ones(52)
        tensors["model.encoder.layer_norm.weight"] = torch.ones(35)

    change_tensors(copy, spoil)
    with pytest.raises(ValueError) as error:
        sl.load(copy)
    said = str(error.value)
    for name in (
        "model.encoder.conv1.bias",
        "model.decoder.layers.1.fc2.weight",
        "model.decoder.layers.0.gate.weight",
        "model.encoder.layers.7.fc1.bias",
        "model.encoder.layer_norm.weight: (35,), expected (36,)",
    ):
        assert name in said, f"{name} is not named in: {said}"
    assert said.count("encoder.layer_norm.weight") == 1  # misshapen, not missing as well


def test_every_single_tensor_is_needed_and_none_may_be_added(copy):
    names = list(load_file(copy / "model.safetensors"))
    full = load_file(copy / "model.safetensors")
    for name in names[:: max(1, len(names) // 12)]:
        if name == "model.encoder.embed_positions.weight":
            continue
        save_file({n: t for n, t in full.items() if n != name}, copy / "model.safetensors")
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            sl.load(copy)
        save_file(full | {f"{name}_extra": torch.ones(1)}, copy / "model.safetensors")
        with pytest.raises(ValueError, match="_extra"):
            sl.load(copy)


def test_too_few_layers_in_config(copy):
    change_config(copy, encoder_layers=2)
    with pytest.raises(ValueError, match=r"model\.encoder\.layers\.2\.fc1\.weight"):
        sl.load(copy)


def test_unknown_architectures_are_named(copy):
    change_config(copy, architectures=["MusicgenForConditionalGeneration"])
    with pytest.raises(ValueError, match="MusicgenForConditionalGeneration.*Whisper"):
        sl.load(copy)
    change_config(copy, architectures=None, model_type="musicgen")
    with pytest.raises(ValueError, match="musicgen"):
        sl.load(copy)


def test_bin_file_as_plain_weights(copy, golden):
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    assert_same_numbers(copy, golden)
    torch.save(tensors, copy / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert_same_numbers(copy, golden)


class Harmful:
    """What opening a careless pickle would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_with_more_than_weights_is_refused_and_not_run(copy, by_torch):
    proof = copy / "it_ran"
    (copy / "model.safetensors").unlink()
    content = {"model.encoder.conv1.bias": torch.ones(36), "extra": Harmful(proof)}
    if by_torch:
        torch.save(content, copy / "pytorch_model.bin")
    else:
        (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(proof)))
    with pytest.raises(ValueError, match="plain weights.*save its state_dict") as refused:
        sl.load(copy)
    assert not proof.exists()
    assert "weights_only" not in str(refused.value)  # PyTorch's advice to open it anyway


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x00" * 64])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_broken_weight_files_are_named(copy, file, content):
    (copy / "model.safetensors").unlink()
    (copy / file).write_bytes(content)
    with pytest.raises(ValueError, match=file):
        sl.load(copy)


@pytest.mark.parametrize("content", [b"junk", b"\x80", b"a", b"\x80\x02.", b"PK"])
def test_a_damaged_pickle_is_named_in_words(copy, content):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"plain weights, in .*pytorch_model.bin.*damaged") as said:
        sl.load(copy)
    assert "\n" not in str(said.value)


def test_a_cut_off_safetensors_file_is_named(copy):
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="model.safetensors"):
        sl.load(copy)


def test_things_that_are_not_tensors_are_refused(copy):
    (copy / "model.safetensors").unlink()
    for content in ({"model.encoder.conv1.bias": 3.0}, [torch.ones(3)], {1: torch.ones(3)}):
        torch.save(content, copy / "pytorch_model.bin")
        with pytest.raises(ValueError, match="pytorch_model.bin"):
            sl.load(copy)


def test_missing_files(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors or pytorch_model.bin"):
        sl.load(copy)
    (copy / "config.json").write_text("{ not json")
    with pytest.raises(ValueError, match="config.json"):
        sl.load(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ValueError, match="config.json"):
        sl.load(copy)
    with pytest.raises(ValueError, match="no-such-thing"):
        sl.load("no-such-thing")


def test_options_that_are_not_there(copy):
    for wrong in (dict(attention="magic"), dict(dtype="int8"), dict(framework="tf")):
        with pytest.raises(ValueError, match=str(*wrong.values())):
            sl.load(copy, **wrong)


def test_shards(copy, golden):
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors)
    half = len(names) // 2
    weight_map = {}
    for number, part in enumerate((names[:half], names[half:]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, copy / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_same_numbers(copy, golden)
    (copy / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match="model-00002-of-00002.safetensors"):
        sl.load(copy)


def test_tied_output_layer_absent_present_and_unequal(copy, golden):
    assert "proj_out.weight" not in load_file(copy / "model.safetensors")
    assert_same_numbers(copy, golden)

    def tie(tensors):
        tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"].clone()

    change_tensors(copy, tie)
    assert_same_numbers(copy, golden)

    def untie(tensors):
        tensors["proj_out.weight"][3, 4] += 1

    change_tensors(copy, untie)
    with pytest.raises(ValueError, match="proj_out.weight.*embed_tokens"):
        sl.load(copy)


def test_an_output_layer_of_another_size_is_named(copy):
    def longer(tensors):
        table = tensors["model.decoder.embed_tokens.weight"]
        tensors["proj_out.weight"] = torch.cat([table, table[:3]])

    change_tensors(copy, longer)
    with pytest.raises(ValueError, match="proj_out.weight.*embed_tokens"):
        sl.load(copy)


def test_safetensors_go_before_a_pickle_that_lies_there_too(copy, golden):
    (copy / "pytorch_model.bin").write_bytes(b"not even opened")
    assert_same_numbers(copy, golden)


def test_shards_lie_beside_their_index(copy, golden):
    """Whatever an index says, no file elsewhere is opened."""
    (copy / "model.safetensors").rename(copy / "part.safetensors")
    names = load_file(copy / "part.safetensors")
    for path in ("../part.safetensors", "/elsewhere/part.safetensors"):
        index = json.dumps({"weight_map": dict.fromkeys(names, path)})
        (copy / "model.safetensors.index.json").write_text(index)
        assert_same_numbers(copy, golden)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash"])
@pytest.mark.parametrize("name", [NAME, "wavlm-base", "speech-encoder-decoder-a"])
def test_every_layer_takes_the_attention_that_is_asked_for(name, attention):
    model = sl.load(folder(name), attention=attention)
    assert {m.backend for m in model.modules() if hasattr(m, "backend")} == {attention}


def test_fixed_tables_stay_fixed_in_a_loaded_model():
    for name, table in (
        (NAME, "encoder.positions.weight"),
        ("speech-to-text-2-a", "positions.table"),
    ):
        fixed = [n for n, p in sl.load(folder(name)).named_parameters() if not p.requires_grad]
        assert fixed == [table]


def test_sinusoid_table_absent_or_stored(copy, golden):
    name = "model.encoder.embed_positions.weight"
    table = load_file(copy / "model.safetensors")[name]

    def without(tensors):
        tensors.pop(name)

    change_tensors(copy, without)
    assert_same_numbers(copy, golden)  # built as published
    assert_close(sl.load(copy).encoder.positions.weight, table, "built table")

    def moved(tensors):
        tensors[name] = table + 0.5

    change_tensors(copy, moved)
    ours = sl.load(copy)
    assert torch.equal(ours.encoder.positions.weight, table + 0.5)  # stored wins


@torch.no_grad()
def test_half_precision_files_load_as_float32(copy, golden):
    def halve(tensors):
        return {name: tensor.half() for name, tensor in tensors.items()}

    change_tensors(copy, halve)
    ours = sl.load(copy)
    assert all(p.dtype == torch.float32 for p in ours.parameters())
    assert_same_numbers(copy, golden, tolerance=2e-2)
    mel, tokens, _, _ = inputs(golden)
    low = sl.load(copy, dtype="bfloat16")
    assert_close(low(mel.bfloat16(), tokens).float(), ours(mel, tokens), "bfloat16", 0.1)
    high = sl.load(copy, dtype="float64")
    assert_close(high(mel.double(), tokens), ours(mel, tokens), "float64")


def test_loaded_models_are_in_eval_mode(copy):
    assert not any(module.training for module in sl.load(copy).modules())


@pytest.mark.parametrize("name", NAMES)
def test_save_then_load_is_the_same_model(name, tmp_path):
    first = sl.load(folder(name))
    sl.save(first, tmp_path)
    second = sl.load(tmp_path)
    assert second.config == first.config
    mine, theirs = dict(second.named_parameters()), dict(first.named_parameters())
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    before, after = (
        load_file(folder(name) / "model.safetensors"),
        load_file(tmp_path / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    theirs, ours = (
        json.loads((place / "config.json").read_text()) for place in (folder(name), tmp_path)
    )
    lost = {k: v for k, v in theirs.items() if k != "transformers_version" and ours.get(k) != v}
    assert not lost  # every key of the original is kept, also those that we do not read
    settings = "generation_config.json"
    assert json.loads((tmp_path / settings).read_text()) == json.loads(
        (folder(name) / settings).read_text()
    )


def test_save_over_itself_and_halved(copy, golden):
    ours = sl.load(copy)
    sl.save(ours, copy)
    assert_same_numbers(copy, golden)
    whole = (copy / "model.safetensors").stat().st_size
    write_folder(ours, copy, dtype="float16")
    assert (copy / "model.safetensors").stat().st_size < 0.6 * whole
    assert json.loads((copy / "config.json").read_text())["torch_dtype"] == "float16"
    assert_same_numbers(copy, golden, tolerance=2e-2)
    assert not list(copy.glob("*.part"))


def test_a_fresh_model_is_saved_and_read(tmp_path):
    fresh = sl.Whisper(sl.load(folder(NAME)).config).eval()
    sl.save(fresh, tmp_path)
    again = sl.load(tmp_path)
    mel, tokens, _, _ = inputs(outputs(NAME))
    np.testing.assert_array_equal(
        again(mel, tokens).detach().numpy(), fresh(mel, tokens).detach().numpy()
    )


def test_saving_knows_the_folder_after_a_change_of_the_working_directory(copy, monkeypatch):
    (copy / "tokenizer.json").write_text("{}")
    monkeypatch.chdir(copy.parent)
    ours = sl.load(copy.name)
    (copy / "elsewhere").mkdir()
    monkeypatch.chdir(copy / "elsewhere")
    sl.save(ours, "saved")
    assert (copy / "elsewhere/saved/tokenizer.json").read_text() == "{}"
    assert sl.load("saved").checkpoint.generation == ours.checkpoint.generation != {}


def test_saving_without_the_folder_that_it_came_from(copy, tmp_path_factory):
    """The generation settings are in memory; of the tokenizer a warning tells."""
    ours, place = sl.load(copy), tmp_path_factory.mktemp("saved")
    shutil.rmtree(copy)
    for where in (place, copy):  # also where saving makes the folder anew
        with pytest.warns(UserWarning, match="no longer there.*tokenizer.*copy them into") as told:
            sl.save(ours, where)
        assert told[0].filename == __file__
        assert sl.load(where).checkpoint.generation == ours.checkpoint.generation != {}
        shutil.rmtree(copy, ignore_errors=True)


def test_saving_over_another_model_leaves_nothing_of_it_to_be_misread(tmp_path):
    first = sl.load(folder("whisper-a"))
    sl.save(first, tmp_path)
    for name in ("tokenizer.json", "preprocessor_config.json", "card.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    fresh = sl.Whisper(first.config)
    removed = "generation_config.json, preprocessor_config.json, tokenizer.json was removed"
    with pytest.warns(UserWarning, match=removed) as told:
        sl.save(fresh, tmp_path)
    assert told[0].filename == __file__
    assert sl.load(tmp_path).checkpoint.generation == {}
    kept = {"card.json", "notes.txt", "config.json", "model.safetensors"}
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_a_saved_copy_has_the_card_without_the_figures_of_other_weights(tmp_path):
    model = sl.load("wavlm-keywords")
    with torch.no_grad():
        model.classifier.weight.mul_(0.5)
    sl.save(model, tmp_path)
    before = checkpoints.read_json(model.checkpoint.folder / "card.json")
    assert before.pop("metrics") and checkpoints.read_json(tmp_path / "card.json") == before


@pytest.mark.filterwarnings("error")
def test_saving_again_keeps_what_was_put_beside_the_model(tmp_path):
    fresh = sl.Whisper(sl.load(folder("whisper-a")).config)
    loaded = sl.load(folder("whisper-b"))
    for model, place in ((fresh, tmp_path / "a"), (loaded, tmp_path / "b")):
        place.mkdir()
        (place / "generation_config.json").write_text('{"pad_token_id": 3}')  # before a model
        sl.save(model, place)
        (place / "tokenizer.json").write_text("{}")
        write_folder(model, place, dtype="float16")
        assert (place / "tokenizer.json").read_text() == "{}"
    assert sl.load(tmp_path / "a").checkpoint.generation == {"pad_token_id": 3}
    assert sl.load(tmp_path / "b").checkpoint.generation == loaded.checkpoint.generation
    (tmp_path / "b" / "vocab.json").write_text("{}")
    sl.save(sl.load(tmp_path / "b"), tmp_path / "b")


@pytest.mark.parametrize("architectures", [None, ["WhisperModel"], "WhisperModel"])
def test_the_prefix_of_the_whole_model_may_stay(copy, golden, architectures):
    """A folder of the whole model that names no architecture, or the bare one."""
    change_config(copy, architectures=architectures)
    assert_same_numbers(copy, golden)
    sl.save(sl.load(copy), copy)
    assert "encoder.conv1.bias" in load_file(copy / "model.safetensors")
    assert json.loads((copy / "config.json").read_text())["architectures"] == ["WhisperModel"]
    assert_same_numbers(copy, golden)


def test_a_parameter_is_filled_once(copy):
    def twice(tensors):
        tensors["encoder.conv1.bias"] = tensors["model.encoder.conv1.bias"] + 1

    change_tensors(copy, twice)
    with pytest.raises(ValueError, match="no place for: (model.)?encoder.conv1.bias"):
        sl.load(copy)


def test_a_whole_file_goes_before_shards_left_over(copy, golden):
    """Saving over a sharded folder leaves its index behind."""
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {"x": "old.safetensors"}}')
    assert_same_numbers(copy, golden)


@pytest.mark.parametrize("source", [None, 3, b"whisper-digits", ["a"], "a\0b", "x" * 5000, ""])
def test_sources_of_every_kind_are_refused_in_words(source):
    with pytest.raises(ValueError, match="folder"):
        sl.load(source)


def test_an_empty_name_is_not_the_working_directory(copy, monkeypatch):
    monkeypatch.chdir(copy)
    with pytest.raises(ValueError, match="got an empty text"):
        sl.load("")
    assert sl.load(".").checkpoint.folder == copy.resolve()


@pytest.mark.parametrize(
    "file, content",
    [
        ("config.json", "[1]"),
        ("config.json", "null"),
        ("generation_config.json", "[]"),
        ("model.safetensors.index.json", "{}"),
        ("model.safetensors.index.json", "not json"),
        ("model.safetensors.index.json", '{"weight_map": ["a"]}'),
    ],
)
def test_json_of_another_kind_is_named(copy, file, content):
    if file.startswith("model"):
        (copy / "model.safetensors").unlink()
    (copy / file).write_text(content)
    with pytest.raises(ValueError, match=file):
        sl.load(copy)


@pytest.mark.parametrize(
    "name, value",
    [
        ("d_model", "36"),
        ("d_model", 36.0),
        ("encoder_layers", -1),
        ("decoder_layers", 0),
        ("num_mel_bins", 0),
        ("dropout", 1.5),
        ("encoder_layerdrop", True),
        ("activation_function", 3),
    ],
)
def test_settings_of_another_kind_are_named(copy, name, value):
    change_config(copy, **{name: value})
    words = {"encoder_layers": "encoder_layers", "num_mel_bins": "mel_bins"}
    with pytest.raises(ValueError, match=words.get(name, name)):
        sl.load(copy)


def test_a_start_token_that_is_missing_is_named(copy):
    """Its published default lies beyond a small vocabulary: that is no token of the caller."""
    change_config(copy, decoder_start_token_id=None)
    (copy / "generation_config.json").unlink()
    model, (mel, _, _, labels) = sl.load(copy), inputs(outputs(NAME))
    named = "decoder_start_token_id must lie in 0 to .* got 50257: set it in"
    with pytest.raises(ValueError, match=named):
        sl.generate(model, mel, max_tokens=2)
    with pytest.raises(ValueError, match=named):
        model.loss(mel, labels)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    "name, value",
    [
        ("suppress_tokens", "abc"),
        ("suppress_tokens", [1, "2"]),
        ("begin_suppress_tokens", 3),
        ("lang_to_id", [1]),
        ("task_to_id", {"transcribe": "x"}),
        ("eos_token_id", "a"),
        ("eos_token_id", []),
        ("pad_token_id", [1]),
        ("decoder_start_token_id", True),
        ("no_timestamps_token_id", 4.5),
        ("forced_decoder_ids", 7),
        ("forced_decoder_ids", [1, 2]),
        ("alignment_heads", [[1, None]]),
    ],
)
def test_generation_settings_of_another_kind_are_named(copy, file, name, value):
    settings = json.loads((copy / file).read_text()) | {name: value}
    (copy / file).write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"expected {name} in .*{file} as .*, came .*take it out"):
        sl.load(copy)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"architectures": [["WhisperModel"]]}, r"asks for architectures \[\['WhisperModel'\]\];"),
        ({"architectures": {"a": "WhisperModel"}}, "asks for architectures {'a'"),
        ({"architectures": None, "model_type": ["whisper"]}, r"model_type \['whisper'\];"),
        (
            {"architectures": ["SpeechEncoderDecoderModel"], "encoder": {"model_type": ["wavlm"]}},
            r"whose encoder is \['wavlm'\];",
        ),
    ],
)
def test_architectures_of_another_kind_are_named(copy, changes, named):
    change_config(copy, **changes)
    with pytest.raises(ValueError, match=named):
        sl.load(copy)


def test_a_decoder_entry_that_is_no_decoder_is_carried_along(copy, golden):
    change_config(copy, decoder="ours")
    assert_same_numbers(copy, golden)


@pytest.mark.parametrize("device", ["toaster", "cuda:99", 3.5])
def test_devices_that_are_not_there(device):
    with pytest.raises(ValueError, match="device must be one that PyTorch has here"):
        sl.load(folder(NAME), device=device)


def test_what_cannot_be_saved(tmp_path):
    ours = sl.load(folder(NAME))
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file", tmp_path / "file" / "below", None, 3):
        with pytest.raises(ValueError, match="expected a folder to save to"):
            sl.save(ours, place)
    assert (tmp_path / "file").read_text() == "kept"
    for other in (torch.nn.Linear(2, 2), "whisper-digits", None):
        with pytest.raises(ValueError, match="expected a model of this package"):
            sl.save(other, tmp_path / "new")
    with pytest.raises(ValueError, match="dtype must be one of"):
        write_folder(ours, tmp_path / "new", dtype="int8")
    assert not (tmp_path / "new").exists()
