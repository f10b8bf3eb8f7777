"""What an S3 error means and what to do, in one sentence: no traceback, no key, no secret."""

from __future__ import annotations

import re
from typing import NamedTuple

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as BrokenConnection

from curate.base.errors import WorkspaceError

_ARROW_CODE = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")


class S3Error(WorkspaceError, OSError):
    """S3 refused or could not be reached, after all retries; an OSError too, since another try later may work."""


class _Meaning(NamedTuple):
    what: str
    remedy: str


_CREDENTIALS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE"
_DENIED = _Meaning(
    "access to bucket {bucket} was denied",
    "the credentials in use need s3:ListBucket on it, s3:GetObject below the prefix, and for a workspace s3:PutObject and s3:DeleteObject",
)
_EXPIRED = _Meaning(
    "the credentials in use have expired", "get new ones (log in again, or renew AWS_SESSION_TOKEN) and run again"
)
_REGION = _Meaning("bucket {bucket} lies in another region{region}", "set AWS_REGION to the bucket's region")
_BUSY = _Meaning(
    "the endpoint was overloaded or failing ({code}), also after retries", "run again later: what is committed stays"
)
_NO_CREDENTIALS = _Meaning(
    "no S3 credentials were found",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run where an instance role is attached",
)
_UNREACHABLE = _Meaning(
    "the S3 endpoint{endpoint} cannot be reached",
    "check AWS_ENDPOINT_URL, AWS_REGION and whether this machine may reach it",
)
_NOT_S3 = _Meaning("the endpoint{endpoint} does not answer as S3 does", "check AWS_ENDPOINT_URL")

_CODES = {
    **dict.fromkeys(("AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"), _DENIED),
    "InvalidAccessKeyId": _Meaning("the access key is not known to the S3 endpoint", _CREDENTIALS),
    "SignatureDoesNotMatch": _Meaning("the secret key does not belong to the access key", _CREDENTIALS),
    "InvalidToken": _Meaning("the session token is not valid", _CREDENTIALS),
    "InvalidSecurity": _Meaning("the credentials are not valid", _CREDENTIALS),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"), _EXPIRED),
    "RequestTimeTooSkewed": _Meaning("this machine's clock is too far off for S3", "set the clock"),
    "NoSuchBucket": _Meaning(
        "bucket {bucket} does not exist", "create it, or mend the name, AWS_ENDPOINT_URL or AWS_REGION"
    ),
    "404": _Meaning("the endpoint knows no such bucket or object", "mend the name, or AWS_ENDPOINT_URL"),
    **dict.fromkeys(("NoSuchKey", "ResourceNotFound"), _Meaning("the object does not exist", "mend the name")),
    "InvalidBucketName": _Meaning("{bucket} is not a valid bucket name", "mend the name"),
    **dict.fromkeys(("PermanentRedirect", "301", "IllegalLocationConstraintException"), _REGION),
    "AuthorizationHeaderMalformed": _REGION,
    "NotImplemented": _Meaning(
        "the endpoint lacks a feature that is needed (conditional puts, multipart)", "use an endpoint that has it"
    ),
    **dict.fromkeys(("MethodNotAllowed", "405"), _NOT_S3),
    "InvalidObjectState": _Meaning("the object is archived", "restore it first"),
    "EntityTooLarge": _Meaning("the object is too large for the endpoint", "lower `ingest.partition_bytes`"),
    "QuotaExceeded": _Meaning("the endpoint's quota is used up", "make room, then run again"),
    "NetworkConnection": _UNREACHABLE,
    **dict.fromkeys(("RequestTimeout", "SlowDown", "Throttling", "ServiceUnavailable"), _BUSY),
    **dict.fromkeys(("InternalError", "InternalFailure"), _BUSY),
}

