//! A real Keycloak: its tokens, its organisations, its login page and its back-channel logout. `make e2e-keycloak`.

use crate::oidc::Browser;
use crate::service::{Answer, Control, exchange, free_port, send};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A first start builds it.
const STARTED: Duration = Duration::from_secs(180);
const ENDED: Duration = Duration::from_secs(20);
const PASSWORD: &str = "canary-of-keycloak";
const AUDIENCE: &str = "https://api.example.com";
const SESSION: &str = "__Host-tollgate_session";

struct Keycloak {
    port: u16,
    child: Child,
    admin: String,
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        // The shell waits for Java: both belong to a group of their own.
        let group = nix::unistd::Pid::from_raw(-i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Keycloak {
    /// Without state of its own, and with a realm that knows a service by its address.
    fn start(service: u16) -> Keycloak {
        let home = PathBuf::from(std::env::var_os("TOLLGATE_KEYCLOAK").expect("make e2e-keycloak"));
        let port = free_port();
        let mut command = Command::new(home.join("bin/kc.sh"));
        command.args(["start-dev", "--db=dev-mem", "--http-host=127.0.0.1"]);
        command.args([format!("--http-port={port}"), "--cache=local".to_owned()]);
        command.env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx640m");
        command.env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin");
        command.env("KC_BOOTSTRAP_ADMIN_PASSWORD", PASSWORD);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let log =
            std::fs::File::create(std::env::temp_dir().join(format!("tg-keycloak-{port}.log")));
        command.stdin(Stdio::null()).stdout(log.unwrap()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut keycloak = Keycloak { port, child, admin: String::new() };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < STARTED);
            std::thread::sleep(Duration::from_millis(200));
        }
        let form =
            format!("grant_type=password&client_id=admin-cli&username=admin&password={PASSWORD}");
        keycloak.admin = keycloak.token_of("master", &form).expect("its administrator signs in");
        keycloak.made("/admin/realms", &realm(service));
        keycloak
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}/realms/main", self.port)
    }

    fn token_of(&self, realm: &str, form: &str) -> Option<String> {
        let path = format!("/realms/{realm}/protocol/openid-connect/token");
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        let answer = send(self.port, "POST", &path, headers, form);
        answer.json()["access_token"].as_str().map(str::to_owned)
    }

    /// An access token of somebody.
    fn token(&self, client: &str, who: &str, scope: &str) -> String {
        let form = format!(
            "grant_type=password&client_id={client}&client_secret={PASSWORD}&username={who}&password={PASSWORD}&scope={}",
            crate::service::escaped(scope)
        );
        self.token_of("main", &form).unwrap_or_else(|| panic!("no token for {who}"))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers =
            format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.admin);
        send(self.port, method, path, &headers, body)
    }

    /// Makes something; its id, as its place says.
    fn made(&self, path: &str, body: &Json) -> String {
        let answer = self.ask("POST", path, &body.to_string());
        assert!(
            [200, 201, 204].contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.text
        );
        let place = answer.header("location").unwrap_or_default();
        place.rsplit('/').next().unwrap_or_default().to_owned()
    }

    fn user(&self, name: &str) -> String {
        let path = format!("/admin/realms/main/users?username={name}&exact=true");
        self.ask("GET", &path, "").json()[0]["id"].as_str().unwrap().to_owned()
    }

    /// An organisation with these members.
    fn organisation(&self, alias: &str, members: &[&str]) {
        let body = json!({"name": alias, "alias": alias, "domains": [{"name": format!("{alias}.example.com")}]});
        let id = self.made("/admin/realms/main/organizations", &body);
        for member in members {
            let path = format!("/admin/realms/main/organizations/{id}/members");
            self.made(&path, &json!(self.user(member)));
        }
    }
}

fn realm(service: u16) -> Json {
    let at = format!("http://127.0.0.1:{service}");
    let audience = json!({
        "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": AUDIENCE, "access.token.claim": "true"},
    });
    let client = |id: &str, mappers: Vec<&Json>| {
        json!({
            "clientId": id, "secret": PASSWORD, "redirectUris": [format!("{at}/*")], "directAccessGrantsEnabled": true,
            "protocolMappers": mappers, "optionalClientScopes": ["organization"],
            "defaultClientScopes": ["basic", "acr", "profile", "email"],
            "attributes": {
                "backchannel.logout.url": format!("{at}/v1/auth/backchannel-logout"),
                "backchannel.logout.session.required": "true",
            },
        })
    };
    let user = |name: &str| {
        json!({
            "username": name, "enabled": true, "email": format!("{name}@example.com"), "emailVerified": true,
            "firstName": name, "lastName": "Example",
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": false}],
        })
    };
    json!({
        "realm": "main", "enabled": true, "sslRequired": "none", "organizationsEnabled": true,
        "clients": [client("tollgate", vec![&audience]), client("other", vec![])],
        "users": [user("ada"), user("bob"), user("eve")],
    })
}

/// A service that knows a Keycloak, with two tenants for its two organisations.
fn world() -> (Control, Keycloak) {
    let control = Control::start_with(&[("TOLLGATE_API__UNAUTHENTICATED_PER_MINUTE", "1000000")]);
    let keycloak = Keycloak::start(control.port);
    let ask = |path: &str, body: Json| {
        let made = control.ask(&control.admin, "POST", path, Some(body));
        assert_eq!(made.status, 201, "{}", made.text);
    };
    ask(
        "/v1/identity-providers",
        json!({
            "issuer": keycloak.issuer(), "audience": [AUDIENCE], "kind": "keycloak",
            "client_id": "tollgate", "client_secret": PASSWORD,
        }),
    );
    for (organisation, members) in [("acme", &["ada", "bob"][..]), ("beta", &["bob"])] {
        control.tenant(organisation);
        keycloak.organisation(organisation, members);
        ask(
            "/v1/organisations",
            json!({
                "issuer": keycloak.issuer(), "organisation": organisation, "tenant_id": organisation,
            }),
        );
    }
    (control, keycloak)
}

