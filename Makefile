# Two commands do everything: `sudo make demo` shows a whole connection, `sudo make test` passes all tests.
# Both install what they need. `make check` is the quick part, for anybody and without root.

PYTHON ?= python3
VENV ?= .venv
PREFIX ?= /opt/anyike
BIN ?= /usr/local/bin
# What `make install` installs: this tree, or a wheel.
PACKAGE ?= .
TEST_PACKAGES = chromium curl dbus-daemon iproute2 iputils-ping openssl softhsm2 tcpdump tshark
APT_INSTALL = DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
HAS_VENV = $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null
# PREFIX is emptied: only an environment that `make install` made may be.
IS_OURS = [ ! -e "$(PREFIX)" ] || grep -qs "^prompt = 'anyike'" "$(PREFIX)/pyvenv.cfg" || \
	{ echo "$(PREFIX) is not an environment of anyike: it is left alone. Choose another PREFIX, of anyike's own" >&2; exit 1; }

.PHONY: demo test check lint bench bench-rekey wheel install uninstall clean root python test-packages

demo: root $(VENV)/bin/anyike
	@$(VENV)/bin/python tests/demo.py

test: root test-packages lint
	$(VENV)/bin/pytest

check: lint
	$(VENV)/bin/pytest -m "not container and not namespace"
	@echo "Left out: what needs root, network namespaces or the strongSwan container. sudo make test runs everything."

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

# About a minute, once the image of the test gateway is built.
bench: root $(VENV)/bin/anyike
	$(VENV)/bin/python bench/connect.py
	$(VENV)/bin/python bench/login.py

# Ten minutes: many rekeyings and faults, of two clients in turn.
bench-rekey: root $(VENV)/bin/anyike
	$(VENV)/bin/python bench/rekey.py

wheel: $(VENV)/ready
	$(VENV)/bin/python -m build --wheel

# An environment of its own, and the command where sudo finds it. pip compiles all modules, so that root never has to.
install: python
	@$(IS_OURS)
	$(PYTHON) -m venv --clear --prompt anyike "$(PREFIX)"
	"$(PREFIX)/bin/pip" install --quiet --disable-pip-version-check --compile "$(PACKAGE)"
	install -d "$(BIN)"
	ln -sfn "$(PREFIX)/bin/anyike" "$(BIN)/anyike"
	@echo "installed: $(BIN)/anyike"

uninstall:
	@$(IS_OURS)
	@if [ "$$(readlink "$(BIN)/anyike")" = "$(PREFIX)/bin/anyike" ]; then rm "$(BIN)/anyike"; fi
	rm -rf "$(PREFIX)"
	@echo "removed. Profiles in /etc/anyike and the device number in /var/lib/anyike are yours to delete."

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# This tree, editable: all that the demo needs.
$(VENV)/bin/anyike: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet --editable .
	@touch $@

# And the tools that test and check it.
$(VENV)/ready: $(VENV)/bin/anyike
	$(VENV)/bin/pip install --quiet --group dev
	@touch $@

root:
	@[ "$$(id -u)" = 0 ] || { echo "This makes network namespaces and starts a container, so it needs root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

python:
	@$(HAS_VENV) || { [ "$$(id -u)" = 0 ] && apt-get update -qq && $(APT_INSTALL) python3-venv >/dev/null; } || \
	    { echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }

# The container engine is installed by the script that starts the gateway.
test-packages:
	@missing=$$(for package in $(TEST_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	    echo "installing" $$missing; apt-get update -qq && $(APT_INSTALL) $$missing >/dev/null; fi
