"""Have a record time stamped by an authority (RFC 3161), and read such a stamp: the one thing that a hash cannot show.

https://www.rfc-editor.org/rfc/rfc3161
"""

import urllib.request
from datetime import datetime

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AnalysisError

STAMP = "record.tsr"
_TIMEOUT_SECONDS = 30


def request_stamp(url: str, record: bytes) -> bytes:
    """The authority's answer for a record; only the record's hash is sent.

    Args:
        url: the authority, http or https.
        record: the record's canonical text.

    Raises:
        AnalysisError: the authority does not answer, or its answer is no stamp of this record.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    if not url.startswith(("http://", "https://")):
        raise AnalysisError(f"{url} is no address of a time stamping authority: it begins with http:// or https://")
    asked = TimestampRequestBuilder().data(record).hash_algorithm(HashAlgorithm.SHA256).build()
    headers = {"Content-Type": "application/timestamp-query"}
    request = urllib.request.Request(url, asked.as_bytes(), headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - checked above
            response: bytes = answer.read()
    except OSError as error:
        raise AnalysisError(f"{url} gave no time stamp: {error}") from None
    stamped_at(response, record)
    return response


def stamped_at(response: bytes, record: bytes) -> datetime:
    """When an authority says that it saw a record. Its signature is not checked: that needs its certificate.

    Raises:
        AnalysisError: this is no stamp, or one of another record.
    """
    from rfc3161_client import decode_timestamp_response

    try:
        info = decode_timestamp_response(response).tst_info
    except ValueError as error:
        raise AnalysisError(f"{STAMP} is no time stamp: {error}") from None
    if info.message_imprint.message.hex() != sha256_hex(record):
        raise AnalysisError(f"{STAMP} is the time stamp of another record")
    time: datetime = info.gen_time
    return time
