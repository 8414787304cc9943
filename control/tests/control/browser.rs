//! People sign in with a browser at a real identity provider: sessions, their ends, and every way of not getting one.

use crate::oidc::{Browser, CLIENT_SECRET, Oidc};
use crate::service::{Answer, Control, exchange};
use crate::tokens::{Issuer, Signer};
use base64::Engine as _;
use serde_json::{Value as Json, json};
use sha2::Digest;
use std::time::{Duration, Instant};

const SESSION: &str = "__Host-tollgate_session";
const LOGIN: &str = "/v1/auth/login?organisation=acme-org";

struct World {
    control: Control,
    oidc: Oidc,
    provider: String,
}

impl World {
    fn new() -> World {
        let many = [("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000")];
        let control = Control::start_with(&many);
        let oidc = Oidc::start(&format!("http://127.0.0.1:{}", control.port));
        let mut world = World { control, oidc, provider: String::new() };
        let provider = json!({
            "issuer": world.oidc.url(), "audience": ["https://api.example.com"], "kind": "keycloak",
            "role_mapping": {"admin": "tenant-admin"}, "client_id": "tollgate", "client_secret": CLIENT_SECRET,
        });
        let made = world.platform("POST", "/v1/identity-providers", provider);
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.json()["has_client_secret"], true);
        made.json()["id"].as_str().unwrap().clone_into(&mut world.provider);
        for (organisation, tenant) in [("acme-org", "acme"), ("beta-org", "beta")] {
            world.control.tenant(tenant);
            let link = json!({"issuer": world.oidc.url(), "organisation": organisation, "tenant_id": tenant});
            assert_eq!(world.platform("POST", "/v1/organisations", link).status, 201);
        }
        world
    }

    fn platform(&self, method: &str, path: &str, body: Json) -> Answer {
        let headers = if method == "POST" || method == "GET" { "" } else { "if-match: *\r\n" };
        let body = (!body.is_null()).then_some(body);
        self.control.ask_with(&self.control.admin, method, path, headers, body)
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.control.port)
    }

    /// Signs in as somebody up to the way back: the address with the code.
    fn way_back(
        &self,
        browser: &mut Browser,
        login: &str,
        subject: &str,
        claims: &Json,
        more: &str,
    ) -> String {
        let (at, answer) = browser.follow(&self.at(login), "/interaction/");
        assert!(answer.is_none(), "{at}: {}", answer.map(|answer| answer.text).unwrap_or_default());
        let claims = crate::service::escaped(&claims.to_string());
        let (back, answer) = browser
            .follow(&format!("{at}?as={subject}&claims={claims}{more}"), "/v1/auth/callback");
        assert!(
            answer.is_none(),
            "{back}: {}",
            answer.map(|answer| answer.text).unwrap_or_default()
        );
        back
    }

    fn come_back(&self, browser: &mut Browser, back: &str) -> Answer {
        let path = back.strip_prefix(&self.at("")).unwrap_or_else(|| panic!("{back}"));
        browser.send(self.control.port, "GET", path, "", "")
    }

    /// Somebody with a session.
    fn signed_in(&self, subject: &str, claims: &Json) -> Browser {
        let mut browser = Browser::default();
        let back = self.way_back(&mut browser, LOGIN, subject, claims, "");
        let answer = self.come_back(&mut browser, &back);
        assert_eq!(answer.status, 303, "{}\n{}", answer.text, self.control.log());
        assert!(session(self, &browser).is_some());
        browser
    }

    fn get(&self, browser: &Browser, path: &str) -> Answer {
        let cookie = format!("cookie: {SESSION}={}\r\n", session(self, browser).unwrap());
        exchange(self.control.port, "GET", path, &cookie, "")
    }

    fn in_tenant(&self, statement: &str) {
        let (database, _) = self.control.placement("acme");
        // Past the trigger that asks for an event: time goes by without one.
        let statement = format!("SET session_replication_role = replica; {statement}");
        crate::cluster::psql_in(&self.control.folder, &database, &statement).unwrap();
    }
}

