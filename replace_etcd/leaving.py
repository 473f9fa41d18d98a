"""How our processes end: with their own exit code, whatever Temporal's native threads are doing.

The SDK's core runs in native threads. One of them that comes back to Python while the interpreter is being torn
down aborts the process (SIGABRT, seen about once in thirty ends under load): a worker that has said in one sentence
why it cannot start would then look like a crash. So the exit functions run, the streams are flushed, and the
process ends without a teardown.
"""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def leave_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a program's main function, and end the process with its exit code."""
    code: int | str | None
    try:
        code = main()
    except SystemExit as leaving:
        code = leaving.code
    if isinstance(code, str):
        sys.stderr.write(code + "\n")
        code = 1
    atexit._run_exitfuncs()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)
