"""An explanation points at whole words of the comment as it was written, and says which facts mattered."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer

from moderation import topic
from moderation.categories import CODES
from moderation.comment import Author, Comment, Decision, Neighbour, Post, Reason, Scores
from moderation.encoder import WIDTH, Encoder
from moderation.explain import MAX_FACTS, MAX_OCCLUDED, MAX_SPANS, explain, explain_decision
from moderation.heads import FIELDS, FieldWeights, FullHeads, Heads
from moderation.lexical import LexicalSpec, count_ngrams
from moderation.model import CONTEXT, DENSE, MARKS, FullTier, Model
from moderation.normalise import normalise
from moderation.spans import find_words
from moderation.topic import TopicModel

HOSTILE, SPAM, OFF_TOPIC = (CODES.index(code) for code in ("hostile", "spam", "off_topic"))
VOCABULARY = ["[CLS]", "[SEP]", "[UNK]", "idiot", "fool", "casino", "winnings", "trees", "grow", "slowly"]
POST = Post(title="On trees", text="Trees grow slowly in the hills and need light, water and time to do so.")
ON_TOPIC = "Trees in the hills grow slowly because they need light and water."
OFF_TOPIC_TEXT = "My phone is broken again and nobody in that shop wants to help me."


class Network:
    """In place of a trained network: one number for casino, one for trees, marks on two words."""

    def __init__(self):
        self.passes = 0
        self.fails = False

    def run(self, _names, feeds):
        self.passes += 1
        if self.fails:
            raise RuntimeError("out of order")
        words = [VOCABULARY[number] for number in feeds["ids"][0]]
        vector, direction = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
        vector[0] = words.count("casino")
        direction[:2] = (1, 9 * any(word in {"trees", "grow", "slowly"} for word in words))
        marks = np.array([{"idiot": 0.8, "fool": 0.75}.get(word, 0.02) for word in words], np.float32)
        return vector, direction / np.linalg.norm(direction), marks


def make_heads():
    """The words idiot and fool are hostile, casino is spam, and so are links, capitals a little hostile."""
    fields = {}
    for number, name in enumerate(FIELDS):
        spec = LexicalSpec(bits=14, char_min=16, char_max=16, word_max=1, salt=number)
        weights = np.zeros((1 << spec.bits, len(CODES)), np.float16)
        for word, head in (("idiot", HOSTILE), ("fool", HOSTILE), ("casino", SPAM)):
            weights[count_ngrams([word], spec).indices, head] = 3
        fields[name] = FieldWeights(spec, np.ones(1 << spec.bits, np.float32), weights)
    dense = np.zeros((len(DENSE), len(CODES)), np.float32)
    dense[DENSE.index("links"), SPAM] = 1
    dense[DENSE.index("capitals"), HOSTILE] = 0.5
    dense[DENSE.index("passage_cosine"), OFF_TOPIC] = -2
    dense[DENSE.index("parent_cosine"), OFF_TOPIC] = -1
    calibration = np.tile(np.array([1.0, 0.0]), (len(CODES), 1))
    intercept = np.full(len(CODES), -1.0)
    scale = np.full(len(DENSE), 0.3, np.float32)
    return Heads(CODES, fields, np.zeros(len(DENSE), np.float32), scale, dense, intercept, calibration)


def make_full_heads():
    windows = np.zeros((WIDTH + len(MARKS), len(CODES)), np.float32)
    windows[0, SPAM], windows[WIDTH, HOSTILE] = 2, 3
    context = np.zeros((len(CONTEXT), len(CODES)), np.float32)
    for code in ("hostile", "spam"):
        context[CONTEXT.index(f"lexical_{code}"), CODES.index(code)] = 1
    context[CONTEXT.index("vector_best"), OFF_TOPIC] = -2
    context[CONTEXT.index("vector_parent"), OFF_TOPIC] = -1
    knots = np.tile(np.array([[-1.0, 1.0], [-1.0, 1.0]]), (len(CODES), 1, 1))
    ones = np.ones(len(CONTEXT), np.float32)
    signatures = np.zeros((WIDTH + 1, len(CODES)), np.float32)
    signatures[0, SPAM], signatures[WIDTH, SPAM] = 1, 0.25
    beside = np.zeros(WIDTH + len(MARKS), np.float32), np.array([-np.inf]), np.array([1.0, -np.inf])
    mean, intercept = np.zeros(len(CONTEXT), np.float32), np.full(len(CODES), -1.0)
    return FullHeads(CODES, windows, signatures, mean, ones, context, intercept, knots, *beside)


def make_full_model():
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    network = Network()
    encoder = Encoder(network, tokenizer, 1, "tiny")
    lexical = Model(make_heads(), TopicModel(np.ones(1 << topic.BITS, np.float32)))
    return Model(lexical.heads, lexical.topic, FullTier(encoder, make_full_heads())), network


FULL, NETWORK = make_full_model()
MODELS = {"full": FULL, "lexical": FULL.lexical_tier()}
both_tiers = pytest.mark.parametrize("tier", ["full", "lexical"])


def pointed(text, tier="full", category="hostile"):
    return [text[span.start : span.end] for span in explain(MODELS[tier], Comment(text), category).spans]


BOLD = "\U0001d422\U0001d41d\U0001d422\U0001d428\U0001d42d"  # mathematical letters that spell idiot
PIECES = (
    *("idiot", "fool", "tree", "😀", "👩‍👩‍👧", "مرحبا", "\u202eשלום\u202c", "zero\u200bwidth", "e\u0301\u0301"),
    *("\U00020000緑の木", BOLD, "i d i o t", "f***", "http://a.example/b", " ", " ", "\n", ", ", "... ", "!", "*", "'"),
    *("(", ") ", "-", "/", "\u00a0", "\ufeff", "\u2014"),
)
pieces = st.sampled_from(PIECES)
texts = st.lists(pieces | st.text(max_size=4), min_size=1, max_size=25).map("".join)


def as_comment(text):
    """Any text as a valid comment."""
    return Comment("x " + text.replace("\x00", "").encode("utf-8", "replace").decode())


def calm_model():
    """A model to which casino stands for what is cruel as a whole."""
    weights = np.zeros(WIDTH + len(MARKS), np.float32)
    weights[0] = 4
    heads = replace(FULL.full.heads, quiet_weights=weights, quiet_intercept=np.array([-3.0]))
    return replace(FULL, full=replace(FULL.full, heads=heads))


def test_calm_hostility_is_a_fact_and_its_sentence_is_pointed_at():
    """It lies in no word, and there are no marks of it."""
    text = "Trees grow slowly. They stand near the casino, all of them! Slowly they grow?\nYes."
    calm = explain(calm_model(), Comment(text), "hostile")
    assert [text[span.start : span.end] for span in calm.spans] == ["They stand near the casino, all of them"]
    assert calm.facts[0].name == "calm_hostility"
    assert calm.facts[0].contribution > 1


def test_of_a_single_sentence_all_is_pointed_at():
    text = "the trees near the casino grow"
    [span] = explain(calm_model(), Comment(text), "hostile").spans
    assert text[span.start : span.end] == text


def test_what_is_loud_is_explained_by_its_words():
    loud = explain(calm_model(), Comment("the trees near the idiot grow"), "hostile")
    assert [(span.start, span.end) for span in loud.spans] == [(19, 24)]
    assert "calm_hostility" not in {fact.name for fact in loud.facts}
    spam = explain(calm_model(), Comment("the trees near the casino grow"), "spam")
    assert "calm_hostility" not in {fact.name for fact in spam.facts}


def test_that_one_sentence_decided_is_a_fact_and_its_words_are_pointed_at():
    text = "The trees in the hills grow slowly and need water. " * 6 + "You fool. The trees grow slowly."
    alone = replace(FULL.full.heads, alone=np.array([3.0, 2.0]))
    found = explain(replace(FULL, full=replace(FULL.full, heads=alone)), Comment(text), "hostile")
    assert [text[span.start : span.end] for span in found.spans] == ["fool"]
    assert found.facts[0].name == "one_sentence"
    assert found.score > explain(FULL, Comment(text), "hostile").score
    assert "one_sentence" not in {fact.name for fact in explain(FULL, Comment(text), "hostile").facts}


def test_words_are_left_out_of_windows_and_of_no_sentence():
    """One pass for each text that is tried; the sentence that is read by itself is read twice, to score and explain."""
    text = "The trees in the hills grow slowly and need water. " * 7 + "A casino grew."
    NETWORK.passes = 0
    explain(FULL, Comment(text), "spam")
    assert NETWORK.passes <= 2 + 2 + 1 + MAX_OCCLUDED


@settings(deadline=None, max_examples=60)
@given(text=texts, tier=st.sampled_from(["full", "lexical"]), category=st.sampled_from(["hostile", "spam", "threat"]))
def test_offsets_hold_in_code_points_and_in_utf_16(text, tier, category):
    comment = as_comment(text)
    spans = explain(MODELS[tier], comment, category).spans
    words = find_words(comment.text, normalise(comment.text))
    starts, ends = {word.start for word in words}, {word.end for word in words}
    before = -1
    for span in spans:
        assert before < span.start < span.end <= len(comment.text)
        before = span.end
        assert span.start in starts
        assert span.end in ends
        units = comment.text.encode("utf-16-le")[2 * span.utf16_start : 2 * span.utf16_end]
        assert units.decode("utf-16-le") == comment.text[span.start : span.end]
        assert 0 <= span.strength <= 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["tree", "idiot", "hill"]), min_size=1, max_size=12))
def test_neighbours_are_one_span(words):
    """With only white space or light punctuation between them; any other word keeps them apart."""
    runs = "".join("X" if word == "idiot" else "." for word in words).replace(".", " ").split()
    assert pointed(", ".join(words)) == [", ".join(["idiot"] * len(run)) for run in runs]


@both_tiers
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Only an idiot, or a fool!", ["idiot", "fool"]),
        ("you idiot. FOOL", ["idiot. FOOL"]),
        ("an i d i o t spoke", ["i d i o t"]),
        ("an id\u200biot 😀 spoke", ["id\u200biot"]),
        ("an 1d10t here", ["1d10t"]),
        ("idiot\n\n\n\nfool", ["idiot", "fool"]),
        ("*idiot* it is", ["idiot"]),
        ("\u202eמילה idiot מילה\u202c", ["idiot"]),
        (f"😀😀😀 {BOLD}", [BOLD]),
    ],
)
def test_the_words_that_raised_the_score_are_pointed_at_as_they_were_written(tier, text, expected):
    assert pointed(text, tier) == expected


@both_tiers
@pytest.mark.parametrize("text", ["...", "\u200b\u200c\u200d", "\u202e \u202c", "😀", "\ufeff", "\u0301"])
def test_a_comment_without_words_is_explained(tier, text):
    for code in CODES:
        assert explain(MODELS[tier], Comment(text), code).category == code


@both_tiers
@pytest.mark.parametrize(
    "piece",
    ["idiot ", "casino.com ", "http://a.example/x ", "a", "a!", "...idiot", "*", "😀", "' ", "\u0301", "i d i o t "],
)
def test_the_longest_comments_take_bounded_time(tier, piece):
    comment = Comment((piece * 50_000)[:50_000])
    started = time.process_time()
    for code in ("hostile", "spam"):
        assert len(explain(MODELS[tier], comment, code).spans) <= MAX_SPANS
    assert time.process_time() - started < 20


def test_the_encoder_is_asked_a_bounded_number_of_times():
    """Occlusion takes one pass for each word it tries; a long text must not make that thousands."""
    comment = Comment("casino winnings and more of it " * 1_500)
    before = NETWORK.passes
    FULL.score([comment])
    scoring = NETWORK.passes - before
    explain(FULL, comment, "spam")
    assert NETWORK.passes - before - scoring <= 2 * scoring + MAX_OCCLUDED + 1


@both_tiers
def test_a_harmless_comment_has_nothing_pointed_at(tier):
    model = MODELS[tier]
    calm = Model(lower(model.heads), model.topic, model.full and FullTier(model.full.encoder, lower(model.full.heads)))
    assert explain(model, Comment("only an idiot"), "hostile").spans
    assert explain(calm, Comment("only an idiot"), "hostile").spans == ()


def lower(heads):
    """The same heads, all scores far lower."""
    return replace(heads, intercept=heads.intercept - 9)


@both_tiers
def test_a_link_is_one_span_of_spam(tier):
    text = "Play at http://best-casino.example/win?a=1&b=2, now and casino.com too"
    spans = pointed(text, tier, "spam")
    assert "http://best-casino.example/win?a=1&b=2," in spans
    assert "casino.com" in spans


def test_occlusion_finds_what_only_the_encoder_knows():
    """Without any weight on words, the word that the network listens to is still found."""
    heads = make_heads()
    heads.fields["text"].weights[:] = 0
    deaf = Model(heads, FULL.topic, FULL.full)
    text = "people like a casino very much these days"
    spans = explain(deaf, Comment(text), "spam").spans
    assert [text[span.start : span.end] for span in spans] == ["casino"]


def test_what_author_and_links_say_is_a_fact_with_what_it_adds():
    """The network sees casino in the name: a unit of its vector, weighed, and what having a signature weighs."""
    author = Author(name="casino", url="https://a.example")
    found = {cause.name: cause for cause in explain(FULL, Comment("Thank you", author=author), "spam").facts}
    assert found["signature"].contribution == 1.25
    assert found["signature"].text == "what author and links say, read for meaning"
    for comment, category in ((Comment("Thank you", author=author), "hostile"), (Comment("Thank you"), "spam")):
        assert "signature" not in {cause.name for cause in explain(FULL, comment, category).facts}
    lexical = explain(MODELS["lexical"], Comment("Thank you", author=author), "spam")
    assert "signature" not in {cause.name for cause in lexical.facts}


def test_a_comment_that_the_encoder_cannot_read_is_pointed_at_by_words_alone():
    """Marks point at what no word weighs; in a language that it has not learned they say nothing."""
    heads = make_heads()
    text = heads.fields["text"]
    text.weights[count_ngrams(["fool"], text.spec).indices] = 0
    model = Model(heads, FULL.topic, FULL.full)

    def words(said):
        return [said[span.start : span.end] for span in explain(model, Comment(said), "hostile").spans]

    assert words("you are an idiot, and what a fool he is") == ["idiot", "fool"]
    assert words("du bist idiot gewesen bleibst aber nun fool geworden") == ["idiot"]


def test_where_the_encoder_cannot_read_words_add_what_their_product_with_foreign_weighs_too():
    context = FULL.full.heads.context_weights.copy()
    context[CONTEXT.index("foreign_lexical_spam"), SPAM] = 0.5
    more = Model(FULL.heads, FULL.topic, FullTier(FULL.full.encoder, replace(FULL.full.heads, context_weights=context)))
    author = Author(name="casino")

    def contribution(model, text):
        facts = explain(model, Comment(text, author=author), "spam").facts
        return next(cause.contribution for cause in facts if cause.name == "author_name_text")

    for text, factor in (("these are the trees that we have here", 1), ("ich und der Hund sind nicht mehr hier", 1.5)):
        assert contribution(more, text) == pytest.approx(factor * contribution(FULL, text), abs=1e-3)


@both_tiers
def test_without_a_category_the_highest_score_is_explained(tier):
    assert explain(MODELS[tier], Comment("casino casino casino")).category == "spam"
    assert explain(MODELS[tier], Comment("idiot fool")).category == "hostile"
    with pytest.raises(KeyError):
        explain(MODELS[tier], Comment("idiot"), "rude")


@pytest.mark.parametrize(
    ("reasons", "explained"),
    [
        ([("hostile", 0.6, 0.5), ("spam", 0.9, 0.8)], "spam"),  # the higher of those over their line
        ([("hostile", 0.6, 0.5), ("spam", 0.7, 0.8)], "hostile"),  # the one over its line
        ([("hostile", 0.1, 0.12), ("spam", 0.7, 0.9)], "hostile"),  # nearest to its line, whatever is higher
        ([("hostile", 0.1, None), ("links", 1.0, 2.0)], "spam"),  # no lines: what is highest of all
    ],
)
def test_a_decision_is_explained_by_the_score_that_decided_it(reasons, explained):
    given = {name: value for name, value, _ in reasons if name in CODES}
    scores = Scores(given["hostile"], given.get("spam", 0.2), None, *[0.01] * 5)
    fired = [Reason(name, value, line, line is not None and value >= line, "x") for name, value, line in reasons]
    comment = Comment("casino casino casino")
    decision = Decision("hold", scores, tuple(fired), comment.digest(), "bundle-1", "p" * 64, "lexical")
    assert explain_decision(MODELS["lexical"], comment, decision).category == explained


@both_tiers
def test_off_topic_is_explained_by_facts_alone(tier):
    explanations = [
        explain(MODELS[tier], Comment(text, post=POST, parent=Neighbour(text=ON_TOPIC)), "off_topic")
        for text in (ON_TOPIC, OFF_TOPIC_TEXT)
    ]
    near, far = ({cause.name: cause for cause in each.facts} for each in explanations)
    assert explanations[0].spans == explanations[1].spans == ()
    assert far["passage_nearness"].value < near["passage_nearness"].value
    assert far["passage_nearness"].contribution > near["passage_nearness"].contribution
    assert far["passage_nearness"].text.startswith("the closest passage of the post is far")
    assert near["parent_nearness"].text.startswith("the comment that it answers is near")


@both_tiers
def test_off_topic_without_a_post_says_so(tier):
    explained = explain(MODELS[tier], Comment("idiot"), "off_topic")
    assert explained.score is None
    assert [cause.name for cause in explained.facts] == ["abstained"]


@both_tiers
def test_facts_are_those_that_mattered(tier):
    text = "SEE http://a.example/ AND http://b.example/ NOW"
    facts = explain(MODELS[tier], Comment(text, author=Author(name="casino")), "spam").facts
    assert len(facts) <= MAX_FACTS
    assert list(facts) == sorted(facts, key=lambda cause: -abs(cause.contribution))
    found = {cause.name: cause for cause in facts}
    assert found["links"].text == "2 links in the text"
    assert found["links"].contribution > 0
    assert found["author_name_text"].contribution > 0
    assert "capitals" not in found
    shouted = {cause.name: cause for cause in explain(MODELS[tier], Comment("IDIOT THAT YOU ARE"), "hostile").facts}
    assert shouted["capitals"].text == "share of capital letters: 100%"
    assert ("words_alone" in shouted) == (tier == "full")


def test_the_score_of_the_words_alone_is_said_where_it_differs(monkeypatch):
    shouting = Comment("IDIOT THAT YOU ARE")
    explained = explain(FULL, shouting, "hostile")
    (alone,) = (cause for cause in explained.facts if cause.name == "words_alone")
    assert alone.text.endswith(f"the score would be {100 * alone.value:.0f} %")
    monkeypatch.setattr("moderation.explain._SEEN", abs(alone.value - explained.score) + 1e-6)
    assert "words_alone" not in {cause.name for cause in explain(FULL, shouting, "hostile").facts}


def test_an_encoder_that_fails_leaves_the_lexical_explanation():
    NETWORK.fails = True
    try:
        explained = explain(FULL, Comment("only an idiot"), "hostile")
    finally:
        NETWORK.fails = False
    assert explained.tier == "lexical"
    assert explained == explain(MODELS["lexical"], Comment("only an idiot"), "hostile")


def test_an_explanation_is_ready_for_json():
    found = json.loads(json.dumps(explain(FULL, Comment("an 😀 idiot"), "hostile").to_dict()))
    assert list(found) == ["category", "score", "tier", "spans", "facts"]
    assert found["spans"] == [{"start": 5, "end": 10, "utf16_start": 6, "utf16_end": 11, "strength": 1.0}]
    assert all(list(fact) == ["name", "value", "contribution", "text"] for fact in found["facts"])