fn session(world: &World, browser: &Browser) -> Option<String> {
    browser.0.get(&(world.control.port, SESSION.to_owned())).cloned()
}

fn alice() -> Json {
    json!({"name": "Alice A.", "email": "alice@example.com", "organization": {"acme-org": {"roles": ["admin"]}}})
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

#[test]
fn whoever_signs_in_at_the_provider_has_a_session_until_it_ends() {
    let world = World::new();
    let mut browser = Browser::default();
    let port = world.control.port;
    // The way there: nothing of it is guessable, and the browser keeps it where no script reads it.
    let login = browser.send(port, "GET", &format!("{LOGIN}&return_to=/docs"), "", "");
    let place = login.header("location").unwrap().to_owned();
    assert_eq!(login.status, 302, "{}", login.text);
    assert!(
        place.starts_with(&format!(
            "{}/auth?response_type=code&client_id=tollgate&",
            world.oidc.url()
        )),
        "{place}"
    );
    for part in [
        "code_challenge_method=S256",
        "scope=openid%20profile%20email%20organization%3Aacme-org",
        "&nonce=",
        "&state=",
    ] {
        assert!(place.contains(part), "{part} in {place}");
    }
    let cookie = login.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-tollgate_sign_in="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    let back =
        world.way_back(&mut browser, &format!("{LOGIN}&return_to=/docs"), "alice", &alice(), "");
    let answer = world.come_back(&mut browser, &back);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/docs")), "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-tollgate_session=tgs_"), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let secret = session(&world, &browser).unwrap();
    let me = world.get(&browser, "/v1/me").json();
    assert_eq!(
        (&me["subject"]["type"], &me["subject"]["name"]),
        (&json!("user"), &json!("Alice A."))
    );
    assert_eq!(
        (&me["tenant"], &me["acr"], me["authenticated_at"].is_string()),
        (&json!("acme"), &json!("1"), true)
    );
    // Of one tenant alone, and never as a bearer key.
    is_refused(&world.get(&browser, "/v1/tenants/beta"), 404, "tenant-not-found");
    is_refused(&world.control.ask(&secret, "GET", "/v1/me", None), 401, "unauthenticated");
    // A change must have begun at a page of this host.
    let group = json!({"display_name": "Search"}).to_string();
    let cookie = format!("cookie: {SESSION}={secret}\r\ncontent-type: application/json\r\n");
    let make = |origin: &str| {
        exchange(port, "POST", "/v1/tenants/acme/groups", &format!("{cookie}{origin}"), &group)
    };
    for origin in [
        String::new(),
        "origin: null\r\n".to_owned(),
        "origin: https://evil.example\r\n".to_owned(),
        format!("origin: http://127.0.0.1:{port}.evil.example\r\n"),
        format!("origin: https://127.0.0.1:{port}\r\n"),
        format!("origin: http://127.0.0.1:{port}\r\norigin: https://evil.example\r\n"),
        format!("referer: http://127.0.0.1:{port}/docs\r\n"),
    ] {
        is_refused(&make(&origin), 403, "forbidden");
    }
    let own = format!("origin: http://127.0.0.1:{port}\r\n");
    assert_eq!(make(&own).status, 201);
    // Two credentials are none.
    for headers in [
        format!("{cookie}authorization: Bearer {}\r\n", world.control.admin),
        format!("{cookie}cookie: {SESSION}={secret}\r\n"),
    ] {
        is_refused(&exchange(port, "GET", "/v1/me", &headers, ""), 400, "ambiguous-credential");
    }
    for wrong in [&secret[..47], "", "tgs_", &world.control.admin] {
        let headers = format!("cookie: {SESSION}={wrong}\r\n");
        is_refused(&exchange(port, "GET", "/v1/me", &headers, ""), 401, "unauthenticated");
    }
    // The session ends here, and the provider says where its own does.
    is_refused(&browser.send(port, "POST", "/v1/auth/logout", "", ""), 403, "forbidden");
    assert_eq!(world.get(&browser, "/v1/me").status, 200);
    let kept = browser.clone();
    let ended = browser.send(port, "POST", "/v1/auth/logout", &own, "");
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(
        ended.json()["end_session_url"],
        format!("{}/session/end?client_id=tollgate", world.oidc.url())
    );
    assert_eq!(session(&world, &browser), None);
    is_refused(&world.get(&kept, "/v1/me"), 401, "unauthenticated");
    assert_eq!(browser.send(port, "POST", "/v1/auth/logout", &own, "").status, 200);
    let events =
        world.platform("GET", "/v1/tenants/acme/audit-events?resource=session", Json::Null).json();
    let actions: Vec<&str> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["session.created", "session.ended"]);
    assert_eq!(events["data"][0]["actor"]["type"], "user");
    // The client's secret is nowhere to be read, and gone when it is taken away.
    let path = format!("/v1/identity-providers/{}", world.provider);
    let shown = world.platform("GET", &path, Json::Null);
    let rows =
        world.control.psql("SELECT string_agg(p::text, '') FROM identity_providers p").unwrap();
    for (place, text) in
        [("the API", &shown.text), ("the database", &rows), ("the log", &world.control.log())]
    {
        assert!(!text.contains(CLIENT_SECRET), "{place}: {text}");
        assert!(!text.contains(&secret), "{place}: {text}");
    }
    let without = world.platform("PATCH", &path, json!({"client_secret": null}));
    assert_eq!(without.json()["has_client_secret"], false, "{}", without.text);
    let mut browser = Browser::default();
    let back = world.way_back(&mut browser, LOGIN, "alice", &alice(), "");
    is_refused(&world.come_back(&mut browser, &back), 401, "unauthenticated");
}

