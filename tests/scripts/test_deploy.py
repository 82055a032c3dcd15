"""The files for deployment, as far as they can be checked without containers and clusters: against
Kubernetes' own schemas and what the miner really reads. Their commands of vLLM go through its own
parser in tests/serving/test_check.py, together with the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from natix_miner.neuron.settings import OPTIONS
from natix_miner.profile import load_profile
from tests.scripts.deployed import COMPOSE, DEPLOY, VALUES

ROOT = Path(__file__).parents[2]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "miner.yaml").read_text()))
PROFILE = load_profile(ROOT / "configs" / "remote-vlm.yaml")
KNOWN = {name for option in OPTIONS for name in option.variables}


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [document for document in MANIFESTS if document["kind"] == kind]
    return found


def container() -> dict[str, Any]:
    return manifest("StatefulSet")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", ["1.31.0", "1.34.0", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("document", MANIFESTS, ids=lambda document: document["kind"])
def test_every_manifest_fits_kubernetes_own_schema(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_check_itself_sees_a_word_that_kubernetes_does_not_know():
    wrong = {**manifest("Service"), "spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="spce"):
        kubernetes_validate.validate(wrong, "1.34.0", strict=True)


def test_the_miner_reads_every_variable_that_the_deployments_give_it():
    image = dict(re.findall(r"^\s+(?:ENV )?([A-Z_]+)=(\S+?)(?: \\)?$", DOCKERFILE, re.MULTILINE))
    foreign = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "READ_ONLY", "MPLCONFIGDIR"}
    assert image["MINER_METRICS_PORT"] == "9100"  # the expression does see them
    given = image.keys() - foreign
    given |= (
        COMPOSE["services"]["miner"]["environment"].keys() | manifest("ConfigMap")["data"].keys()
    )
    assert given <= KNOWN


def test_there_is_never_more_than_one_miner_and_it_has_time_to_drain():
    spec = manifest("StatefulSet")["spec"]
    assert spec["replicas"] == 1
    grace = PROFILE.neuron.drain_seconds + 5
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= grace
    assert int(COMPOSE["services"]["miner"]["stop_grace_period"].removesuffix("s")) >= grace


def test_the_language_model_has_one_name_one_address_and_one_key_everywhere():
    server = PROFILE.servers["fast"]
    vllm = COMPOSE["services"]["vllm"]
    (alias,) = vllm["networks"]["default"]["aliases"]
    assert server.base_url == f"http://{alias}:8000"
    assert "helm install vlm " in (DEPLOY / "kubernetes/production-stack.values.yaml").read_text()
    assert server.base_url == f"http://vlm-router-service:{VALUES['routerSpec']['servicePort']}"
    (spec,) = VALUES["servingEngineSpec"]["modelSpec"]
    assert server.model == spec["modelURL"]
    assert f" vllm serve {server.model} " in vllm["command"][0]

    (secret,) = COMPOSE["services"]["miner"]["secrets"]
    assert str(server.api_key_file) == f"/run/secrets/{secret}"
    assert vllm["secrets"] == [secret]
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert f"{mounts['vlm-api-key']}/{secret}" == str(server.api_key_file)
    assert VALUES["servingEngineSpec"]["vllmApiKey"]["secretKey"] == secret


def test_the_wallet_lies_where_the_settings_say():
    data = manifest("ConfigMap")["data"]
    volumes = manifest("StatefulSet")["spec"]["template"]["spec"]["volumes"]
    (wallet,) = [volume for volume in volumes if volume["name"] == "wallet"]
    assert [item["path"] for item in wallet["secret"]["items"]] == [
        f"hotkeys/{data['WALLET_HOTKEY']}",
        "coldkeypub.txt",
    ]
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts["wallet"] == f"/wallets/{data['WALLET_NAME']}"
    assert "WALLET_PATH=/wallets" in DOCKERFILE


def test_the_probes_ask_the_health_endpoints_at_the_metrics_port():
    assert container()["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container()["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert f"EXPOSE {ports['axon']} {ports['metrics']}" in DOCKERFILE
    assert f"127.0.0.1:{ports['metrics']}/healthz" in DOCKERFILE


def test_the_image_copies_what_exists_and_nothing_of_the_operators():
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied >= {"natix_miner", "configs", "models"}
    assert all((ROOT / source).exists() for source in copied)
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"  # nothing that is not named
    let_in = {line[1:].split("/")[0] for line in lines if line.startswith("!")}
    assert let_in == copied
