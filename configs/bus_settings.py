"""Settings of the event bus and of the audio ingress: the daemon's two ZeroMQ doors."""

import os
from typing import Literal

from pydantic import Field, field_validator

from auricle.configs.paths import default_endpoint
from auricle.configs.section import Section, Strings, check_unique

DEFAULT_ENDPOINT = "default"
"""Stands for `auricle.configs.paths.default_endpoint()` in a configuration file."""

MAX_IPC_PATH_BYTES = 107
_MAX_PORT = 65_535


def check_endpoint(endpoint: str) -> str:
    """Returns `endpoint` in the form ZeroMQ takes, with "default" replaced by the user's own ipc endpoint.

    Raises:
        ValueError: it's neither `ipc://PATH` nor `tcp://HOST:PORT`.
    """
    endpoint = default_endpoint() if endpoint == DEFAULT_ENDPOINT else endpoint
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc" and address:
        if len(os.fsencode(address)) > MAX_IPC_PATH_BYTES:
            raise ValueError(
                f"expected an ipc path of at most {MAX_IPC_PATH_BYTES} bytes (a limit of Unix sockets), "
                f"got {len(os.fsencode(address))} in {endpoint!r}; use a shorter folder"
            )
        return endpoint
    host, _, port = address.rpartition(":")
    if scheme == "tcp" and host and (port == "*" or (port.isdecimal() and int(port) <= _MAX_PORT)):
        return endpoint
    raise ValueError(
        f'expected ipc:///PATH, tcp://HOST:PORT or "{DEFAULT_ENDPOINT}", got {endpoint!r}; '
        'such as "ipc:///run/user/1000/auricle/events.ipc" or "tcp://127.0.0.1:7310"'
    )


class BusSettings(Section):
    """Where events are published, and how much may wait for a slow subscriber."""

    endpoints: Strings = Field(
        default=(DEFAULT_ENDPOINT,),
        min_length=1,
        description='ZeroMQ endpoints to publish on: ipc:///PATH or tcp://HOST:PORT; "default" = '
        "auricle/events.ipc in $XDG_RUNTIME_DIR, or in a folder of the user's own under /tmp.",
    )
    hwm: int = Field(
        default=100,
        ge=1,
        le=10_000_000,
        description="Events queued per subscriber (messages); beyond it the newest are dropped for that one.",
    )
    sndbuf_bytes: int = Field(
        default=8192,
        ge=0,
        le=1 << 30,
        description="Kernel send buffer per tcp subscriber (bytes); 0 = the system's. A small one keeps a "
        "slow subscriber from reading events that are many seconds old.",
    )

    @field_validator("endpoints", mode="after")
    @classmethod
    def _endpoints_are_distinct(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        endpoints = tuple(check_endpoint(endpoint) for endpoint in endpoints)
        fixed = [endpoint for endpoint in endpoints if not endpoint.endswith(":*")]
        check_unique("endpoint", fixed)
        return endpoints


class IngressSettings(Section):
    """The door for remote microphones (`auricle send`)."""

    endpoint: str = Field(
        default="",
        description='ZeroMQ endpoint that takes audio: ipc:///PATH or tcp://HOST:PORT; "" = closed.',
    )
    accept: Literal["declared", "any"] = Field(
        default="declared",
        description='Which stream names may send: those with source = "zmq" in [streams], or any new name.',
    )
    max_streams: int = Field(
        default=8, ge=1, le=1024, description="Remote streams open at the same time (streams)."
    )
    hwm_chunks: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="Audio chunks queued per sender (messages); beyond it they are lost and counted.",
    )

    @field_validator("endpoint", mode="after")
    @classmethod
    def _endpoint_is_usable(cls, endpoint: str) -> str:
        if endpoint == DEFAULT_ENDPOINT:
            raise ValueError(
                f'expected ipc:///PATH, tcp://HOST:PORT or "" (closed), got {endpoint!r}, which is the event '
                'endpoint; such as "tcp://127.0.0.1:7311"'
            )
        return check_endpoint(endpoint) if endpoint else endpoint
