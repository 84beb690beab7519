"""A record is anchored outside: stamped by an authority, here openssl behind a local server, or by a signed tag."""

import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.crate.contents import RECORD_FILE, collect_contents
from americano_pipelines.provenance.crate.crate_check import check_crate
from americano_pipelines.provenance.crate.ro_crate import crate_options, write_crate
from americano_pipelines.provenance.crate.time_stamp import STAMP, request_stamp, stamped_at
from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.provenance.conftest import Lab
from americano_pipelines_tests.provenance.crate.crates import findings, settings_of

CONFIG = """
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
default_policy = 1.2.3.4
signer_digest = sha256
digests = sha256
[extensions]
extendedKeyUsage = critical,timeStamping
"""


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and certificate of an authority of this test's own."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "config").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01")
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority", "-days", "2"),
        *("-addext", "extendedKeyUsage=critical,timeStamping"),
        *("-keyout", folder / "key.pem", "-out", folder / "certificate.pem"),
    )

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            openssl(
                *("ts", "-reply", "-config", folder / "config", "-section", "authority"),
                *("-queryfile", folder / "query", "-inkey", folder / "key.pem"),
                *("-signer", folder / "certificate.pem", "-out", folder / "reply"),
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder / "certificate.pem"
    server.shutdown()


@pytest.mark.slow
def test_a_record_is_stamped_and_the_stamp_verifies(lab: Lab, authority: tuple[str, Path], tmp_path: Path) -> None:
    url, certificate = authority
    settings = settings_of(lab)
    contents = collect_contents(settings, lab.analyse("change_points").sha256, with_days=True)
    contents.files[STAMP] = request_stamp(url, contents.files[RECORD_FILE])
    target = tmp_path / "stamped.zip"
    write_crate(settings.paths, contents, crate_options(settings, None), target)

    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path)
    openssl("ts", "-verify", "-data", tmp_path / RECORD_FILE, "-in", tmp_path / STAMP, "-CAfile", certificate)
    check = check_crate(settings.paths, target)
    assert check.verified
    assert any(f"{STAMP} says that an authority saw this record on" in words for _, words in check.findings)
    assert findings(target, tmp_path / "cache") == []

    contents.files[STAMP] = request_stamp(url, b"another record")
    write_crate(settings.paths, contents, crate_options(settings, None), target)
    assert ("FAULT", f"{STAMP} is the time stamp of another record") in check_crate(settings.paths, target).findings
    assert not check_crate(settings.paths, target).verified


def test_what_is_no_stamp_is_refused(authority: tuple[str, Path]) -> None:
    with pytest.raises(AnalysisError, match="gave no time stamp"):
        request_stamp("http://127.0.0.1:1/", b"record")
    with pytest.raises(AnalysisError, match="begins with http"):
        request_stamp("file:///etc/passwd", b"record")
    with pytest.raises(AnalysisError, match="is no time stamp"):
        stamped_at(b"no", b"record")
    with pytest.raises(AnalysisError, match="of another record"):
        stamped_at(request_stamp(authority[0], b"record"), b"other")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="a tag is signed with a key of ssh")
def test_the_signed_tag_of_the_guide_holds_the_hash_of_a_record(tmp_path: Path) -> None:
    guide, sha256 = PROJECT_ROOT / "docs" / "crates.md", "c0ffee" * 10
    tag, verify = (
        command.replace("HASH", sha256).split()
        for command in re.findall(r"`(git (?:tag|verify-tag) [^`]+)`", guide.read_text(encoding="utf-8"))
    )
    key, signers = tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    config = {"gpg.format": "ssh", "user.signingkey": str(key), "gpg.ssh.allowedSignersFile": str(signers)}
    config |= {"user.name": "Ada Example", "user.email": "ada@example.org"}

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = [option for name, value in config.items() for option in ("-c", f"{name}={value}")]
        return subprocess.run(["git", *options, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "Begin")

    git(*tag[1:])

    assert "Good" in git(*verify[1:]).stderr
    assert git("tag", "--list", f"record-{sha256}", "--format=%(contents:subject)").stdout.strip() == sha256
