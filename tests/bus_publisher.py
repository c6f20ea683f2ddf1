"""A publisher in a process of its own, for the tests of the bus; run as a script.

Prints the endpoints it bound, waits for subscribers, publishes events of the stream "kitchen" and stays until
its standard input is closed.
"""

import argparse
import sys
import time

from auricle.daemon import event_data
from auricle.daemon.bus import Publisher
from auricle.daemon.events import Event


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoints", nargs="+")
    parser.add_argument("--subscribers", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--per-second", type=float, default=1000.0)
    args = parser.parse_args()
    with Publisher(args.endpoints) as publisher:
        say(" ".join(publisher.endpoints))
        while publisher.subscriptions < args.subscribers:
            time.sleep(0.01)
        start = time.monotonic()
        for index in range(args.count):
            time.sleep(max(0.0, start + index / args.per_second - time.monotonic()))
            publisher.publish(
                Event(
                    type="keyword",
                    stream="kitchen",
                    seq=index,
                    sample=160 * index,
                    mono_ns=time.monotonic_ns(),
                    wall_ns=time.time_ns(),
                    data=event_data.keyword("yes", 0.97),
                    model="keyword@0123abcd",
                )
            )
        say("published")
        sys.stdin.read()


if __name__ == "__main__":
    main()
