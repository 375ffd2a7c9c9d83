"""Facts become sentences that say their number once and in a form that a person reads."""

from moderation import signals
from moderation.causes import _SHARES, _YES_OR_NO, _say, signal_causes
from moderation.comment import Author, Comment
from moderation.normalise import normalise


def test_every_signal_has_a_sentence_with_its_number():
    """A new signal that is a share or a yes needs to be known as one, or its sentence would say a strange number."""
    assert set(signals.NAMES) >= _SHARES | _YES_OR_NO
    text = (
        "THIS is www.a-b.example 50% +49 30 1234567 a@b.example 😀 `x()` noooo! why? b\u0430d and http://github.com/x"
    )
    comment = Comment(text, author=Author(name="Ann 5", url="http://ann.example/x"), kind="pingback")
    for signal in signals.measure(comment, normalise(text)):
        said = _say(signal)
        if signal.name in _YES_OR_NO:
            assert said == signal.text
        elif signal.value and signal.value != round(signal.value):
            assert any(char.isdigit() for char in said)
            assert not said.endswith(": 0"), signal.name


def test_how_long_no_words_are_is_no_fact():
    def names(text: str) -> set[str]:
        measured = signals.measure(Comment(text), normalise(text))
        return {cause.name for cause in signal_causes(measured, [1.0] * len(measured))}

    assert "word_length" not in names("http://a.example/")
    assert {"link_only", "links"} <= names("http://a.example/")
    assert "word_length" in names("pills http://a.example/")
