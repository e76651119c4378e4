"""
How the worker reaches a cluster, and what the cluster's refusals mean.

Credentials are those of the kubeconfig file that the settings name, else the service account's of the pod that the
worker runs in, else those of the user's own kubeconfig; the client renews tokens that expire. What the role must allow
is in docs/scalers.md; tests run with exactly that role.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, AppsV1Api, Configuration, CoreV1Api
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from remediation.errors import PermanentScalerError, ScalerError, SettingsError, TemporaryScalerError

CONNECT_S, READ_S = 2.0, 5.0  # an API server answers in milliseconds; one that is overloaded sheds within seconds
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LONGEST_MESSAGE = 400  # characters of what the API server says
_IN_A_POD = "KUBERNETES_SERVICE_HOST"
# Reads are tried again, writes are not: who asked for them looks first whether they were done. A server's own
# `Retry-After` is not followed, because it has no bound.
_RETRIES = urllib3.Retry(
    total=2,
    connect=2,
    read=1,
    status=2,
    redirect=0,
    allowed_methods=frozenset({"GET"}),
    status_forcelist=frozenset({429, 500, 502, 503, 504}),
    backoff_factor=0.1,
    raise_on_status=False,
    respect_retry_after_header=False,
)


class Access:
    """The two parts of the API that the scaler asks, in one namespace."""

    def __init__(self, configuration: Configuration, namespace: str) -> None:
        configuration.retries = _RETRIES
        self.namespace = namespace
        self.where = f"{configuration.host}: namespace {namespace}"
        # Of what is not a patch the client leaves the content type to urllib3, which in some of its versions says
        # text/plain, and the API server refuses that.
        self._clients = ApiClient(configuration), ApiClient(configuration, "Content-Type", "application/json")
        self.apps, self.core = AppsV1Api(self._clients[0]), CoreV1Api(self._clients[1])

    @classmethod
    def connect(cls, *, namespace: str | None, config_file: Path | None, context: str | None) -> Access:
        """
        Read the credentials; asks the cluster nothing.

        Args:
            namespace: None for the context's, or the pod's own.

        Raises:
            SettingsError: there are none, or the file is wrong.
        """
        configuration = Configuration()
        try:
            if config_file is None and context is None and os.environ.get(_IN_A_POD):
                config.load_incluster_config(client_configuration=configuration)
                return cls(configuration, namespace or SERVICE_ACCOUNT_NAMESPACE.read_text().strip())
            file = None if config_file is None else str(config_file)
            config.load_kube_config(
                config_file=file, context=context, client_configuration=configuration, persist_config=False
            )
            contexts, active = config.list_kube_config_contexts(config_file=file)
            chosen = next((one for one in contexts if one["name"] == context), active)
            return cls(configuration, namespace or chosen["context"].get("namespace") or "default")
        except (config.ConfigException, OSError, KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"REMEDIATION_SCALER=kubernetes: no credentials for a cluster: {error}") from error

    def close(self) -> None:
        for client in self._clients:
            client.rest_client.close()

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """
        What goes wrong inside is told in the worker's own errors.

        Args:
            what: What is asked for, as the message begins.
        """
        try:
            yield
        except ApiException as error:
            raise refusal(f"{self.where}: {what}", error) from error
        except (HTTPError, OSError, config.ConfigException) as error:
            raise TemporaryScalerError(f"{self.where}: {what}: no answer: {_brief(error)}") from error
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise TemporaryScalerError(f"{self.where}: {what}: unexpected answer: {_brief(error)}") from error


def refusal(what: str, error: ApiException) -> ScalerError:
    """The worker's error for one of the API server's; which of them may pass."""
    status = int(error.status or 0)
    told = f"{what}: status {status}: {message_of(error)}"
    if status in (0, 408, 409, 429) or status >= 500:
        return TemporaryScalerError(told)
    if status == 401:
        return PermanentScalerError(f"{told}: the worker's credentials are not taken")
    if status == 403:
        return PermanentScalerError(f"{told}: the worker's role does not allow it, see docs/scalers.md")
    return PermanentScalerError(told)


def message_of(error: ApiException) -> str:
    """What the server's Status object says, else the beginning of what came instead."""
    body = error.body or str(error.reason)
    try:
        told: Any = json.loads(body)["message"]
    except (ValueError, TypeError, KeyError):
        told = body
    return " ".join(str(told).split())[:LONGEST_MESSAGE]


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_MESSAGE]