#[test]
fn a_code_is_worth_something_once_and_in_the_browser_that_asked_for_it() {
    let world = World::new();
    let port = world.control.port;
    let mut browser = Browser::default();
    let back = world.way_back(&mut browser, LOGIN, "alice", &alice(), "");
    let path = back.strip_prefix(&world.at("")).unwrap().to_owned();
    let (code, state) = (parameter(&path, "code"), parameter(&path, "state"));
    let mut other = Browser::default();
    let other_back = world.way_back(&mut other, LOGIN, "bob", &alice(), "");
    let other_path = other_back.strip_prefix(&world.at("")).unwrap();
    let (other_code, other_state) = (parameter(other_path, "code"), parameter(other_path, "state"));
    let callback = |code: &str, state: &str| format!("/v1/auth/callback?code={code}&state={state}");
    // Each with a copy of the browser, so that none spoils another.
    for (whose, path) in [
        (&Browser::default(), path.as_str()),
        (&other, path.as_str()),
        (&browser, &callback(&code, &other_state)),
        (&browser, &callback(&code, "")),
        (&browser, &format!("/v1/auth/callback?code={code}")),
        (&browser, &format!("/v1/auth/callback?state={state}")),
        (&browser, &format!("/v1/auth/callback?state={state}&error=access_denied")),
        (&browser, &format!("{}&iss=https://evil.example", callback(&code, &state))),
        (&browser, &callback("nonsense", &state)),
        // Of another sign-in: the provider holds it against the verifier.
        (&browser, &callback(&other_code, &state)),
    ] {
        let answer = whose.clone().send(port, "GET", path, "", "");
        is_refused(&answer, 401, "unauthenticated");
        assert!(!answer.head.contains(SESSION), "{path}: {}", answer.head);
    }
    let mut changed = browser.clone();
    let kept = changed.0.get_mut(&(port, "__Host-tollgate_sign_in".to_owned())).unwrap();
    kept.replace_range(40..41, if &kept[40..41] == "A" { "B" } else { "A" });
    is_refused(&changed.send(port, "GET", &path, "", ""), 401, "unauthenticated");
    let again = browser.clone();
    let answer = browser.send(port, "GET", &path, "", "");
    assert_eq!(answer.status, 303, "{}", answer.text);
    is_refused(&again.clone().send(port, "GET", &path, "", ""), 401, "unauthenticated");
    // Where people are sent, and where they may be sent back to.
    for login in [
        "/v1/auth/login?return_to=https://evil.example",
        "/v1/auth/login?return_to=//evil.example",
        "/v1/auth/login?provider=idp_none",
        "/v1/auth/login?organisation=",
        "/v1/auth/login?scope=admin",
    ] {
        is_refused(&Browser::default().send(port, "GET", login, "", ""), 422, "invalid");
    }
    is_refused(
        &Browser::default().send(port, "POST", "/v1/auth/login", "", ""),
        405,
        "method-not-allowed",
    );
    is_refused(
        &Browser::default().send(port, "GET", "/v1/auth/logout", "", ""),
        405,
        "method-not-allowed",
    );
    is_refused(
        &Browser::default().send(port, "GET", "/v1/auth/other", "", ""),
        404,
        "route-not-found",
    );
    // In one organisation that is linked, chosen where there are several.
    for (login, claims, status, code) in [
        (
            "/v1/auth/login",
            json!({"organization": ["acme-org", "beta-org"]}),
            403,
            "ambiguous-tenant",
        ),
        (LOGIN, json!({"organization": ["acme-org", "beta-org"]}), 303, ""),
        (LOGIN, json!({"organization": ["beta-org"]}), 403, "no-tenant"),
        ("/v1/auth/login", json!({"organization": ["other-org"]}), 403, "no-tenant"),
        ("/v1/auth/login", json!({}), 403, "no-tenant"),
    ] {
        let mut browser = Browser::default();
        let back = world.way_back(&mut browser, login, "carol", &claims, "");
        is_refused(&world.come_back(&mut browser, &back), status, code);
    }
}

