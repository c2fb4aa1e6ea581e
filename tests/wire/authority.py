"""An authority that signs certificates for tests, by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


class Authority:
    """Signs certificates for 127.0.0.1 and localhost."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        """Make the authority's key and its own certificate in a folder."""
        self.folder = folder
        self.cert = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._run(
            *("req", "-x509", "-days", "3650", "-subj", f"/CN={name}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(self._key), "-out", str(self.cert)),
        )

    def sign(self, name: str, days: int = 30) -> tuple[Path, Path]:
        """Make a certificate that is called `name`, and its key."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, names = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._run(
            *("req", "-new", "-subj", f"/CN={name}", "-nodes"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(key), "-out", str(request)),
        )
        self._run(
            *("x509", "-req", "-in", str(request), "-out", str(cert), "-extfile", str(names)),
            *("-CA", str(self.cert), "-CAkey", str(self._key), "-days", str(days)),
        )
        return cert, key

    def _run(self, *arguments: str) -> None:
        openssl = shutil.which("openssl")
        assert openssl is not None, "the tests of TLS need the openssl program"
        subprocess.run([openssl, *arguments], check=True, capture_output=True, timeout=60)
