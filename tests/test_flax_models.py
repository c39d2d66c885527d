"""The Flax models against ours in PyTorch: weights both ways, loss and gradients, generation under
one compilation, random keys, number types, errors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from golden_cases import GOLDEN, assert_close, outputs
from safetensors.numpy import load_file

jax = pytest.importorskip("jax", reason="the Flax models need jax: make test installs it")

import optax  # noqa: E402
import torch  # noqa: E402
from flax_cases import DECODER, ENCODER, given, nnx, torch_model  # noqa: E402

import speechlib as sl  # noqa: E402
from speechlib import configs  # noqa: E402
from speechlib.flax_models import generation, loading  # noqa: E402
from speechlib.flax_models.kv_cache import KVCache  # noqa: E402
from speechlib.flax_models.speech_encoder_decoder import SpeechEncoderDecoder  # noqa: E402
from speechlib.flax_models.speech_to_text_2 import Speech2Text2  # noqa: E402
from speechlib.flax_models.transformer import Block  # noqa: E402
from speechlib.flax_models.wavlm import WavLM  # noqa: E402


@pytest.fixture(scope="module")
def theirs():
    """Our PyTorch model."""
    return torch_model()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("flax") / "sed"
    sl.save(theirs, path)
    return path


@pytest.fixture(scope="module")
def model(folder):
    """The same in Flax; who trains it loads one of its own."""
    return sl.load(folder, framework="flax")


def numpy(tensor):
    return tensor.detach().numpy()


# -- weights both ways


def test_saved_from_flax_it_is_the_same_folder(model, folder, tmp_path):
    sl.save(model, tmp_path / "again")
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "again", folder))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert np.array_equal(ours[name], tensor), name
    config = [json.loads((f / "config.json").read_text()) for f in (tmp_path / "again", folder)]
    assert config[0] == config[1]
    back = sl.load(tmp_path / "again")
    assert type(back).__module__ == "speechlib.torch_models.speech_encoder_decoder"


def test_a_fresh_flax_model_is_saved_for_pytorch(tmp_path):
    config = configs.Speech2Text2Config.from_hugging_face(DECODER)
    fresh = loading.initialise(lambda rngs: Speech2Text2(config, rngs), seed=3)
    sl.save(fresh, tmp_path)
    theirs = dict(sl.load(tmp_path).named_parameters())
    for name, parameter in loading.named_parameters(fresh).items():
        ours = loading.turned(name, parameter.get_value())
        assert np.array_equal(ours, numpy(theirs[loading.torch_name(name)])), name


# -- the same numbers


def test_loss_and_every_gradient_equal_pytorch(model, theirs):
    """Nothing is drawn here: both are in eval mode."""
    waveform, lengths, _, labels = given()
    theirs.zero_grad()
    loss = theirs.loss(torch.tensor(waveform), torch.tensor(labels), torch.tensor(lengths))
    loss.backward()

    def ours(model):
        return model.loss(waveform, labels, lengths)

    value, gradients = nnx.jit(nnx.value_and_grad(ours))(model)
    assert_close(value, loss)
    expected = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    found = loading.named_parameters(gradients)
    assert {loading.torch_name(name) for name in found} >= expected.keys()
    for name, gradient in found.items():
        wanted = expected.pop(loading.torch_name(name), None)
        gradient = loading.turned(name, gradient.get_value())
        assert_close(gradient, np.zeros(gradient.shape) if wanted is None else wanted, name)
    assert not expected


def test_greedy_text_equals_pytorch_and_is_compiled_once(model, theirs, monkeypatch):
    """Other audio, other lengths, another prompt: the same program."""
    traced = []
    decode = Speech2Text2.__call__
    monkeypatch.setattr(
        Speech2Text2, "__call__", lambda *a, **k: traced.append(1) or decode(*a, **k)
    )
    prompts = ([[2, 5]], [[2, 5], [1, 2], [4, 9]])  # 1 is padding in front
    for run, prompt in enumerate((np.repeat(prompts[0], 3, axis=0), np.array(prompts[1]))):
        waveform, lengths, _, _ = given(run)
        found = sl.generate(model, waveform, lengths=lengths, prompt=prompt, max_tokens=8)
        wanted = sl.generate(theirs, waveform, lengths=lengths, prompt=prompt, max_tokens=8)
        assert found.tokens.tolist() == wanted.tokens.tolist()
        assert_close(found.steps, wanted.steps)
        assert_close(found.scores, wanted.scores)
        if run == 0:
            once = len(traced)
    assert len(traced) == once > 0
    uncached = sl.generate(model, waveform, lengths=lengths, prompt=prompt, max_tokens=8,
                           cache=False)  # fmt: skip
    assert uncached.tokens.tolist() == found.tokens.tolist()
    assert_close(uncached.steps, found.steps)


def test_rules_are_asked_inside_the_compiled_program(model, theirs):
    waveform, _, _, _ = given()
    first = sl.generate(theirs, waveform, max_tokens=4).tokens[:, 1].tolist()

    def not_the_first(logits, tokens, begin):
        allowed = np.ones(logits.shape, dtype=bool)
        allowed[:, first] = False
        return allowed

    found = sl.generate(model, waveform, max_tokens=4, rules=[not_the_first])
    wanted = sl.generate(theirs, waveform, max_tokens=4, rules=[not_the_first])
    assert found.tokens.tolist() == wanted.tokens.tolist()
    assert not set(found.tokens[:, 1:].ravel()) & set(first)


def test_what_a_rule_raises_arrives_as_it_is(model, capfd):
    """Not as an error of JAX with tracebacks printed; also from a program compiled before."""
    waveform = given()[0]
    broken = []

    def later(logits, tokens, begin):
        if tokens.shape[1] == begin + 1 and broken:
            raise ZeroDivisionError("a rule of mine")
        return np.ones(logits.shape, dtype=bool)

    def nothing(logits, tokens, begin):
        return np.zeros(logits.shape, dtype=bool)

    with pytest.raises(ValueError, match="expected at least one allowed token") as error:
        sl.generate(model, waveform, max_tokens=4, rules=[nothing])
    assert type(error.value) is ValueError
    whole = sl.generate(model, waveform, max_tokens=3, rules=[later])
    broken.append(True)
    with pytest.raises(ZeroDivisionError, match="a rule of mine"):
        sl.generate(model, waveform, max_tokens=3, rules=[later])
    broken.clear()
    again = sl.generate(model, waveform, max_tokens=3, rules=[later])
    assert again.tokens.tolist() == whole.tokens.tolist() and not generation._raised
    assert "Traceback" not in "".join(capfd.readouterr())


def test_public_generate_takes_what_pytorch_takes():
    import inspect

    from speechlib.torch_models import generation as theirs

    assert inspect.signature(sl.generate) == inspect.signature(theirs.generate)


def test_cached_equals_uncached(model):
    """Also where the cache was made without the memory's mask, or without the memory."""
    rng = np.random.default_rng(1)
    memory = rng.normal(0, 1, (3, 5, 12)).astype(np.float32)
    heard = np.arange(5) < np.array([[5], [3], [1]])
    tokens, real = rng.integers(3, 30, (3, 6)), np.ones((3, 6), dtype=bool)
    tokens[1, :2], real[1, :2] = 1, False  # padding in front

    @nnx.jit
    def both(decoder):
        given = {"memory": memory, "memory_mask": heard}
        logits = [decoder(tokens, token_mask=real, **given)]
        for known, later in ((given, {}), ({"memory": memory}, given), ({}, given)):
            cache = decoder.init_cache(3, 8, **known)
            steps = []
            for a, b in ((0, 3), (3, 4), (4, 6)):
                steps.append(decoder(tokens[:, a:b], token_mask=real[:, :b], cache=cache, **later))
                cache.reorder(np.array([0, 1, 2]))  # nobody moves
            logits.append(jax.numpy.concatenate(steps, axis=1))
        return logits

    full, *cached = both(model.decoder)
    for logits in cached:
        assert_close(np.asarray(logits)[real], np.asarray(full)[real])


