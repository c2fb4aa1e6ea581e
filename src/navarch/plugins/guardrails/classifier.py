"""The guardrail ``safety-check``: a classifier of yours, asked over HTTP.

It is sent ``POST url`` with ``{"text", "direction", "agentClass", "requestId"}`` and answers 200
with ``{"flagged": bool, "score": 0..1, "categories": {"name": 0..1}}``; `score` and `categories`
may be absent. Anything else is a failure, and then the text was not scanned.
"""

from __future__ import annotations

import math
from datetime import timedelta
from http import HTTPStatus

import msgspec
from msgspec import Struct, field

from navarch.errors import PluginError
from navarch.peers.endpoint import Credentials, Endpoint
from navarch.plugins.guardrails.contract import typed
from navarch.plugins.protocols import GuardrailRequest, GuardrailResult

ANSWER_BYTES_MAX = 64 * 1024


class SafetyConfig(Struct, frozen=True):
    """Where the classifier is."""

    url: str = ""
    """Its address; without one every check fails, which the agent class decides upon."""
    token_env: str = ""
    """The environment variable with a bearer token."""
    token_file: str = ""
    """The file with a bearer token."""
    ca_file: str = ""
    """The certificates that vouch for it; empty: those of the system."""
    timeout: float = 10.0
    """Seconds that one question may take; the agent class's deadline is a limit too."""
    late: bool = False
    """Whether streams go on without waiting for it, so that its word is only a verdict."""


class _Question(Struct, rename="camel"):
    text: str
    direction: str
    agent_class: str
    request_id: str


class _Answer(Struct):
    flagged: bool
    score: float | None = None
    categories: dict[str, float] = field(default_factory=dict)


class SafetyCheck:
    """Asks a classifier of yours over HTTP."""

    name = "safety-check"
    type = "safety-check"
    priority = 50
    version = "1"
    Config = SafetyConfig

    def __init__(self, **settings: object) -> None:
        """Take the keys of `SafetyConfig`.

        :raises PluginError: `timeout` is none
        :raises ConfigError: the address or the credentials cannot be used
        """
        self.config = typed(SafetyConfig, self.name, settings)
        if not (math.isfinite(self.config.timeout) and 0 < self.config.timeout <= 600):
            raise PluginError(f"{self.name}: config: timeout must be above 0 and at most 600")
        self.late = self.config.late
        self._endpoint: Endpoint | None = None
        if self.config.url:
            credentials = Credentials(
                token_env=self.config.token_env,
                token_file=self.config.token_file,
                ca_file=self.config.ca_file,
            )
            self._endpoint = Endpoint(
                self.config.url, credentials=credentials, bytes_max=ANSWER_BYTES_MAX
            )

    async def check(self, request: GuardrailRequest) -> GuardrailResult:
        """Ask about a whole text.

        :raises PluginError: there is no address, or the answer is not what was agreed upon
        :raises Unanswered: there was none
        """
        if self._endpoint is None:
            raise PluginError(f"{self.name}: config: url is missing")
        question = _Question(
            request.content, request.direction, request.agent_class, request.request_id
        )
        answer = await self._endpoint.send(
            "POST",
            "",
            body=msgspec.json.encode(question),
            headers={"content-type": "application/json"},
            deadline=timedelta(seconds=self.config.timeout),
        )
        if answer.status != HTTPStatus.OK or answer.is_cut:
            raise PluginError(f"{self.name}: HTTP {answer.status}, expected 200 and a short answer")
        return self._result(answer.body)

    def _result(self, body: bytes) -> GuardrailResult:
        try:
            said = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PluginError(f"{self.name}: the answer is not what was agreed upon") from error
        score = max(said.categories.values(), default=1.0) if said.score is None else said.score
        if not 0 <= score <= 1:
            raise PluginError(f"{self.name}: score {score}, expected 0 to 1")
        if not said.flagged:
            return GuardrailResult(passed=True)
        names = sorted(said.categories, key=lambda name: -said.categories[name])[:5]
        return GuardrailResult(
            passed=False,
            action="block",
            reason=", ".join(names) or "flagged",
            confidence=score,
        )

    async def close(self) -> None:
        """Give up the connections."""
        if self._endpoint is not None:
            await self._endpoint.close()
