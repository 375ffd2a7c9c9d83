"""What labels add: nothing where they say nothing, only at the site they are of, and the same alone as among others."""

from dataclasses import replace

import numpy as np
import pytest

from moderation.adaptation import Adaptation, Residual
from moderation.arrays import WORDS, adapted_sites, from_arrays, to_arrays
from moderation.categories import CODES
from moderation.comment import Comment
from moderation.encoder import WIDTH
from moderation.explain import explain
from moderation.heads import FieldWeights, Vectors
from moderation.model import CONTEXT, MARKS, FullTier
from moderation.topic import VECTOR_NAMES

HERE, THERE = "https://here.example", "https://there.example"
SPAM = CODES.index("spam")


def make_residual(random, words=False, size=0.05):
    def draw(*shape):
        return (random.normal(size=shape) * size).astype(np.float32)

    idf = (1 + random.random(1 << WORDS.bits)).astype(np.float16).astype(np.float32)
    own = FieldWeights(WORDS, idf, draw(1 << WORDS.bits, len(CODES)).astype(np.float16))
    return Residual(
        draw(WIDTH + len(MARKS), len(CODES)),
        draw(WIDTH + 1, len(CODES)),
        draw(len(CONTEXT), len(CODES)),
        random.normal(size=len(CODES)),
        own if words else None,
    )


def make_comments(random, rows):
    """Vectors of comments with one to three windows each, their context and their texts."""
    owners = np.repeat(np.arange(rows), random.integers(1, 4, rows))
    vectors = Vectors(
        random.normal(size=(len(owners), WIDTH + len(MARKS))).astype(np.float32),
        owners,
        random.random(rows).astype(np.float32),
        random.random((rows, len(VECTOR_NAMES))).astype(np.float32),
        random.normal(size=(rows, WIDTH + 1)).astype(np.float32),
    )
    context = random.normal(size=(rows, len(CONTEXT))).astype(np.float32)
    return vectors, context, [f"the words of number {row} and so on" for row in range(rows)]


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.fixture
def adaptation(random):
    idf_of_both = make_residual(random, words=True)
    return Adaptation(
        make_residual(random),
        {HERE: idf_of_both, THERE: replace(make_residual(random, words=True), words=idf_of_both.words)},
    )


def test_a_site_of_its_own_adds_to_its_comments_and_to_no_others(random, adaptation):
    comments = make_comments(random, 6)
    sites = [HERE, None, "https://elsewhere.example", HERE, THERE, None]
    shared = adaptation.everywhere.logits(*comments, np.arange(6))
    added = adaptation.logits(sites, *comments) - shared
    assert np.flatnonzero(np.abs(added).max(axis=1)).tolist() == [0, 3, 4]
    assert added[[0, 3]] == pytest.approx(adaptation.sites[HERE].logits(*comments, np.array([0, 3])))
    assert added[[4]] == pytest.approx(adaptation.sites[THERE].logits(*comments, np.array([4])))


def test_a_residual_of_noughts_adds_nothing_at_all(random):
    nothing = make_residual(random, words=True, size=0)
    nothing = replace(nothing, intercept=np.zeros(len(CODES)))
    added = Adaptation(nothing, {HERE: nothing}).logits([HERE, None], *make_comments(random, 2))
    assert not added.any()


def test_only_the_most_telling_window_counts(random):
    vectors, context, texts = make_comments(random, 1)
    windows = np.vstack([vectors.windows[:1]] * 3)
    windows[:, WIDTH] = [0.1, 0.9, 0.5]
    several = replace(vectors, windows=windows * [[1], [2], [3]], owners=np.zeros(3, np.int64))
    several.windows[:, WIDTH] = [0.1, 0.9, 0.5]
    several.windows[:, -2] = 0  # none is a sentence that was read by itself
    alone = replace(several, windows=several.windows[1:2], owners=np.zeros(1, np.int64))
    residual, row = make_residual(random), np.array([0])
    assert (residual.logits(several, context, texts, row) == residual.logits(alone, context, texts, row)).all()


class TestOfAModel:
    @pytest.fixture
    def taught(self, make_full, adaptation):
        model = make_full()
        return replace(model, full=replace(model.full, adaptation=adaptation))

    def comments(self):
        texts = ("Well said.", "See https://shop.example now!", "A long answer. " * 90, "Das versteht hier niemand.")
        return [Comment(text, site=site) for text in texts for site in (HERE, None, THERE)]

    def test_scores_are_the_same_alone_and_among_others_to_the_last_digit(self, taught):
        comments = self.comments()
        among = [scores.to_dict() for scores in taught.score(comments)]
        assert among == [taught.score([comment])[0].to_dict() for comment in comments]
        assert among == [scores.to_dict() for scores in taught.score(comments[::-1])][::-1]
        assert among[0] != among[1]

    def test_arrays_give_back_the_same_numbers(self, taught):
        arrays = to_arrays(taught)
        assert adapted_sites(taught) == (HERE, THERE)
        manifest = {
            "heads": list(CODES),
            "tiers": ["full", "lexical"],
            "adapted_sites": [HERE, THERE],
            "fields": {
                name: {
                    "bits": field.spec.bits,
                    "char_min": field.spec.char_min,
                    "char_max": field.spec.char_max,
                    "word_max": field.spec.word_max,
                    "salt": field.spec.salt,
                }
                for name, field in taught.heads.fields.items()
            },
        }
        model, heads, adaptation = from_arrays(arrays, manifest)
        again = replace(model, full=FullTier(taught.full.encoder, heads, adaptation))
        comments = self.comments()
        assert [each.to_dict() for each in again.score(comments)] == [each.to_dict() for each in taught.score(comments)]
        for name in ("adapted.intercept", "adapted.1.words", "adapted.idf"):
            less = {key: value for key, value in arrays.items() if key != name}
            with pytest.raises((ValueError, KeyError)):
                from_arrays(less, manifest)
        with pytest.raises(ValueError, match="names or shapes"):
            from_arrays(arrays, {**manifest, "adapted_sites": [HERE]})

    def test_what_was_learned_is_a_fact_of_its_own(self, make_full, adaptation):
        model = make_full()
        silent = replace(
            adaptation.everywhere,
            **{
                name: np.zeros_like(getattr(adaptation.everywhere, name))
                for name in ("window_weights", "signature_weights", "context_weights", "intercept")
            },
        )
        here = replace(silent, intercept=np.eye(len(CODES))[SPAM] * 1.25)
        taught = replace(model, full=replace(model.full, adaptation=Adaptation(silent, {HERE: here})))

        def learned(site):
            facts = explain(taught, Comment("See https://shop.example now!", site=site), "spam").facts
            return [fact.contribution for fact in facts if fact.name == "learned_from_verdicts"]

        assert learned(HERE) == [1.25]
        assert learned(None) == learned(THERE) == []