fn parameter(path: &str, name: &str) -> String {
    let (_, query) = path.split_once('?').unwrap();
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("{name} in {path}")).to_owned()
}

#[test]
fn a_programs_code_is_worth_something_to_whoever_has_the_verifier() {
    let world = World::new();
    let port = world.control.port;
    let verifier = "a-verifier-that-is-long-enough-for-rfc-7636";
    let digest = sha2::Sha256::digest(verifier.as_bytes());
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    for query in [
        format!("port=80&code_challenge={challenge}"),
        format!("port=99999&code_challenge={challenge}"),
        format!("port=evil.example&code_challenge={challenge}"),
        format!("code_challenge={challenge}"),
        "port=20000".to_owned(),
        "port=20000&code_challenge=short".to_owned(),
    ] {
        let refused = Browser::default().send(port, "GET", &format!("{LOGIN}&{query}"), "", "");
        is_refused(&refused, 422, "invalid");
    }
    let mut browser = Browser::default();
    let login = format!("{LOGIN}&port=20000&code_challenge={challenge}");
    let back = world.way_back(&mut browser, &login, "alice", &alice(), "");
    let answer = world.come_back(&mut browser, &back);
    let place = answer.header("location").unwrap();
    assert_eq!((answer.status, session(&world, &browser)), (303, None), "{}", answer.text);
    let code =
        place.strip_prefix("http://127.0.0.1:20000/?code=").unwrap_or_else(|| panic!("{place}"));
    let post = |code: &str, verifier: &str| {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        let form = format!("code={code}&code_verifier={verifier}");
        crate::service::send(port, "POST", "/v1/auth/token", kind, &form)
    };
    for (code, verifier) in
        [(code, "another"), (code, challenge.as_str()), (code, ""), ("", verifier), ("a", verifier)]
    {
        is_refused(&post(code, verifier), 401, "unauthenticated");
    }
    let given = post(code, verifier);
    assert_eq!(
        (given.status, given.header("cache-control")),
        (200, Some("no-store")),
        "{}",
        given.text
    );
    let given = given.json();
    assert_eq!(given["origin"], world.at(""));
    let cookie = format!("cookie: {SESSION}={}\r\n", given["session"].as_str().unwrap());
    assert_eq!(exchange(port, "GET", "/v1/me", &cookie, "").json()["tenant"], "acme");
}

