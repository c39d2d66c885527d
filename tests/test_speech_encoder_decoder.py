"""What must hold for Speech2Text2 and SpeechEncoderDecoder whatever their weights: causality,
cache, padding, batch, training; pairs of all parts; what they refuse."""

import copy
import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import assert_close, folder, outputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import speechlib as sl
from speechlib import generation_rules
from speechlib.configs import Speech2Text2Config, SpeechEncoderDecoderConfig

torch.set_num_threads(1)
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
PAD = 1
TOKENS = st.lists(st.integers(2, 28), min_size=2, max_size=12)


@pytest.fixture(scope="module", params=["eager", "sdpa", "flash"])
def decoder(request):
    return sl.load(folder("speech-to-text-2-a"), attention=request.param)


@pytest.fixture(scope="module")
def whole():
    """Its front end has layer norm: padding and batch must not matter."""
    return sl.load(folder("speech-encoder-decoder-c"))


def some_memory(decoder, batch=1, frames=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, decoder.config.width, generator=generator)


def some_waves(batch=2, samples=240, seed=0):
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


# --- Speech2Text2 ---------------------------------------------------------------------------------


@FEW
@given(tokens=TOKENS, other=TOKENS, data=st.data())
def test_the_future_does_not_move_the_past(decoder, tokens, other, data):
    place = data.draw(st.integers(1, len(tokens) - 1))
    memory = some_memory(decoder)
    with torch.no_grad():
        one = decoder(torch.tensor([tokens]), memory)[:, :place]
        two = decoder(torch.tensor([tokens[:place] + other]), memory)[:, :place]
    assert_close(one, two, "logits before the change")


@FEW
@given(tokens=TOKENS, before=st.integers(0, 4), inside=st.integers(0, 3), after=st.integers(0, 4))
def test_padding_does_not_matter(decoder, tokens, before, inside, after):
    """Wherever it stands: positions count real tokens only, and nobody looks at it."""
    padded = [PAD] * before + tokens[:1] + [PAD] * inside + tokens[1:] + [PAD] * after
    padded = torch.tensor([padded])
    memory = some_memory(decoder)
    with torch.no_grad():
        alone = decoder(torch.tensor([tokens]), memory)
        together = decoder(padded, memory, token_mask=padded != PAD)
    assert_close(together[padded != PAD], alone[0], "real tokens")


@FEW
@given(data=st.data(), count=st.integers(1, 16))
def test_cached_is_uncached_in_fixed_buffers(decoder, data, count):
    """In parts of any size, over padding anywhere, with a memory mask, beyond the table."""
    row = st.lists(st.integers(1, 28), min_size=count, max_size=count)
    tokens = torch.tensor(data.draw(st.lists(row, min_size=2, max_size=2)))
    tokens[:, 0] = 5  # a place to look at
    real = tokens != PAD
    memory, heard = some_memory(decoder, batch=2), torch.ones(2, 6, dtype=torch.bool)
    heard[1, 3:] = False
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(0, count), max_size=4))})
    with torch.no_grad():
        whole = decoder(tokens, memory, heard, real)
        cache = decoder.init_cache(2, count, memory, heard)
        places = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
        parts = [
            decoder(tokens[:, a:b], token_mask=real[:, :b], cache=cache)
            for a, b in zip(cuts[:-1], cuts[1:], strict=True)
        ]
    assert_close(torch.cat(parts, dim=1)[real], whole[real], "in parts")
    assert places == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]


@torch.no_grad()
def test_reordered_and_cut_rows_keep_their_positions(decoder):
    memory = some_memory(decoder, batch=3)
    tokens = torch.tensor([[PAD, 5, 6, 9], [7, 8, 9, 4], [PAD, PAD, 10, 8]])
    cache = decoder.init_cache(3, 6, memory)
    decoder(tokens, token_mask=tokens != PAD, cache=cache)
    cache.cut(3)
    order = torch.tensor([2, 0, 0])
    cache.reorder(order)
    new = torch.cat([tokens[order, :3], torch.tensor([[11], [12], [13]])], dim=1)
    found = decoder(new[:, 3:], token_mask=new != PAD, cache=cache)
    expected = decoder(new, memory[order], token_mask=new != PAD)[:, 3:]
    assert_close(found, expected, "after cut and reorder")


