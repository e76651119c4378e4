from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as websocket

from dashboards.viewer.auth.roles import Role
from dashboards.viewer.auth.sessions import LIFETIME_S

TOKEN = "the-owners-token"


def connect(site, origin):
    return websocket(site.url.replace("http", "ws") + "/_nicegui_ws/socket.io/", origin=origin, proxy=None)


def test_the_owners_token_signs_in_as_admin_with_a_cookie_that_no_script_and_no_other_site_gets(site):
    answer = site.sign_in("", TOKEN, next="/d/steersman-fleet?from=now-1h")
    assert (answer.status_code, answer.headers["location"]) == (303, "/d/steersman-fleet?from=now-1h")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=43200" in cookie
    assert site.whoami() == "admin"
    assert TOKEN not in answer.headers["set-cookie"]


@pytest.mark.parametrize("elsewhere", ["//evil.test", "https://evil.test", "/\\evil.test", "", "/a\nb"])
def test_signing_in_leads_only_to_our_own_pages(site, elsewhere):
    assert site.sign_in("", TOKEN, next=elsewhere).headers["location"] == "/"


def test_signing_out_ends_the_session_and_not_only_the_cookie(site):
    site.sign_in("", TOKEN)
    kept = dict(site.browser.cookies)
    site.browser.post("/sign-out", headers={"Origin": site.url})
    site.browser.cookies.update(kept)
    assert site.whoami() == "anonymous"


def test_a_session_expires(site):
    site.sign_in("", TOKEN)
    site.now.value += LIFETIME_S + 1
    assert site.whoami() == "anonymous"


def test_a_forged_cookie_is_nobodys(site):
    site.sign_in("", TOKEN)
    value = site.browser.cookies["session"]
    site.browser.cookies.set("session", value[:-2] + ("AA" if not value.endswith("AA") else "BB"))
    assert site.whoami() == "anonymous"


def test_a_removed_user_and_a_changed_password_end_their_sessions_and_a_changed_role_counts_at_once(site):
    password = site.accounts.users.put("ada", Role.OPERATOR)
    site.sign_in("ada", password)
    cookie = site.browser.cookies["session"]
    assert site.accounts.of_cookie(cookie).role is Role.OPERATOR
    site.accounts.users.put("ada", Role.VIEWER, "another password")
    assert site.accounts.of_cookie(cookie).name == "anonymous"
    site.sign_in("ada", "another password")
    assert site.accounts.of_cookie(site.browser.cookies["session"]).role is Role.VIEWER
    site.accounts.users.remove("ada")
    assert site.whoami() == "anonymous"


def test_a_users_file_that_cannot_be_read_makes_nobody_of_everybody_and_no_error_page(site):
    site.sign_in("ada", site.accounts.users.put("ada", Role.OPERATOR))
    assert site.whoami() == "ada"
    site.accounts.users.path.write_text("{")
    assert site.whoami() == "anonymous"
    assert site.sign_in("", TOKEN).status_code == 500


def test_wrong_passwords_run_into_a_limit_which_ends_by_itself_and_does_not_say_which_names_there_are(site):
    site.accounts.users.put("ada", Role.OPERATOR, "correct horse battery")
    answers = [site.sign_in("ada", "wrong password").status_code for _ in range(5)]
    assert answers == [401, 401, 401, 429, 429]
    refused = site.sign_in("ada", "correct horse battery")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= 11
    site.now.value += 11
    assert site.sign_in("ada", "correct horse battery").status_code == 303
    site.now.value += 3600
    assert site.sign_in("nobody-here", "x").text == site.sign_in("ada", "x").text.replace("ada", "nobody-here")


def test_everything_that_changes_something_is_refused_from_another_origin(site):
    header = {"Authorization": f"Bearer {TOKEN}"}
    for origin in ("http://evil.test", "http://127.0.0.1:8080", "null"):
        refused = site.browser.post("/api/change", headers={**header, "Origin": origin})
        assert refused.status_code == 403, origin
        assert site.browser.post("/sign-out", headers={"Origin": origin}).status_code == 403
    assert site.browser.post("/api/change", headers={**header, "Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert site.browser.post("/api/change", headers={**header, "Origin": site.url}).json() == {"changed": True}


def test_the_websocket_of_the_pages_is_refused_from_another_origin_also_in_its_polling_form(site):
    path = "/_nicegui_ws/socket.io/"
    for origin in ("http://evil.test", "http://127.0.0.1:8080"):
        with pytest.raises(InvalidStatus, match="403"), connect(site, origin):
            pass
        assert site.browser.get(path, headers={"Origin": origin}).status_code == 403
    with connect(site, site.url):
        pass


def test_a_name_that_was_made_to_resolve_to_this_machine_gets_nothing(site):
    refused = site.browser.get("/who", headers={"Host": "rebound.evil.test"})
    assert refused.status_code == 403
    assert "VIEWER_ALLOWED_HOSTS" in refused.text


def test_the_api_takes_the_token_or_an_operators_password_and_never_a_cookie(site):
    site.accounts.users.put("ada", Role.OPERATOR, "correct horse battery")
    site.accounts.users.put("bob", Role.VIEWER, "correct horse battery")
    site.sign_in("", TOKEN)
    post = site.browser.post
    assert post("/api/change").status_code == 401
    assert post("/api/change", headers={"Authorization": f"Bearer {TOKEN}"}).is_success
    assert post("/api/change", auth=("any", TOKEN)).is_success
    assert post("/api/change", auth=("ada", "correct horse battery")).is_success
    refused = post("/api/change", auth=("bob", "correct horse battery"))
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "dashboard.save needs the role operator, bob has viewer",
    )
    assert post("/api/change", auth=("ada", "wrong password")).status_code == 401
    assert post("/api/change", headers={"Authorization": "Basic !!"}).status_code == 401


def test_every_change_and_every_refusal_is_in_the_audit_log_without_secrets(site):
    site.sign_in("", "a wrong token")
    site.sign_in("", TOKEN)
    site.browser.post("/api/change", headers={"Authorization": f"Bearer {TOKEN}"})
    site.browser.post("/api/change", headers={"Authorization": "Bearer wrong"})
    lines = site.audit.newest(10)[::-1]
    told = [(line["who"], line["what"], line["target"], line["outcome"]) for line in lines]
    assert told[:3] == [
        ("admin", "sign_in", "viewer", "refused"),
        ("admin", "sign_in", "viewer", "done"),
        ("token", "api", "POST /api/change", "done"),
    ]
    assert {line["outcome"] for line in lines[3:]} == {"refused"}
    assert all(line["from"] == "127.0.0.1" for line in lines)
    text = site.audit.path.read_text()
    assert TOKEN not in text
    assert "a wrong token" not in text


def test_pages_cannot_be_framed_by_others(site):
    assert "frame-ancestors 'self'" in site.browser.get("/who").headers["content-security-policy"]


class TestClosed:
    """Nobody may look without signing in."""

    @pytest.fixture
    def anonymous(self):
        return None

    def test_a_page_leads_to_the_form_and_back(self, site):
        sent = site.browser.get("/who?x=1", follow_redirects=False)
        assert sent.headers["location"] == "/sign-in?next=/who%3Fx%3D1"
        assert "Sign in" in site.browser.get("/who").text
        site.sign_in("", TOKEN)
        assert site.whoami() == "admin"

    def test_the_api_and_the_websocket_say_no(self, site):
        assert site.browser.get("/api/who").status_code == 401
        with pytest.raises(InvalidStatus, match="403"), connect(site, site.url):
            pass
        assert site.browser.get("/api/who", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404
