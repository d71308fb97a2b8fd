"""Who answers what a gateway asks during one login: every question to the part that can."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from anyike.eap.form import Form
from anyike.eap.question import (
    Answer,
    CertificateUse,
    HostScan,
    HostScanDone,
    NoCertificate,
    ProofRequest,
    Question,
    SignOn,
    SignOnToken,
)
from anyike.login.form_filler import FormFiller
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.key_secrets import KeySecrets

if TYPE_CHECKING:
    from anyike.login.client_certificate import CertificateSettings, ClientIdentity
    from anyike.login.host_scan import Wrapper

log = logging.getLogger(__name__)

# Rooms that most logins never enter are imported where they are needed: they load a lot.


class Respondent:
    """Answers the questions of one login.

    Args:
        filler: fills forms.
        certificates: the client's certificates by their use, each with what opens its key.
        wrapper: what runs a host scan.
        sign_on: does a single sign-on with a gateway.
        tell: shows a line to the user.
        expiry_days: how long before its end a certificate is warned of.
    """

    def __init__(
        self,
        *,
        filler: FormFiller,
        certificates: Mapping[CertificateUse, tuple[CertificateSettings, KeySecrets]],
        wrapper: Wrapper | None,
        sign_on: Callable[[SignOn, GatewayFacts], Awaitable[SignOnToken]],
        tell: Callable[[str], None],
        expiry_days: int,
    ) -> None:
        self._filler = filler
        self._certificates = certificates
        self._wrapper = wrapper
        self._sign_on = sign_on
        self._tell = tell
        self._expiry_days = expiry_days
        self._identities: dict[CertificateUse, ClientIdentity] = {}
        self._gateway: GatewayFacts | None = None

    def meet(self, host: str, certificate: bytes) -> None:
        """Take note of the gateway, by its name and its verified certificate (DER)."""
        self._gateway = GatewayFacts(host, certificate)

    async def answer(self, question: Question) -> Answer:
        """The answer to one question; can be cancelled.

        Raises:
            LoginFailed, ConfigurationError: it cannot be had; says what is missing, and how to give it.
        """
        match question:
            case Form():
                return await self._filler.fill(question)
            case ProofRequest():
                return await self._prove(question)
            case HostScan():
                return await self._scan(question)
            case SignOn():
                return await self._sign_on(question, self._verified_gateway())

    async def close(self) -> None:
        """Let go of keys and tokens."""
        for identity in self._identities.values():
            await identity.close()
        self._identities.clear()

    async def _prove(self, request: ProofRequest) -> Answer:
        from anyike.login.client_certificate import expiry_warning, open_identity, prove

        found = self._certificates.get(request.use)
        if found is None:
            which = (
                "certificate.file (--certificate)" if request.use is CertificateUse.CLIENT else "certificate.user_file"
            )
            return NoCertificate(f"{which} is not set")
        identity = self._identities.get(request.use)
        if identity is None:
            identity = self._identities[request.use] = await open_identity(*found)
            warning = expiry_warning(identity.chain[0], datetime.now(UTC), self._expiry_days)
            if warning:
                self._tell(f"warning: {warning}")
        return await prove(identity, request)

    async def _scan(self, question: HostScan) -> HostScanDone:
        from anyike.login.host_scan import run_host_scan

        identity = self._identities.get(CertificateUse.CLIENT)
        own = identity.chain[0] if identity else None
        await run_host_scan(question, self._wrapper, replace(self._verified_gateway(), client_certificate=own))
        return HostScanDone()

    def _verified_gateway(self) -> GatewayFacts:
        assert self._gateway is not None  # nothing is asked before the gateway was verified
        return self._gateway