def test_a_static_cache_moves_and_forgets():
    cache = KVCache(2, 1, 4, 3)
    rows = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)
    keys, values = cache.write(rows, -rows)
    assert keys.shape == values.shape == (2, 1, 4, 3)  # all slots: the shape never changes
    assert np.array_equal(keys[:, :, :2], rows) and not np.any(keys[:, :, 2:])
    cache.reorder(np.array([1, 1]))
    assert np.array_equal(cache.keys[0], cache.keys[1])
    with sl.trace(cache):  # who traces sees no empty slots
        assert cache.places(1) == 3
    with pytest.raises(ValueError, match="4 slots, 2 are filled and 3 more"):
        cache.write(np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 3, 3)))
    with pytest.raises(ValueError, match="batch of 2, 3 came"):
        cache.write(np.zeros((3, 1, 1, 3)), np.zeros((3, 1, 1, 3)))


def test_after_a_cut_positions_count_what_is_left(model):
    """Steps are drawn back where a guess was wrong; what is forgotten counts no more."""
    tokens, decoder = np.array([[3, 4, 5, 6], [1, 7, 8, 9]]), model.decoder
    cache = decoder.init_cache(2, 4)
    decoder(tokens[:, :3], cache=cache)
    assert cache.past().tolist() == [[3], [2]]
    cache.cut(1)
    assert cache.past().tolist() == [[1], [0]]
    again, fresh = decoder(tokens[:, 3:], cache=cache), decoder.init_cache(2, 4)
    decoder(tokens[:, :1], cache=fresh)
    assert_close(np.asarray(again), np.asarray(decoder(tokens[:, 3:], cache=fresh)))


