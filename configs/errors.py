"""Every error that Auricle raises on purpose.

    AuricleError
     +-- ConfigError      a setting, option or configuration file cannot be used
     +-- AudioError       audio cannot be had or read
     |    +-- DeviceError     a sound device is missing, busy or gone
     |    +-- FormatError     wrong rate, channels or encoding; an empty or corrupt file
     +-- ModelError       a model is missing, damaged or does not fit
     +-- BusError         an endpoint, message or subscriber is at fault
     +-- DataError        training or evaluation data is missing or malformed

A message says what was expected, what came instead, and what to do about it.
"""


class AuricleError(Exception):
    """Base of all errors that a user can act on; `code` names the kind in `error` events."""

    code = "error"


class ConfigError(AuricleError):
    """A setting, option or configuration file cannot be used."""

    code = "config"


class AudioError(AuricleError):
    """Audio cannot be had or read."""

    code = "audio"


class DeviceError(AudioError):
    """A sound device is missing, busy or gone."""

    code = "device"


class FormatError(AudioError):
    """Wrong rate, channels or encoding; an empty or corrupt file."""

    code = "format"


class ModelError(AuricleError):
    """A model is missing, damaged or does not fit."""

    code = "model"


class BusError(AuricleError):
    """An endpoint, message or subscriber is at fault."""

    code = "bus"


class DataError(AuricleError):
    """Training or evaluation data is missing or malformed."""

    code = "data"
