"""Every error this package raises on purpose.

    NatixMinerError
    |-- ConfigurationError        a profile, an option or the environment is wrong
    |   |-- ProfileError          the profile file itself
    |   `-- LicenceError          a model's terms that the profile does not accept
    |-- PictureError              the bytes of a query are not a picture we judge
    |   |-- NotBase64Error
    |   |-- EmptyPictureError
    |   |-- NotAPictureError
    |   |-- PictureFormatError    a picture, but of a format that is switched off
    |   |-- PictureTooLargeError  more pixels than allowed (header read, nothing decoded)
    |   `-- BrokenPictureError    header fine, pixels truncated or corrupt
    |-- ModelError                weights missing, of another format, or failing to load
    |   `-- MissingExtraError     an optional package is not installed
    |-- ExpertError               an expert could not form an opinion
    |   `-- UnavailableError      what it needs is known to be down or full: it was not asked at all
    |-- CatalogueError            the catalogue is unreadable, or does not know a model
    |-- ServingError              a server of vision-language models
    |   |-- ServerCommandError    its section of the profile makes no command that it would take
    |   |-- ServerStartError      it did not come up; the message ends with its last log lines
    |   |-- PlanError             the servers of a profile do not fit the GPUs
    |   `-- ServerAnswerError     it answered, but not what was asked for
    |-- FittedFileError           a fitted consensus file is unreadable or does not match
    |-- FittingError              votes from which nothing can be fitted, compared or replayed
    |-- JournalError              the journal cannot be opened, read or migrated
    |-- WatchingError             a running miner cannot be asked how it is, or costs not told
    |-- QuerySourceError          saved queries for scoring cannot be read
    |-- RegistrationError         registering or publishing is not possible like this
    |   |-- NatixServerError      the NATIX server was not reached, or did not answer as described
    |   `-- PublishingError       a folder that may not go to the model hub, or the hub refused it
    `-- NeuronError               the miner cannot start or go on
        |-- WalletError
        |-- AddressError          a host, port or external address is unusable
        |   `-- PortTakenError
        |-- RefusedRequestError   a request to the axon is turned away, with an HTTP status
        `-- ChainError            the chain or a snapshot of it is unusable
            `-- SnapshotError

A message says what was wrong, with which value, and what to do about it.
"""

from __future__ import annotations


class NatixMinerError(Exception):
    """Base of all errors raised on purpose by this package."""


class ConfigurationError(NatixMinerError):
    """A setting is missing, unknown or out of range."""


class ProfileError(ConfigurationError):
    """A profile file is missing, is not YAML, or says something we do not know."""


class LicenceError(ConfigurationError):
    """A profile uses models whose terms it does not accept; the message lists all of them."""


class PictureError(NatixMinerError):
    """The bytes of a query cannot be judged as a picture.

    `reason` is a short fixed word for counters and traces; it never holds data of the sender.
    """

    reason = "picture"


class NotBase64Error(PictureError):
    """The image field of a synapse is not base64."""

    reason = "not-base64"


class EmptyPictureError(PictureError):
    """There are no bytes at all."""

    reason = "empty"


class NotAPictureError(PictureError):
    """The bytes are of no picture format that is known."""

    reason = "not-a-picture"


class PictureFormatError(PictureError):
    """A picture, but of a format that the profile does not allow."""

    reason = "format"


class PictureTooLargeError(PictureError):
    """The header announces more pixels than the profile allows."""

    reason = "too-large"


class BrokenPictureError(PictureError):
    """The header is fine, the pixels are truncated or corrupt."""

    reason = "broken"


class ModelError(NatixMinerError):
    """Weights are missing, have another format than expected, or do not load."""


class MissingExtraError(ModelError):
    """An optional package is not installed; the message names the extra that brings it."""


class ExpertError(NatixMinerError):
    """An expert could not form an opinion on this frame."""


class UnavailableError(ExpertError):
    """What an expert needs is known to be down, resting or full; asking was not even tried."""


class CatalogueError(NatixMinerError):
    """The catalogue of models is unreadable, or has no such model."""


class ServingError(NatixMinerError):
    """Something about a server of vision-language models."""


class ServerCommandError(ServingError):
    """The settings of a server make no command that the engine would take."""


class ServerStartError(ServingError):
    """A server did not come up."""


class PlanError(ServingError):
    """The servers of a profile do not fit the GPUs."""


class ServerAnswerError(ServingError):
    """A server answered, but not in the form that was asked for.

    `status` is the HTTP status (0: the connection broke before there was one).
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class FittedFileError(NatixMinerError):
    """A fitted consensus file is unreadable, or its experts are not those of the profile."""


class FittingError(NatixMinerError):
    """Votes are missing, of one class, too few or in conflict; nothing was written."""


class JournalError(NatixMinerError):
    """The journal cannot be opened, read, migrated or exported."""


class WatchingError(NatixMinerError):
    """A running miner's metrics cannot be read, or costs cannot be worked out."""


class QuerySourceError(NatixMinerError):
    """Saved queries cannot be read."""


class RegistrationError(NatixMinerError):
    """Registering or publishing is not possible like this; nothing was sent unless it says so."""


class NatixServerError(RegistrationError):
    """The NATIX application server was not reached, or did not answer as described.

    `reason` is a short fixed word: refused, tls, network, timeout, redirect, http-status, not-json,
    too-large, shape. `status` is the HTTP status (0: there was none). `sent`: whether the server
    may have the request all the same.
    """

    def __init__(self, message: str, reason: str, *, status: int = 0, sent: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.sent = sent


class PublishingError(RegistrationError):
    """A folder that may not go to the model hub, or a hub that did not take it."""


class NeuronError(NatixMinerError):
    """The miner cannot start, or cannot go on."""


class WalletError(NeuronError):
    """The wallet's hotkey or coldkeypub file is missing or unreadable."""


class AddressError(NeuronError):
    """A host, port or external address cannot be used."""


class PortTakenError(AddressError):
    """Another process listens on the axon's port."""


class RefusedRequestError(NeuronError):
    """A request to the axon is turned away.

    `status` is the HTTP status, `reason` a short fixed word for counters; the message goes to the
    sender and holds nothing that he did not send himself. `retry_seconds`: when it is worth asking
    again, where that is known.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_seconds = retry_seconds


class ChainError(NeuronError):
    """The chain did not answer, or refused."""


class SnapshotError(ChainError):
    """A chain snapshot file is unreadable or incomplete."""