def test_a_cache_refuses_another_memory_than_it_holds(model):
    memory, tokens = np.zeros((2, 5, 12), np.float32), np.array([[3], [4]])
    cache = model.decoder.init_cache(2, 4, memory)
    with pytest.raises(ValueError, match=r"the cache holds, .* \(2, 5, 12\), got \(2, 4, 12\)"):
        model.decoder(tokens, memory[:, :4], cache=cache)
    with pytest.raises(ValueError, match="expected a memory for this memory_mask, got None"):
        cache = model.decoder.init_cache(2, 4)
        model.decoder(tokens, memory_mask=np.ones((2, 5), bool), cache=cache)


# -- seeing and editing


def test_trace_reads_and_edits():
    config = configs.BlockConfig(width=8, heads=2, feed_forward=8)
    block = Block(config, rngs=nnx.Rngs(0), dtype=None, param_dtype=np.float32)
    block.eval()
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 8)).astype(np.float32)
    with sl.trace(block, "*") as seen:
        output = block(x)
    assert list(seen) == ["self_attention.weights", "hidden"]
    assert_close(seen["self_attention.weights"].sum(axis=-1), np.ones((1, 2, 3)))
    with sl.trace(block, edit={"*.weights": lambda w: w * 0}) as seen:
        assert not np.allclose(block(x), output)
    assert not seen["self_attention.weights"].any()
    assert np.array_equal(block(x), output)


def test_who_traces_sees_every_step_of_a_search():
    """A compiled program shows nothing of what is inside, so then the search runs step by step."""
    model = sl.load(GOLDEN / "speech-to-text-2-a", framework="flax")
    compiled = sl.generate(model, max_tokens=2, prompt=[[4, 7]])
    with sl.trace(model, "blocks.0.*.weights") as seen:
        found = sl.generate(model, max_tokens=2, prompt=[[4, 7]])
    assert found.tokens.tolist() == compiled.tokens.tolist()
    shapes = [weights.shape[2:] for weights in seen["blocks.0.self_attention.weights"]]
    assert shapes == [(2, 2), (1, 3), (1, 4)]  # queries and keys: no empty slots


# -- random keys, training


def test_a_training_step_with_dropout_and_a_frozen_front(folder):
    """Dropout, SpecAugment and LayerDrop draw from explicit keys: the same keys, the same loss."""
    model, (waveform, lengths, _, labels) = sl.load(folder, framework="flax"), given()
    model.train()
    model.freeze_feature_encoder()
    optimizer = nnx.Optimizer(model, optax.sgd(0.05), wrt=nnx.Param)
    before = {n: np.asarray(p[...]) for n, p in loading.named_parameters(model).items()}
    keys = nnx.clone(nnx.state(model, nnx.RngState))

    @nnx.jit
    def step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda m: m.loss(waveform, labels, lengths))(model)
        optimizer.update(model, gradients)
        return loss

    def from_the_start():
        for name, parameter in loading.named_parameters(model).items():
            parameter.set_value(jax.numpy.asarray(before[name]))
        return float(step(model, optimizer))

    first, other = from_the_start(), from_the_start()  # the keys have gone on
    nnx.update(model, keys)
    assert first == from_the_start() != other
    losses = [float(step(model, optimizer)) for _ in range(12)]
    assert np.mean(losses[-4:]) < first
    moved = {
        name: not np.array_equal(p[...], before[name])
        for name, p in loading.named_parameters(model).items()
    }
    still = {name for name, changed in moved.items() if not changed}
    assert {name for name in moved if name.startswith("encoder.front")} <= still
    assert "decoder.positions.table" in still  # it is no nnx.Param
    assert len(still) < len(moved) / 4, still
    model.eval()
    losses = {float(model_loss(model, waveform, labels, lengths)) for _ in range(2)}
    assert len(losses) == 1


