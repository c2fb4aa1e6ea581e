"""Asks the control plane of this container whether it can serve; exits with 1 if it cannot.

NAVARCH_HEALTH_URL says where, https://127.0.0.1:50051/readyz for one that speaks TLS. Whose
certificate it is does not matter here: it is asked over loopback, and told nothing.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

URL = os.environ.get("NAVARCH_HEALTH_URL", "http://127.0.0.1:50051/readyz")


def main() -> int:
    """Ask once."""
    if not URL.startswith(("http://", "https://")):
        print(f"NAVARCH_HEALTH_URL is {URL!r}, expected http:// or https://", file=sys.stderr)
        return 1
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(URL, timeout=4, context=anybody) as answer:  # noqa: S310
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        print(f"{URL}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
