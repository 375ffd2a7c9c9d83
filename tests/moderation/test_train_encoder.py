"""Fine-tuning goes on where it was cut off, to the very same weights; exported, the encoder still says the same."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="fine-tuning needs the extra encoder: torch is not installed")
transformers = pytest.importorskip(
    "transformers", reason="fine-tuning needs the extra encoder: transformers is missing"
)
onnx = pytest.importorskip("onnx", reason="exporting needs the extra encoder: onnx is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402 - only where torch is
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402
from tokenizers.normalizers import BertNormalizer  # noqa: E402
from tokenizers.pre_tokenizers import BertPreTokenizer  # noqa: E402
from tokenizers.processors import TemplateProcessing  # noqa: E402

from moderation.comment import Comment, Post  # noqa: E402
from moderation.encoder import WIDTH, Encoder  # noqa: E402
from moderation.errors import DataError  # noqa: E402
from moderation.readable import make_readable  # noqa: E402
from moderation.training.dataset import Dataset, Report  # noqa: E402
from moderation.training.encoder import (  # noqa: E402
    Settings,
    _optimizer,
    _Run,
    _topic_losses,
    fine_tune,
    read_log,
)
from moderation.training.examples import topic_examples  # noqa: E402
from moderation.training.export import check_parity, export  # noqa: E402
from moderation.training.network import Tasks, load_base, load_fine_tuned  # noqa: E402
from moderation.training.rows import Row  # noqa: E402
from moderation.training.train import train_encoder  # noqa: E402

SETTINGS = Settings(
    epochs=1,
    topic_epochs=2,
    class_size=8,
    topic_size=6,
    class_tokens=24,
    topic_tokens=24,
    checkpoint_minutes=0,
)
TEXTS = [f"the {one} is {two}" for one in ("dog", "cat", "idiot", "post") for two in ("good", "bad", "here", "gone")]


class PowerCutError(Exception):
    """What ends a run in the middle."""


@pytest.fixture(scope="module", autouse=True)
def as_it_was():
    """One thread here; afterwards floats work for the other tests as they did before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two random layers of the right width, with a vocabulary of a few words and all letters."""
    folder = tmp_path_factory.mktemp("base")
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    words = ["the", "is", "dog", "cat", "idiot", "post", "good", "bad", "here", "gone", "about", "number"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", pieces.index("[CLS]")), ("[SEP]", pieces.index("[SEP]"))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=512,
        max_position_embeddings=128,
    )
    config.to_json_file(folder / "config.json")
    torch.manual_seed(0)
    bert = transformers.BertModel(config, add_pooling_layer=False)
    save_file({name: tensor.contiguous() for name, tensor in bert.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def dataset():
    rows = [
        Row("set", f"{n}", Comment(text), {"hostile": int("idiot" in text), "insult": 0}, f"set:{n}")
        for n, text in enumerate(TEXTS * 2)
    ]
    marked = {"marked": json.dumps([[4, 9, 0.8]]), "toxic_share": "0.8"}
    rows += [
        Row("toxic-spans", f"m{n}", Comment("the idiot is here"), {"hostile": 1}, f"spans:{n}", extra=marked)
        for n in range(8)
    ]
    posts = [Post(id=str(n), title=f"about number {n}", text=f"the post number {n} is about {n}") for n in range(6)]
    rows += [
        Row("blog", f"b{n}", Comment(f"this is about number {n} and the post here"), {"off_topic": 0}, "blog:b")
        for n in range(6)
    ]
    rows[-6:] = [
        replace(row, comment=replace(row.comment, post=post)) for row, post in zip(rows[-6:], posts, strict=True)
    ]
    return Dataset(tuple(rows), (), {}, Report({}, {}, {}, {}, {}, {}, {}))


@pytest.fixture(scope="module")
def whole(base, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, fine_tune(dataset, base, folder, SETTINGS)


def test_a_run_learns_from_both_kinds_of_batch(whole, base):
    folder, encoder = whole
    [line] = read_log(folder)
    assert line["step"] == line["of"]
    assert 6 <= line["of"] <= 8
    assert {"class", "marks", "topic", "stay"} <= set(line)
    before = load_base(base)[0].state_dict()
    assert any(not torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_a_run_cut_off_and_resumed_gives_the_very_same_weights(whole, base, dataset, tmp_path, monkeypatch):
    cut_off_and_resume(dataset, base, tmp_path, SETTINGS, monkeypatch)
    assert_same_weights(whole[0], tmp_path)


def test_in_half_precision_too_and_its_weights_stay_in_32_bits(whole, base, dataset, tmp_path, monkeypatch):
    settings = replace(SETTINGS, half_precision=True)
    fine_tune(dataset, base, tmp_path / "at once", settings)
    cut_off_and_resume(dataset, base, tmp_path / "cut off", settings, monkeypatch)
    assert_same_weights(tmp_path / "at once", tmp_path / "cut off")
    full, half = (load_file(folder / "encoder.safetensors") for folder in (whole[0], tmp_path / "at once"))
    assert {tensor.dtype for tensor in half.values()} == {torch.float32}
    assert any(not torch.equal(full[name], half[name]) for name in full)
    [of_full], [of_half] = read_log(whole[0]), read_log(tmp_path / "at once")
    for name in ("class", "marks", "topic"):
        assert of_half[name] == pytest.approx(of_full[name], rel=0.1)


def cut_off_and_resume(dataset, base, folder, settings, monkeypatch):
    """A run whose fourth step never ends, and the one that goes on from its checkpoint."""
    step, taken = torch.optim.AdamW.step, []

    def cut_off(self, *arguments, **named):
        if len(taken) == 3:
            raise PowerCutError
        taken.append(1)
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", cut_off)
        with pytest.raises(PowerCutError):
            fine_tune(dataset, base, folder, settings)
    assert not (folder / "encoder.safetensors").exists()
    said = []
    fine_tune(dataset, base, folder, settings, said.append)
    assert said[0].endswith("starting at 3")


def assert_same_weights(one, other):
    expected, found = (load_file(folder / "encoder.safetensors") for folder in (one, other))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def topic_losses(base, dataset, encoder, settings):
    """The losses of one topic batch, and the run that they are of."""
    start, tokenizer = load_base(base)
    tasks = Tasks(["set"])
    run = _Run(encoder, tasks, _optimizer(encoder, tasks, settings), start.eval(), settings.half_precision)
    return _topic_losses(run, topic_examples(dataset.train), tokenizer, settings, random.Random(0)), run


@pytest.mark.parametrize("half_precision", [False, True])
def test_at_the_start_of_a_run_nothing_has_moved_and_later_it_has(whole, base, dataset, half_precision):
    settings = replace(SETTINGS, half_precision=half_precision)
    before, _ = topic_losses(base, dataset, load_base(base)[0].train(), settings)
    after, _ = topic_losses(base, dataset, whole[1], settings)
    assert before["stay"].item() == pytest.approx(0, abs=1e-5)
    assert after["stay"].item() > 1e-4
    twice, _ = topic_losses(base, dataset, whole[1], replace(settings, stay_weight=2.0))
    assert twice["stay"].item() == pytest.approx(2 * after["stay"].item(), rel=1e-5)


def test_the_encoder_as_it_was_learns_nothing(whole, base, dataset):
    """What pulls vectors back to where they began must not be pulled along."""
    encoder, _ = load_fine_tuned(base, whole[0] / "encoder.safetensors")
    losses, run = topic_losses(base, dataset, encoder, SETTINGS)
    losses["stay"].backward()
    assert all(parameter.grad is None for parameter in run.start.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())


def test_without_weight_nothing_is_held_back(whole, base, dataset):
    losses, _ = topic_losses(base, dataset, whole[1], replace(SETTINGS, stay_weight=0.0))
    assert set(losses) == {"topic"}


def test_a_finished_run_has_nothing_more_to_do(whole, base, dataset):
    folder, encoder = whole
    again = fine_tune(dataset, base, folder, SETTINGS)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in encoder.state_dict().items())


def test_a_checkpoint_of_another_run_is_refused(whole, base, dataset):
    with pytest.raises(ValueError, match="other settings or rows"):
        fine_tune(dataset, base, whole[0], replace(SETTINGS, rate=1e-3))


def test_weights_and_checkpoint_can_both_be_loaded(whole, base):
    folder, encoder = whole
    for name in ("encoder.safetensors", "checkpoint.safetensors"):
        loaded, _ = load_fine_tuned(base, folder / name)
        assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in encoder.state_dict().items())


def test_a_folder_with_other_weights_is_refused(base, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    tensors = load_file(base / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "layer.1" not in name}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ValueError, match="does not hold the expected encoder"):
        load_base(tmp_path)


@pytest.fixture(scope="module")
def exported(whole, base, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "encoder.onnx"
    export(whole[1], path)
    assert [file.name for file in path.parent.iterdir()] == ["encoder.onnx"]
    return path, Encoder.load(path, base / "tokenizer.json")


def test_the_exported_encoder_says_the_same(whole, exported):
    parity = check_parity(whole[1], exported[1], TEXTS)
    assert parity.texts == len(TEXTS)
    assert parity.class_cosine_worst > 0.99
    assert parity.topic_cosine_worst > 0.99
    assert parity.marks_difference < 0.01


def test_an_exported_encoder_can_be_gone_on_from(whole, exported, base, dataset, tmp_path):
    folder = exported[0].parent
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    before, again = whole[1].state_dict(), load_base(folder)[0].eval()
    places = "bert.embeddings.position_embeddings.weight"
    kinds = "bert.embeddings.token_type_embeddings.weight"
    for name, tensor in again.state_dict().items():
        if name != kinds:
            there = before[name] + (before[kinds][0] if name == places else 0)
            assert torch.allclose(tensor, there, atol=float(there.abs().max()) / 64), name
    parity = check_parity(again, exported[1], TEXTS)
    assert (parity.class_cosine_worst > 0.99, parity.topic_cosine_worst > 0.99) == (True, True)

    fine_tune(dataset, folder, tmp_path / "more", replace(SETTINGS, rate=1e-9, rate_of_heads=1e-9))
    more = load_fine_tuned(folder, tmp_path / "more" / "encoder.safetensors")[0].state_dict()
    assert all(torch.allclose(tensor, again.state_dict()[name], atol=1e-5) for name, tensor in more.items())
    with pytest.raises(ValueError, match="other settings"):
        fine_tune(dataset, base, tmp_path / "more", replace(SETTINGS, rate=1e-9, rate_of_heads=1e-9))
    export(again, tmp_path / "again.onnx")
    once_more, _ = _restored(tmp_path / "again.onnx", folder / "tokenizer.json", tmp_path)
    for name, tensor in once_more.state_dict().items():
        assert torch.allclose(tensor, again.state_dict()[name], atol=1e-3), name


def test_what_is_no_encoder_of_ours_is_refused(base, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    other = onnx.helper.make_model(onnx.helper.make_graph([], "nothing", [], []))
    for content in (other.SerializeToString(), b"no graph at all"):
        (tmp_path / "encoder.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="is no encoder of ours"):
            load_base(tmp_path)


def test_where_an_encoder_comes_from_is_kept(exported, base, dataset, tmp_path):
    folder = exported[0].parent
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    said = []
    first = train_encoder(dataset, folder, tmp_path / "first", SETTINGS, progress=said.append)
    assert any("its licence is not known" in line for line in said)
    assert "trained" not in first["base"]
    facts = {**first, "base": {**first["base"], "licence": "Apache-2.0"}}
    (tmp_path / "first" / "encoder.json").write_text(json.dumps(facts))
    second = train_encoder(dataset, tmp_path / "first", tmp_path / "second", SETTINGS)
    assert second["base"]["licence"] == "Apache-2.0"
    assert second["base"]["trained"] == facts
    with pytest.raises(DataError, match="choose another folder"):
        train_encoder(dataset, tmp_path / "first", tmp_path / "first", SETTINGS)


def _restored(path, tokenizer, tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(path.read_bytes())
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return load_base(folder)


def test_the_exported_encoder_reads_texts_of_any_length(exported):
    for text in ("", "dog", "the dog is here " * 60):
        for window in exported[1].read(make_readable(text)):
            assert np.isfinite(window.class_vector).all()


def test_exporting_again_gives_the_same_bytes(whole, exported, tmp_path):
    export(whole[1], tmp_path / "encoder.onnx")
    assert (tmp_path / "encoder.onnx").read_bytes() == exported[0].read_bytes()


def test_another_kind_of_transformer_is_not_exported(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(whole[1].bert.config, "num_attention_heads", 8)
    with pytest.raises(ValueError, match="12 heads"):
        export(whole[1], tmp_path / "encoder.onnx")
