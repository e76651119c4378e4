"""
The part of Grafana's HTTP API that provisioning and annotating need, so that grafana-client works against the viewer.

Reading is as free as the pages are; changing wants the token, or the name and password of an operator. Errors have
Grafana's shape, `{"message": …}`.
Source: grafana.com/docs/grafana/latest/developers/http_api.
"""