_CLASSES: dict[type[BaseException], _Meaning] = {
    **dict.fromkeys((boto.NoCredentialsError, boto.NoAuthTokenError), _NO_CREDENTIALS),
    boto.PartialCredentialsError: _Meaning("the S3 credentials are incomplete", _CREDENTIALS),
    boto.ProfileNotFound: _Meaning(
        "AWS_PROFILE names a profile that does not exist", "mend it, or add the profile to ~/.aws/config"
    ),
    **dict.fromkeys((boto.UnauthorizedSSOTokenError, boto.SSOTokenLoadError, boto.TokenRetrievalError), _EXPIRED),
    **dict.fromkeys(
        (boto.CredentialRetrievalError, boto.UnknownCredentialError),
        _Meaning("the S3 credentials could not be fetched", _CREDENTIALS),
    ),
    boto.SSLError: _Meaning(
        "the S3 endpoint{endpoint} has a certificate that is not trusted", "set AWS_CA_BUNDLE, or mend AWS_ENDPOINT_URL"
    ),
    boto.ProxyConnectionError: _Meaning("the proxy of this machine cannot be reached", "check HTTPS_PROXY"),
    **dict.fromkeys((boto.ConnectTimeoutError, boto.EndpointConnectionError, boto.HTTPClientError), _UNREACHABLE),
    **dict.fromkeys(
        (boto.IncompleteReadError, boto.FlexibleChecksumError, BrokenConnection),
        _Meaning("the answer came damaged, also after retries", "run again later"),
    ),
    boto.ParamValidationError: _Meaning(
        "{bucket} is not a valid bucket name, or the path is not a valid key", "mend the name"
    ),
    **dict.fromkeys(
        (boto.InvalidRegionError, boto.NoRegionError, boto.UnknownRegionError),
        _Meaning("the region is missing or not valid", "set AWS_REGION"),
    ),
    ResponseParserError: _NOT_S3,
    RecursionError: _REGION,  # botocore asks for the region when it is redirected without one, is redirected, asks, …
    ValueError: _Meaning(
        "the S3 endpoint is not a valid URL", "write AWS_ENDPOINT_URL as http://host:port or https://host"
    ),
}
"""By class of the error; the class nearest to the error's own decides."""


def error_code(error: BaseException) -> str:
    """S3's own code of an error of boto3 or pyarrow (``AccessDenied``; the HTTP status when it came alone); else empty."""
    if isinstance(error, boto.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    if isinstance(error, OSError) and (found := _ARROW_CODE.search(str(error))):
        name, status = found.groups()
        return status if name == "UNKNOWN" and status else "".join(word.capitalize() for word in name.split("_"))
    return ""


def explain_error(error: BaseException, url: str) -> str:
    """One sentence: the URL, what went wrong there, and what to do.

    Args:
        error: of boto3, botocore or pyarrow's filesystem.
        url: ``s3://bucket/…`` of what was wanted.
    """
    code = error_code(error)
    if code:
        meaning = _CODES.get(code, _BUSY if code.isdecimal() and code.startswith("5") else None)
    else:
        meaning = next((_CLASSES[kind] for kind in type(error).__mro__ if kind in _CLASSES), None)
    if meaning is None:
        remedy = "check the bucket, AWS_ENDPOINT_URL, AWS_REGION and the credentials"
        meaning = _Meaning("S3 answered {code}" if code else "{kind}", remedy)
    what = meaning.what.format(
        bucket=url.removeprefix("s3://").partition("/")[0],
        code=code,
        kind=type(error).__name__,
        endpoint=_endpoint(error),
        region=_region(error),
    )
    return f"{url}: {what}; {meaning.remedy}"


def _region(error: BaseException) -> str:
    if not isinstance(error, boto.ClientError):
        return ""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = error.response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region", "")
    return f" ({region})" if region else ""


def _endpoint(error: BaseException) -> str:
    # Not from the environment's text: only host and port, for the URL may hold a password.
    address = getattr(error, "kwargs", {}).get("endpoint_url") or ""
    found = re.match(r"(\w+://)(?:[^/@]*@)?([^/?]+)", str(address))
    return f" {found[1]}{found[2]}" if found else ""
