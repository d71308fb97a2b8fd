"""What programs see of a user who is not to be asked."""

from __future__ import annotations

import os
import pwd

import pytest

from anyike.invoking_user import InvokingUser, invoking_user, run
from anyike.login.unattended import unattended

WAYS = ("DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY")


@pytest.mark.parametrize("other", [False, pytest.param(True, marks=pytest.mark.namespace)])
async def test_there_is_no_way_to_ask(monkeypatch: pytest.MonkeyPatch, other: bool) -> None:
    for name in (*WAYS, "LANG"):
        monkeypatch.setenv(name, "set")
    nobody = pwd.getpwnam("nobody")
    user = InvokingUser(nobody.pw_uid, "nobody", nobody.pw_gid, invoking_user().home) if other else invoking_user()
    for somebody, names in ((user, {*WAYS, "LANG"}), (unattended(user), {"LANG"})):
        finished = await run(somebody, ("/usr/bin/env",), timeout=10)
        seen = {line.partition("=")[0] for line in finished.output.decode().splitlines()}
        assert seen & {*WAYS, "LANG"} == names
    uid = await run(unattended(user), ("/usr/bin/id", "-u"), timeout=10)
    assert int(uid.output) == (nobody.pw_uid if other else os.getuid())
