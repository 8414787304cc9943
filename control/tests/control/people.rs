//! Users, groups, role bindings and roles of a tenant's own: who gets what, and when it ends.

use crate::cluster::cluster;
use crate::service::{Answer, Control};
use serde_json::{Value as Json, json};

struct World {
    control: Control,
    admin: String,
}

impl World {
    fn new() -> World {
        let control = Control::start();
        control.tenant("acme");
        let admin = control.key("acme", &["tenant-admin"], &[]);
        World { control, admin }
    }

    fn ask(&self, method: &str, path: &str, body: Json) -> Answer {
        self.by(&self.admin, method, path, body)
    }

    /// By a key; a change names whatever version is there.
    fn by(&self, key: &str, method: &str, path: &str, body: Json) -> Answer {
        let headers = if method == "POST" || method == "GET" { "" } else { "if-match: *\r\n" };
        let body = (!body.is_null()).then_some(body);
        self.control.ask_with(key, method, &format!("/v1/tenants/acme{path}"), headers, body)
    }

    fn made(&self, path: &str, body: Json) -> String {
        let made = self.ask("POST", path, body);
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    fn user(&self, subject: &str) -> String {
        self.made("/users", json!({"issuer": "https://id.example.com", "subject": subject}))
    }

    fn bind(&self, kind: &str, id: &str, role: &str) -> String {
        self.made("/role-bindings", json!({"subject": {"type": kind, "id": id}, "role": role}))
    }

    /// A key with roles of any kind.
    fn key(&self, roles: &[&str]) -> String {
        self.control.key("acme", roles, &[])
    }

    /// Who has a permission, by their names.
    fn who(&self, permission: &str) -> Vec<String> {
        let found = self.ask("GET", &format!("/access?permission={permission}"), Json::Null);
        assert_eq!(found.status, 200, "{}", found.text);
        let found = found.json();
        let names = found["data"].as_array().unwrap().iter();
        names.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
}

#[test]
fn people_are_made_found_changed_and_removed() {
    let world = World::new();
    let alice = world.made(
        "/users",
        json!({"issuer": "https://id.example.com", "subject": "1", "display_name": "Alice", "email": "alice@example.com"}),
    );
    for (body, status, code) in [
        (json!({"issuer": "https://id.example.com", "subject": "1"}), 409, "already-exists"),
        (json!({"issuer": "", "subject": "1"}), 422, "invalid"),
        (json!({"issuer": "x", "subject": "y".repeat(256)}), 422, "invalid"),
        (json!({"issuer": "x", "subject": "a\u{0}"}), 422, "invalid"),
        (json!({"issuer": "x", "subject": "y", "email": "nobody"}), 422, "invalid"),
        (json!({"issuer": "x", "subject": "y", "display_name": ""}), 422, "invalid"),
        (json!({"issuer": "x", "subject": "y", "state": "disabled"}), 422, "invalid"),
        (json!({"issuer": "x"}), 422, "invalid"),
    ] {
        is_refused(&world.ask("POST", "/users", body), status, code);
    }
    let path = format!("/users/{alice}");
    let shown = world.ask("GET", &path, Json::Null);
    assert_eq!(
        (shown.json()["email"].as_str(), shown.header("etag")),
        (Some("alice@example.com"), Some("\"1\""))
    );
    // What is not named stays, null removes.
    let patched = world.ask("PATCH", &path, json!({"display_name": "Alicia"})).json();
    assert_eq!(
        (&patched["display_name"], &patched["email"]),
        (&json!("Alicia"), &json!("alice@example.com"))
    );
    let patched = world.ask("PATCH", &path, json!({"email": null})).json();
    assert_eq!((&patched["display_name"], &patched["email"]), (&json!("Alicia"), &Json::Null));
    is_refused(&world.ask("PATCH", &path, json!({"state": "gone"})), 422, "invalid");
    let plain = world.control.ask(
        &world.admin,
        "PATCH",
        &format!("/v1/tenants/acme{path}"),
        Some(json!({})),
    );
    is_refused(&plain, 428, "if-match-required");
    let found = world.ask("GET", "/users?search=alic&state=active", Json::Null).json();
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.ask("GET", "/users?state=disabled", Json::Null).json()["data"], json!([]));
    is_refused(&world.ask("GET", "/users?state=gone", Json::Null), 422, "invalid");

    let team = world.made("/groups", json!({"display_name": "Search"}));
    let member = format!("/groups/{team}/members/{alice}");
    is_refused(&world.ask("GET", &member, Json::Null), 404, "not-found");
    is_refused(
        &world.ask("PUT", &format!("/groups/{team}/members/usr_none"), Json::Null),
        404,
        "not-found",
    );
    is_refused(
        &world.ask("PUT", &format!("/groups/grp_none/members/{alice}"), Json::Null),
        404,
        "not-found",
    );
    for _ in 0..2 {
        assert_eq!(world.ask("PUT", &member, Json::Null).status, 200);
    }
    let members = world.ask("GET", &format!("/groups/{team}/members"), Json::Null).json();
    assert_eq!(members["data"][0]["user_id"], json!(alice));
    assert_eq!(world.ask("DELETE", &member, Json::Null).status, 204);
    is_refused(&world.ask("DELETE", &member, Json::Null), 404, "not-found");
    assert_eq!(world.ask("PUT", &member, Json::Null).status, 200);
    // Whoever is removed leaves nothing behind; what is removed does not come back by its id.
    world.bind("user", &alice, "billing");
    assert_eq!(world.ask("DELETE", &path, Json::Null).status, 204);
    is_refused(&world.ask("GET", &path, Json::Null), 404, "not-found");
    for list in [format!("/groups/{team}/members"), "/role-bindings".to_owned()] {
        assert_eq!(world.ask("GET", &list, Json::Null).json()["data"], json!([]), "{list}");
    }
    let events = world.ask("GET", "/audit-events?resource=user", Json::Null).json();
    let actions =
        events["data"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap());
    assert_eq!(
        actions.collect::<Vec<_>>(),
        ["user.created", "user.updated", "user.updated", "user.deleted"]
    );
    // A dry run writes nothing.
    let dry =
        world.ask("POST", "/users?dry_run=true", json!({"issuer": "x", "subject": "y"})).json();
    assert_eq!(dry["changes"][0]["action"], "user.created");
    assert_eq!(world.ask("GET", "/users", Json::Null).json()["data"], json!([]));
}

#[test]
fn what_is_bound_holds_through_groups_until_it_ends() {
    let world = World::new();
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let team = world.made("/groups", json!({"display_name": "Search"}));
    assert_eq!(world.ask("PUT", &format!("/groups/{team}/members/{bob}"), Json::Null).status, 200);
    assert_eq!(world.who("limit:read"), ["test"], "nobody has a role yet");
    assert_eq!(world.who("me"), ["test", "alice", "bob"], "each is a member");
    let binding = world.bind("user", &alice, "auditor");
    let of_team = world.bind("group", &team, "tenant-admin");
    assert_eq!(world.who("limit:read"), ["test", "alice", "bob"]);
    assert_eq!(world.who("limit:update"), ["test", "bob"]);
    for (body, status, code) in [
        (
            json!({"subject": {"type": "user", "id": alice}, "role": "auditor"}),
            409,
            "already-exists",
        ),
        (json!({"subject": {"type": "user", "id": team}, "role": "auditor"}), 422, "invalid"),
        (json!({"subject": {"type": "key", "id": alice}, "role": "auditor"}), 422, "invalid"),
        (json!({"subject": {"type": "user", "id": alice}, "role": "service"}), 422, "invalid"),
        (
            json!({"subject": {"type": "user", "id": alice}, "role": "platform-admin"}),
            422,
            "invalid",
        ),
        (json!({"subject": {"type": "user", "id": alice}, "role": "custom"}), 422, "invalid"),
        (json!({"subject": {"type": "user", "id": alice}, "role": "none-such"}), 422, "invalid"),
        (
            json!({"subject": {"type": "user", "id": bob}, "role": "member", "expires_at": "2020-01-01T00:00:00Z"}),
            422,
            "invalid",
        ),
    ] {
        is_refused(&world.ask("POST", "/role-bindings", body), status, code);
    }
    // Until it ends: by the database's clock, at the moment.
    let path = format!("/role-bindings/{binding}");
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(700)).to_string();
    let patched = world.ask("PATCH", &path, json!({"expires_at": soon}));
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_eq!(world.who("audit:read"), ["test", "alice", "bob"]);
    std::thread::sleep(std::time::Duration::from_millis(800));
    assert_eq!(world.who("audit:read"), ["test", "bob"]);
    assert_eq!(world.ask("PATCH", &path, json!({"expires_at": null})).status, 200);
    assert_eq!(world.who("audit:read"), ["test", "alice", "bob"]);
    let found = world
        .ask("GET", &format!("/role-bindings?subject={alice}&role=auditor"), Json::Null)
        .json();
    assert_eq!(found["data"][0]["id"], json!(binding));
    assert_eq!(world.ask("DELETE", &path, Json::Null).status, 204);
    // Disabled is out, with the group's role still bound.
    assert_eq!(
        world.ask("PATCH", &format!("/users/{bob}"), json!({"state": "disabled"})).status,
        200
    );
    assert_eq!(world.who("audit:read"), ["test"]);
    assert_eq!(world.ask("DELETE", &format!("/role-bindings/{of_team}"), Json::Null).status, 204);
}

