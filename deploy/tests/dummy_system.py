"""A supervisor over embedded engines and a dummy service, to be ended in every way: python dummy_system.py DIRECTORY."""

import sys
import threading
from pathlib import Path

from deploy import processes
from deploy.provider import provide_engines
from deploy.stack import Service, Stack

DUMMY = Service("dummy", 0, (sys.executable, str(Path(__file__).with_name("dummy_service.py"))))

if __name__ == "__main__":
    directory = Path(sys.argv[1])
    stack = Stack(directory, provide_engines(directory, {"PROVIDER": "embedded"}), services=[DUMMY])
    try:
        with processes.until_signalled():
            stack.start()
            threading.Event().wait()
    finally:
        stack.stop()
