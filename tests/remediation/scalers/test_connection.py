"""Which scaler the settings name, and what is said of one that cannot be had."""

import sys

import pytest

from remediation.errors import SettingsError
from remediation.scalers.connection import connect
from remediation.settings import AwsSettings, KubernetesSettings


@pytest.mark.parametrize(
    ("package", "module", "settings", "extra"),
    [
        (
            "kubernetes",
            "remediation.scalers.kubernetes",
            KubernetesSettings(namespace=None, config_file=None, context=None),
            r"steersman\[kubernetes\]",
        ),
        (
            "botocore.exceptions",
            "remediation.scalers.aws",
            AwsSettings(cluster=None, endpoint_url=None),
            r"steersman\[aws\]",
        ),
    ],
)
def test_package_that_is_not_installed_is_named(monkeypatch, package, module, settings, extra):
    for name in list(sys.modules):
        if name.startswith(("remediation.scalers.kubernetes", "remediation.scalers.a", "remediation.scalers.ecs")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=f"needs {package}: install {extra}"):
        connect(settings)
    assert module not in sys.modules