#[test]
fn roles_of_a_tenants_own_are_never_wider_than_their_author() {
    let world = World::new();
    let put = |key: &str, name: &str, permissions: Json| {
        world.by(key, "PUT", &format!("/roles/{name}"), json!({"permissions": permissions}))
    };
    for (name, permissions, status, code) in [
        ("limit-reader", json!(["limit:read"]), 200, ""),
        (
            "clerk",
            json!([
                "role:update",
                "role:read",
                "role-binding:create",
                "role-binding:update",
                "group:update",
                "api-key:create",
                "api-key:update"
            ]),
            200,
            "",
        ),
        ("tenant-admin", json!(["limit:read"]), 422, "invalid"),
        ("platform-admin", json!(["limit:read"]), 422, "invalid"),
        ("custom", json!(["limit:read"]), 422, "invalid"),
        ("Upper", json!(["limit:read"]), 422, "invalid"),
        ("empty", json!([]), 422, "invalid"),
        ("unknown", json!(["no:such"]), 422, "invalid"),
        ("star", json!(["*"]), 422, "invalid"),
        ("wide", json!(["limit:read", "tenant:suspend"]), 403, "role-too-wide"),
        ("wider", json!(["cluster:read"]), 403, "role-too-wide"),
        ("widest", json!(["tenant:create"]), 403, "role-too-wide"),
    ] {
        is_refused(&put(&world.admin, name, permissions.clone()), status, code);
        // Not even the platform makes a tenant's role a way out of the tenant.
        if code == "role-too-wide" {
            is_refused(&put(&world.control.admin, name, permissions), status, code);
        }
    }
    let names = world.ask("GET", "/roles", Json::Null).json();
    let names = names["data"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["auditor", "billing", "clerk", "limit-reader", "member", "service", "tenant-admin"]
    );
    // A key with such roles has what they list, from one request to the next.
    let reader = world.key(&["limit-reader"]);
    let me = world.control.ask(&reader, "GET", "/v1/me", None).json();
    assert_eq!(me["permissions"], json!(["limit:read", "me"]));
    assert_eq!(world.by(&reader, "GET", "/limits", Json::Null).status, 200);
    is_refused(&world.by(&reader, "GET", "/policies", Json::Null), 403, "forbidden");
    put(&world.admin, "limit-reader", json!(["policy:read"]));
    is_refused(&world.by(&reader, "GET", "/limits", Json::Null), 403, "forbidden");
    assert_eq!(world.by(&reader, "GET", "/policies", Json::Null).status, 200);
    let deleted = world.ask("DELETE", "/roles/limit-reader", Json::Null);
    is_refused(&deleted, 409, "in-use");
    assert_eq!(deleted.json()["error"]["details"], json!({"role_bindings": 0, "api_keys": 1}));

    // Whoever may write roles, bind them, fill groups and rotate keys gets no further by it.
    let clerk = world.key(&["clerk"]);
    let mallory = world.user("mallory");
    let admins = world.made("/groups", json!({"display_name": "Admins"}));
    let ended = world.bind("group", &admins, "tenant-admin");
    let wide = |answer: &Answer| is_refused(answer, 403, "role-too-wide");
    wide(&put(&clerk, "clerk", json!(["role:update", "audit:read"])));
    wide(&put(&clerk, "limit-reader", json!(["policy:read"])));
    let bind = |kind: &str, id: &str, role: &str| {
        world.by(
            &clerk,
            "POST",
            "/role-bindings",
            json!({"subject": {"type": kind, "id": id}, "role": role}),
        )
    };
    wide(&bind("user", &mallory, "tenant-admin"));
    wide(&bind("user", &mallory, "limit-reader"));
    wide(&world.by(
        &clerk,
        "PATCH",
        &format!("/role-bindings/{ended}"),
        json!({"expires_at": null}),
    ));
    wide(&world.by(&clerk, "PUT", &format!("/groups/{admins}/members/{mallory}"), Json::Null));
    for roles in [json!(["tenant-admin"]), json!(["limit-reader"])] {
        let body = json!({"name": "mine", "roles": roles});
        is_refused(&world.by(&clerk, "POST", "/api-keys", body), 403, "forbidden");
    }
    let keys = world.ask("GET", "/api-keys", Json::Null).json();
    let admin =
        keys["data"].as_array().unwrap().iter().find(|key| key["roles"] == json!(["tenant-admin"]));
    let rotate = format!("/api-keys/{}/rotate", admin.unwrap()["id"].as_str().unwrap());
    is_refused(&world.by(&clerk, "POST", &rotate, json!({"overlap_seconds": 0})), 403, "forbidden");
    // What it holds itself it may give.
    assert_eq!(bind("user", &mallory, "clerk").status, 201);
    assert_eq!(bind("user", &mallory, "member").status, 201);
    // Nobody else's tenant is in reach.
    world.control.tenant("beta");
    is_refused(
        &world.control.ask(&clerk, "GET", "/v1/tenants/beta/roles", None),
        404,
        "tenant-not-found",
    );
}

