"""
A stand-in for Kubernetes' API server and its controllers: no cluster can run where the tests do.

It keeps Deployments, StatefulSets, their scale subresource and their pods in memory, brings pods up and down a moment
after they were asked for, rolls a changed template out, and asks of each request what the real server asks: a bearer
token, a role that allows it, the content type, an object as its schema has it, and the resource version.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import kubernetes_validate

SCHEMA = "1.30"  # of the objects that requests carry
READY_AFTER_S = 0.05
GONE_AFTER_S = 0.05
TICK_S = 0.01
HANGS_FOR_S = 30.0  # longer than any client waits; ends with `close`
HASH = "pod-template-hash"
CONTROLLERS = {"deployments": "Deployment", "statefulsets": "StatefulSet"}
PATCHES = ("application/strategic-merge-patch+json", "application/merge-patch+json")
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v1)/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+))?)?"
)
Rules = Sequence[dict[str, Any]]  # as in a Role
EVERYTHING: Rules = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},)


class RefusedError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


class KubernetesStandIn:
    """
    Args:
        namespace: The only one there is.
        certificate: Files of a certificate and its key; plain HTTP without.
    """

    def __init__(self, namespace: str = "shop", certificate: tuple[str, str] | None = None) -> None:
        self.namespace = namespace
        self.roles: dict[str, Rules] = {}  # by token
        self.requests: list[tuple[str, str, str]] = []  # method, path, content type
        self.budget_exhausted = False  # no pod may be evicted
        self.before_write: Callable[[], None] = lambda: None  # somebody else comes first
        self.faults: list[
            int | str
        ] = []  # each is for one request: a status, "hang", "lost" (done, unanswered), "stuck" (done, then hangs)
        self.faulty: Callable[[str], bool] = lambda method: True  # which methods meet them
        self._lock = threading.RLock()
        self._version = 1
        self._workloads: dict[tuple[str, str], dict[str, Any]] = {}
        self._pods: dict[str, dict[str, Any]] = {}
        self._ready_at: dict[str, float] = {}  # by a pod's uid
        self._gone_at: dict[str, float] = {}
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,)),
            threading.Thread(target=self._control),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def clear(self) -> None:
        with self._lock:
            self._workloads.clear()
            self._pods.clear()
            self.requests.clear()
            self.faults.clear()
            self.faulty = lambda method: True
            self.before_write = lambda: None
            self.budget_exhausted = False

    # What a test sets up and looks at

    def add(
        self,
        plural: str,
        name: str,
        *,
        replicas: int = 2,
        annotations: dict[str, str] | None = None,
        age_s: float = 3600.0,
        **spec: Any,
    ) -> None:
        """A workload all of whose pods are ready, since so long."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "shop:1"}]}}
        made: dict[str, Any] = {
            "apiVersion": "apps/v1",
            "kind": CONTROLLERS[plural],
            "metadata": self._metadata(name, annotations=dict(annotations or {}), generation=1),
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
            "status": {"observedGeneration": 1, "replicas": 0, "readyReplicas": 0},
        }
        if plural == "statefulsets":
            made["spec"] |= {"serviceName": name}
        with self._lock:
            self._workloads[plural, name] = made
            for _ in range(replicas):
                pod = self._start_pod(plural, made)
                begun = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
                pod["metadata"]["creationTimestamp"] = begun.strftime("%Y-%m-%dT%H:%M:%SZ")
                self._ready_at[pod["metadata"]["uid"]] = 0.0
            self._reconcile(plural, made)

    def found(self, plural: str, name: str) -> dict[str, Any]:
        with self._lock:
            return copy.deepcopy(self._workloads[plural, name])

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Those of a workload that are not on their way out, oldest first."""
        with self._lock:
            return [copy.deepcopy(pod) for pod in self._live(name)]

    def touch(self, plural: str, name: str, **spec: Any) -> None:
        """Somebody else changes an object."""
        with self._lock:
            found = self._workloads[plural, name]
            found["spec"] |= spec
            found["metadata"]["generation"] += bool(spec)
            self._changed(found)

    def settled(self, plural: str, name: str) -> bool:
        """Whether the controllers have nothing left to do."""
        with self._lock:
            found = self._workloads[plural, name]
            live = self._live(name)
            current = _hash(found)
            return (
                found["status"]["observedGeneration"] == found["metadata"]["generation"]
                and found["status"]["readyReplicas"] == found["spec"]["replicas"] == len(live)
                and all(pod["metadata"]["labels"][HASH] == current for pod in live)
            )

    # The API

    def answer(self, method: str, url: str, content_type: str, token: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(url)
        found = _PATH.fullmatch(parts.path)
        if found is None:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        group, plural, name, sub = (unquote(found[key] or "") for key in ("group", "plural", "name", "sub"))
        self._authorize(method, group, plural, name, sub, token, found["namespace"])
        if (group, plural) == ("", "pods"):
            return self._pod(method, name, sub, parse_qs(parts.query), content_type, body)
        if group != "apps" or plural not in CONTROLLERS:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        with self._lock:
            if not name:
                items = [one for (kind, _), one in sorted(self._workloads.items()) if kind == plural]
                listed = {"kind": f"{CONTROLLERS[plural]}List", "apiVersion": "apps/v1", "items": items}
                return 200, copy.deepcopy(listed | {"metadata": {"resourceVersion": str(self._version)}})
            if method != "GET":
                self.before_write()
            workload = self._workloads.get((plural, name))
            if workload is None:
                raise RefusedError(404, "NotFound", f'{plural}.apps "{name}" not found')
            if sub == "scale":
                return self._scale(method, plural, workload, content_type, body)
            if method == "PATCH":
                self._patch(plural, workload, content_type, body)
            elif method != "GET":
                raise RefusedError(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
            return 200, copy.deepcopy(workload)

    def _authorize(self, method: str, group: str, plural: str, name: str, sub: str, token: str, namespace: str) -> None:
        rules = self.roles.get(token)
        if rules is None:
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        verb = {"GET": "get" if name else "list", "PUT": "update", "PATCH": "patch", "POST": "create"}.get(method)
        verb = verb or method.lower()
        resource = f"{plural}/{sub}" if sub else plural
        for rule in rules if namespace == self.namespace else ():
            wanted = zip((group, resource, verb), ("apiGroups", "resources", "verbs"), strict=True)
            if all({one, "*"} & set(rule[key]) for one, key in wanted):
                return
        told = f"{plural}{f'.{group}' if group else ''}{f' {json.dumps(name)}' if name else ''} is forbidden: User"
        told += f' "system:serviceaccount:{self.namespace}:worker" cannot {verb} resource "{resource}" in API group'
        raise RefusedError(403, "Forbidden", f'{told} "{group}" in the namespace "{namespace}"')

    def _scale(
        self, method: str, plural: str, workload: dict[str, Any], content_type: str, body: bytes
    ) -> tuple[int, Any]:
        metadata = workload["metadata"]
        if method == "PATCH":
            scale = {"metadata": {}, "spec": {"replicas": workload["spec"]["replicas"]}}
            self._require_version(plural, workload, _patched(scale, content_type, body)["metadata"])
            replicas = scale["spec"]["replicas"]
            if type(replicas) is not int or replicas < 0:
                raise RefusedError(422, "Invalid", "spec.replicas: must be greater than or equal to 0")
            if replicas != workload["spec"]["replicas"]:
                workload["spec"]["replicas"] = replicas
                metadata["generation"] += 1
                self._changed(workload)
        elif method != "GET":
            raise RefusedError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
        return 200, {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": kept,
            "spec": {"replicas": workload["spec"]["replicas"]},
            "status": {"replicas": workload["status"]["replicas"]},
        }

    def _patch(self, plural: str, workload: dict[str, Any], content_type: str, body: bytes) -> None:
        wanted = _patched(copy.deepcopy(workload), content_type, body)
        self._require_version(plural, workload, wanted["metadata"])
        if wanted != workload:
            generation = workload["metadata"]["generation"] + (wanted["spec"] != workload["spec"])
            workload |= wanted
            workload["metadata"]["generation"] = generation
            self._changed(workload)

    def _require_version(self, plural: str, workload: dict[str, Any], metadata: dict[str, Any]) -> None:
        version = metadata.get("resourceVersion")
        if version and version != workload["metadata"]["resourceVersion"]:
            name = workload["metadata"]["name"]
            told = (
                f'Operation cannot be fulfilled on {plural}.apps "{name}": the object has been modified; please apply'
            )
            raise RefusedError(409, "Conflict", f"{told} your changes to the latest version and try again")

    def _pod(
        self, method: str, name: str, sub: str, query: dict[str, list[str]], content_type: str, body: bytes
    ) -> tuple[int, Any]:
        with self._lock:
            if method == "GET" and not name:
                selector = query.get("labelSelector", [""])[0]
                items = [pod for pod in self._pods.values() if _selected(pod["metadata"]["labels"], selector)]
                return 200, copy.deepcopy(
                    {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
                )
            if method != "POST" or sub != "eviction":
                raise RefusedError(
                    405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
                )
            wanted = _object(body, content_type, "Eviction", "policy/v1")
            self.before_write()
            pod = self._pods.get(name)
            if pod is None:
                raise RefusedError(404, "NotFound", f'pods "{name}" not found')
            uid = wanted.get("deleteOptions", {}).get("preconditions", {}).get("uid")
            if uid is not None and uid != pod["metadata"]["uid"]:
                told = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata']['uid']}"
                raise RefusedError(409, "Conflict", told)
            if self.budget_exhausted:
                told = "Cannot evict pod as it would violate the pod's disruption budget."
                raise RefusedError(429, "TooManyRequests", told)
            self._stop_pod(pod)
            return 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    # The controllers

    def _control(self) -> None:
        while not self._closing.wait(TICK_S):
            with self._lock:
                for (plural, _), workload in list(self._workloads.items()):
                    self._reconcile(plural, workload)

    def _reconcile(self, plural: str, workload: dict[str, Any]) -> None:
        now, name = time.monotonic(), workload["metadata"]["name"]
        for pod in list(self._pods.values()):
            uid = pod["metadata"]["uid"]
            if self._gone_at.get(uid, now + 1) <= now:
                del self._pods[pod["metadata"]["name"]]
        live = self._live(name)
        for pod in live:
            ready = self._ready_at[pod["metadata"]["uid"]] <= now
            pod["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
        ready = [pod for pod in live if pod["status"]["conditions"][0]["status"] == "True"]
        desired = workload["spec"]["replicas"]
        old = [pod for pod in live if pod["metadata"]["labels"][HASH] != _hash(workload)]
        surge = 1 if plural == "deployments" and old else 0
        if len(live) < desired + surge:
            self._start_pod(plural, workload)
        elif len(live) > desired + surge:
            self._stop_pod(live[-1])
        elif old and len(ready) == len(live):
            self._stop_pod(old[-1])
        elif len(live) > desired and not old:
            self._stop_pod(live[-1])
        status = {
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": len(live),
            "readyReplicas": len(ready),
        }
        if workload["status"] != status:
            workload["status"] = status
            self._changed(workload)

    def _start_pod(self, plural: str, workload: dict[str, Any]) -> dict[str, Any]:
        owner, template = workload["metadata"]["name"], _hash(workload)
        if plural == "deployments":
            name, kind, of = f"{owner}-{template}-{uuid.uuid4().hex[:5]}", "ReplicaSet", f"{owner}-{template}"
        else:
            taken = {pod["metadata"]["name"] for pod in self._pods.values()}
            name = next(f"{owner}-{number}" for number in range(1000) if f"{owner}-{number}" not in taken)
            kind, of = "StatefulSet", owner
        owners = [{"apiVersion": "apps/v1", "kind": kind, "name": of, "uid": str(uuid.uuid4()), "controller": True}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata(name, labels={"app": owner, HASH: template}, ownerReferences=owners),
            "spec": copy.deepcopy(workload["spec"]["template"]["spec"]),
            "status": {"podIP": f"10.0.{len(self._pods) // 250}.{self._version % 250 + 1}", "conditions": []},
        }
        self._pods[name] = pod
        self._ready_at[pod["metadata"]["uid"]] = time.monotonic() + READY_AFTER_S
        return pod

    def _stop_pod(self, pod: dict[str, Any]) -> None:
        if "deletionTimestamp" not in pod["metadata"]:
            pod["metadata"]["deletionTimestamp"] = _now()
            self._gone_at[pod["metadata"]["uid"]] = time.monotonic() + GONE_AFTER_S

    def _live(self, name: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self._pods.values()
            if pod["metadata"]["labels"]["app"] == name and "deletionTimestamp" not in pod["metadata"]
        ]

    def _metadata(self, name: str, **more: Any) -> dict[str, Any]:
        with self._lock:
            self._version += 1
            return {
                "name": name,
                "namespace": self.namespace,
                "uid": str(uuid.uuid4()),
                "resourceVersion": str(self._version),
                "creationTimestamp": _now(),
                **more,
            }

    def _changed(self, workload: dict[str, Any]) -> None:
        self._version += 1
        workload["metadata"]["resourceVersion"] = str(self._version)

    def met(self, method: str) -> int | str | None:
        """The fault that a request of this method meets."""
        with self._lock:
            return self.faults.pop(0) if self.faults and self.faulty(method) else None

    def hang(self) -> None:
        self._closing.wait(HANGS_FOR_S)


def _handler(stand_in: KubernetesStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content_type = self.headers.get("Content-Type") or ""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").partition(" ")[2]
            stand_in.requests.append((self.command, self.path, content_type))
            fault = stand_in.met(self.command)
            if fault == "hang":
                stand_in.hang()
                self.close_connection = True
                return
            try:
                if isinstance(fault, int):
                    raise RefusedError(fault, "InternalError", "etcdserver: request timed out")
                status, answer = stand_in.answer(self.command, self.path, content_type, token, body)
            except RefusedError as error:
                status, answer = error.status["code"], error.status
            if fault in ("lost", "stuck"):
                if fault == "stuck":
                    stand_in.hang()
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _object(body: bytes, content_type: str, kind: str, version: str) -> Any:
    if content_type != "application/json":
        raise RefusedError(
            415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
        )
    sent = json.loads(body)
    if (sent.get("kind"), sent.get("apiVersion")) != (kind, version):
        raise RefusedError(400, "BadRequest", f"want {version} {kind}, got {sent.get('apiVersion')} {sent.get('kind')}")
    try:
        kubernetes_validate.validate(sent, SCHEMA, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise RefusedError(400, "BadRequest", str(error)) from error
    return sent


def _patched(target: dict[str, Any], content_type: str, body: bytes) -> dict[str, Any]:
    if content_type not in PATCHES:
        raise RefusedError(
            415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
        )
    _merge(target, json.loads(body))
    return target


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """Of a merge patch the part that maps are concerned by."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        elif isinstance(value, list):
            raise RefusedError(422, "Invalid", f"this stand-in merges no lists: {key}")
        else:
            target[key] = value


def _selected(labels: dict[str, str], selector: str) -> bool:
    for part in re.split(r",(?![^(]*\))", selector) if selector else []:
        if found := re.fullmatch(r"(\S+) (in|notin) \(([^)]*)\)", part):
            holds = (labels.get(found[1]) in found[3].split(",")) == (found[2] == "in")
        elif "=" in part:
            name, _, value = part.partition("=")
            holds = labels.get(name) == value
        else:
            holds = (part.lstrip("!") in labels) != part.startswith("!")
        if not holds:
            return False
    return True


def _hash(workload: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(workload["spec"]["template"], sort_keys=True).encode()).hexdigest()[:9]


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