@nnx.jit
def model_loss(model, waveform, labels, lengths):
    return model.loss(waveform, labels, lengths)


def test_spec_augment_hides_what_span_mask_draws():
    config = configs.WavLMConfig.from_hugging_face(ENCODER | {"layerdrop": 0.0})
    encoder = loading.initialise(lambda rngs: WavLM(config, rngs))
    x = np.full((2, 30, 16), 7.0, dtype=np.float32)
    real = np.arange(30) < np.array([[30], [18]])
    hidden = nnx.jit(lambda encoder: encoder._hidden_spans(x, real, None))(encoder)
    changed = np.asarray(hidden) != 7
    frames = changed.all(axis=2)
    assert 6 <= frames.sum() < 40 and not frames[1, 18:].any()
    assert np.allclose(np.asarray(hidden)[frames][:, 0], 0, atol=1.01)
    features = changed.all(axis=1)
    assert features.any() and (np.asarray(hidden)[0][:, features[0]] == 0).all()
    encoder.eval()
    assert (encoder._hidden_spans(jax.numpy.asarray(x), real, None) == 7).all()


# -- fresh values


def test_only_what_is_missing_is_drawn():
    config = configs.WavLMConfig.from_hugging_face(ENCODER)

    def make(rngs):
        return WavLM(config, rngs)

    fresh = loading.initialise(make, seed=1)
    own = {n: np.asarray(p[...]) for n, p in loading.named_parameters(fresh).items()}
    table = own["blocks.0.self_attention.distance_bias.embedding"]
    size = np.linalg.norm(own["positions.direction"], axis=(0, 1), keepdims=True)
    assert_close(own["positions.size"], size)
    assert abs(table.std() - 1) < 0.1
    assert abs(own["blocks.1.feed_forward.up.kernel"].std() - config.init_std) < 0.005
    assert np.all(own["blocks.1.feed_forward.up.bias"] == 0)
    given = {"norm": {"bias": np.full(16, 5.0)}, "blocks": {1: {"self_norm": {"scale": own[
        "norm.scale"] * 3}}}}  # fmt: skip
    partly = loading.initialise(make, given, seed=1)
    for name, p in loading.named_parameters(partly).items():
        wanted = {"norm.bias": own[name] * 0 + 5, "blocks.1.self_norm.scale": own[name] * 3}
        assert_close(p[...], wanted.get(name, own[name]), name)
    one = own.pop("projection.linear.kernel")
    other = loading.initialise(make, own, seed=2)
    assert not np.array_equal(other.projection.linear.kernel[...], one)


def test_params_that_do_not_fit_are_all_listed():
    config = configs.Speech2Text2Config.from_hugging_face(DECODER)
    given = {"nothing": np.zeros(2), "token_embedding.embedding": np.zeros((3, 4))}
    with pytest.raises(ValueError, match=r"nothing: no such.*\(3, 4\), expected \(30, 12\)"):
        loading.initialise(lambda rngs: Speech2Text2(config, rngs), given)


# -- number types


def test_computing_in_bfloat16_keeps_parameters_in_float32():
    name = "wav2vec2-large"
    model = sl.load(GOLDEN / name, framework="flax", dtype="bfloat16")
    kinds = {p.dtype for p in loading.named_parameters(model).values()}
    assert kinds == {np.dtype("float32")}
    arrays = outputs(name)
    output = nnx.jit(lambda model, x: model(x))(model, arrays["waveform"])
    assert output.dtype == jax.numpy.bfloat16
    assert_close(np.asarray(output, dtype=np.float32), arrays["last"], "bf16", tolerance=0.05)


# -- errors


@pytest.mark.parametrize(
    "options, message",
    [
        ({"framework": "tensorflow"}, '"torch" or "flax", got'),
        ({"framework": "flax", "attention": "flash"}, "attention must be one of eager, sdpa"),
        ({"framework": "flax", "dtype": "int8"}, "dtype must be one of"),
        ({"framework": "flax", "dtype": "float64"}, "jax_enable_x64"),
        ({"framework": "flax", "device": "abacus"}, "one that JAX has here"),
    ],
)
def test_unknown_options(folder, options, message):
    with pytest.raises(ValueError, match=message):
        sl.load(folder, **options)


