"""Short sentences about people, put together from parts: the same predicate for every kind of person.

In what people write, some groups are named mostly when they are attacked, and a model learns the name instead of the
attack. Harmless and hostile sentences in equal measure for every group take that excuse away (Dixon et al. 2018,
"Measuring and mitigating unintended bias in text classification"). All words here are ours.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from moderation.comment import Comment
from moderation.training.rows import Row

SOURCE = "templates"
WEIGHT = 0.3
HARMLESS_EACH = 26
HOSTILE_EACH = 16

# Said of a person ("a deaf man") and of them all ("deaf people"), or as a plural of its own.
_KINDS: tuple[str, ...] = (
    "Muslim", "Christian", "Jewish", "Hindu", "Buddhist", "Catholic", "Protestant", "Mormon", "Sikh", "atheist",
    "religious", "secular", "gay", "straight", "lesbian", "bisexual", "trans", "transgender", "queer",
    "heterosexual", "homosexual", "LGBT", "LGBTQ", "nonbinary", "female", "male", "Black", "white", "Asian",
    "Latino", "Latina", "Hispanic", "Arab", "African", "African American", "European", "Native American", "Roma",
    "Mexican", "American", "Chinese", "Indian", "Russian", "Nigerian", "German", "Polish", "Turkish", "Canadian",
    "Japanese", "French", "Pakistani", "Korean", "British", "Irish", "Spanish", "Syrian", "Iranian", "Israeli",
    "Palestinian", "Ukrainian", "Middle Eastern", "Taiwanese", "deaf", "blind", "disabled", "paralysed", "paralyzed",
    "autistic", "epileptic", "dyslexic", "old", "older", "young", "younger", "elderly", "teenage", "middle-aged",
    "fat", "thin", "short", "tall", "poor", "rich", "homeless", "immigrant", "foreign", "local", "rural",
    "conservative", "liberal", "left-wing", "divorced", "unemployed", "vegan", "millennial", "bald", "left-handed",
)  # fmt: skip
_PERSONS = (
    "person", "man", "woman", "guy", "neighbour", "colleague", "friend", "student", "teacher", "nurse", "kid",
)  # fmt: skip
_JOBS = (
    "plumber", "teacher", "nurse", "driver", "programmer", "baker", "librarian", "farmer", "lawyer", "cook",
    "electrician", "judge", "painter", "cashier", "translator",
)  # fmt: skip
_NAMES = (
    "Anna", "Ahmed", "Priya", "Jamal", "Katie", "Wei", "Olga", "Juan", "Fatima", "Brad", "Aisha", "Tomasz", "Yuki",
    "Emily", "Kwame", "Rosa", "Dmitri", "Lakisha", "Greg", "Meera",
)  # fmt: skip
_GOOD = (
    "kind", "wonderful", "clever", "honest", "brave", "funny", "generous", "patient", "lovely", "smart", "great",
    "gentle", "creative", "fantastic", "reliable", "thoughtful", "friendly", "amazing",
)  # fmt: skip
_PLAIN = (
    "tired", "busy", "sad", "hungry", "late", "quiet", "worried", "happy", "nervous", "here", "from Leeds",
    "new in town", "at home today", "lonely sometimes", "good at chess", "fond of dogs", "in a hurry",
)  # fmt: skip
_BAD = (
    "disgusting", "stupid", "filthy", "worthless", "evil", "vile", "idiotic", "repulsive", "pathetic", "dumb",
    "revolting", "despicable", "inferior", "awful", "horrible", "hateful", "nasty", "terrible",
)  # fmt: skip
_SAYS = (
    "I like gardening", "I vote in every election", "I read this blog weekly", "I found the post useful",
    "I disagree with the second point", "I had the same trouble with my bike", "I prefer tea", "I work nights",
    "I love this recipe", "I worry about the rent",
)  # fmt: skip

_HARMLESS: tuple[str, ...] = (
    "I am {a_kind}.", "I am {kind}", "I'm {a_kind} {person}.", "I am {a_kind} {person} and {says}.",
    "My {person} is {kind}.", "My {person} is {kind} and {good}.", "Being {kind} is {good}.",
    "being {kind} is fine", "{kind_} people are {good}.", "{kind_} people are {good} people",
    "She is {a_kind} {job}.", "He is {a_good} {kind} {job}.", "{a_good_} {kind} {person}",
    "{name} is {a_good} {kind} {person}.", "{name} is {kind} and {plain}.", "Proud to be {kind}.",
    "As {a_kind} {person}, {says}.", "I am {kind} and {plain}.", "Our {job} is {kind}, {plain} and {good}.",
    "{kind_} and {good}", "We met {a_kind} {job} on the train.", "The {kind} {person} next door is {plain}.",
    "I support {kind} people.", "I love my {kind} {person}.", "Growing up {kind} in a small town was not easy.",
    "Is the {job} {kind}?", "There are many {kind} {person}s here.",
    "I hate it when {kind} people are treated badly.", "Nobody should be mocked for being {kind}.",
    "{kind_} {person}s deserve respect.", "The film is about {a_kind} {job}.", "thank you from {a_kind} {person}",
    "Some {kind} {person}s are {plain}, some are not.", "{name} told me that he is {kind}.",
)  # fmt: skip
_HOSTILE: tuple[str, ...] = (
    "{kind_} people are {bad}.", "{kind_} people are {bad}", "I hate {kind} people.", "Being {kind} is {bad}.",
    "being {kind} is {bad} and wrong", "{a_bad_} {kind} {person}", "You are {a_bad} {kind} {person}.",
    "All {kind} {person}s are {bad}.", "{name} is {a_bad} {kind} {person}.", "Nobody wants {kind} people here.",
    "{kind_} {person}s should all be locked up.", "Get rid of the {kind} {person}s.",
    "I can't stand {kind} people, they are {bad}.", "My {kind} {person} is {bad}, like all of them.",
    "typical {kind} {person}, {bad} and {bad2}", "Never trust {a_kind} {person}.", "{kind_} {job}s are {bad}.",
    "We don't serve {kind} {person}s, they're {bad}.", "kill all {kind} people",
    "I despise every {kind} {person}.", "What {a_bad} {kind} {job}.", "{kind_} and {bad}, as they all are",
)  # fmt: skip
# Without a group: that somebody is insulted must not hang on one being named either.
_HARMLESS_NAMED: tuple[str, ...] = (
    "{name} is {a_good} {job}.", "{name} is {plain}.", "You are {good}.", "you're {a_good} {person}",
    "{a_good_} {job}", "The {job} was {good} and {plain}.", "I think {name} is {good}.",
    "{name} and {name2} are {good}.", "my {person} is {plain} and {says}",
)  # fmt: skip
_HOSTILE_NAMED: tuple[str, ...] = (
    "{name} is {a_bad} {person}.", "{name} is {bad}.", "You are {bad}.", "you're {a_bad} {job}", "{a_bad_} {job}",
    "I think {name} is {bad} and {bad2}.", "{name} and {name2} are {bad}.", "what {a_bad} {person} you are",
    "I hate {name}, he is {bad}.",
)  # fmt: skip

_ATTACK: Mapping[str, int] = {"hostile": 1, "identity_attack": 1}
_INSULT: Mapping[str, int] = {"hostile": 1, "insult": 1, "identity_attack": 0, "threat": 0}
_NOTHING: Mapping[str, int] = {
    "hostile": 0, "insult": 0, "threat": 0, "identity_attack": 0, "profanity": 0, "severe": 0,
}  # fmt: skip


def template_rows(seed: int = 0) -> Iterator[Row]:
    """Sentences about every kind of person, harmless and hostile, and the like about nobody's kind.

    The form of a sentence is its group, so that forms are split and not the kinds of people. The same seed gives the
    same rows.
    """
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    seen: set[str] = set()
    numbers = itertools.count()
    for kind in _KINDS:
        yield from _fill(_HARMLESS, HARMLESS_EACH, kind, _NOTHING, chance, seen, numbers)
        yield from _fill(_HOSTILE, HOSTILE_EACH, kind, _ATTACK, chance, seen, numbers)
    for _ in range(20):
        yield from _fill(_HARMLESS_NAMED, len(_HARMLESS_NAMED), "", _NOTHING, chance, seen, numbers)
        yield from _fill(_HOSTILE_NAMED, len(_HOSTILE_NAMED), "", _INSULT, chance, seen, numbers)


def _fill(
    forms: Sequence[str],
    count: int,
    kind: str,
    labels: Mapping[str, int],
    chance: random.Random,
    seen: set[str],
    numbers: Iterator[int],
) -> Iterator[Row]:
    for form in chance.sample(forms, count):
        good, (bad, bad2) = chance.choice(_GOOD), chance.sample(_BAD, 2)
        name, name2 = chance.sample(_NAMES, 2)
        words = {"good": good, "bad": bad, "bad2": bad2, "name": name, "name2": name2, "kind": kind}
        words |= {f"a_{word}": _article(words[word]) for word in ("good", "bad", "kind")}
        words |= {f"{word}_": words[word][:1].upper() + words[word][1:] for word in ("a_good", "a_bad", "kind")}
        words["person"], words["job"] = chance.choice(_PERSONS), chance.choice(_JOBS)
        words["plain"], words["says"] = chance.choice(_PLAIN), chance.choice(_SAYS)
        text = form.format_map(words)
        text = chance.choice((text, text, text.lower()))
        if text not in seen:
            seen.add(text)
            yield Row(SOURCE, f"{SOURCE}-{next(numbers)}", Comment(text), labels, f"{SOURCE}:{form}", WEIGHT)


def _article(word: str) -> str:
    """The word behind "a" or "an", by its sound."""
    sounds_open = word[:1].lower() in "aeio" or word.startswith(("honest", "LGBT", "un"))
    return f"{'an' if sounds_open and not word.startswith('European') else 'a'} {word}"
