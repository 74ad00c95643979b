import time

from tests.fuzz import syslog


def test_the_sink_stores_whatever_comes() -> None:
    """A few rounds of what ``python -m tests.fuzz.syslog`` does for as long as one likes."""
    stored, _ = syslog.run(0, time.time_ns(), count=500)
    assert stored > 2000