#[test]
#[ignore = "make e2e-keycloak"]
fn people_of_keycloak_sign_in_and_out() {
    let (control, keycloak) = world();
    tokens(&control, &keycloak);
    keys_are_rotated(&control, &keycloak);
    a_browser(&control, &keycloak);
}

/// What a token says, for whoever reads a failure.
fn claims(token: &str) -> String {
    use base64::Engine as _;
    let body = token.split('.').nth(1).unwrap_or_default();
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap_or_default();
    String::from_utf8_lossy(&body).into_owned()
}

/// Whose token says what, and what becomes of it.
fn tokens(control: &Control, keycloak: &Keycloak) {
    for (client, who, scope, status, said) in [
        ("tollgate", "ada", "openid organization:acme", 200, "acme"),
        ("tollgate", "ada", "openid organization", 200, "acme"),
        ("tollgate", "bob", "openid organization:acme", 200, "acme"),
        ("tollgate", "bob", "openid organization:beta", 200, "beta"),
        // Of several organisations none is guessed.
        ("tollgate", "bob", "openid organization:*", 403, "ambiguous-tenant"),
        ("tollgate", "ada", "openid", 403, "no-tenant"),
        ("tollgate", "eve", "openid organization:*", 403, "no-tenant"),
        // For another audience.
        ("other", "ada", "openid organization:acme", 401, "unauthenticated"),
    ] {
        let token = keycloak.token(client, who, scope);
        let answer = control.ask(&token, "GET", "/v1/me", None);
        let got = match answer.status {
            200 => answer.json()["tenant"].as_str().unwrap_or_default().to_owned(),
            _ => answer.code(),
        };
        assert_eq!(
            (answer.status, got.as_str()),
            (status, said),
            "{client} {who} {scope}: {}\n{}",
            answer.text,
            claims(&token)
        );
    }
    let token = keycloak.token("tollgate", "ada", "openid organization:acme");
    let other = control.ask(&token, "GET", "/v1/tenants/beta", None);
    assert_eq!(other.code(), "tenant-not-found");
    // Changed by one letter, and cut.
    for bad in [token.replacen('.', "x.", 1), token[..token.len() - 5].to_owned()] {
        assert_eq!(control.ask(&bad, "GET", "/v1/me", None).status, 401);
    }
}

/// Keycloak signs with another key, beside the one before.
fn keys_are_rotated(control: &Control, keycloak: &Keycloak) {
    let realm = keycloak.ask("GET", "/admin/realms/main", "").json();
    let component = json!({
        "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
        "parentId": realm["id"], "config": {"priority": ["1000"], "algorithm": ["RS256"]},
    });
    let before = keycloak.token("tollgate", "ada", "openid organization:acme");
    keycloak.made("/admin/realms/main/components", &component);
    let after = keycloak.token("tollgate", "ada", "openid organization:acme");
    assert_ne!(before.split('.').next(), after.split('.').next(), "another key id");
    // Keys are fetched a few times a minute at most, whatever is asked: the new one is known soon.
    let began = Instant::now();
    while control.ask(&after, "GET", "/v1/me", None).status != 200 {
        assert!(began.elapsed() < ENDED, "{}", control.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(control.ask(&before, "GET", "/v1/me", None).status, 200);
}

/// Signs in at Keycloak's own page; the session ends when Keycloak says that it is over.
fn a_browser(control: &Control, keycloak: &Keycloak) {
    let mut browser = Browser::default();
    let login = format!(
        "http://127.0.0.1:{}/v1/auth/login?organisation=acme&return_to=/docs",
        control.port
    );
    let (_, page) = browser.follow(&login, "/nowhere");
    let mut page = page.unwrap();
    // With organisations it asks who, then for the password.
    let form = format!("username=ada&password={PASSWORD}&credentialId=");
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    for _ in 0..2 {
        let Some(rest) = page.text.split("action=\"").nth(1) else { break };
        let action = rest.split('"').next().unwrap_or_default().replace("&amp;", "&");
        let path = action.strip_prefix(&format!("http://127.0.0.1:{}", keycloak.port)).unwrap();
        page = browser.send(keycloak.port, "POST", path, headers, &form);
    }
    let back = page.header("location").unwrap_or_else(|| panic!("{}", page.text)).to_owned();
    let back = back.strip_prefix(&format!("http://127.0.0.1:{}", control.port)).unwrap();
    let answer = browser.send(control.port, "GET", back, "", "");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/docs")), "{}", answer.text);
    let session = browser.0.get(&(control.port, SESSION.to_owned())).unwrap();
    let me =
        || exchange(control.port, "GET", "/v1/me", &format!("cookie: {SESSION}={session}\r\n"), "");
    assert_eq!(me().json()["tenant"], "acme", "{}", me().text);
    assert_eq!(me().json()["subject"]["name"], "ada Example");
    let out = keycloak.ask(
        "POST",
        &format!("/admin/realms/main/users/{}/logout", keycloak.user("ada")),
        "",
    );
    assert_eq!(out.status, 204, "{}", out.text);
    let began = Instant::now();
    while me().status != 401 {
        assert!(began.elapsed() < ENDED, "{}", control.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
