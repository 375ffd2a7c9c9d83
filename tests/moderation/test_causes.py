"""Facts become sentences that say their number once and in a form that a person reads."""

from moderation import signals
from moderation.causes import _SHARES, _YES_OR_NO, _say
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
