"""`python -m anyike`."""

import sys

from anyike.cli import main

sys.exit(main())