def test_what_is_not_built_in_flax_is_named(model):
    with pytest.raises(ValueError, match="Whisper is not built in Flax"):
        sl.load(GOLDEN / "whisper-a", framework="flax")
    with pytest.raises(ValueError, match="beams=2 is not built in Flax"):
        sl.generate(model, given()[0], max_tokens=3, beams=2)
    with pytest.raises(ValueError, match="^draft=SpeechEncoderDecoder is not built in Flax"):
        sl.generate(model, given()[0], max_tokens=3, draft=model)
    with pytest.raises(ValueError, match="early_stopping='never' is not"):
        sl.generate(model, given()[0], max_tokens=3, early_stopping="never")


def test_a_pickle_needs_pytorch_to_be_opened():
    with pytest.raises(ValueError, match="PyTorch alone can open"):
        loading.load(GOLDEN / "wavlm-base")


def test_a_checkpoint_that_does_not_fit(folder, tmp_path):
    from safetensors.numpy import save_file

    tensors = load_file(folder / "model.safetensors")
    name = "encoder.encoder.layers.0.attention.q_proj.weight"
    tensors[name] = tensors[name][:, :3].copy()
    tensors["extra"] = tensors.pop("enc_to_dec_proj.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ValueError) as error:
        sl.load(tmp_path, framework="flax")
    for part in ("extra", "enc_to_dec_proj.bias", f"{name}: (16, 3), expected (16, 16)"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, w: m.encode(w[0]), "of shape \\(batch, samples\\)"),
        (lambda m, w: m.encode(w * np.nan), "finite numbers"),
        (lambda m, w: m.encode(w, [200, 200]), "one for each row"),
        (lambda m, w: m.encode(w, [200, 201, 3]), "lengths must lie in 1 to 200"),
        (lambda m, w: m.encode(w[:, :19]), "at least 20 samples"),
        (lambda m, w: m.encode(w, [200, 19, 200]), "at least 20 samples"),
        (lambda m, w: m.loss(w, [[30]] * 3), "labels must lie in 0 to 29, got 30 to 30"),
        (lambda m, w: m.decode([[-1]]), "tokens must lie in 0 to 29"),
        (lambda m, w: m.decode([["a", "b"]]), "a list of something else than numbers"),
        (lambda m, w: m.decode([[3], [4, 5]]), "rows of unequal length"),
        (lambda m, w: m.decode([[1.0]]), "tokens as whole numbers"),
        (lambda m, w: m.decode([[3]], token_mask=[[0.5]]), "token mask of True"),
        (lambda m, w: m.decode([[3]], token_mask=[[1, 1]]), "token mask of shape"),
        (lambda m, w: m.decode([[3]], memory=w[:1, None]), "memory of shape"),
        (lambda m, w: m.decode([[3]], np.ones((1, 5, 12)), [[1]]), "memory mask of shape"),
        (lambda m, w: m.decode([[3]], cache=m.init_cache(4, 8)), "batch of 4, 1 came"),
        (lambda m, w: m.decode([[3]] * 2, cache=m.init_cache(4, 8)), "batch of 4, 2 came"),
        (lambda m, w: m.init_cache(2, "a"), "slots must be a whole number of at least 1, got 'a'"),
        (lambda m, w: m.resize_token_embeddings(3), "the vocabulary you want"),
        (lambda m, w: sl.generate(m, w, max_tokens=0), "at least 1, got 0"),
        (lambda m, w: sl.generate(m, w, max_tokens=2, prompt=[[2]]), "3 rows"),
        (lambda m, w: sl.generate(m.encoder, w, max_tokens=2), "a model that decodes"),
        (lambda m, w: SpeechEncoderDecoder(m, m.decoder), "hand its `.encoder`"),
    ],
)
def test_wrong_inputs(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, given()[0].copy())


def test_a_model_of_several_end_tokens_can_be_compiled():
    """Configs are part of a compiled program's name, so they must be hashable."""
    config = configs.Speech2Text2Config.from_hugging_face(DECODER | {"eos_token_id": [2, 5]})
    assert hash(config) and config.end == (2, 5)
    assert generation.end_and_pad(SimpleNamespace(config=config)) == ((2, 5), 1)
    assert config.to_hugging_face()["eos_token_id"] == [2, 5]
