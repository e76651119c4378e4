"""
A report as one HTML file: verdict, grades, charts, timeline. Nothing is loaded from anywhere, no script is needed; it
follows the reader's light or dark setting and prints on white.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from string import Template

from remediation.drills import drawing, score
from remediation.drills.report import Grade, Outcome, Report
from remediation.drills.tracker import Status, event_words

_KIND_WORDS = {
    "drill": "drill",
    "inject": "injection",
    "alert": "alert",
    "replicas": "replicas",
    "remediation": "worker",
    "action": "action",
    "met": "met",
    "failed": "failed",
    "trouble": "trouble",
    "verdict": "verdict",
}
_SECTIONS = {"confirm": "The injection landed", "expect": "Expected while it lasted", "then": "Expected after its end"}


def html(report: Report) -> str:
    started = datetime.fromtimestamp(report.started_at_unix_ms / 1000, UTC)
    met = sum(each.status is Status.MET for each in report.expectations)
    return _PAGE.substitute(
        title=escape(f"{report.drill}: {report.verdict}"),
        verdict=report.verdict,
        verdict_class="pass" if report.passed else "fail",
        heading=escape(report.title),
        description=escape(" ".join(report.description.split())),
        drill=escape(report.drill),
        service=escape(report.service),
        when=f"{started:%Y-%m-%d %H:%M:%S} UTC",
        duration=_duration(report.duration_s),
        met=f"{met} of {len(report.expectations)}",
        score=str(int(score.of_run(report))),
        run=escape(report.run),
        reasons="".join(f"<p class=reason>{escape(reason)}</p>" for reason in report.reasons),
        grades="".join(map(_grade, report.grades)),
        legend=_legend(report),
        charts="".join(f"<figure>{drawing.svg(report, chart)}</figure>" for chart in report.charts)
        or "<p class=quiet>Prometheus did not answer when the report was made, so there are no charts.</p>",
        expectations="".join(_section(report, section) for section in _SECTIONS),
        timeline="".join(
            f'<tr class="k-{escape(each.kind)}"><td class=at>{round(each.at_s, 1) + 0.0:+.1f} s</td>'
            f"<td><span class=kind>{escape(_KIND_WORDS.get(each.kind, each.kind))}</span></td>"
            f"<td class=event>{escape(each.event)}</td><td class=detail>{escape(each.detail)}</td></tr>"
            for each in report.timeline
        ),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _grade(grade: Grade) -> str:
    """A card: how long it took, on a bar from 0 to the deadline with the aim marked."""
    took = grade.took_s
    unmet = "fail" if grade.status is Status.FAILED else "skipped"
    look = unmet if took is None else "pass" if grade.aim_s is None or took <= grade.aim_s else "late"
    full = grade.deadline_s or 1.0
    share = 100 * min(1.0, (took if took is not None else full * (unmet == "fail")) / full)
    aim = f'<i style="left:{100 * min(1.0, grade.aim_s / full):.1f}%"></i>' if grade.aim_s is not None else ""
    aims = f"aim {_seconds(grade.aim_s)} · " if grade.aim_s is not None else ""
    shown = _seconds(took) if took is not None else escape(str(grade.status))
    return (
        f'<div class="card {look}"><div class=label>time to {escape(grade.grade)}</div><div class=took>{shown}</div>'
        f'<div class=bar><b style="width:{share:.1f}%"></b>{aim}</div>'
        f"<div class=limits>{aims}deadline {_seconds(grade.deadline_s)}</div>"
        f"<div class=path>{escape(event_words(grade.after))} → {escape(grade.expectation)}</div></div>"
    )


def _legend(report: Report) -> str:
    kinds = dict.fromkeys(mark.kind for mark in drawing.marks(report))
    words = {"inject": "injection in force", "alert": "alert fires", "action": "action", "met": "recovered"}
    return "".join(
        f'<span class="m-{kind}">{words[kind]}</span>' for kind in words if kind in kinds or kind == "inject"
    )


def _section(report: Report, section: str) -> str:
    outcomes = [each for each in report.expectations if each.section == section]
    rows = "".join(map(_outcome, outcomes))
    return f"<tr><th colspan=3>{_SECTIONS[section]}</th></tr>{rows}" if rows else ""


def _outcome(outcome: Outcome) -> str:
    marks = {Status.MET: ("pass", "✓"), Status.FAILED: ("fail", "✗")}
    look, mark = marks.get(outcome.status, ("quiet", "–"))
    took = f"{_seconds(outcome.took_s)}" if outcome.took_s is not None else str(outcome.status)
    return (
        f'<tr><td class="{look} mark">{mark}</td><td>{escape(outcome.name)}'
        f"<div class=detail>{escape(outcome.wanted)}; got {escape(outcome.got)}</div></td><td class=at>{took}</td></tr>"
    )


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#5d6b7c;--line:#dfe4ea;--grid:#eceff3;
--pass:#17804a;--fail:#c3312b;--late:#a86a00;--s0:#2563c9;--s1:#c2571a;--s2:#17804a;--s3:#8a3fb0;--s4:#0f7f8c;
--s5:#a3306d;--s6:#6a6f1d;--s7:#5d6b7c;--inject:#7a3fc2;--alert:#9a6700;--action:#2563c9;--met:#17804a}
@media (prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2029;--ink:#e6eaf0;--soft:#94a2b4;--line:#2c3542;
--grid:#242c37;--pass:#46c383;--fail:#f0726b;--late:#e3ac4a;--s0:#6ea4ff;--s1:#f0945a;--s2:#46c383;--s3:#c48ae4;
--s4:#50c0cd;--s5:#e77fb4;--s6:#c3c85f;--s7:#94a2b4;--inject:#b48af0;--alert:#e3ac4a;--action:#6ea4ff;--met:#46c383}}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--grid:#e4e4e4;
--pass:#17804a;--fail:#c3312b;--late:#a86a00;--s0:#2563c9;--s1:#c2571a;--s2:#17804a;--s3:#8a3fb0;--s4:#0f7f8c;
--s5:#a3306d;--s6:#6a6f1d;--s7:#5d6b7c;--inject:#7a3fc2;--alert:#9a6700;--action:#2563c9;--met:#17804a}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}figure,.card,tr{break-inside:avoid}main{max-width:none!important}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 60px}
header{display:flex;gap:20px;align-items:flex-start;margin-bottom:22px}
header>div:first-child{flex:1}
h1{font-size:27px;line-height:1.2;margin:2px 0 8px;letter-spacing:-.015em;text-wrap:balance}
h2{font-size:16px;margin:34px 0 12px}
.over{color:var(--soft);font-size:13px;letter-spacing:.02em}
.quiet,.detail,.limits,.path{color:var(--soft)}
header p{margin:0;max-width:70ch;color:var(--soft)}
.verdict{border-radius:12px;padding:12px 22px;text-align:center;color:#fff;min-width:124px}
.verdict.pass{background:#17804a}.verdict.fail{background:#c3312b}
.verdict b{display:block;font-size:26px;letter-spacing:.05em;line-height:1.2}.verdict span{font-size:13px}
.facts{display:flex;flex-wrap:wrap;gap:6px 30px;margin:0 0 20px;font-size:13.5px;color:var(--soft)}
.facts b{color:var(--ink);font-weight:600}
.reason+.cards{margin-top:16px}.skipped .took{color:var(--soft);font-weight:500}.skipped .bar b{display:none}
.reason{background:color-mix(in srgb,var(--fail) 12%,var(--card));border-left:4px solid var(--fail);padding:10px 14px;
border-radius:0 8px 8px 0;margin:8px 0;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:14px}
.card,figure,.sheet{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:14px 16px}
.label{font-size:13px;color:var(--soft)}
.took{font-size:27px;font-weight:650;font-variant-numeric:tabular-nums;letter-spacing:-.02em}
.pass .took,.mark.pass{color:var(--pass)}.late .took{color:var(--late)}.fail .took,.mark.fail{color:var(--fail)}
.bar{position:relative;height:6px;border-radius:3px;background:var(--grid);margin:6px 0 8px}
.bar b{position:absolute;inset:0 auto 0 0;border-radius:3px;min-width:4px;background:var(--pass)}
.late .bar b{background:var(--late)}.fail .bar b{background:var(--fail)}
.bar i{position:absolute;top:-4px;bottom:-4px;width:2px;background:var(--ink)}
.limits{font-size:12.5px}.path{font-size:12.5px;line-height:1.35;margin-top:6px}
.legend{display:flex;flex-wrap:wrap;gap:6px 18px;font-size:13px;color:var(--soft);margin:-4px 0 12px}
.legend span:before{content:"";display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;
vertical-align:-1px;background:var(--c)}
.m-inject{--c:color-mix(in srgb,var(--inject) 35%,transparent)}.m-alert{--c:var(--alert)}
.m-action{--c:var(--action)}.m-met{--c:var(--met)}
figure{margin:0 0 14px;padding:14px 16px 8px}
svg{display:block;width:100%;height:auto;font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
svg text{fill:var(--soft)}svg .t{font-size:14px;font-weight:600;fill:var(--ink)}
svg .g{stroke:var(--grid)}svg .axis{stroke:var(--line)}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg .band{fill:var(--inject);opacity:.09}svg .mk{stroke-width:1.5;stroke-dasharray:3 3}
.sheet{overflow:hidden;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{padding:8px 14px;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
tr:first-child>*{border-top:0}
th{background:color-mix(in srgb,var(--soft) 8%,var(--card));font-size:13px;font-weight:600;color:var(--soft)}
.at{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums;color:var(--soft)}
.mark{width:1%;font-weight:700}.event{font-weight:550}
.detail{font-size:13px;overflow-wrap:anywhere;font-weight:400}
td.detail{min-width:220px}
.kind{display:inline-block;font-size:12px;line-height:1.6;padding:0 8px;border-radius:20px;white-space:nowrap;
color:var(--k,var(--soft));background:color-mix(in srgb,var(--k,var(--soft)) 13%,transparent)}
.k-inject{--k:var(--inject)}.k-alert{--k:var(--alert)}.k-action,.k-remediation{--k:var(--action)}
.k-replicas{--k:var(--s4)}.k-met{--k:var(--pass)}.k-failed,.k-trouble{--k:var(--fail)}
footer{margin-top:26px;font-size:12.5px;color:var(--soft)}
@media (max-width:640px){header{flex-direction:column-reverse}td.detail{display:none}td,th{padding:7px 8px}
.event{overflow-wrap:anywhere}figure{overflow-x:auto}figure svg{min-width:600px}}
</style>
</head>
<body>
<main>
<header><div><div class="over">Steersman drill · $drill</div><h1>$heading</h1><p>$description</p></div>
<div class="verdict $verdict_class"><b>$verdict</b><span>score $score</span></div></header>
<div class="facts"><span>service <b>$service</b></span><span>begun <b>$when</b></span><span>took <b>$duration</b></span>
<span>expectations met <b>$met</b></span></div>
$reasons
<div class="cards">$grades</div>
<h2>What happened</h2>
<div class="legend">$legend</div>
$charts
<h2>What was expected</h2>
<div class="sheet"><table>$expectations</table></div>
<h2>Timeline</h2>
<div class="sheet"><table>$timeline</table></div>
<footer>Times count from the injection. Run $run.</footer>
</main>
</body>
</html>
""")
