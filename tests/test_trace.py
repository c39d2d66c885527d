"""trace: every value in layer order, repeated runs as lists, edits on the way, nothing when off."""

import pytest
import torch

import speechlib as sl
from speechlib.trace import is_traced, record
from tests.golden_cases import NAMES, folder


@pytest.fixture(scope="module")
def model():
    return sl.load(folder(NAMES[0]))


@pytest.fixture(scope="module")
def mel(model):
    rng = torch.Generator().manual_seed(5)
    return torch.randn(2, model.config.mel_bins, model.config.mel_frames, generator=rng)


TOKENS = torch.tensor([[3, 4, 5, 6], [4, 6, 3, 5]])


def weights_in(paths):
    return [path for path in paths if path.endswith("weights")]


def test_paths_come_in_layer_order_whatever_ran_first(model, mel):
    with sl.trace(model) as seen:
        memory = model.encode(mel)
        model.decode(TOKENS, memory)
        model.encode(mel)
    c = model.config
    expected = [f"encoder.blocks.{n}.self_attention.weights" for n in range(c.encoder_layers)]
    for n in range(c.decoder_layers):
        expected += [f"decoder.blocks.{n}.{kind}_attention.weights" for kind in ("self", "cross")]
    assert list(seen) == expected
    assert isinstance(seen[expected[0]], list) and len(seen[expected[0]]) == 2
    assert seen[expected[-1]].shape == (2, c.decoder.heads, 4, c.frames)


def test_a_decoder_alone_has_paths_from_its_own_root(model, mel):
    memory = model.encode(mel)
    with sl.trace(model.decoder, "*cross_attention.weights") as seen:
        model.decoder(TOKENS, memory)
    assert list(seen)[0] == "blocks.0.cross_attention.weights"


def test_keys_are_real_positions_while_a_cache_is_used(model, mel):
    with sl.trace(model, "decoder.blocks.0.self_attention.weights") as seen:
        sl.generate(model, mel, max_tokens=5, prompt=[1, 2, 3], rules=[])
    steps = seen["decoder.blocks.0.self_attention.weights"]
    assert [step.shape[2:] for step in steps][:2] == [(3, 3), (1, 4)]
    assert all(torch.allclose(step.sum(-1), torch.ones(())) for step in steps)


def test_rows_sum_to_one_and_tracing_changes_nothing(model, mel):
    with torch.no_grad():
        plain = model(mel, TOKENS)
        with sl.trace(model, "*") as seen:
            watched = model(mel, TOKENS)
    assert torch.allclose(plain, watched, atol=1e-5)
    for path in weights_in(seen):
        assert torch.allclose(seen[path].sum(-1), torch.ones(()), atol=1e-5)
    assert not any(path.endswith("hidden") for path in weights_in(seen))


def test_an_edit_reaches_the_output_and_what_is_seen(model, mel):
    path = "decoder.blocks.0.cross_attention.weights"
    keep = torch.ones(model.config.decoder.heads, 1, 1)
    keep[0] = 0
    with torch.no_grad():
        plain = model(mel, TOKENS)
        with sl.trace(model, path, edit={path: lambda w: w * keep}) as seen:
            edited = model(mel, TOKENS)
        with sl.trace(model, "encoder.*.hidden", edit={path: lambda w: w * keep}) as unseen:
            same = model(mel, TOKENS)
    assert seen[path][:, 0].abs().max() == 0 and seen[path][:, 1].abs().max() > 0
    assert not torch.allclose(plain, edited)
    assert torch.equal(edited, same) and path not in unseen


def test_an_edit_of_another_shape_is_refused(model, mel):
    with pytest.raises(ValueError, match="must return a value of shape"):
        with sl.trace(model, edit={"encoder.blocks.0.*weights": lambda w: w[:, :1]}):
            model.encode(mel)


def test_traces_nest_and_end(model, mel):
    with sl.trace(model, "*.hidden") as outer:
        with sl.trace(model, "*.weights") as inner:
            model.encode(mel)
        model.encode(mel)
    assert isinstance(outer["encoder.blocks.0.hidden"], list)
    assert not isinstance(inner["encoder.blocks.0.self_attention.weights"], list)
    assert not is_traced(model.encoder.blocks[0], "hidden")
    value = torch.zeros(1)
    assert record(model.encoder.blocks[0], "hidden", value) is value


def test_something_else_than_a_model_is_refused():
    with pytest.raises(ValueError, match="needs a model"):
        with sl.trace(object()):
            pass


@pytest.mark.parametrize("pattern", [None, 3, ["*.weights"]])
def test_patterns_are_texts(model, pattern):
    with pytest.raises(ValueError, match="expected a pattern"):
        with sl.trace(model, pattern):
            pass


@pytest.mark.parametrize("edit", ["*.weights", len, {"*.weights": 3}, {"*.weights": None}])
def test_edits_are_functions_by_pattern(model, edit):
    with pytest.raises(ValueError, match="expected edit as {pattern: function}"):
        with sl.trace(model, edit=edit):
            pass


@pytest.mark.parametrize("change", [lambda w: w.double(), lambda w: w.numpy(), lambda w: None])
@torch.no_grad()
def test_an_edit_of_another_kind_is_refused(model, mel, change):
    with pytest.raises(ValueError, match=r"the edit of encoder.* must return .*torch.float32"):
        with sl.trace(model, edit={"encoder.*.weights": change}):
            model.encode(mel)


@torch.no_grad()
def test_a_pattern_that_fits_nothing_is_told(model, mel):
    with pytest.warns(UserWarning, match=r"no value fits '\*.wieghts'; there are encoder.blocks.0"):
        with sl.trace(model, "*.wieghts"):
            model.encode(mel)
    with pytest.warns(UserWarning, match="no value fits 'decoder"):
        with sl.trace(model, edit={"decoder.*.weights": lambda w: w}):
            model.encode(mel)
    with pytest.warns(UserWarning, match=r"no value fits '\*.wieghts'"):
        with sl.trace(model, "*.wieghts", edit={"encoder.*.weights": lambda w: w}):
            model.encode(mel)