@torch.no_grad()
def test_beams_share_a_memory(decoder):
    memory, heard = some_memory(decoder, batch=2), torch.arange(6) < torch.tensor([[6], [2]])
    tokens = torch.arange(5, 11)[:, None].expand(-1, 3)
    cache = decoder.init_cache(6, 3, memory, heard)
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = decoder(tokens, memory[rows], heard[rows])
    assert_close(decoder(tokens, cache=cache), expected, "three beams for each memory")


@torch.no_grad()
def test_a_cache_takes_memory_and_mask_later(decoder):
    memory, heard = some_memory(decoder, batch=2), torch.arange(6) < torch.tensor([[6], [2]])
    tokens = torch.tensor([[5, 6, 7], [8, 9, 4]])
    expected = decoder(tokens, memory, heard)
    for made in ((2, 3), (2, 3, memory)):
        cache = decoder.init_cache(*made)
        parts = [decoder(tokens[:, i : i + 1], memory, heard, cache=cache) for i in range(3)]
        assert_close(torch.cat(parts, 1), expected, "mask and memory at every step")


@torch.no_grad()
@pytest.mark.parametrize("name", ["speech-to-text-2-a", "whisper-decoder"])
def test_every_decoder_treats_memory_and_mask_with_a_cache_alike(name):
    decoder = sl.load(folder(name))
    memory, heard = some_memory(decoder, batch=2), torch.arange(6) < torch.tensor([[6], [2]])
    tokens = torch.tensor([[5, 6, 7], [8, 9, 4]])
    full, masked = decoder(tokens, memory), decoder(tokens, memory, memory_mask=heard)
    cache = decoder.init_cache(2, 3)  # the memory comes with the first tokens, and stays
    parts = [decoder(tokens[:, :2], memory, cache=cache), decoder(tokens[:, 2:], cache=cache)]
    assert_close(torch.cat(parts, 1), full, "a memory that came once")
    cache = decoder.init_cache(2, 3)
    first = decoder(tokens[:, :2], memory, memory_mask=heard, cache=cache)
    parts = [first, decoder(tokens[:, 2:], cache=cache)]
    assert_close(torch.cat(parts, 1), masked, "and its mask")
    cache = decoder.init_cache(2, 3, memory)
    parts = [decoder(tokens[:, i : i + 1], memory_mask=heard, cache=cache) for i in range(3)]
    assert_close(torch.cat(parts, 1), masked, "a mask at every step")
    cache = decoder.init_cache(2, 3, memory)
    for other in (memory[:1], memory[:, :4], memory[..., :2], torch.zeros(3, 2, 5), 3.0):
        with pytest.raises(ValueError, match=r"memory that the cache holds, .* \(2, 6, .*, got \("):
            decoder(tokens, other, cache=cache)
    for wrong in (heard[:1], heard[:, :4]):
        with pytest.raises(ValueError, match=r"memory mask of shape .* = \(2, 6\), got"):
            decoder(tokens, memory_mask=wrong, cache=cache)
    cache = decoder.init_cache(2, 3)
    with pytest.raises(ValueError, match="expected a memory for this memory_mask, got None"):
        decoder(tokens, memory_mask=heard, cache=cache)
    with pytest.raises(ValueError, match="batch of 2, 1 came"):  # and keeps nothing of it
        decoder(tokens[:1], memory[:1], cache=cache)
    assert_close(decoder(tokens, memory, cache=cache), full, "after what was refused")


