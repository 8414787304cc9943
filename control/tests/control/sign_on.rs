//! Tokens of identity providers: who gets in, as whom, and every way of not getting in.

use crate::service::{Answer, Control};
use crate::tokens::{AUDIENCE, Issuer, Signer};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value as Json, json};
use std::sync::atomic::Ordering;

pub(crate) struct World {
    pub(crate) control: Control,
    issuer: Issuer,
    signer: Signer,
    provider: String,
}

impl World {
    pub(crate) fn new() -> World {
        let signer = Signer::rsa("one");
        let issuer = Issuer::start(&[&signer]);
        let control =
            Control::start_with(&[("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000")]);
        control.tenant("acme");
        let mut world = World { control, issuer, signer, provider: String::new() };
        let provider = json!({
            "issuer": world.issuer.url, "audience": [AUDIENCE], "kind": "keycloak", "role_mapping": {"admin": "tenant-admin"},
        });
        let made = world.platform("POST", "/v1/identity-providers", provider);
        assert_eq!(made.status, 201, "{}", made.text);
        world.provider = made.json()["id"].as_str().unwrap().to_owned();
        world.link("acme-org", "acme");
        world
    }

    pub(crate) fn platform(&self, method: &str, path: &str, body: Json) -> Answer {
        let headers = if method == "POST" || method == "GET" { "" } else { "if-match: *\r\n" };
        let body = (!body.is_null()).then_some(body);
        self.control.ask_with(&self.control.admin, method, path, headers, body)
    }

