"""
Drills: rehearse the whole loop on purpose, and grade it.

`definition` says what a drill is (YAML); `engine` decides, without any I/O, what to do next and what came of it;
`stack` is the edge that talks to the running stack; `run` joins the two; `report` and `show` tell the result.
"""