def test_a_longer_text_reads_the_rows_a_longer_table_has(decoder):
    long = sl.Speech2Text2(replace(decoder.config, positions=60)).eval()
    state = {k: v for k, v in decoder.state_dict().items() if k != "positions.table"}
    long.load_state_dict(state, strict=False)
    tokens = torch.randint(2, 28, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(decoder(tokens), long(tokens), "40 tokens, table of 7 rows")
    assert len(decoder.positions.table) == 7 and len(long.positions.table) == 62


def test_initial_values_as_published():
    named = {"d_model": 64, "vocab_size": 500, "pad_token_id": 3}
    config = Speech2Text2Config.from_hugging_face(named)
    model = sl.Speech2Text2(config)
    table = model.token_embedding.weight.detach()
    assert table[3].abs().max() == 0 and abs(table.std().item() - 0.02) < 1e-3
    up = model.blocks[0].feed_forward.up
    assert abs(up.weight.std().item() - 0.02) < 1e-3 and up.bias.abs().max() == 0
    expected = sl.position_embeddings.sinusoidal_embeddings(1026, 64, "fairseq", 3)
    np.testing.assert_array_equal(model.positions.table.numpy(), expected)
    assert not model.positions.table.requires_grad


def trained(source, **changes):
    """The same weights in training mode, with another config."""
    model = sl.Speech2Text2(replace(source.config, **changes))
    model.load_state_dict(source.state_dict())
    return model.train()


def test_layer_drop_leaves_whole_blocks_out(decoder):
    quiet = replace(decoder.config.decoder, dropout=0.0)
    tokens, memory = torch.tensor([[5, 6, 7]]), some_memory(decoder)
    always = trained(decoder, decoder=quiet, decoder_layer_drop=1.0)
    embedded = always.token_embedding(tokens) * always.scale + always.positions(tokens)
    assert_close(always(tokens, memory), embedded @ always.token_embedding.weight.T, "no block")
    with torch.no_grad():
        cache = always.init_cache(1, 3, memory)
        kept = trained(decoder, decoder=quiet, decoder_layer_drop=0.0)(tokens, memory)
        assert_close(always(tokens, cache=cache), kept, "never with a cache")


def test_checkpointed_gradients_are_equal(decoder):
    quiet = replace(decoder.config.decoder, dropout=0.0)
    found = []
    for checkpointing in (False, True):
        model = trained(decoder, decoder=quiet, decoder_layer_drop=0.0)
        model.checkpointing = checkpointing
        memory = some_memory(decoder).requires_grad_()
        model(torch.tensor([[5, 6, 7]]), memory).square().mean().backward()
        found.append([memory.grad, *(p.grad for p in model.parameters() if p.requires_grad)])
    for one, two in zip(*found, strict=True):
        assert_close(two, one, "gradient")


# --- SpeechEncoderDecoder -------------------------------------------------------------------------


@FEW
@given(samples=st.integers(60, 240), tokens=TOKENS, seed=st.integers(0, 9))
def test_audio_padding_and_batch_do_not_matter(whole, samples, tokens, seed):
    waves = some_waves(seed=seed)
    waves[0, samples:] = 0
    tokens = torch.tensor([tokens, tokens[::-1]])
    with torch.no_grad():
        together = whole(waves, tokens, torch.tensor([samples, 240]))
        alone = whole(waves[:1, :samples], tokens[:1], torch.tensor([samples]))
    assert_close(together[:1], alone, "the shorter recording")


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_with_and_without_a_cache(whole, beams):
    lengths = torch.tensor([240, 150])
    options = dict(lengths=lengths, max_tokens=9, beams=beams)
    cached, plain = (sl.generate(whole, some_waves(), cache=c, **options) for c in (True, False))
    assert torch.equal(cached.tokens, plain.tokens)
    assert_close(cached.scores, plain.scores, "scores")


def test_a_draft_hears_real_frames_only(whole):
    """It would say something else of the padding too, and cost looks of the big model."""
    looks, options = [], dict(lengths=torch.tensor([240, 60]), max_tokens=18)
    options["rules"] = [generation_rules.Suppress((whole.config.end,))]
    draft, waves = copy.deepcopy(whole), some_waves()
    waves[1, 60:] *= 9
    hook = whole.decoder.register_forward_hook(lambda *_: looks.append(1))
    drafted = sl.generate(whole, waves, draft=draft, **options)
    hook.remove()
    assert len(looks) == 3  # of 18 tokens: 5 guesses and one more each time
    assert torch.equal(drafted.tokens, sl.generate(whole, waves, **options).tokens)


def test_assembled_from_two_checkpoints(whole, tmp_path):
    sl.save(whole.encoder, tmp_path / "encoder")
    sl.save(whole.decoder, tmp_path / "decoder")
    model = sl.SpeechEncoderDecoder(sl.load(tmp_path / "encoder"), sl.load(tmp_path / "decoder"))
    tokens = torch.tensor([[5, 6], [7, 8]])
    with torch.no_grad():
        assert_close(model(some_waves(), tokens), whole(some_waves(), tokens), "logits")
    d = whole.decoder.config
    assert (model.config.start, model.config.pad, model.config.end) == (d.start, d.pad, d.end)
    sl.save(model, tmp_path / "both")
    with torch.no_grad():
        again = sl.load(tmp_path / "both")(some_waves(), tokens)
    assert_close(again, whole(some_waves(), tokens).detach(), "saved and loaded")


@pytest.mark.parametrize("listener", ["whisper-a", "speech-encoder-decoder-a"])
@pytest.mark.parametrize("speaker", ["whisper-a", "speech-to-text-2-a"])
def test_any_encoder_with_any_decoder(listener, speaker, tmp_path):
    encoder = sl.load(folder(listener)).encoder
    decoder = getattr(sl.load(folder(speaker)), "decoder", None) or sl.load(folder(speaker))
    model = sl.SpeechEncoderDecoder(encoder, decoder).eval()
    if listener == "whisper-a":
        audio, lengths = torch.from_numpy(outputs("whisper-a")["mel"])[:2], torch.tensor([80, 40])
    else:
        audio, lengths = some_waves(), torch.tensor([240, 150])
    texts = [
        sl.generate(model, audio, lengths=lengths, max_tokens=6, beams=2, cache=cache).tokens
        for cache in (True, False)
    ]
    assert torch.equal(*texts)
    labels = torch.tensor([[5, 6, 7], [8, 9, -100]])
    model.loss(audio, labels, lengths).backward()
    assert all(p.grad is not None for p in model.bridge.parameters()) if model.bridge else True
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sl.save(model, tmp_path)
    said = [str(w.message) for w in seen if "speechlib's alone" in str(w.message)]
    assert len(said) == ("whisper" in listener + speaker)
    with torch.no_grad():
        again = sl.load(tmp_path)(audio, labels.clamp(min=0), lengths)
        assert_close(again, model(audio, labels.clamp(min=0), lengths), "saved and loaded")


@pytest.mark.parametrize("adapter_width, alone", [(18, True), (20, False), (None, False)])
def test_a_bridge_that_transformers_sizes_otherwise_is_told(adapter_width, alone, tmp_path):
    """It takes the encoder's hidden_size for what comes out, also after an adapter."""
    theirs = pytest.importorskip("transformers")
    own = sl.load(folder("speech-encoder-decoder-a"))
    decoder = sl.load(folder("speech-to-text-2-a"))
    width = adapter_width or decoder.config.width  # None: the decoder's own, so no bridge
    config = replace(own.encoder.config, adapter=True, adapter_width=width)
    model = sl.SpeechEncoderDecoder(type(own.encoder)(config), decoder).eval()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sl.save(model, tmp_path)
    said = [str(w.message) for w in seen if "speechlib's alone" in str(w.message)]
    assert len(said) == alone and all("takes the 18 features of an adapter" in s for s in said)
    if not hasattr(theirs, "Speech2Text2Config"):  # 4.46.3 is the last that reads such a folder
        return
    try:
        theirs.SpeechEncoderDecoderModel.from_pretrained(tmp_path)
    except RuntimeError as error:
        assert alone and "enc_to_dec_proj" in str(error)
    else:
        assert not alone


def test_only_the_feature_encoder_is_frozen(whole):
    model = sl.load(folder("speech-encoder-decoder-c"))
    model.freeze_feature_encoder()
    names = dict(model.named_parameters())
    still = {name for name, parameter in names.items() if not parameter.requires_grad}
    front = {name for name in names if name.startswith("encoder.front.")}
    assert front and still == front | {"decoder.positions.table"}


def test_transcribe_with_such_a_checkpoint(tmp_path):
    shutil.copytree(folder("speech-encoder-decoder-c"), tmp_path / "m")
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{n}" for n in range(25))]
    ids = {word + ("@@" if n == 6 else ""): n for n, word in enumerate(words)}
    (tmp_path / "m" / "vocab.json").write_text(json.dumps(ids))
    wave = outputs("speech-encoder-decoder-c")["wave"][0]
    said = sl.transcribe(np.tile(wave, 10), tmp_path / "m")
    model = sl.load(tmp_path / "m")
    heard = torch.from_numpy(np.tile(wave, 10))[None]
    assert said.tokens == sl.generate(model, heard, max_tokens=14).tokens[0, 1:].tolist()
    assert said.text and said.text.split()[0].startswith("w")
    assert sl.transcribe(np.tile(wave, 10), tmp_path / "m", beams=3).tokens
    settings = {"do_normalize": True}
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(settings))
    scaled = sl.transcribe(np.tile(wave, 10) * 3 + 1, tmp_path / "m")
    assert scaled.tokens == sl.transcribe(np.tile(wave, 10), tmp_path / "m").tokens


