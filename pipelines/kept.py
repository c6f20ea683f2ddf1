"""Measurements that are kept: each in a file of its own as soon as it is done, and read by the next run."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole

logger = logging.getLogger(__name__)


def keep(folder: Path, key: str, settings: Mapping[str, Any], measure: Callable[[], Any]) -> Any:
    """Returns a kept result, or measures it and keeps it.

    Args:
        folder: where the files lie.
        key: name of the measurement, and of its file.
        settings: all that decides the result.
        measure: gives what JSON can hold.

    Raises:
        DataError: the kept result is one of other settings.
    """
    path = folder / f"{key}.json"
    asked = json.loads(json.dumps(settings))
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] != asked:
            raise DataError(
                f"{path} was measured with other settings: give the same options as then, another --out, "
                "or --fresh to measure everything anew"
            )
        logger.info("kept: %s", key)
        return kept["result"]
    result = json.loads(json.dumps(measure()))
    with written_whole(path) as partial:
        partial.write_text(json.dumps({"settings": asked, "result": result}, indent=1), encoding="utf-8")
    return result