#[test]
fn a_session_is_refused_by_the_next_call_once_it_has_ended() {
    let world = World::new();
    // Each row: what happens, and what a session from before is answered; then somebody else signs in.
    let user = |world: &World, browser: &Browser| {
        world.get(browser, "/v1/me").json()["subject"]["id"].as_str().unwrap().to_owned()
    };
    let idle = world.signed_in("idle", &alice());
    world.in_tenant("UPDATE sessions SET last_used_at = now() - interval '29 minutes'");
    assert_eq!(world.get(&idle, "/v1/me").status, 200);
    world.in_tenant("UPDATE sessions SET last_used_at = now() - interval '31 minutes'");
    is_refused(&world.get(&idle, "/v1/me"), 401, "credential-expired");
    let old = world.signed_in("old", &alice());
    world.in_tenant("UPDATE sessions SET expires_at = now()");
    is_refused(&world.get(&old, "/v1/me"), 401, "credential-expired");
    let disabled = world.signed_in("disabled", &alice());
    let path = format!("/v1/tenants/acme/users/{}", user(&world, &disabled));
    assert_eq!(world.platform("PATCH", &path, json!({"state": "disabled"})).status, 200);
    is_refused(&world.get(&disabled, "/v1/me"), 401, "unauthenticated");
    let signed_out = world.signed_in("signed-out", &alice());
    let path = format!("/v1/tenants/acme/users/{}/sign-out", user(&world, &signed_out));
    assert_eq!(world.platform("POST", &path, json!({})).status, 200);
    is_refused(&world.get(&signed_out, "/v1/me"), 401, "unauthenticated");
    let weak = world.signed_in("weak", &alice());
    let put = world.platform(
        "PUT",
        "/v1/tenants/acme/settings/sign_on.required_acr",
        json!({"value": "2"}),
    );
    assert_eq!(put.status, 200, "{}", put.text);
    let refused = world.get(&weak, "/v1/me");
    is_refused(&refused, 401, "step-up-required");
    assert!(refused.header("www-authenticate").unwrap().contains("acr_values=\"2\""));
    // Whoever is asked for more signs in again with it.
    let mut browser = Browser::default();
    let login = format!("{LOGIN}&acr_values=2");
    let back = world.way_back(&mut browser, &login, "weak", &alice(), "&acr=2");
    assert_eq!(world.come_back(&mut browser, &back).status, 303);
    assert_eq!(world.get(&browser, "/v1/me").json()["acr"], "2");
    let links = world.platform("GET", "/v1/organisations?tenant_id=acme", Json::Null).json();
    let path = format!("/v1/organisations/{}", links["data"][0]["id"].as_str().unwrap());
    assert_eq!(world.platform("DELETE", &path, Json::Null).status, 204);
    is_refused(&world.get(&browser, "/v1/me"), 403, "no-tenant");
}

