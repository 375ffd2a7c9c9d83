"""One small function per public set: its files in, :class:`~moderation.training.adapters.reading.Draft` rows out.

``ADAPTERS`` maps the adapter names of ``training_data/sources.toml`` to these functions. Each docstring says what the
set's own label means and what it becomes here; what a set does not say stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from moderation.training.adapters import blogs, hostile, languages, measured
from moderation.training.adapters.reading import Draft

Adapter = Callable[[Sequence[Path]], Iterator[Draft]]

ADAPTERS: Mapping[str, Adapter] = {
    adapter.__name__: adapter
    for adapter in (
        hostile.jigsaw,
        hostile.toxic_spans,
        hostile.kaggle_insults,
        hostile.ruddit,
        hostile.hatexplain,
        hostile.edos,
        hostile.misogyny,
        hostile.toxigen,
        hostile.hatemoji,
        hostile.stormfront,
        hostile.paradetox,
        hostile.goemotions,
        languages.germeval2018,
        languages.germeval2021,
        languages.told_br,
        languages.korean,
        languages.cold,
        blogs.blog_threads,
        blogs.blog_pr_moderation,
        blogs.youtube,
        blogs.tg_spam,
        blogs.staticman_demo,
        measured.noisyhate,
        measured.bias_madlibs,
        measured.xstest,
        measured.counsel_chat,
        measured.ethos,
        measured.openai_moderation,
        measured.fox_news,
    )
}