    pub(crate) fn link(&self, organisation: &str, tenant: &str) -> String {
        let link =
            json!({"issuer": self.issuer.url, "organisation": organisation, "tenant_id": tenant});
        let made = self.platform("POST", "/v1/organisations", link);
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// A good token, some of its claims otherwise.
    pub(crate) fn token(&self, subject: &str, other: &Json) -> String {
        let mut claims = self.issuer.claims(subject);
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signer.sign(&self.signer.header(), &claims)
    }

    pub(crate) fn me(&self, token: &str) -> Answer {
        self.control.ask(token, "GET", "/v1/me", None)
    }

    pub(crate) fn series(&self, name: &str) -> u64 {
        let text = crate::service::exchange(self.control.ops, "GET", "/metrics", "", "").text;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }
}

pub(crate) fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

#[test]
fn whoever_comes_with_a_good_token_is_a_user_of_the_organisations_tenant() {
    let world = World::new();
    let alice = world.token("alice", &json!({}));
    let me = world.me(&alice);
    assert_eq!(me.status, 200, "{}", me.text);
    let me = me.json();
    let user = me["subject"]["id"].as_str().unwrap().to_owned();
    assert_eq!((&me["subject"]["type"], &me["tenant"]), (&json!("user"), &json!("acme")));
    assert_eq!((&me["roles"], &me["permissions"]), (&json!(["member"]), &json!(["me"])));
    assert_eq!((&me["acr"], me["authenticated_at"].is_string()), (&json!("1"), true));
    let users = world.platform("GET", "/v1/tenants/acme/users", Json::Null).json();
    assert_eq!(
        (&users["data"][0]["display_name"], &users["data"][0]["subject"]),
        (&json!("Alice A."), &json!("alice"))
    );
    let events = world
        .platform("GET", "/v1/tenants/acme/audit-events?action=user.created", Json::Null)
        .json();
    assert_eq!(events["data"][0]["actor"]["id"], "sign-on");
    // What there is of oneself may be read by whoever it is, and by nobody else without the right.
    let own = |rest: &str| format!("/v1/tenants/acme/users/{rest}");
    let read = world.control.ask(&alice, "GET", &own(&user), None);
    assert_eq!((read.status, &read.json()["subject"]), (200, &json!("alice")), "{}", read.text);
    assert_eq!(world.control.ask(&alice, "GET", &own(&format!("{user}/export")), None).status, 200);
    let carol = world.me(&world.token("carol", &json!({}))).json()["subject"]["id"].clone();
    let carol = carol.as_str().unwrap().to_owned();
    for path in [own(&carol), own(&format!("{carol}/export"))] {
        is_refused(&world.control.ask(&alice, "GET", &path, None), 403, "forbidden");
    }
    let renamed = Some(json!({"display_name": "A"}));
    let renamed = world.control.ask_with(&alice, "PATCH", &own(&user), "if-match: *\r\n", renamed);
    is_refused(&renamed, 403, "forbidden");
    // A role that is bound holds with the next call, and so does one that the provider gives.
    is_refused(&world.control.ask(&alice, "GET", "/v1/tenants/acme/users", None), 403, "forbidden");
    let binding = json!({"subject": {"type": "user", "id": user}, "role": "auditor"});
    let binding = world.platform("POST", "/v1/tenants/acme/role-bindings", binding).json();
    assert_eq!(world.control.ask(&alice, "GET", "/v1/tenants/acme/users", None).status, 200);
    let path = format!("/v1/tenants/acme/role-bindings/{}", binding["id"].as_str().unwrap());
    assert_eq!(world.platform("DELETE", &path, Json::Null).status, 204);
    is_refused(&world.control.ask(&alice, "GET", "/v1/tenants/acme/users", None), 403, "forbidden");
    let admin = world.token("bob", &json!({"organization": {"acme-org": {"roles": ["admin"]}}}));
    let made = json!({"display_name": "Search"});
    let made = world.control.ask(&admin, "POST", "/v1/tenants/acme/groups", Some(made));
    assert_eq!(made.status, 201, "{}", made.text);
    let event = world
        .platform("GET", "/v1/tenants/acme/audit-events?action=group.created", Json::Null)
        .json();
    assert_eq!(event["data"][0]["actor"]["type"], "user");
    // Nobody else's tenant.
    world.control.tenant("beta");
    is_refused(
        &world.control.ask(&admin, "GET", "/v1/tenants/beta", None),
        404,
        "tenant-not-found",
    );
    // Two credentials are none.
    let both = format!(
        "authorization: Bearer {alice}\r\nauthorization: Bearer {}\r\n",
        world.control.admin
    );
    is_refused(&world.control.call("GET", "/v1/me", &both, None), 400, "ambiguous-credential");

    // What ends ends with the next call.
    let path = format!("/v1/tenants/acme/users/{user}");
    assert_eq!(world.platform("POST", &format!("{path}/sign-out"), Json::Null).status, 200);
    is_refused(&world.me(&alice), 401, "credential-revoked");
    let later = world.token("alice", &json!({"iat": jiff::Timestamp::now().as_second() + 2}));
    assert_eq!(world.me(&later).status, 200);
    assert_eq!(world.platform("PATCH", &path, json!({"state": "disabled"})).status, 200);
    is_refused(&world.me(&later), 401, "credential-revoked");
    assert_eq!(world.platform("PATCH", &path, json!({"state": "active"})).status, 200);
    // A stronger sign-in is asked for and compared, not assumed.
    let setting = "/v1/tenants/acme/settings/sign_on.required_acr";
    assert_eq!(world.platform("PUT", setting, json!({"value": "2"})).status, 200);
    let weak = world.me(&later);
    is_refused(&weak, 401, "step-up-required");
    let challenge = weak.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("insufficient_user_authentication")
            && challenge.contains("acr_values=\"2\""),
        "{challenge}"
    );
    let iat = jiff::Timestamp::now().as_second() + 2;
    assert_eq!(world.me(&world.token("alice", &json!({"acr": "2", "iat": iat}))).status, 200);
    assert_eq!(world.platform("DELETE", setting, Json::Null).status, 204);
    // A suspended tenant, an unlinked organisation, a provider that is no more.
    let suspend = json!({"reason": "test"});
    assert_eq!(world.platform("POST", "/v1/tenants/acme/suspend", suspend.clone()).status, 200);
    is_refused(&world.me(&later), 403, "tenant-suspended");
    assert_eq!(world.platform("POST", "/v1/tenants/acme/resume", suspend).status, 200);
    let provider = format!("/v1/identity-providers/{}", world.provider);
    is_refused(&world.platform("DELETE", &provider, Json::Null), 409, "in-use");
    let links = world.platform("GET", "/v1/organisations?tenant_id=acme", Json::Null).json();
    let link = format!("/v1/organisations/{}", links["data"][0]["id"].as_str().unwrap());
    assert_eq!(world.platform("DELETE", &link, Json::Null).status, 204);
    is_refused(&world.me(&later), 403, "no-tenant");
    assert_eq!(world.platform("DELETE", &provider, Json::Null).status, 204);
    is_refused(&world.me(&later), 401, "unauthenticated");
    assert!(world.series("sign_in_total{outcome=\"ok\",reason=\"ok\"}") >= 5);
    assert_eq!(world.series("sign_in_total{outcome=\"refused\",reason=\"step-up\"}"), 1);
}

