"""The gate's checks of what a challenger learned from, and of its answers as such. Figures are only compared after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from moderation.categories import CODES, MAY_ABSTAIN
from moderation.training.contest import Contest
from moderation.training.paired import Floats

State = Literal["pass", "hold", "reject", "skipped"]

# Half of all new labels, five times as many as anybody else and more than an afternoon's work: worth a look at who.
FLOOD_SHARE = 0.5
FLOOD_TIMES = 5
FLOOD_LEAST = 100
# A side of a category that is down to one label in fifty and to a fifth of the share that it had.
COLLAPSED_SHARE = 0.02
COLLAPSED_TIMES = 5
COLLAPSED_LEAST = 50
# Three times as many good anchors over the hold line, and one in twenty more; or a fifth of all that were over it.
EXPLODED_TIMES = 3
EXPLODED_MORE = 0.05
VANISHED_TIMES = 5
VANISHED_LEAST = 20
# Under this, labels say more about who gave them than about comments. Krippendorff asks for .667 before tentative
# conclusions are drawn about texts; a model averages over errors, so less will do for one.
LEAST_AGREEMENT = 0.4
# Which comments have nothing to be compared with hangs on the text, not on what was learned.
MOST_NEWLY_SILENT = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found: a sentence for people, and the figures it rests on."""

    name: str
    state: State
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "state": self.state, "sentence": self.sentence, "figures": dict(self.figures)}


def check_flood(contest: Contest) -> Check:
    """Whether one account gave most of what is new."""
    counts = sorted(contest.training.new_by_account.items(), key=lambda item: (-item[1], item[0]))
    if not counts:
        return Check("flood", "skipped", "No account gave a new label.")
    (account, most), total = counts[0], sum(count for _, count in counts)
    next_most = counts[1][1] if len(counts) > 1 else 0
    figures = {
        "new": total,
        "accounts": len(counts),
        "others": contest.training.others,
        "most": most,
        "next": next_most,
    }
    share = f"{most:,} of {total:,} new labels ({most / total:.0%}) are by the account {account}"
    if len(counts) == 1 and not contest.training.others:
        return Check("flood", "pass", f"All {total:,} new labels are by one account; there is no other.", figures)
    if most >= FLOOD_LEAST and most > FLOOD_SHARE * total and most >= FLOOD_TIMES * next_most:
        told = f"the next gave {next_most:,}" if next_most else "nobody else gave any"
        text = f"{share}, and {told}. See what it labelled before its labels decide."
        return Check("flood", "hold", text, figures)
    return Check("flood", "pass", f"{share}, the most of any.", figures)


def check_accounts(contest: Contest) -> Check:
    """Whether every site has labels of somebody whom the check of labels has not named."""
    kept = contest.training.accounts.kept
    figures = {"left_out": len(contest.training.accounts.left_out), "sites": {site: [*kept[site]] for site in kept}}
    if not kept:
        text = "Nobody is left out." if not figures["left_out"] else "Every site has labels without who is left out."
        return Check("accounts", "pass", text, figures)
    told = " ".join(
        f"Of {site or 'comments without a site'}: {', '.join(f'{who} ({why})' for who, why in accounts.items())}."
        for site, accounts in kept.items()
    )
    text = (
        f"All who label there would be left out, and no label of the site would remain. {told} They are learned from "
        "as they are. Has the site norms of its own? Say in labels/trust.toml what each of them counts, 1 or 0."
    )
    return Check("accounts", "hold", text, figures)


def check_leak(contest: Contest) -> Check:
    """Whether something that the challenger is measured on was learned from."""
    measured = {
        "frozen rows": set(contest.frozen.prints.tolist()),
        "held-out rows": set(contest.held_out.prints.tolist()),
        "behaviour cases": {case.print for case in contest.cases},
    }
    learned = contest.training.prints
    if not learned:
        return Check("leak", "skipped", "It is not known which texts were learned from.")
    leaked = {name: len(prints & learned) for name, prints in measured.items()}
    if not any(leaked.values()):
        text = f"None of {len(learned):,} texts learned from is among those it is measured on."
        return Check("leak", "pass", text, leaked)
    told = ", ".join(f"{count:,} {name}" for name, count in leaked.items() if count)
    text = f"It has learned from what it is measured on ({told}), so no figure of it means anything. Leave those out."
    return Check("leak", "reject", text, leaked)


