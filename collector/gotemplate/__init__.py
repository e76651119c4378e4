"""
Go's text/template and html/template, for what users bring from Prometheus and Alertmanager. A leaf.

    text -- lexer, parser --> tree -- execution, with functions and data --> text, or HTML that html_context escapes
"""
