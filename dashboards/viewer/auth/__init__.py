"""Who may do what in the viewer: accounts, sessions, the gate before every request, the audit log."""