@pytest.mark.parametrize("beams", [1, 4])
def test_transcribe_with_a_ctc_model(whole, tmp_path, beams):
    torch.manual_seed(0)
    named = {"vocab_size": 7, "pad_token_id": 0}
    model = sl.CTCModel(whole.encoder, sl.configs.CTCConfig.from_hugging_face(named)).eval()
    torch.nn.init.normal_(model.classifier.weight)
    sl.save(model, tmp_path)
    letters = ["<pad>", "|", "A", "B", "C", "D", "<unk>"]
    (tmp_path / "vocab.json").write_text(json.dumps({x: n for n, x in enumerate(letters)}))
    wave = some_waves(1, 900)
    labels = model.recognise(wave, beams=beams)[0]
    said = sl.transcribe(wave[0].numpy(), tmp_path, beams=beams)
    assert said.tokens == labels
    spelt = "".join(" " if n == 1 else letters[n] for n in labels if n not in (0, 6))
    assert said.text == spelt.strip() != ""
    with pytest.raises(ValueError, match="words: only Whisper has that"):
        sl.transcribe(wave[0].numpy(), tmp_path, words=True)
    for odd in ("x", 2.5, 0):
        with pytest.raises(ValueError, match="beams must be a whole number of at least 1, got"):
            sl.transcribe(wave[0].numpy(), tmp_path, beams=odd)


