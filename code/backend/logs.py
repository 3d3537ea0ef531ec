"""Django's own log records as NDJSON, so that a command's stderr stays one JSON object a line (CONTRACT §7)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class NdjsonFormatter(logging.Formatter):
    """One record, one line: `ts`, `level`, `event`, `logger` and `message`, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line of JSON; a line break inside it is escaped."""
        moment = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        line = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": "django.log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
