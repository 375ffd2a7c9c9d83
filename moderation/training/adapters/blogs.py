"""Comments on real blogs and other places that attract spam: what spam is, and what is on topic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from moderation.comment import MAX_NAME_CHARS, MAX_TEXT_CHARS, MAX_TITLE_CHARS, MAX_URL_CHARS, Author, Neighbour, Post
from moderation.training.adapters.reading import (
    BENIGN,
    Draft,
    Line,
    csv_lines,
    json_lines,
    named,
    short_hash,
    spread,
    text_lines,
)
from moderation.training.rows import mend

FROZEN_BLOGS = frozenset({"haacked", "yasoob", "wouterbulten"})
MIN_TOPIC_WORDS = 8
_SPAM_LABELS: Mapping[str, int] = {"spam": 1, "ham": 0, "owner": 0}
_CAPS: Mapping[str, int] = {"haacked": 3_000, "stack-blog": 2_500}
_BENIGN_ROWS = 6_000
_THREAD_COMMENTS = 5
_LANGUAGES: Mapping[str, str] = {"nhoizey-fr": "fr", "arzebiu-pt": "pt", "rachel-vi": "vi", "usa-blog-de": "de"}


def blog_pr_moderation(paths: Sequence[Path]) -> Iterator[Draft]:
    """Comments submitted to blogs as pull requests, and what the owner did: merged = approved, never merged = rejected.

    spam -> spam; ham and owner -> not spam (nothing said about the other categories). Only rows whose label is not
    suspect; all other labels are skipped. The blog is the group; three blogs are frozen whole, where only comments
    typed into the blog's form are measured (imported ones are older and look different). ``extra["cluster"]`` numbers
    the campaign across all blogs.
    """
    posts = _posts(named(paths, "posts.jsonl"))
    for line in json_lines(named(paths, "comments.jsonl")):
        blog, label, origin = line["source"], line["label"], line["origin"]
        frozen = blog in FROZEN_BLOGS
        if label not in _SPAM_LABELS or line.fields.get("suspect") or (frozen and origin != "form"):
            continue
        yield Draft(
            line["id"],
            line["text_plain"],
            {"spam": _SPAM_LABELS[label]},
            f"blog:{blog}",
            frozen_set="spam-blogs" if frozen else None,
            slices=(f"origin-{origin}", f"blog-{blog}"),
            extra={"cluster": str(line.fields.get("cluster")), "label": label},
            author=_author(line),
            post=posts.get(line.fields.get("post_id") or ""),  # some forms did not say where they stood
            created_at=line["date"],
        )


def blog_threads(paths: Sequence[Path]) -> Iterator[Draft]:
    """Approved comments of real blogs with their post and up to five earlier comments of it.

    A comment of at least eight words is on topic where it stands (off_topic 0); off-topic rows are made later by moving
    comments (``dataset.move_comments``). Some 6,000 comments of the blogs we train on, chosen by hash, are also not
    hostile, nor any part of it, because the owner approved them; for the same reason no comment of those blogs is spam.
    The blog is the group; three blogs are frozen whole. Two very large blogs are capped, by hash.
    """
    posts = _posts(named(paths, "posts.jsonl"))
    by_post: dict[str, list[Line]] = defaultdict(list)
    seen: set[str] = set()
    for line in json_lines(named(paths, "comments.jsonl")):
        if line["id"] not in seen:
            seen.add(line["id"])
            by_post[line["post_id"]].append(line)
    placed = []
    for post_id, lines in by_post.items():
        lines.sort(key=lambda line: line["date"])  # stable: comments of one day keep the order of the file
        neighbours = [Neighbour(text=mend(line["text"])[:MAX_TEXT_CHARS]) for line in lines]
        for index, line in enumerate(lines):
            on_topic = post_id in posts and len(line["text"].split()) >= MIN_TOPIC_WORDS
            thread = tuple(neighbours[max(0, index - _THREAD_COMMENTS) : index])
            if on_topic or line["source"] not in FROZEN_BLOGS:
                placed.append((line, thread, on_topic))
    placed = _within_caps(placed)
    benign = _benign_sample([line for line, _, _ in placed])
    for line, thread, on_topic in placed:
        blog, identity = line["source"], line["id"]
        labels = dict(BENIGN) if identity in benign else {}
        if blog not in FROZEN_BLOGS:
            labels["spam"] = 0
        if on_topic:
            labels["off_topic"] = 0
        if labels:
            yield Draft(
                identity,
                line["text"],
                labels,
                f"blog:{blog}",
                frozen_set="topic-blogs" if blog in FROZEN_BLOGS else None,
                slices=(f"blog-{blog}", "own-post") if on_topic else (f"blog-{blog}",),
                author=_author(line),
                post=posts.get(line["post_id"]),
                thread=thread,
                lang=_LANGUAGES.get(blog),
                created_at=line["date"],
            )


_Placed = tuple[Line, tuple[Neighbour, ...], bool]  # a comment, what was said before it, whether it tells about topics


def _within_caps(placed: list[_Placed]) -> list[_Placed]:
    """All of them, but of a capped blog only those that come first in hash order."""
    by_blog: dict[str, list[str]] = defaultdict(list)
    for line, _, _ in placed:
        by_blog[line["source"]].append(line["id"])
    dropped = {identity for blog, cap in _CAPS.items() for identity in sorted(by_blog[blog], key=spread)[cap:]}
    return [item for item in placed if item[0]["id"] not in dropped]


def _benign_sample(lines: Sequence[Line]) -> set[str]:
    """The ids of the comments that also count as not hostile."""
    ids = [line["id"] for line in lines if line["source"] not in FROZEN_BLOGS]
    return set(sorted(ids, key=lambda identity: spread(f"benign:{identity}"))[:_BENIGN_ROWS])


def _posts(path: Path) -> dict[str, Post]:
    """Posts by id. A post without title and text says nothing, so it is left out."""
    posts = {}
    for line in json_lines(path):
        title = mend(line.fields.get("title") or "")[:MAX_TITLE_CHARS]
        text = mend(line.fields.get("text") or "")
        if title.strip() or text.strip():
            posts[line["post_id"]] = Post(id=short_hash(line["post_id"]), title=title or None, text=text or None)
    return posts


def _author(line: Line) -> Author | None:
    """Name and URL as given; an over-long one is cut, because the text is what the row is about."""
    name = mend(line.fields.get("author") or "")[:MAX_NAME_CHARS]
    url = mend(line.fields.get("author_url") or "")[:MAX_URL_CHARS]
    return Author(name=name or None, url=url or None) if name or url else None


def youtube(paths: Sequence[Path]) -> Iterator[Draft]:
    """Comments under five music videos of 2013 to 2015; CLASS 1 = spam, mostly "check out my channel" -> spam.

    The video is the group.
    """
    for path in paths:
        for line in csv_lines(path):
            author = mend(line["AUTHOR"])[:MAX_NAME_CHARS]
            yield Draft(
                line["COMMENT_ID"],
                line["CONTENT"],
                {"spam": line.flag("CLASS")},
                f"youtube-uci:{path.stem}",
                author=Author(name=author) if author else None,
            )


def tg_spam(paths: Sequence[Path]) -> Iterator[Draft]:
    """Samples of an anti-spam bot for chats, one message a line, Russian and English: a spam file and a ham file."""
    for ending, label in (("spam-samples.txt", 1), ("ham-samples.txt", 0)):
        for _, text in text_lines(named(paths, ending)):
            identity = short_hash(text)
            yield Draft(identity, text, {"spam": label}, f"tg-spam:{identity}")


def staticman_demo(paths: Sequence[Path]) -> Iterator[Draft]:
    """Entries of a demo guestbook that bots flooded; nobody labelled them, but everything with a link is spam.

    -> spam. The near-duplicate campaign is the group.
    """
    for line in json_lines(named(paths, "link_rows.jsonl")):
        author = mend(line.fields.get("author") or "")[:MAX_NAME_CHARS]
        yield Draft(
            line["id"],
            line["text_plain"],
            {"spam": 1},
            f"staticman-popcorn-demo:{line.fields.get('cluster')}",
            author=Author(name=author) if author else None,
            created_at=line["date"],
        )
