"""The remediation worker: alerts in; bounded, verified, recorded actions out. Also the drills that rehearse it."""
