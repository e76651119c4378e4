"""
The load generator: Locust's statistics and web page over open arrivals.

Run it as `python -m demo_services.load`. Importing Locust replaces the standard library's blocking calls by
gevent's for the whole process, so only `__main__` and `generator` import it; the rest is plain Python.
"""
