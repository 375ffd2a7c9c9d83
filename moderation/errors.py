"""Everything the library raises on purpose.

::

    ModerationError
    ├── InvalidComment            a comment breaks a rule of the contract (field, message)
    │   └── CommentTooLarge       a field is longer than its limit
    ├── InvalidPolicy             policy.toml says something that cannot be meant
    ├── BundleError               a model folder cannot be used
    │   ├── BundleMissing         there is no folder, or no published bundle in it
    │   ├── BundleCorrupt         a file is missing, has the wrong size or the wrong hash
    │   ├── BundleUnsupported     written by a newer format than this version reads
    │   ├── BundleBusy            another process is publishing or clearing away in the same folder
    │   └── ReleaseRefused        what was asked of the releases makes no sense as they stand now
    ├── EncoderUnavailable        the sentence encoder cannot be loaded or run
    └── DataError                 training or evaluation data cannot be used
        ├── SourceMissing         a catalogued source is not in the data folder
        ├── SourceCorrupt         a catalogued source has another checksum
        └── InvalidRow            one line of a data file is bad (path, line, message)
"""

from __future__ import annotations


class ModerationError(Exception):
    """Root of the tree: catch this to catch everything the library raises on purpose."""


class InvalidComment(ModerationError):
    """A comment breaks a rule of the contract; ``field`` is its dotted name, such as ``post.title``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class CommentTooLarge(InvalidComment):
    """A field is longer than its limit. Comments are refused, never cut."""


class InvalidPolicy(ModerationError):
    """A policy cannot be read or contradicts itself."""


class BundleError(ModerationError):
    """A model folder cannot be used."""


class BundleMissing(BundleError):
    """There is no such folder, or nothing in it is published."""


class BundleCorrupt(BundleError):
    """A file of the bundle is missing, has the wrong size or the wrong hash."""


class BundleUnsupported(BundleError):
    """The bundle was written by a newer format than this version reads."""


class BundleBusy(BundleError):
    """Another process is writing into the folder of bundles, and has been for too long to wait for it."""


class ReleaseRefused(BundleError):
    """A publication or rollback that makes no sense as the releases stand now. The sentence says what does."""


class EncoderUnavailable(ModerationError):
    """The sentence encoder cannot be loaded or run; the lexical tier answers in its place."""


class DataError(ModerationError):
    """Training or evaluation data cannot be used."""


class SourceMissing(DataError):
    """A catalogued source is not in the data folder."""


class SourceCorrupt(DataError):
    """A catalogued source has another checksum than the catalogue says."""


class InvalidRow(DataError):
    """One line of a data file is bad."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path = path
        self.line = line
        self.message = message
