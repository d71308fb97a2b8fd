"""What a start loads, and what it leaves for later: import time is most of the time until the tunnel is up."""

import gc
import json
import subprocess
import sys

import pytest

from anyike import cli

IMPORTS = (
    "import anyike.client, anyike.lock, anyike.login.secret_lines, anyike.login_assembly, anyike.logs, anyike.prompt"
    ", anyike.terminal"
)


def loaded_by(statement):
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class TestLoading:
    @pytest.fixture(autouse=True)
    def thaw(self):
        yield
        gc.unfreeze()

    def test_no_collection_while_modules_load_and_none_of_them_ever_after(self):
        before = gc.get_freeze_count()
        with cli._loading():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before

    def test_a_failed_import_leaves_the_collector_on(self):
        with pytest.raises(ImportError), cli._loading():
            raise ImportError
        assert gc.isenabled()


class TestBeforeTheFirstPacket:
    def test_what_only_an_established_tunnel_needs_is_not_loaded(self):
        loaded = loaded_by(IMPORTS)
        assert "anyike.ikev2.connection" in loaded
        assert [name for name in loaded if name.startswith("pyroute2") or name == "anyike.net.host"] == []

    def test_what_only_the_background_needs_is_not_loaded(self):
        assert "logging.handlers" not in loaded_by(IMPORTS)

    def test_what_only_some_logins_need_is_not_loaded(self):
        rare = {"client_certificate", "host_scan", "one_time_code", "sign_on"}
        assert [name for name in loaded_by(IMPORTS) if name.removeprefix("anyike.login.") in rare] == []