#[test]
fn somebody_administers_the_tenant_at_all_times() {
    let world = World::new();
    let alice = world.user("alice");
    let team = world.made("/groups", json!({"display_name": "Admins"}));
    let binding = world.bind("group", &team, "tenant-admin");
    let member = format!("/groups/{team}/members/{alice}");
    assert_eq!(world.ask("PUT", &member, Json::Null).status, 200);
    // With another administrator the key may go.
    let keys = world.ask("GET", "/api-keys", Json::Null).json();
    let key = format!("/api-keys/{}", keys["data"][0]["id"].as_str().unwrap());
    let platform =
        |method: &str, path: &str, body: Json| world.by(&world.control.admin, method, path, body);
    assert_eq!(platform("DELETE", &key, Json::Null).status, 204);
    for (method, path, body) in [
        ("DELETE", member.clone(), Json::Null),
        ("DELETE", format!("/users/{alice}"), Json::Null),
        ("PATCH", format!("/users/{alice}"), json!({"state": "disabled"})),
        ("DELETE", format!("/groups/{team}"), Json::Null),
        ("DELETE", format!("/role-bindings/{binding}"), Json::Null),
    ] {
        is_refused(&platform(method, &path, body), 409, "last-admin");
    }
    let bob = platform("POST", "/users", json!({"issuer": "x", "subject": "bob"})).json();
    let body = json!({"subject": {"type": "user", "id": bob["id"]}, "role": "tenant-admin"});
    assert_eq!(platform("POST", "/role-bindings", body).status, 201);
    assert_eq!(platform("DELETE", &format!("/groups/{team}"), Json::Null).status, 204);
    // Two that remove each other at the same time: one stays.
    let carl = platform("POST", "/users", json!({"issuer": "x", "subject": "carl"})).json();
    let body = json!({"subject": {"type": "user", "id": carl["id"]}, "role": "tenant-admin"});
    assert_eq!(platform("POST", "/role-bindings", body).status, 201);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let remove = |id: &Json| {
            let path = format!("/users/{}", id.as_str().unwrap());
            let platform = &platform;
            scope.spawn(move || platform("DELETE", &path, Json::Null).status)
        };
        let both = [remove(&bob["id"]), remove(&carl["id"])];
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.contains(&204) && statuses.contains(&409), "{statuses:?}");
}

