"""``python -m minilora`` is ``minilora``."""

import sys

from minilora.cli import main

sys.exit(main())
