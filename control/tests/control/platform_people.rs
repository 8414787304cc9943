//! People of the platform: made by an administrator, let in by the organisation that is linked to the platform, with what is
//! bound to them and nothing else.

use crate::sign_on::{World, is_refused};
use serde_json::{Value as Json, json};

/// A token of the organisation that is the platform's; an administrator as far as the provider says.
fn token(world: &World, subject: &str) -> String {
    world.token(subject, &json!({"organization": {"ops": {"roles": ["admin"]}}}))
}

/// A user of the platform with these roles; its path.
fn made(world: &World, issuer: &str, subject: &str, roles: &[&str]) -> String {
    let user = json!({"issuer": issuer, "subject": subject, "email": "ops@example.com"});
    let made = world.platform("POST", "/v1/users", user);
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for role in roles {
        let binding = json!({"subject": {"type": "user", "id": id}, "role": role});
        let bound = world.platform("POST", "/v1/role-bindings", binding);
        assert_eq!(bound.status, 201, "{}", bound.text);
    }
    format!("/v1/users/{id}")
}

fn issuer(world: &World) -> String {
    let providers = world.platform("GET", "/v1/identity-providers", Json::Null).json();
    providers["data"][0]["issuer"].as_str().unwrap().to_owned()
}

#[test]
fn people_of_the_platform_do_what_is_bound_to_them() {
    let world = World::new();
    let (issuer, root, ask) = (issuer(&world), token(&world, "root"), &world.control);
    // Neither an organisation that nobody linked, nor somebody whom nobody made.
    is_refused(&world.me(&root), 403, "no-tenant");
    let link = world.link("ops", "platform");
    is_refused(&world.me(&root), 403, "no-tenant");
    assert!(world.series("sign_in_total{outcome=\"refused\",reason=\"no-user\"}") == 1);
    let path = made(&world, &issuer, "root", &[]);
    // What the provider says of roles counts nothing here.
    is_refused(&ask.ask(&root, "GET", "/v1/tenants", None), 403, "forbidden");
    let id = path.rsplit('/').next().unwrap();
    let bind = |role: &str| {
        let body = json!({"subject": {"type": "user", "id": id}, "role": role});
        world.platform("POST", "/v1/role-bindings", body)
    };
    for (body, pointer) in [
        (json!({"subject": {"type": "user", "id": id}, "role": "tenant-admin"}), "/role"),
        (json!({"subject": {"type": "group", "id": id}, "role": "auditor"}), "/subject/type"),
        (json!({"subject": {"type": "user", "id": "usr_none"}, "role": "auditor"}), "/subject/id"),
    ] {
        let answer = world.platform("POST", "/v1/role-bindings", body);
        is_refused(&answer, 422, "invalid");
        assert_eq!(answer.json()["error"]["details"]["fields"][0]["pointer"], pointer);
    }
    let auditor = bind("auditor").json();
    is_refused(&bind("auditor"), 409, "already-exists");
    assert_eq!(ask.ask(&root, "GET", "/v1/tenants", None).status, 200);
    let new = || Some(json!({"id": "beta", "display_name": "B"}));
    is_refused(&ask.ask(&root, "POST", "/v1/tenants", new()), 403, "forbidden");
    // An auditor gives nobody anything.
    let body = Some(json!({"subject": {"type": "user", "id": id}, "role": "platform-admin"}));
    is_refused(&ask.ask(&root, "POST", "/v1/role-bindings", body), 403, "forbidden");
    assert_eq!(bind("platform-admin").status, 201);
    assert_eq!(ask.ask(&root, "POST", "/v1/tenants", new()).status, 202);
    let me = world.me(&root).json();
    assert_eq!(
        (&me["subject"]["id"], &me["tenant"], &me["roles"]),
        (&json!(id), &Json::Null, &json!(["auditor", "platform-admin"]))
    );
    let events =
        world.platform("GET", "/v1/audit-events?action=tenant.created&limit=200", Json::Null);
    let events = events.json();
    let event = events["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&event["actor"]["type"], &event["actor"]["id"]), (&json!("user"), &json!(id)));
    // With an administrator left the key may go, and then not the person.
    let admins = world.platform("GET", "/v1/api-keys", Json::Null).json();
    let key = format!("/v1/api-keys/{}", admins["data"][0]["id"].as_str().unwrap());
    let by_root =
        |method: &str, path: &str| ask.ask_with(&root, method, path, "if-match: *\r\n", None);
    assert_eq!(by_root("DELETE", &key).status, 204);
    is_refused(&by_root("DELETE", &path), 409, "last-admin");
    let binding = format!("/v1/role-bindings/{}", auditor["id"].as_str().unwrap());
    assert_eq!(by_root("DELETE", &binding).status, 204);
    assert_eq!(world.me(&root).json()["roles"], json!(["platform-admin"]));
    // Unlinked, all of them are out.
    assert_eq!(by_root("DELETE", &format!("/v1/organisations/{link}")).status, 204);
    is_refused(&world.me(&root), 403, "no-tenant");
}

#[test]
fn whoever_is_of_both_chooses_and_levels_never_mix() {
    let world = World::new();
    let (issuer, ask) = (issuer(&world), &world.control);
    ask.tenant("beta");
    let link = world.link("ops", "platform");
    let path = made(&world, &issuer, "ada", &["auditor"]);
    let tenants = world.token("ada", &json!({"organization": {"acme-org": {"roles": ["admin"]}}}));
    let platforms = token(&world, "ada");
    let both =
        world.token("ada", &json!({"organization": {"acme-org": {"roles": ["admin"]}, "ops": {}}}));
    is_refused(&world.me(&both), 403, "ambiguous-tenant");
    let change = || Some(json!({"display_name": "New"}));
    let patch = |key: &str, tenant: &str| {
        let path = format!("/v1/tenants/{tenant}");
        ask.ask_with(key, "PATCH", &path, "if-match: *\r\n", change())
    };
    assert_eq!(patch(&tenants, "acme").status, 200);
    is_refused(&patch(&tenants, "beta"), 404, "tenant-not-found");
    is_refused(&ask.ask(&tenants, "GET", "/v1/users", None), 403, "forbidden");
    for tenant in ["acme", "beta"] {
        is_refused(&patch(&platforms, tenant), 403, "forbidden");
        assert_eq!(ask.ask(&platforms, "GET", &format!("/v1/tenants/{tenant}"), None).status, 200);
    }
    let listed = world.platform("GET", "/v1/organisations?tenant_id=platform", Json::Null).json();
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["data"][0]["id"]),
        (1, &json!(link))
    );
    // What ends ends with the next call, and not for the other.
    assert_eq!(world.platform("POST", &format!("{path}/sign-out"), Json::Null).status, 200);
    is_refused(&world.me(&platforms), 401, "credential-revoked");
    assert_eq!(world.me(&tenants).status, 200);
    assert_eq!(world.platform("PATCH", &path, json!({"state": "disabled"})).status, 200);
    let iat = jiff::Timestamp::now().as_second() + 2;
    let later = world.token("ada", &json!({"organization": {"ops": {}}, "iat": iat}));
    is_refused(&world.me(&later), 401, "credential-revoked");
    assert_eq!(world.platform("PATCH", &path, json!({"state": "active"})).status, 200);
    assert_eq!(world.me(&later).status, 200);
    // A stronger sign-in, where the platform asks for it.
    let setting = "/v1/settings/sign_on.required_acr";
    assert_eq!(world.platform("PUT", setting, json!({"value": "2"})).status, 200);
    is_refused(&world.me(&later), 401, "step-up-required");
    assert_eq!(world.platform("DELETE", setting, Json::Null).status, 204);
    assert_eq!(world.platform("DELETE", &path, Json::Null).status, 204);
    is_refused(&world.me(&later), 403, "no-tenant");
}
