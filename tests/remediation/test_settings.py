from pathlib import Path

import pytest

from remediation.errors import SettingsError
from remediation.settings import AwsSettings, DockerSettings, KubernetesSettings, OrchestratorSettings, Settings


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "token").write_text("a-secret\n")
    return {
        "REMEDIATION_TOKEN_FILE": str(tmp_path / "token"),
        "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(tmp_path / "token"),
        "REMEDIATION_DATA_DIR": str(tmp_path / "data"),
    }


def test_what_is_not_set_has_the_habitual_ports(environment):
    settings = Settings.from_environment(environment)
    assert (settings.host, settings.port) == ("127.0.0.1", 9095)
    assert settings.prometheus_url == "http://127.0.0.1:9090"
    assert settings.scaler == OrchestratorSettings(url="http://127.0.0.1:9096", token="a-secret")
    assert settings.database_url is None
    assert settings.policies.name == "policies"


def test_tokens_never_show(environment):
    assert "a-secret" not in repr(Settings.from_environment(environment))


def test_scaler_of_containers_needs_no_orchestrator(environment):
    del environment["REMEDIATION_ORCHESTRATOR_TOKEN_FILE"]
    environment |= {"REMEDIATION_SCALER": "docker", "REMEDIATION_DOCKER_PROJECT": "shop"}
    wanted = DockerSettings(url="unix:///var/run/docker.sock", project="shop")
    assert Settings.from_environment(environment).scaler == wanted


def test_scalers_elsewhere_have_no_secret_among_their_settings(environment):
    del environment["REMEDIATION_ORCHESTRATOR_TOKEN_FILE"]
    kubernetes = environment | {"REMEDIATION_SCALER": "kubernetes"}
    wanted = KubernetesSettings(namespace=None, config_file=None, context=None)
    assert Settings.from_environment(kubernetes).scaler == wanted
    kubernetes |= {
        "REMEDIATION_KUBERNETES_NAMESPACE": "shop",
        "REMEDIATION_KUBERNETES_CONFIG": "/etc/kubeconfig",
        "REMEDIATION_KUBERNETES_CONTEXT": "night",
    }
    wanted = KubernetesSettings(namespace="shop", config_file=Path("/etc/kubeconfig"), context="night")
    assert Settings.from_environment(kubernetes).scaler == wanted
    aws = environment | {"REMEDIATION_SCALER": "aws"}
    assert Settings.from_environment(aws).scaler == AwsSettings(cluster=None, endpoint_url=None)
    aws |= {"REMEDIATION_AWS_ECS_CLUSTER": "demo", "REMEDIATION_AWS_ENDPOINT_URL": "http://127.0.0.1:5000/"}
    wanted = AwsSettings(cluster="demo", endpoint_url="http://127.0.0.1:5000")
    assert Settings.from_environment(aws).scaler == wanted
    aws["REMEDIATION_AWS_ENDPOINT_URL"] = "127.0.0.1:5000"
    with pytest.raises(SettingsError, match="REMEDIATION_AWS_ENDPOINT_URL"):
        Settings.from_environment(aws)


def test_database_url_gets_the_driver_that_is_installed(environment):
    settings = Settings.from_environment({**environment, "REMEDIATION_DATABASE_URL": "postgres://u@db/steersman"})
    assert settings.database_url == "postgresql+psycopg://u@db/steersman"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REMEDIATION_DATA_DIR", ""),
        ("REMEDIATION_TOKEN_FILE", "/nowhere/token"),
        ("PORT", "0"),
        ("PORT", "http"),
        ("REMEDIATION_PROMETHEUS_URL", "127.0.0.1:9090"),
        ("REMEDIATION_DATABASE_URL", "mysql://db"),
        ("REMEDIATION_SCALER", "mesos"),
    ],
)
def test_wrong_variable_is_named(environment, name, value):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({**environment, name: value})