def check_agreement(contest: Contest) -> Check:
    """Whether people who judged the same comments agree."""
    twice = max((each.comments for each in contest.training.agreement), default=0)
    alphas = {
        each.category: each.alpha
        for each in sorted(contest.training.agreement, key=lambda each: each.category)
        if each.is_telling and each.alpha is not None and np.isfinite(each.alpha)
    }
    figures = {
        "comments": twice,
        "alpha": {code: round(alpha, 4) for code, alpha in alphas.items()},
        "least": LEAST_AGREEMENT,
    }
    if not twice:
        return Check("agreement", "skipped", "No comment was judged by two people, so agreement is not known.", figures)
    if not alphas:
        text = f"Too few comments ({twice:,}) were judged by two people to say how far they agree."
        return Check("agreement", "skipped", text, figures)
    low = {code: alpha for code, alpha in alphas.items() if alpha < LEAST_AGREEMENT}
    told = ", ".join(f"{code} {alpha:.2f}" for code, alpha in sorted(low.items(), key=lambda item: item[1]))
    if low:
        text = (
            f"People who judged the same comments hardly agree (Krippendorff's alpha, under {LEAST_AGREEMENT}: {told})."
            " Settle what that means before the model learns it."
        )
        return Check("agreement", "hold", text, figures)
    worst = min(alphas, key=lambda code: alphas[code])
    text = f"People who judged the same comments agree (Krippendorff's alpha, least of {worst}: {alphas[worst]:.2f})."
    return Check("agreement", "pass", text, figures)


def check_answers(contest: Contest) -> Check:
    """Whether the challenger answers wherever the champion does: a row without an answer could not count against it."""
    pairs = (
        (contest.champion.frozen, contest.challenger.frozen),
        (contest.champion.held_out, contest.challenger.held_out),
    )
    silent = {code: _newly_silent(head, pairs) for head, code in enumerate(CODES)}
    bad = [code for code, share in silent.items() if share > (MOST_NEWLY_SILENT if code in MAY_ABSTAIN else 0)]
    wild = any(bool(((after < 0) | (after > 1)).any()) for _, after in pairs)
    figures = {"newly_silent": {code: round(share, 5) for code, share in silent.items() if share}}
    if wild:
        return Check("answers", "reject", "Some of its scores are not probabilities.", figures)
    if bad:
        text = f"It gives no score where the champion gives one, of {', '.join(bad)}."
        return Check("answers", "reject", text, figures)
    return Check("answers", "pass", "It scores what the champion scores.", figures)


def _newly_silent(head: int, pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """The share of the champion's scores of a category that the challenger has none for, in the worse part."""
    shares = [0.0]
    for before, after in pairs:
        answered = ~np.isnan(before[:, head])
        if answered.any():
            shares.append(float(np.isnan(after[answered, head]).mean()))
    return max(shares)


def check_collapse(contest: Contest) -> Check:
    """Whether a category has gone one way: in its labels, or in what reaches its hold line."""
    labels = list(_collapsed_labels(contest))
    scores = list(_collapsed_scores(contest))
    figures = {"labels": [code for code, _ in labels], "scores": [code for code, _ in scores]}
    if scores:
        return Check("collapse", "reject", " ".join(text for _, text in (*scores, *labels)), figures)
    if labels:
        return Check("collapse", "hold", " ".join(text for _, text in labels), figures)
    return Check("collapse", "pass", "No category has gone one way, in labels or in scores.", figures)


def _collapsed_labels(contest: Contest) -> Iterator[tuple[str, str]]:
    for code, now in contest.training.sides.items():
        before = contest.training.sides_before.get(code)
        if before is None or not before.bad or not before.good or now.bad + now.good < COLLAPSED_LEAST:
            continue
        if now.rarer_share <= COLLAPSED_SHARE and before.rarer_share >= COLLAPSED_TIMES * now.rarer_share:
            told = f"labels of {code} are nearly all one way now: {now.bad:,} bad and {now.good:,} good"
            yield code, f"The {told}, where there were {before.bad:,} and {before.good:,}."


def _collapsed_scores(contest: Contest) -> Iterator[tuple[str, str]]:
    for head, code in enumerate(CODES):
        labels = contest.frozen.labels[:, head]
        over_before, over_after = (
            np.round(one.frozen[:, head], 6) >= one.lines.get((code, "hold"), np.inf)
            for one in (contest.champion, contest.challenger)
        )
        good, known = labels == 0, ~np.isnan(labels)
        if good.any():
            before, after = float(over_before[good].mean()), float(over_after[good].mean())
            if after > EXPLODED_TIMES * before and after > before + EXPLODED_MORE:
                yield code, f"Of good anchors {after:.1%} are over the hold line of {code}, where {before:.1%} were."
        count_before, count_after = int(over_before[known].sum()), int(over_after[known].sum())
        if count_before >= VANISHED_LEAST and count_after * VANISHED_TIMES < count_before:
            told = f"{count_after:,} anchors are left over the hold line of {code}"
            yield code, f"Only {told}, where {count_before:,} were."