# --- what is refused ------------------------------------------------------------------------------


def changed(tmp_path, name="speech-encoder-decoder-a", part=None, **changes):
    """A copy of a golden folder with another config.json."""
    shutil.copytree(folder(name), tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    config = json.loads(file.read_text())
    (config if part is None else config[part]).update(changes)
    file.write_text(json.dumps(config))
    return tmp_path / "m"


@pytest.mark.parametrize("key", ["decoder_start_token_id", "pad_token_id"])
def test_a_loss_needs_start_and_pad(tmp_path, key):
    model = sl.load(changed(tmp_path, **{key: None}))
    with pytest.raises(ValueError, match="expected a pad and a start token"):
        model.loss(some_waves(), torch.tensor([[5, 6], [7, 8]]))
    # as in 4.46.3, texts take from the decoder's settings what is not named
    (tmp_path / "m" / "generation_config.json").unlink()
    found = sl.generate(sl.load(tmp_path / "m"), some_waves(), max_tokens=3).tokens
    assert (found[:, 0] == 3).all()


@pytest.mark.parametrize("framework", ["torch", "flax"])
@pytest.mark.parametrize("key", ["decoder_start_token_id", "pad_token_id"])
def test_start_and_pad_outside_the_vocabulary_are_named(tmp_path, key, framework):
    pytest.importorskip("flax" if framework == "flax" else "torch")
    path = changed(tmp_path, **{key: 1000})
    (path / "generation_config.json").unlink()
    model = sl.load(path, framework=framework)
    named = f"{key} must lie in 0 to .*, the vocabulary, got 1000"
    with pytest.raises(ValueError, match=named):
        model.loss(some_waves().numpy(), np.array([[5, 6], [7, 8]]))
    with pytest.raises(ValueError, match=named):
        sl.generate(model, some_waves().numpy(), max_tokens=2)


@pytest.mark.parametrize("part, named", [("encoder", "hubert"), ("decoder", "bert")])
def test_unknown_parts_are_named(tmp_path, part, named):
    with pytest.raises(ValueError, match=f"whose {part} is {named}; speechlib has "):
        sl.load(changed(tmp_path, part=part, model_type=named))


@pytest.mark.parametrize(
    "config, message",
    [
        (dict(cross_attention_hidden_size=7), "7, must equal the encoder's hidden_size, 20"),
        (dict(cross_attention_hidden_size=20), "frames of 20 features, the decoder looks at 16"),
        (dict(pad_token_id=None), "needs a pad token"),
        (dict(pad_token_id=99), r"needs a pad token .* got 99"),
        (dict(decoder_attention_heads=3), "width 16 is not a multiple of heads 3"),
        (dict(vocab_size="many"), "expected vocab_size in config.json to be of type int"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        sl.load(changed(tmp_path, part="decoder", **config))


def test_parts_that_do_not_fit(whole):
    whisper = sl.load(folder("whisper-a"))
    for parts, message in (
        ((whisper, whole.decoder), "expected an encoder of this package, got Whisper; hand its"),
        ((whole.encoder, whisper), "expected a decoder of this package, got Whisper; hand its"),
        ((whole.decoder, whole.decoder), "expected an encoder .* got Speech2Text2"),
        ((whole.encoder, whole.encoder), "expected a decoder .* got WavLM"),
        ((3, whole.decoder), "expected an encoder .* got int"),
    ):
        with pytest.raises(ValueError, match=message):
            sl.SpeechEncoderDecoder(*parts)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m(some_waves(2), torch.ones(3, 2, dtype=int)), "same batch.* 2 rows.* 3"),
        (lambda m: m(some_waves(1), [[29]]), "tokens must lie in 0 to 28"),
        (lambda m: m.loss(some_waves(1), [[99]]), "labels must lie in 0 to 28"),
        (lambda m: m.resize_token_embeddings(40), "make a decoder whose config has that vocab"),
        (lambda m: m(some_waves(1), [[5]], [500]), "lengths must lie in 1 to 240"),
        (lambda m: m.decode([[5]], torch.ones(1, 4, 9)), r"\(1, frames, 16\), got \(1, 4, 9\)"),
        (lambda m: m.decode([[5]], torch.ones(2, 4, 16)), r"\(1, frames, 16\), got \(2, 4, 16\)"),
        (
            lambda m: m.decode([[5]], torch.ones(1, 4, 16), torch.ones(1, 3, dtype=bool)),
            r"memory mask of shape \(batch, frames\) = \(1, 4\), got \(1, 3\)",
        ),
        (lambda m: m.decode([[5]], memory_mask=[[True]]), "expected a memory for this memory_mask"),
        (lambda m: m.decode([[5]], token_mask=[[1, 1]]), r"token mask of shape .*\(1, 1\)"),
        (lambda m: m.init_cache(3, 4, torch.ones(2, 4, 16)), "multiple of the memory's 2 rows"),
        (lambda m: m.decode([[5, 6]], cache=m.init_cache(1, 1)), "the cache has 1 slots"),
        (
            lambda m: m.decode([[5, 6]], cache=m.init_cache(4, 8, torch.ones(4, 5, 16))),
            "made for a batch of 4, 1 came; make one with init_cache",
        ),
        (lambda m: m.decode([[5]] * 2, cache=m.init_cache(4, 8)), "batch of 4, 2 came"),
    ],
)
def test_what_comes_in_is_checked(whole, call, message):
    with pytest.raises(ValueError, match=message):
        call(whole)


def test_configs_come_back():
    for config in (
        Speech2Text2Config.from_hugging_face({"d_model": 32, "scale_embedding": False}),
        SpeechEncoderDecoderConfig(pad=1, start=2, end=(3, 4)),
    ):
        assert type(config).from_hugging_face(config.to_hugging_face()) == config
