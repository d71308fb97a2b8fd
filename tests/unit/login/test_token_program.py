"""The program that speaks to a PKCS#11 module, in a process of its own with a module of the test's."""

import json
import subprocess
import sys

MODULE = """
import ctypes, resource
import pkcs11
from anyike.login import token_program

def load(path):
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
    raise pkcs11.PKCS11Error(f"dumpable {dumpable}, core files of {resource.getrlimit(resource.RLIMIT_CORE)} bytes")

pkcs11.lib = load
token_program.main()
"""


def test_nobody_reads_the_pin_from_its_memory():
    request = {"command": "open", "module_path": "/module", "module_name": None, "token": {}}
    program = [sys.executable, "-c", MODULE]
    done = subprocess.run(
        program, input=json.dumps(request) + "\n", capture_output=True, text=True, check=True, timeout=20
    )
    assert json.loads(done.stdout) == {"error": "module", "message": "dumpable 0, core files of (0, 0) bytes"}
