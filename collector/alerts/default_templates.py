"""
The templates that every configuration begins with, by the names that users' own templates override.

They come to the texts that Alertmanager's defaults come to (a test compares them), except that Slack is told of each
alert as well: Alertmanager's message has a link and a colour, which apprise's has not. Mails have a plainer look.
"""

from __future__ import annotations

# What each service calls its title, and its text: the two parts of the names below.
_SUBJECTS = (
    "slack.default.title", "pagerduty.default.description", "opsgenie.default.message", "email.default.subject",
    "victorops.default.entity_display_name", "pushover.default.title", "sns.default.subject", "discord.default.title",
    "msteamsv2.default.title", "mattermost.default.title", "rocketchat.default.title", "apprise.default.title",
)  # fmt: skip
_NOTHING = (
    "__description", "slack.default.pretext", "slack.default.iconemoji", "slack.default.iconurl",
    "slack.default.callbackid", "slack.default.footer", "opsgenie.default.tags", "opsgenie.default.teams",
    "wechat.default.to_user", "wechat.default.to_party", "wechat.default.to_tag", "wechat.default.agent_id",
    "discord.default.content", "rocketchat.default.emoji", "rocketchat.default.iconurl",
)  # fmt: skip
_NAMES = ("slack.default.username", "pagerduty.default.client", "victorops.default.monitoring_tool")
_LINKS = (
    "slack.default.titlelink", "pagerduty.default.clientURL", "opsgenie.default.source", "pushover.default.url",
    "rocketchat.default.titlelink",
)  # fmt: skip

_SHARED = """
{{ define "__alertmanager" }}Alertmanager{{ end }}
{{ define "__alertmanagerURL" }}{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}{{ end }}
{{ define "__subject" -}}
[{{ toUpper .Status }}{{ if eq .Status "firing" }}:{{ len .Alerts.Firing }}{{ end }}]
{{- " " }}{{ join " " .GroupLabels.SortedPairs.Values }}{{ " " }}
{{- if gt (len .CommonLabels) (len .GroupLabels) -}}
({{ with .CommonLabels.Remove .GroupLabels.Names }}{{ join " " .Values }}{{ end }})
{{- end }}{{ end }}
{{ define "__annotations" }}{{ join " " .CommonAnnotations.SortedPairs.Values }}{{ end }}
{{ define "__pairs" }}{{ range .SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}{{ end }}
{{ define "__text_alert_list" }}{{ range . }}Labels:
{{ template "__pairs" .Labels }}Annotations:
{{ template "__pairs" .Annotations }}Source: {{ .GeneratorURL }}
{{ end }}{{ end }}
{{ define "__text_alert_list_markdown" }}{{ range . }}
Labels:
{{ range .Labels.SortedPairs }}  - {{ .Name }} = {{ .Value }}
{{ end }}
Annotations:
{{ range .Annotations.SortedPairs }}  - {{ .Name }} = {{ .Value }}
{{ end }}
Source: {{ .GeneratorURL }}
{{ end }}
{{ end }}
{{ define "__firing_and_resolved" }}
{{ if .Alerts.Firing }}
Alerts Firing:
{{ template "__text_alert_list" .Alerts.Firing }}
{{ end }}
{{ if .Alerts.Resolved }}
Alerts Resolved:
{{ template "__text_alert_list" .Alerts.Resolved }}
{{ end }}
{{ end }}
{{ define "__closely" }}
{{ with .Alerts.Firing -}}
Alerts Firing:
{{ template "__text_alert_list" . }}
{{- end }}
{{ with .Alerts.Resolved -}}
Alerts Resolved:
{{ template "__text_alert_list" . }}
{{- end }}
{{- end }}
{{ define "__list" -}}
{{ with .Alerts.Firing }}Alerts Firing:
{{ template "__text_alert_list" . }}{{ end }}
{{- if and .Alerts.Firing .Alerts.Resolved }}
{{ end }}
{{- with .Alerts.Resolved }}Alerts Resolved:
{{ template "__text_alert_list" . }}{{ end }}
{{- end }}
"""