#[test]
fn a_person_is_exported_and_erased_and_the_chain_holds() {
    let control = Control::start();
    control.tenant("acme");
    let admin = |method: &str, path: &str, body: Option<Json>| {
        let headers = if method == "DELETE" { "if-match: *\r\n" } else { "" };
        control.ask_with(&control.admin, method, &format!("/v1/tenants/acme{path}"), headers, body)
    };
    let alice =
        json!({"issuer": "https://id.example", "subject": "alice", "email": "alice@example.com"});
    let made = admin("POST", "/users", Some(alice));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let group = admin("POST", "/groups", Some(json!({"display_name": "Search"}))).json();
    let member = format!("/groups/{}/members/{id}", group["id"].as_str().unwrap());
    let put = control.ask_with(
        &control.admin,
        "PUT",
        &format!("/v1/tenants/acme{member}"),
        "if-match: \"0\"\r\n",
        None,
    );
    assert_eq!(put.status, 200, "{}", put.text);
    let binding = json!({"subject": {"type": "user", "id": id}, "role": "auditor"});
    assert_eq!(admin("POST", "/role-bindings", Some(binding)).status, 201);
    // The platform would need a grant (break_glass.rs).
    let own = control.key("acme", &["tenant-admin"], &[]);
    let export = format!("/v1/tenants/acme/users/{id}/export");
    let whole = control.ask(&own, "GET", &export, None);
    assert_eq!(whole.status, 200, "{}", whole.text);
    let whole = whole.json();
    assert_eq!(
        (&whole["user"]["email"], &whole["groups"][0]["display_name"]),
        (&json!("alice@example.com"), &json!("Search"))
    );
    assert_eq!(
        (&whole["role_bindings"][0]["role"], &whole["sessions"]),
        (&json!("auditor"), &json!([]))
    );
    let events = whole["audit_events"].as_array().unwrap();
    assert_eq!((events.len(), &events[1]["action"]), (2, &json!("user.created")));
    let salts =
        format!("SELECT count(*) FROM audit_events WHERE resource_id = '{id}' AND salt <> ''");
    let (database, _) = control.placement("acme");
    assert_eq!(cluster().psql(&database, &salts).unwrap(), "2");
    assert_eq!(admin("DELETE", &format!("/users/{id}"), None).status, 204);
    assert_eq!(control.ask(&own, "GET", &export, None).status, 404);
    assert_eq!(cluster().psql(&database, &salts).unwrap(), "0");
    let rows = "SELECT count(*) FROM audit_events e WHERE e::text LIKE '%alice%'";
    assert_eq!(cluster().psql(&database, rows).unwrap(), "0");
    let verified =
        control.ask(&control.admin, "POST", "/v1/tenants/acme/audit-events/verify", None).json();
    assert_eq!((&verified["whole"], &verified["tampered"]), (&json!(true), &json!(0)));
}

