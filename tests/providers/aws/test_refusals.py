"""What errors of EC2 and of the SDK mean."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.aws.refusals import meaning, translated

sdk: Any = importlib.import_module("botocore.exceptions")

SECRET = "IQoJb3JpZ2luX2VjEXAMPLE"
HERE = "http://127.0.0.1:1/"


FEW = settings(max_examples=40)


def refused(code: str, status: int = 400, message: str = "words") -> Exception:
    """Refuse as EC2 does."""
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "1a2b"},
    }
    error: Exception = sdk.ClientError(answer, "RunInstances")
    return error


@pytest.mark.parametrize(
    "code, status, kind",
    [
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("Server.InsufficientInstanceCapacity", 500, NoCapacity),
        ("InsufficientReservedInstanceCapacity", 500, NoCapacity),
        ("InsufficientFreeAddressesInSubnet", 400, NoCapacity),
        ("InsufficientNewThingCapacity", 500, NoCapacity),
        ("ReservationCapacityExceeded", 400, NoCapacity),
        ("SpotMaxPriceTooLow", 400, NoCapacity),
        ("MaxSpotInstanceCountExceeded", 400, QuotaExceeded),
        ("VcpuLimitExceeded", 400, QuotaExceeded),
        ("InstanceLimitExceeded", 400, QuotaExceeded),
        ("NewThingLimitExceeded", 400, QuotaExceeded),
        ("PendingVerification", 400, QuotaExceeded),
        ("RequestLimitExceeded", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("UnauthorizedOperation", 403, Unauthorized),
        ("AuthFailure", 401, Unauthorized),
        ("OptInRequired", 401, Unauthorized),
        ("ExpiredToken", 401, Unauthorized),
        ("InvalidParameterValue", 400, InvalidRequest),
        ("InvalidAMIID.NotFound", 400, InvalidRequest),
        ("InvalidSubnetID.NotFound", 400, InvalidRequest),
        ("InvalidKeyPair.NotFound", 400, InvalidRequest),
        ("InvalidUserData.Malformed", 400, InvalidRequest),
        ("Unsupported", 400, InvalidRequest),
        ("IdempotentInstanceTerminated", 400, InvalidRequest),
        ("SomethingNew", 400, InvalidRequest),
        ("InvalidInstanceID.NotFound", 400, NotFound),
        ("InvalidInstanceID.Malformed", 400, NotFound),
        ("IdempotentParameterMismatch", 400, OutcomeUnknown),
        ("InternalError", 500, OutcomeUnknown),
        ("Unavailable", 503, OutcomeUnknown),
        ("ServiceUnavailable", 503, OutcomeUnknown),
        ("SomethingNew", 500, OutcomeUnknown),
        # What is not EC2's own: a proxy's.
        ("502", 502, OutcomeUnknown),
        ("404", 404, OutcomeUnknown),
        ("", 400, OutcomeUnknown),
        ("", 0, OutcomeUnknown),
    ],
)
def test_what_a_code_means_for_a_launch(code: str, status: int, kind: type[ProviderError]) -> None:
    assert meaning(code, status) is kind


@pytest.mark.parametrize(
    "error, sent, kind",
    [
        (sdk.EndpointConnectionError(endpoint_url=HERE, error="refused"), True, Unavailable),
        (sdk.ConnectTimeoutError(endpoint_url=HERE, error="slow"), True, Unavailable),
        (sdk.ProxyConnectionError(proxy_url=HERE, error="no"), True, Unavailable),
        (
            sdk.SSLError(endpoint_url=HERE, error="[SSL: CERTIFICATE_VERIFY_FAILED]"),
            True,
            Unavailable,
        ),
        (sdk.SSLError(endpoint_url=HERE, error="bad record mac"), True, OutcomeUnknown),
        (sdk.ReadTimeoutError(endpoint_url=HERE, error="slow"), True, OutcomeUnknown),
        (sdk.ConnectionClosedError(endpoint_url=HERE, error="closed"), True, OutcomeUnknown),
        (sdk.HTTPClientError(error="?"), True, OutcomeUnknown),
        (ValueError("anything"), True, OutcomeUnknown),
        (ValueError("anything"), False, Unavailable),
        (sdk.NoCredentialsError(), False, Unauthorized),
        (sdk.PartialCredentialsError(provider="env", cred_var="x"), False, Unauthorized),
        (sdk.ProfileNotFound(profile="x"), False, Unauthorized),
        (sdk.CredentialRetrievalError(provider="sso", error_msg="x"), False, Unauthorized),
        (sdk.MetadataRetrievalError(error_msg="x"), False, Unauthorized),
        (sdk.ParamValidationError(report="UserData: s3cr3t"), False, InvalidRequest),
        (sdk.InvalidRegionError(region_name="x y"), False, InvalidRequest),
        (sdk.NoRegionError(), False, InvalidRequest),
    ],
)
def test_what_an_error_of_the_sdk_means_for_a_launch(
    error: Exception, kind: type[ProviderError], *, sent: bool
) -> None:
    ours, _ = translated(error, "aws: launch", sent=sent, changes=True)

    assert type(ours) is kind
    assert "s3cr3t" not in str(ours)


def test_whatever_fails_while_reading_has_changed_nothing() -> None:
    for error in (refused("InternalError", 500), sdk.HTTPClientError(error="?"), ValueError()):
        ours, _ = translated(error, "aws: list", sent=True, changes=False)
        assert type(ours) is Unavailable


def test_a_refusal_says_what_ec2_said_and_which_request_it_was() -> None:
    error = refused("VcpuLimitExceeded", 400, "You have requested  more\nvCPU capacity")

    ours, cause = translated(error, "aws: launch of x", sent=True, changes=True)

    assert str(ours) == (
        "aws: launch of x: VcpuLimitExceeded: You have requested more vCPU capacity (request 1a2b)"
    )
    assert cause is error


def test_an_encoded_message_is_left_out() -> None:
    words = f"You are not authorized. Encoded authorization failure message: {'x' * 900}"

    ours, _ = translated(
        refused("UnauthorizedOperation", 403, words), "aws", sent=True, changes=True
    )

    assert str(ours) == ("aws: UnauthorizedOperation: You are not authorized. (request 1a2b)")


def test_a_quoted_session_token_goes_nowhere() -> None:
    words = f"The Canonical String should have been x-amz-security-token:{SECRET}"

    ours, cause = translated(
        refused("SignatureDoesNotMatch", 403, words), "aws", sent=True, changes=True
    )

    assert type(ours) is Unauthorized
    assert SECRET not in str(ours)
    assert cause is None


def test_credentials_that_another_service_refuses_are_no_credentials() -> None:
    answer = {"Error": {"Code": "AccessDenied", "Message": "words"}}

    ours, cause = translated(
        sdk.ClientError(answer, "AssumeRole"), "aws: launch", sent=False, changes=True
    )

    assert type(ours) is Unauthorized
    assert str(ours) == "aws: launch: no credentials: AssumeRole was refused with AccessDenied"
    assert cause is None


@FEW
@given(st.text(), st.integers(0, 999), st.text(), st.tuples(st.booleans(), st.booleans()))
def test_any_answer_becomes_an_error_of_ours_on_one_line(
    code: str, status: int, message: str, how: tuple[bool, bool]
) -> None:
    sent, changes = how
    ours, _ = translated(refused(code, status, message), "aws", sent=sent, changes=changes)

    assert isinstance(ours, ProviderError)
    assert changes or not isinstance(ours, OutcomeUnknown)
    assert len(str(ours).split("\n")) == 1
