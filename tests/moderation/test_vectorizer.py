"""The transformer keeps scikit-learn's contract and gives what the functions of moderation.lexical give."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from moderation.training.vectorizer import LexicalVectorizer

TEXTS = ["One comment about trees.", "Another comment, about rivers!", "", "trees trees trees"]


# The checks that fit tables of numbers do not apply to texts, and parametrize_with_checks then yields none at all;
# these are the ones that do apply, each as scikit-learn runs it.
CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_mixin_order,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_scikit_learn_estimator_checks(check):
    check("LexicalVectorizer", LexicalVectorizer(bits=8))


def test_rows_have_length_one_and_empty_texts_are_empty_rows():
    rows = LexicalVectorizer(bits=12).fit_transform(TEXTS)
    norms = np.sqrt(np.ravel(rows.power(2).sum(axis=1)))
    assert np.allclose(norms, [1, 1, 0, 1], atol=1e-6)


def test_fit_transform_equals_fit_then_transform():
    vectorizer = LexicalVectorizer(bits=12)
    together = vectorizer.fit_transform(TEXTS)
    apart = clone(vectorizer).fit(TEXTS).transform(TEXTS)
    assert (together != apart).nnz == 0


def test_transform_does_not_learn():
    """The table of weights comes from fit alone, and survives a round trip through pickle as scikit-learn asks."""
    vectorizer = LexicalVectorizer(bits=10).fit(TEXTS)
    before = vectorizer.idf_.copy()
    vectorizer.transform(["entirely different words here"])
    assert np.array_equal(before, pickle.loads(pickle.dumps(vectorizer)).idf_)


def test_works_in_a_pipeline():
    model = make_pipeline(LexicalVectorizer(bits=12), LogisticRegression())
    model.fit(["good tree", "bad river", "good leaf", "bad lake"], [1, 0, 1, 0])
    assert list(model.predict(["good good", "bad bad"])) == [1, 0]


@pytest.mark.parametrize(("texts", "error"), [("one text", ValueError), ([1, 2], TypeError), ([None], TypeError)])
def test_refuses_what_are_no_texts(texts, error):
    with pytest.raises(error, match="expected"):
        LexicalVectorizer().fit(texts)


@pytest.mark.parametrize("parameters", [{"bits": 0}, {"bits": 32}, {"char_min": 4, "char_max": 3}, {"word_max": 3}])
def test_refuses_impossible_parameters_in_fit(parameters):
    with pytest.raises(ValueError, match="must be"):
        LexicalVectorizer(**parameters).fit(TEXTS)
