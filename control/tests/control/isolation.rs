//! No tenant reaches another's database or sees another's data.

use crate::cluster::cluster;
use crate::service::Control;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `make isolation` asks for more.
fn size(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A credential is the platform's or one tenant's: roles of both levels never meet in one.
#[test]
fn no_credential_has_roles_of_two_levels() {
    let control = Control::start();
    control.tenant("acme");
    for (path, roles) in [
        ("/v1/api-keys", json!(["auditor", "tenant-admin"])),
        ("/v1/api-keys", json!(["tenant-admin"])),
        ("/v1/tenants/acme/api-keys", json!(["platform-admin"])),
        ("/v1/tenants/acme/api-keys", json!(["tenant-admin", "platform-admin"])),
    ] {
        let body = json!({"name": "both", "roles": roles});
        let answer = control.ask(&control.admin, "POST", path, Some(body));
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid"), "{path} {roles}");
    }
}

#[test]
fn each_role_connects_to_its_own_database_alone() {
    let control = Control::start();
    let tenants = ["acme", "beta", "gamma"];
    for tenant in tenants {
        control.tenant(tenant);
    }
    let placements = tenants.map(|tenant| control.placement(tenant));
    let template = "SELECT datname FROM pg_database WHERE datname LIKE 'tollgate_template_%'";
    let template = control.psql(template).unwrap();
    for (_, role) in &placements {
        // As the superuser sees the rights: passwords are derived and known to nobody here.
        let may = |database: &str| {
            let statement =
                format!("SELECT has_database_privilege('{role}', '{database}', 'CONNECT')");
            control.psql(&statement).unwrap() == "t"
        };
        let open: Vec<&str> = placements
            .iter()
            .filter(|(database, _)| may(database))
            .map(|(_, role)| role.as_str())
            .collect();
        assert_eq!(open, [role.as_str()]);
        assert!(!may(&control.database) && !may(&template));
        let rights = format!(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls FROM pg_roles WHERE rolname = '{role}'"
        );
        assert_eq!(control.psql(&rights).unwrap(), "f");
    }
    // Names say nothing of whose they are.
    for (database, role) in &placements {
        assert!(tenants.iter().all(|tenant| !database.contains(tenant) && !role.contains(tenant)));
    }
    // A role of requests cannot change what guards it.
    let (database, role) = &placements[0];
    for statement in [
        "TRUNCATE api_keys",
        "ALTER TABLE api_keys DISABLE TRIGGER ALL",
        "DELETE FROM audit_events",
        "CREATE TABLE x ()",
    ] {
        let refused =
            cluster().psql(database, &format!("SET ROLE {role}; {statement}")).unwrap_err();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{statement}: {refused}"
        );
    }
}

/// Each tenant holds a marker of its own in every place that it can write; whoever asks sees its own alone.
#[test]
fn random_requests_never_see_another_tenants_marker() {
    let control = Control::start_with(&[("TOLLGATE_POOLS__BACKENDS_MAX", "12")]);
    let (tenants, requests) = (size("ISOLATION_TENANTS", 20), size("ISOLATION_REQUESTS", 10_000));
    let names: Vec<String> = (0..tenants).map(|at| format!("tenant-{at:03}")).collect();
    let markers: Vec<String> =
        (0..tenants).map(|at| format!("canary-{at:03}-{:08x}", fastrand::u32(..))).collect();
    let keys: Vec<String> = names
        .iter()
        .zip(&markers)
        .map(|(name, marker)| {
            control.tenant(name);
            let key = control.key(name, &["tenant-admin"], &[]);
            let made = control.ask(
                &key,
                "POST",
                &format!("/v1/tenants/{name}/api-keys"),
                Some(json!({"name": marker, "roles": ["member"]})),
            );
            assert_eq!(made.status, 201, "{}", made.text);
            let put = control.ask_with(
                &key,
                "PUT",
                &format!("/v1/tenants/{name}/settings/sign_on.required_acr"),
                "if-match: \"0\"\r\n",
                Some(json!({"value": marker})),
            );
            assert_eq!(put.status, 200, "{}", put.text);
            let etag = control
                .ask(&key, "GET", &format!("/v1/tenants/{name}"), None)
                .header("etag")
                .unwrap()
                .to_owned();
            let patched = control.ask_with(
                &key,
                "PATCH",
                &format!("/v1/tenants/{name}"),
                &format!("if-match: {etag}\r\n"),
                Some(json!({"labels": {"marker": marker}})),
            );
            assert_eq!(patched.status, 200, "{}", patched.text);
            key
        })
        .collect();
    // A place in each tenant's own list, for nobody else.
    let cursors: Vec<String> = names
        .iter()
        .zip(&keys)
        .map(|(name, key)| {
            let path = format!("/v1/tenants/{name}/audit-events?limit=1");
            control.ask(key, "GET", &path, None).json()["next_cursor"].as_str().unwrap().to_owned()
        })
        .collect();
    let (asked, own, busy) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (control, names, markers, keys) = (&control, &names, &markers, &keys);
            let cursors = &cursors;
            let (asked, own, busy) = (&asked, &own, &busy);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while asked.fetch_add(1, Ordering::Relaxed) < requests {
                    let (who, whom) = (random.usize(..tenants), random.usize(..tenants));
                    let target = if random.u8(..4) == 0 { &names[whom] } else { &names[who] };
                    let tail = [
                        "",
                        "/api-keys",
                        "/settings",
                        "/settings/sign_on.required_acr",
                        "/audit-events",
                    ];
                    let mut path =
                        format!("/v1/tenants/{target}{}", tail[random.usize(..tail.len())]);
                    if random.u8(..16) == 0 {
                        // Somebody hangs up in the middle.
                        control.hang_up(&keys[who], &path);
                        continue;
                    }
                    if random.u8(..8) == 0 {
                        let (name, cursor) = (&names[who], &cursors[whom]);
                        let path =
                            format!("/v1/tenants/{name}/audit-events?limit=1&cursor={cursor}");
                        let answer = control.ask(&keys[who], "GET", &path, None);
                        let is_right = match who == whom {
                            true => answer.status == 200,
                            false => answer.code() == "invalid-cursor",
                        };
                        assert!(
                            is_right || answer.status == 503,
                            "a cursor of {whom} for {who}: {}",
                            answer.text
                        );
                        continue;
                    }
                    if random.u8(..8) == 0 {
                        path = ["/v1/tenants", "/v1/operations", "/v1/me"][random.usize(..3)]
                            .to_owned();
                    }
                    let header = match random.u8(..16) {
                        0 => format!("x-tenant-id: {}\r\n", names[whom]),
                        _ => String::new(),
                    };
                    let answer = control.ask_with(&keys[who], "GET", &path, &header, None);
                    for (at, marker) in markers.iter().enumerate() {
                        let seen = answer.text.contains(marker) || answer.head.contains(marker);
                        assert!(!seen || at == who, "{} saw {marker} at {path}", names[who]);
                        own.fetch_add(usize::from(seen), Ordering::Relaxed);
                    }
                    busy.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
                    assert!(answer.status != 500, "{path}: {}", answer.text);
                }
            });
        }
    });
    // The test sees what it looks for, and the service was not merely busy.
    assert!(own.into_inner() > requests / 4);
    assert!(busy.into_inner() * 50 < requests);
    assert!(markers.iter().all(|marker| !control.log().contains(marker)));
}