#[test]
fn a_key_says_for_whom_it_acts_only_if_its_scopes_do() {
    let control = Control::start();
    control.tenant("acme");
    let plain = control.key("acme", &["tenant-admin"], &[]);
    let acting =
        control.key("acme", &["tenant-admin"], &["user:impersonate", "group:create", "group:read"]);
    let make = |key: &str, user: &str| {
        let headers = format!("x-user-id: {user}\r\n");
        let body = json!({"display_name": "Search"});
        control.ask_with(key, "POST", "/v1/tenants/acme/groups", &headers, Some(body))
    };
    for key in [&plain, &control.admin] {
        let refused = make(key, "usr_1");
        assert_eq!((refused.status, refused.code().as_str()), (403, "user-mismatch"));
    }
    assert_eq!(make(&acting, "usr_1").status, 201);
    for wrong in ["a b", &"a".repeat(129)] {
        assert_eq!(make(&acting, wrong).code(), "user-mismatch", "{wrong}");
    }
    // It gives nothing: what the key may not do, nobody may through it.
    let refused =
        control.ask_with(&acting, "GET", "/v1/tenants/acme/users", "x-user-id: usr_1\r\n", None);
    assert_eq!(refused.code(), "forbidden");
    let events = control
        .ask(&plain, "GET", "/v1/tenants/acme/audit-events?action=group.created", None)
        .json();
    assert_eq!(events["data"][0]["actor"]["on_behalf_of"], "usr_1");
    assert_eq!(events["data"][0]["actor"]["type"], "api-key");
}