/// Tokens that are wrong in one way each.
fn bad_tokens(world: &World) -> Vec<(String, String)> {
    let (signer, issuer) = (&world.signer, &world.issuer);
    let now = jiff::Timestamp::now().as_second();
    let (header, claims) = (signer.header(), issuer.claims("mallory"));
    let good = signer.sign(&header, &claims);
    let mut all: Vec<(String, String)> = Vec::new();
    let missing = json!("<missing>");
    let with = |object: &Json, name: &str, value: &Json| {
        let mut object = object.clone();
        match *value == missing {
            true => drop(object.as_object_mut().unwrap().remove(name)),
            false => object[name] = value.clone(),
        }
        object
    };
    let long = "s".repeat(256);
    for (name, values) in [
        (
            "exp",
            json!([
                "<missing>",
                null,
                true,
                "",
                "9999999999",
                [],
                {},
                0,
                now - 61,
                -1,
                -9_999_999_999_i64,
                1e300,
                1_000_000_000_000_000_i64,
                [now + 60]
            ]),
        ),
        ("nbf", json!([null, "0", true, [], {}, now + 120, 9_999_999_999_i64, 1e300])),
        ("iat", json!([null, "0", true, [], {}, now + 120, 9_999_999_999_i64])),
        (
            "iss",
            json!([
                "<missing>",
                null,
                7,
                [issuer.url],
                "",
                "https://evil.example",
                format!("{}/", issuer.url),
                issuer.url.to_uppercase(),
                format!("{} ", issuer.url),
                format!("{}#", issuer.url)
            ]),
        ),
        (
            "aud",
            json!([
                "<missing>",
                null,
                7,
                true,
                {},
                [],
                "",
                "other",
                ["other"],
                [7],
                [AUDIENCE, 7],
                [[AUDIENCE]],
                format!("{AUDIENCE}/"),
                format!("{AUDIENCE}.evil"),
                "https://api.example.co",
                AUDIENCE.to_uppercase(),
                "*"
            ]),
        ),
        ("sub", json!(["<missing>", null, "", 7, true, [], {}, long, "a\u{0}b"])),
        ("events", json!([{}, {"http://schemas.openid.net/event/backchannel-logout": {}}, null])),
        (
            "organization",
            json!(["<missing>", null, [], {}, ["acme-org", "other"], {"acme-org": {}, "other": {}}, ["other"], 7, true, [7], [["acme-org"]], "", "*", "ACME-ORG", "acme-org "]),
        ),
    ] {
        for value in values.as_array().unwrap() {
            all.push((
                format!("claim {name} {value}"),
                signer.sign(&header, &with(&claims, name, value)),
            ));
        }
    }
    for (name, values) in [
        (
            "alg",
            json!([
                "<missing>",
                null,
                7,
                "",
                "none",
                "None",
                "NONE",
                "nOnE",
                "HS256",
                "HS384",
                "HS512",
                "rs256",
                "RS256 ",
                "RS384",
                "PS256",
                "ES256",
                "ES512",
                "EdDSA",
                "RS1",
                ["RS256"]
            ]),
        ),
        (
            "typ",
            json!([
                null,
                7,
                "",
                "logout+jwt",
                "JOSE",
                "id_token",
                "dpop+jwt",
                "secevent+jwt",
                ["JWT"]
            ]),
        ),
        (
            "kid",
            json!([
                null,
                7,
                "",
                "two",
                "ONE",
                "one ",
                "../../../dev/null",
                "' OR 1=1 --",
                "k".repeat(129),
                ["one"]
            ]),
        ),
        ("crit", json!([[], ["exp"], null])),
        ("b64", json!([false, true])),
        ("enc", json!(["A256GCM"])),
        ("zip", json!(["DEF"])),
    ] {
        for value in values.as_array().unwrap() {
            all.push((
                format!("header {name} {value}"),
                signer.sign(&with(&header, name, value), &claims),
            ));
        }
    }
    // Somebody else's key, in each of the ways to bring one.
    let evil = Signer::rsa("one");
    all.push(("another key under this id".to_owned(), evil.sign(&header, &claims)));
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5c", json!(["MIIB"])),
    ] {
        all.push((format!("header {name}"), evil.sign(&with(&header, name, &value), &claims)));
    }
    let curve = Signer::ec("one");
    all.push(("a curve under this id".to_owned(), curve.sign(&curve.header(), &claims)));
    // The public key as the secret of a MAC.
    let public = issuer.keys.lock().unwrap()[0].clone();
    for secret in [public.to_string(), public["n"].as_str().unwrap().to_owned(), String::new()] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let mac = Signer { id: "one".to_owned(), algorithm: Algorithm::HS256, key };
        all.push(("a MAC by the public key".to_owned(), mac.sign(&mac.header(), &claims)));
    }
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let other = signer.sign(&header, &issuer.claims("somebody"));
    let other = other.rsplit('.').next().unwrap();
    let standard = STANDARD.encode(claims.to_string());
    for (name, token) in [
        ("one part", head.to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("no signature", format!("{head}.{body}.")),
        ("no header", format!(".{body}.{signature}")),
        ("no claims", format!("{head}..{signature}")),
        ("dots", "..".to_owned()),
        ("more dots", "....".to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{head}.{body}.{signature}.{body}.{signature}")),
        ("a dot before", format!(".{good}")),
        ("a dot behind", format!("{good}.")),
        ("padded header", format!("{head}=.{body}.{signature}")),
        ("padded claims", format!("{head}.{body}==.{signature}")),
        ("padded signature", format!("{head}.{body}.{signature}==")),
        ("another's signature", format!("{head}.{body}.{other}")),
        ("swapped parts", format!("{body}.{head}.{signature}")),
        ("the standard alphabet", format!("{head}.{standard}+/.{signature}")),
        ("half a signature", format!("{head}.{body}.{}", &signature[..signature.len() / 2])),
        ("two signatures", format!("{head}.{body}.{signature}{signature}")),
        ("too long", format!("{head}.{}.{signature}", "A".repeat(17_000))),
    ] {
        all.push((name.to_owned(), token));
    }
    for (name, text) in [
        ("an array", "[]"),
        ("a text", "\"x\""),
        ("a number", "7"),
        ("null", "null"),
        ("nothing", ""),
        ("no JSON", "{"),
        ("more", "{}{}"),
    ] {
        all.push((format!("claims are {name}"), signer.sign_texts(&header.to_string(), text)));
        all.push((format!("header is {name}"), signer.sign_texts(text, &claims.to_string())));
    }
    let encoded = URL_SAFE_NO_PAD.encode(b"{\"alg\":\"none\"}");
    all.push(("unsigned".to_owned(), format!("{encoded}.{body}.")));
    all.push(("unsigned with a signature".to_owned(), format!("{encoded}.{body}.{signature}")));
    for at in (0..good.len()).step_by(good.len() / 40) {
        if good.as_bytes()[at] == b'.' {
            continue;
        }
        let mut changed = good.clone();
        let letter = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        changed.replace_range(at..=at, letter);
        all.push((format!("byte {at}"), changed));
        all.push((format!("cut at {at}"), good[..at].to_owned()));
    }
    all
}

#[test]
fn no_bad_token_gets_in() {
    let world = World::new();
    assert_eq!(world.me(&world.token("alice", &json!({}))).status, 200, "{}", world.control.log());
    let all = bad_tokens(&world);
    assert!(all.len() >= 150, "{}", all.len());
    for (name, token) in &all {
        let answer = world.me(token);
        assert!([401, 403].contains(&answer.status), "{name}: {} {}", answer.status, answer.text);
        let is_403 = answer.status == 403;
        assert_eq!(
            is_403,
            ["no-tenant", "ambiguous-tenant"].contains(&answer.code().as_str()),
            "{name}: {}",
            answer.text
        );
    }
    // None of them left a user behind, and none of them is in the log.
    let users = world.platform("GET", "/v1/tenants/acme/users", Json::Null).json();
    assert_eq!(users["data"].as_array().unwrap().len(), 1);
    let log = world.control.log();
    assert!(
        all.iter()
            .filter(|(_, token)| token.len() > 60)
            .all(|(_, token)| !log.contains(token.as_str()))
    );
}

#[test]
fn keys_rotate_outlive_an_outage_and_are_not_asked_for_in_a_flood() {
    let world = World::new();
    let alice = world.token("alice", &json!({}));
    assert_eq!(world.me(&alice).status, 200);
    assert_eq!(world.issuer.asked.load(Ordering::SeqCst), 2, "discovery and keys, once");
    // A flood of ids that no key has.
    let began = std::time::Instant::now();
    let mut header = world.signer.header();
    let claims = world.issuer.claims("mallory");
    let mut floods = 0;
    while floods < 10_000 && began.elapsed() < std::time::Duration::from_secs(8) {
        header["kid"] = json!(format!("random-{floods}"));
        let token = format!(
            "{}.{}.AAAA",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        is_refused(&world.me(&token), 401, "unauthenticated");
        floods += 1;
    }
    let asked = world.issuer.asked.load(Ordering::SeqCst);
    assert!(asked <= 3, "{asked} fetches");
    // The issuer is down: what is known still serves.
    world.issuer.is_down.store(true, Ordering::SeqCst);
    assert_eq!(world.me(&alice).status, 200);
}
