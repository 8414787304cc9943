//! No tenant reaches another's database or sees another's data.

mod canaries;

use crate::cluster::cluster;
use crate::service::Control;
use serde_json::json;

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