#[test]
fn whom_the_provider_signs_out_is_signed_out_here() {
    let mut world = World::new();
    let (one, two, bob) = (
        world.signed_in("alice", &alice()),
        world.signed_in("alice", &alice()),
        world.signed_in("bob", &alice()),
    );
    world.oidc.sign_out("alice");
    for (browser, status) in [(&one, 401), (&two, 401), (&bob, 200)] {
        assert_eq!(world.get(browser, "/v1/me").status, status);
    }
    is_refused(&world.get(&one, "/v1/me"), 401, "credential-revoked");
    let events =
        world.platform("GET", "/v1/audit-events?action=revocation.created", Json::Null).json();
    assert_eq!(
        events["data"][0]["actor"],
        json!({"type": "system", "id": "backchannel-logout", "on_behalf_of": null})
    );
    // Nothing in the platform's database says who it was.
    let rows = world.control.psql("SELECT string_agg(r::text, '') FROM revocations r").unwrap();
    assert!(!rows.contains("alice") && !rows.is_empty(), "{rows}");
    std::thread::sleep(Duration::from_millis(1_100));
    let again = world.signed_in("alice", &alice());
    assert_eq!(world.get(&again, "/v1/me").status, 200);
    // Keys that the issuer changes are found within its interval; sessions from before go on.
    world.oidc.rotate();
    let began = Instant::now();
    let status = loop {
        let mut browser = Browser::default();
        let back = world.way_back(&mut browser, LOGIN, "alice", &alice(), "");
        let status = world.come_back(&mut browser, &back).status;
        if status == 303 || began.elapsed() > Duration::from_secs(20) {
            break status;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(status, 303, "{}", world.control.log());
    assert_eq!(world.get(&again, "/v1/me").status, 200);
}

#[test]
fn only_a_logout_token_of_the_issuer_signs_anybody_out() {
    let (signer, stranger) = (Signer::rsa("one"), Signer::rsa("one"));
    let issuer = Issuer::start(&[&signer]);
    let many = [("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000")];
    let control = Control::start_with(&many);
    control.tenant("acme");
    let provider = json!({
        "issuer": issuer.url, "audience": [crate::tokens::AUDIENCE], "kind": "keycloak", "client_id": "tollgate",
    });
    let made = control.ask(&control.admin, "POST", "/v1/identity-providers", Some(provider));
    assert_eq!(made.status, 201, "{}", made.text);
    let link = json!({"issuer": issuer.url, "organisation": "acme-org", "tenant_id": "acme"});
    assert_eq!(control.ask(&control.admin, "POST", "/v1/organisations", Some(link)).status, 201);
    let credential =
        |changed: Json| signer.sign(&signer.header(), &with(issuer.claims("alice"), &changed));
    let (token, other) = (credential(json!({"sid": "s1"})), credential(json!({"sid": "s2"})));
    let status = |token: &str| control.ask(token, "GET", "/v1/me", None).status;
    let post = |form: &str, kind: &str| {
        let headers = format!("content-type: {kind}\r\n");
        crate::service::send(control.port, "POST", "/v1/auth/backchannel-logout", &headers, form)
    };
    let form = "application/x-www-form-urlencoded";
    let now = jiff::Timestamp::now().as_second();
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let good = json!({
        "iss": issuer.url, "aud": "tollgate", "iat": now, "exp": now + 120, "jti": "1", "sub": "alice", "events": {event: {}},
    });
    let header = json!({"alg": "RS256", "kid": "one", "typ": "logout+jwt"});
    for changed in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
        json!({"aud": crate::tokens::AUDIENCE}),
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"iat": null}),
        json!({"iat": now + 600}),
        json!({"exp": null}),
        json!({"exp": now - 600}),
        json!({"jti": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sid": 7}),
        json!({"events": null}),
        json!({"events": {}}),
        json!({"events": {event: "yes"}}),
        json!({"events": [event]}),
        json!({"nonce": "n"}),
    ] {
        let token = signer.sign(&header, &with(good.clone(), &changed));
        is_refused(&post(&format!("logout_token={token}"), form), 400, "malformed");
    }
    for (signer, header) in [
        (&stranger, header.clone()),
        (&signer, with(header.clone(), &json!({"alg": "none"}))),
        (&signer, with(header.clone(), &json!({"alg": "HS256"}))),
        (&signer, with(header.clone(), &json!({"typ": "at+jwt"}))),
        (&signer, with(header.clone(), &json!({"kid": "two"}))),
    ] {
        let token = signer.sign(&header, &good);
        is_refused(&post(&format!("logout_token={token}"), form), 400, "malformed");
    }
    is_refused(&post(&format!("logout_token={token}"), form), 400, "malformed");
    is_refused(&post("", form), 422, "invalid");
    is_refused(&post("logout_token=a", form), 400, "malformed");
    is_refused(&post("{}", "application/json"), 415, "unsupported-media-type");
    is_refused(&post(&"a".repeat(70_000), form), 413, "too-large");
    assert_eq!((status(&token), status(&other)), (200, 200));
    // No credential, whatever it is for.
    let signed = signer.sign(&header, &good);
    assert_eq!(status(&signed), 401);
    // A session alone, then the person with all that it has; tokens that were issued afterwards are good again.
    let of_session =
        signer.sign(&header, &with(good.clone(), &json!({"sub": null, "sid": "s1", "jti": "2"})));
    assert_eq!(post(&format!("logout_token={of_session}"), form).status, 200);
    assert_eq!((status(&token), status(&other)), (401, 200));
    assert_eq!(post(&format!("logout_token={signed}"), form).status, 200);
    assert_eq!(status(&other), 401);
    let later = json!({"iat": now + 3, "nbf": null});
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(status(&credential(later.clone())), 200);
    // The same logout token again ends nothing.
    assert_eq!(post(&format!("logout_token={signed}"), form).status, 200);
    assert_eq!(status(&credential(later)), 200);
}

fn with(mut object: Json, changed: &Json) -> Json {
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Json::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

#[test]
fn people_of_the_platform_have_sessions_of_their_own() {
    let world = World::new();
    let port = world.control.port;
    let link = json!({"issuer": world.oidc.url(), "organisation": "ops", "tenant_id": "platform"});
    let link = world.platform("POST", "/v1/organisations", link).json();
    let login = "/v1/auth/login?organisation=ops";
    let claims =
        json!({"organization": {"ops": {"roles": ["admin"]}, "acme-org": {"roles": ["admin"]}}});
    let sign_in = || {
        let mut browser = Browser::default();
        let back = world.way_back(&mut browser, login, "root", &claims, "");
        let answer = world.come_back(&mut browser, &back);
        (browser, answer)
    };
    is_refused(&sign_in().1, 403, "no-tenant");
    let user = json!({"issuer": world.oidc.url(), "subject": "root", "display_name": "Root"});
    let user = world.platform("POST", "/v1/users", user).json();
    let binding = json!({"subject": {"type": "user", "id": user["id"]}, "role": "auditor"});
    assert_eq!(world.platform("POST", "/v1/role-bindings", binding).status, 201);
    let (browser, answer) = sign_in();
    assert_eq!(answer.status, 303, "{}\n{}", answer.text, world.control.log());
    let me = world.get(&browser, "/v1/me").json();
    assert_eq!(
        (&me["subject"]["id"], &me["tenant"], &me["roles"]),
        (&user["id"], &Json::Null, &json!(["auditor"]))
    );
    assert_eq!(world.get(&browser, "/v1/tenants").json()["data"].as_array().unwrap().len(), 2);
    // The same person in a tenant is another session.
    let (other, tenants) = (world.signed_in("root", &alice()), "/v1/tenants/acme/users");
    assert_eq!(world.get(&other, "/v1/me").json()["tenant"], "acme");
    is_refused(&world.get(&other, "/v1/clusters"), 403, "forbidden");
    assert_eq!(world.get(&other, tenants).status, 200);
    // It ends by signing out here, by being disabled, and with the link.
    let own = format!("origin: http://127.0.0.1:{port}\r\n");
    let mut leaving = browser.clone();
    assert_eq!(leaving.send(port, "POST", "/v1/auth/logout", &own, "").status, 200);
    is_refused(&world.get(&browser, "/v1/me"), 401, "unauthenticated");
    let events = world.platform("GET", "/v1/audit-events?resource=session", Json::Null).json();
    let actions: Vec<&Json> =
        events["data"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["session.created", "session.ended"]);
    let (browser, _) = sign_in();
    assert_eq!(world.get(&browser, "/v1/me").status, 200);
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    assert_eq!(world.platform("PATCH", &path, json!({"state": "disabled"})).status, 200);
    is_refused(&world.get(&browser, "/v1/me"), 401, "unauthenticated");
    assert_eq!(world.platform("PATCH", &path, json!({"state": "active"})).status, 200);
    let (browser, _) = sign_in();
    let link = format!("/v1/organisations/{}", link["id"].as_str().unwrap());
    assert_eq!(world.platform("DELETE", &link, Json::Null).status, 204);
    is_refused(&world.get(&browser, "/v1/me"), 403, "no-tenant");
    assert_eq!(world.get(&other, "/v1/me").status, 200);
}
