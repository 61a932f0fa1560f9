"""What a test needs of the machine; without it the test is skipped, and says what to install."""

import shutil

import pytest

sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt install bubblewrap)"
)
