//! Break-glass: the platform is shown what a tenant's people said or did under a grant alone, which the tenant sees; and
//! two administrators stop everything.

use crate::service::{Answer, Control};
use serde_json::{Value as Json, json};

struct World {
    control: Control,
    /// Of the tenant.
    own: String,
    /// Another administrator of the platform.
    second: String,
    export: String,
}

impl World {
    fn new() -> World {
        World::with(&[])
    }

    fn with(environment: &[(&str, &str)]) -> World {
        let control = Control::start_with(environment);
        control.tenant("acme");
        let own = control.key("acme", &["tenant-admin"], &[]);
        let second = administrator(&control, "second");
        let user = json!({"issuer": "https://id.example.com", "subject": "ada"});
        let made = control.ask(&own, "POST", "/v1/tenants/acme/users", Some(user));
        let export = format!("/users/{}/export", made.json()["id"].as_str().unwrap());
        World { control, own, second, export }
    }

    fn by(&self, key: &str, method: &str, path: &str, body: Json) -> Answer {
        let headers = if method == "DELETE" || method == "PUT" { "if-match: *\r\n" } else { "" };
        let body = (!body.is_null()).then_some(body);
        self.control.ask_with(key, method, &format!("/v1/tenants/acme{path}"), headers, body)
    }

    fn platform(&self, method: &str, path: &str, body: Json) -> Answer {
        self.by(&self.control.admin, method, path, body)
    }

    fn asked(&self, minutes: i64) -> Json {
        let body = json!({"reason": "ticket 1", "minutes": minutes});
        let made = self.platform("POST", "/break-glass-grants", body);
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()
    }

    fn is_shown(&self, key: &str) -> bool {
        let answer = self.by(key, "GET", &self.export, Json::Null);
        match answer.status {
            200 => true,
            _ => {
                is_refused(&answer, 403, "forbidden");
                false
            }
        }
    }

    fn events(&self, action: &str) -> usize {
        let path = format!("/audit-events?action={action}");
        self.by(&self.own, "GET", &path, Json::Null).json()["data"].as_array().unwrap().len()
    }
}