_SERVICES = """
{{ define "apprise.default.text" }}{{ template "__list" . }}{{ end }}
{{ define "slack.default.text" }}{{ template "__list" . }}{{ end }}
{{ define "slack.default.fallback" }}
{{- template "slack.default.title" . }} | {{ template "slack.default.titlelink" . }}{{ end }}
{{ define "pagerduty.default.instances" }}{{ template "__text_alert_list" . }}{{ end }}
{{ define "opsgenie.default.description" }}{{ template "__annotations" . }}{{ template "__closely" . }}{{ end }}
{{ define "victorops.default.state_message" }}{{ template "__annotations" . }}{{ template "__closely" . }}{{ end }}
{{ define "pushover.default.message" }}{{ template "__annotations" . }}{{ template "__firing_and_resolved" . }}{{ end }}
{{ define "sns.default.message" }}{{ template "__annotations" . }}{{ template "__firing_and_resolved" . }}{{ end }}
{{ define "webex.default.message" }}{{ template "__annotations" . }}{{ template "__firing_and_resolved" . }}{{ end }}
{{ define "telegram.default.message" }}{{ template "__firing_and_resolved" . }}{{ end }}
{{ define "discord.default.message" }}{{ template "__firing_and_resolved" . }}{{ end }}
{{ define "rocketchat.default.text" }}{{ template "__list" . }}{{ end }}
{{ define "mattermost.default.text" }}{{ template "__subject" . }}
{{ template "__list" . }}{{ end }}
{{ define "msteamsv2.default.text" }}
{{ if .Alerts.Firing }}
# Alerts Firing:
{{ template "__text_alert_list_markdown" .Alerts.Firing }}
{{ end }}
{{ if .Alerts.Resolved }}
# Alerts Resolved:
{{ template "__text_alert_list_markdown" .Alerts.Resolved }}
{{ end }}
{{ end }}
{{ define "wechat.default.message" }}{{ template "__subject" . }}
{{ template "__annotations" . }}{{ template "__closely" . }}
AlertmanagerUrl:
{{ template "__alertmanagerURL" . }}
{{- end }}
"""

_MAIL = """
{{ define "__mail_alerts" }}{{ range . }}
<tr><td style="padding: 8px 12px; border-top: 1px solid #d0d7de">
<table>
{{ range .Labels.SortedPairs }}<tr><td><b>{{ .Name }}</b></td><td>{{ .Value }}</td></tr>
{{ end }}{{ range .Annotations.SortedPairs }}<tr><td><i>{{ .Name }}</i></td><td>{{ .Value }}</td></tr>
{{ end }}</table>
<a href="{{ .GeneratorURL }}">Source</a>
</td></tr>
{{ end }}{{ end }}
{{ define "email.default.html" }}<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><title>{{ template "__subject" . }}</title></head>
<body style="font-family: sans-serif; font-size: 14px">
<table style="border: 1px solid #d0d7de; border-collapse: collapse; margin: 0 auto; max-width: 640px; width: 100%">
<tr><td style="padding: 12px; background: #24292f; color: #ffffff">
{{ len .Alerts }} alert{{ if gt (len .Alerts) 1 }}s{{ end }} for
{{- range .GroupLabels.SortedPairs }} {{ .Name }}={{ .Value }}{{ end }}
</td></tr>
{{ with .Alerts.Firing }}<tr><td style="padding: 12px 12px 4px"><b>[{{ len . }}] Firing</b></td></tr>
{{ template "__mail_alerts" . }}{{ end }}
{{- with .Alerts.Resolved }}<tr><td style="padding: 12px 12px 4px"><b>[{{ len . }}] Resolved</b></td></tr>
{{ template "__mail_alerts" . }}{{ end }}
<tr><td style="padding: 12px; border-top: 1px solid #d0d7de">
<a href="{{ .ExternalURL }}">Sent by {{ template "__alertmanager" . }}</a>
</td></tr>
</table>
</body>
</html>
{{ end }}
"""


def _defined(names: tuple[str, ...], body: str) -> str:
    return "".join(f'{{{{ define "{name}" }}}}{body}{{{{ end }}}}\n' for name in names)


DEFAULT_TEMPLATES = "".join((
    _SHARED,
    _defined(_SUBJECTS, '{{ template "__subject" . }}'),
    _defined(_NOTHING, ""),
    _defined(_NAMES, '{{ template "__alertmanager" . }}'),
    _defined(_LINKS, '{{ template "__alertmanagerURL" . }}'),
    _SERVICES,
    _MAIL,
))  # fmt: skip