/// The key of one more administrator of the platform.
fn administrator(control: &Control, name: &str) -> String {
    let body = json!({"name": name, "roles": ["platform-admin"]});
    let made = control.ask(&control.admin, "POST", "/v1/api-keys", Some(body));
    made.json()["secret"].as_str().unwrap().to_owned()
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

#[test]
fn the_platform_sees_what_is_the_peoples_own_under_a_grant_alone() {
    let world = World::new();
    let grants = "/break-glass-grants";
    assert!(world.is_shown(&world.own), "the tenant's own need none");
    assert!(!world.is_shown(&world.control.admin));
    for (body, pointer) in [
        (json!({"reason": "x", "minutes": 241}), "/minutes"),
        (json!({"reason": "x", "minutes": 0}), "/minutes"),
        (json!({"reason": " "}), "/reason"),
        (json!({"minutes": 5}), ""),
    ] {
        let answer = world.platform("POST", grants, body);
        is_refused(&answer, 422, "invalid");
        assert_eq!(answer.json()["error"]["details"]["fields"][0]["pointer"], pointer);
    }
    // Nobody of the tenant, no auditor and no key of other roles asks for one.
    let auditor = world.control.key("acme", &["auditor"], &[]);
    for key in [&world.own, &auditor] {
        let answer = world.by(key, "POST", grants, json!({"reason": "x"}));
        is_refused(&answer, 403, "forbidden");
    }
    assert!(!world.is_shown(&world.control.admin));
    let grant = world.asked(5);
    assert_eq!(
        (&grant["state"], &grant["reason"], &grant["needs_approval"]),
        (&json!("active"), &json!("ticket 1"), &json!(false))
    );
    assert!(world.is_shown(&world.control.admin));
    assert!(!world.is_shown(&world.second), "a grant is of one holder");
    // The tenant sees the grant and each use.
    let seen = world.by(&world.own, "GET", grants, Json::Null).json();
    assert_eq!(seen["data"][0]["id"], grant["id"], "{seen}");
    let counts = ["break_glass_grant.created", "break_glass_grant.used", "user.exported"];
    assert_eq!(counts.map(|action| world.events(action)), [1, 1, 1]);
    // The tenant ends it.
    let one = format!("{grants}/{}", grant["id"].as_str().unwrap());
    is_refused(&world.by(&auditor, "DELETE", &one, Json::Null), 403, "forbidden");
    assert_eq!(world.by(&world.own, "DELETE", &one, Json::Null).status, 204);
    assert!(!world.is_shown(&world.control.admin));
    let ended = world.by(&world.own, "GET", &one, Json::Null).json();
    assert_eq!(ended["state"], "ended", "{ended}");
    is_refused(&world.platform("POST", &format!("{one}/approve"), Json::Null), 403, "forbidden");
    let again = world.by(&world.own, "POST", &format!("{one}/approve"), Json::Null);
    is_refused(&again, 409, "invalid-state");
    // Its time is over.
    let second = world.asked(1);
    assert!(world.is_shown(&world.control.admin));
    let (database, _) = world.control.placement("acme");
    let over = "SET session_replication_role = replica; UPDATE break_glass_grants SET expires_at = now() - interval '1 s'";
    crate::cluster::psql_in(&world.control.folder, &database, over).unwrap();
    assert!(!world.is_shown(&world.control.admin));
    let path = format!("{grants}/{}", second["id"].as_str().unwrap());
    assert_eq!(world.platform("GET", &path, Json::Null).json()["state"], "expired");
}

#[test]
fn where_the_tenant_works_by_two_persons_another_says_yes() {
    let world = World::new();
    let setting =
        world.by(&world.own, "PUT", "/settings/policy.second_person", json!({"value": true}));
    assert_eq!(setting.status, 200, "{}", setting.text);
    let approved_by = |key: &str| {
        let grant = world.asked(5);
        assert_eq!((&grant["state"], &grant["needs_approval"]), (&json!("pending"), &json!(true)));
        assert!(!world.is_shown(&world.control.admin));
        let one = format!("/break-glass-grants/{}", grant["id"].as_str().unwrap());
        let approve = format!("{one}/approve");
        is_refused(&world.platform("POST", &approve, Json::Null), 403, "forbidden");
        assert!(!world.is_shown(&world.control.admin));
        let approved = world.by(key, "POST", &approve, Json::Null);
        assert_eq!(approved.json()["state"], "active", "{}", approved.text);
        is_refused(&world.by(key, "POST", &approve, Json::Null), 409, "invalid-state");
        assert!(world.is_shown(&world.control.admin));
        assert_eq!(world.by(key, "DELETE", &one, Json::Null).status, 204);
    };
    approved_by(&world.second);
    approved_by(&world.own);
    assert_eq!(world.events("break_glass_grant.approved"), 2);
}

#[test]
fn two_administrators_stop_everything() {
    let folder = std::env::temp_dir().join(format!("tg-kill-{}", std::process::id()));
    let world = World::with(&[("TOLLGATE_PUBLISH__DIR", &folder.display().to_string())]);
    let control = &world.control;
    let kill = |key: &str, method: &str, path: &str, body: Json| {
        let headers = if method == "DELETE" { "if-match: *\r\n" } else { "" };
        let body = (!body.is_null()).then_some(body);
        control.ask_with(key, method, &format!("/v1/kill-switches{path}"), headers, body)
    };
    let (first, second) = (control.admin.as_str(), world.second.as_str());
    let why = json!({"reason": "keys leaked"});
    let asked = || {
        let made = kill(first, "POST", "", why.clone());
        assert_eq!((made.status, &made.json()["state"]), (201, &json!("pending")), "{}", made.text);
        format!("/{}", made.json()["id"].as_str().unwrap())
    };
    let state = |path: &str| kill(second, "GET", path, Json::Null).json()["state"].clone();
    let shown = |tenant: &str, state: &str| {
        let file = folder.join(tenant).join("tenant.toml");
        let began = std::time::Instant::now();
        let wanted = format!("state = \"{state}\"");
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&wanted)) {
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "{tenant}: {wanted}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    shown("acme", "active");
    // Nobody of a tenant asks, and nobody without a reason.
    is_refused(&kill(&world.own, "POST", "", why.clone()), 403, "forbidden");
    is_refused(&kill(&world.own, "GET", "", Json::Null), 403, "forbidden");
    is_refused(&kill(first, "POST", "", json!({"reason": " "})), 422, "invalid");
    let one = asked();
    let confirm = format!("{one}/confirm");
    let late = administrator(control, "late");
    for key in [first, late.as_str()] {
        is_refused(&kill(key, "POST", &confirm, Json::Null), 403, "forbidden");
    }
    let dry = kill(second, "POST", &format!("{confirm}?dry_run=true"), Json::Null);
    assert_eq!((dry.status, dry.json()["state"].clone()), (200, json!("on")), "{}", dry.text);
    assert_eq!(state(&one), "pending");
    assert_eq!(kill(second, "POST", &confirm, Json::Null).json()["state"], "on");
    is_refused(&kill(second, "POST", &confirm, Json::Null), 409, "invalid-state");
    shown("acme", "killed");
    // Neither what is suspended nor what is new escapes; administrators go on.
    control.tenant("beta");
    shown("beta", "killed");
    let reason = json!({"reason": "test"});
    assert_eq!(control.ask(first, "POST", "/v1/tenants/beta/suspend", Some(reason)).status, 200);
    shown("beta", "killed");
    // Another question ends nothing.
    let two = asked();
    assert_eq!(kill(first, "DELETE", &two, Json::Null).status, 204);
    is_refused(&kill(second, "POST", &format!("{two}/confirm"), Json::Null), 409, "invalid-state");
    shown("acme", "killed");
    assert_eq!(kill(first, "DELETE", &one, Json::Null).status, 204);
    shown("acme", "active");
    shown("beta", "suspended");
    assert_eq!([state(&one), state(&two)], ["ended", "ended"]);
    // Its time is over.
    let three = asked();
    let over = "SET session_replication_role = replica; UPDATE kill_switches SET expires_at = now() - interval '1 s'";
    control.psql(over).unwrap();
    assert_eq!(state(&three), "expired");
    is_refused(
        &kill(second, "POST", &format!("{three}/confirm"), Json::Null),
        409,
        "invalid-state",
    );
    let events = control.ask(first, "GET", "/v1/audit-events?resource=kill-switch&limit=200", None);
    let events = events.json();
    let actions: Vec<&str> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["action"].as_str())
        .filter(|action| action.starts_with("kill_switch."))
        .collect();
    let told = |action: &str| actions.iter().filter(|told| **told == action).count();
    let counts = ["kill_switch.created", "kill_switch.confirmed", "kill_switch.ended"].map(told);
    assert_eq!(counts, [3, 1, 2], "{events}");
    let _ = std::fs::remove_dir_all(&folder);
}
