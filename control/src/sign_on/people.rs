//! The user behind an identity, in the tenant's own database: found, or made at the first sign-in. Those of the platform are
//! found alone, and what they may do no token says.

use super::Reason;
use super::claims::Identity;
use super::provider::Provider;
use crate::audit::Origin;
use crate::code::Refusal;
use crate::credential::{Caller, CallerKind, Known, Owner, SignedIn};
use crate::placement::KnownTenant;
use crate::pools::Home;
use crate::random::{id, now_ms};
use crate::service::Service;
use crate::sql::{self, bigint, text, texts};
use crate::users::USER;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio_postgres::Row;

/// Roles of the user's and of the token; whether it was signed out since; what the tenant asks of a sign-in.
const FIND: &str = "WITH found AS (SELECT *, roles_of(id) || $3::text[] AS roles FROM users WHERE issuer = $1 AND subject = $2) \
    SELECT id, display_name, state, roles, permissions_of(roles) AS grants, \
        coalesce(last_used_at < now() - interval '1 minute', true) AS is_to_note, \
        coalesce(signed_out_at >= to_timestamp($4::bigint), false) AS is_signed_out, \
        (SELECT value FROM settings WHERE key = 'sign_on.required_acr') AS required_acr FROM found";

pub(super) async fn known(
    service: &Service,
    provider: &Provider,
    identity: &Identity,
    tenant: Option<KnownTenant>,
) -> Result<Known, Refusal> {
    let verified = tenant.as_ref().map(KnownTenant::for_key);
    let mut home = match verified {
        None => Home::Platform(service.pools.platform().await?),
        Some(Some(verified)) => Home::Tenant(service.pools.tenant(&verified).await?),
        // Of one that has no database the state is all that is said.
        Some(None) => {
            let caller = caller(identity, tenant.as_ref(), String::new(), Vec::new(), Vec::new());
            return Ok(Known { caller, own_tenant: tenant, conn: None, is_session: false });
        }
    };
    let row = match (find(&home, provider, identity).await?, &tenant) {
        (Some(row), _) => row,
        (None, Some(tenant)) if provider.just_in_time => {
            make(&mut home, provider, identity, &tenant.id).await?;
            service.noted.note(Some(&tenant.id));
            find(&home, provider, identity)
                .await?
                .ok_or_else(|| Refusal::internal("a user that was made is not there"))?
        }
        (None, _) => return Err(Reason::NoUser.into()),
    };
    if row.get::<_, String>("state") != "active" {
        return Err(Reason::Disabled.into());
    }
    if row.get("is_signed_out") {
        return Err(Reason::SignedOut.into());
    }
    let own: Option<Json> = row.get("required_acr");
    let own = own.as_ref().and_then(Json::as_str);
    if let Some(required) = own.or(provider.required_acr.as_deref()) {
        check_acr(required, identity.acr.as_deref())?;
    }
    let user: String = row.get("id");
    if row.get("is_to_note") {
        let used = "UPDATE users SET last_used_at = now() WHERE id = $1";
        sql::run(&*home, used, &[text(&user)]).await?;
    }
    let mut caller = caller(identity, tenant.as_ref(), user, row.get("roles"), row.get("grants"));
    caller.name = row.get("display_name");
    Ok(Known { caller, own_tenant: tenant, conn: home.tenants(), is_session: false })
}

fn caller(
    identity: &Identity,
    tenant: Option<&KnownTenant>,
    id: String,
    roles: Vec<String>,
    grants: Vec<String>,
) -> Caller {
    let at = identity.authenticated_at.and_then(|at| Timestamp::from_second(at).ok());
    Caller {
        kind: CallerKind::User,
        id,
        name: identity.display_name.clone(),
        owner: tenant.map_or(Owner::Platform, |tenant| Owner::Tenant(tenant.id.clone())),
        roles,
        scopes: Vec::new(),
        grants,
        on_behalf_of: None,
        signed_in: Some(SignedIn {
            authenticated_at: at.map(|at| format!("{at:.3}")),
            acr: identity.acr.clone(),
        }),
    }
}

async fn find(
    home: &Home,
    provider: &Provider,
    identity: &Identity,
) -> Result<Option<Row>, Refusal> {
    let roles: &[String] = match home {
        Home::Tenant(_) => &identity.roles,
        Home::Platform(_) => &[],
    };
    // A token that does not say when it was issued is older than any signing out.
    let issued_at = identity.issued_at.unwrap_or(0);
    let params =
        [text(&provider.issuer), text(&identity.subject), texts(&roles), bigint(&issued_at)];
    Ok(sql::first(&**home, FIND, &params).await?)
}

/// Makes the user; somebody else may have done it at the same time.
async fn make(
    home: &mut Home,
    provider: &Provider,
    identity: &Identity,
    tenant: &str,
) -> Result<(), Refusal> {
    let tx = home.begin().await?;
    let user = id("usr", now_ms());
    let statement = "INSERT INTO users (id, issuer, subject, display_name, email) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (issuer, subject) DO NOTHING";
    let params = [
        text(&user),
        text(&provider.issuer),
        text(&identity.subject),
        text(&identity.display_name),
        text(&identity.email),
    ];
    if sql::run(&tx, statement, &params).await? == 1 {
        let made = USER.find(&tx, &user, false).await?;
        let event = crate::audit::Event {
            action: "user.created",
            tenant_id: Some(tenant),
            resource: ("user", &user),
            before: None,
            after: Some(&made.json),
        };
        crate::audit::append(&tx, &Origin::system("sign-on"), &event).await?;
    }
    Ok(tx.commit().await?)
}

/// One of the classes that are asked for, or a number that is not below: RFC 9470. What a token was asked for counts
/// nothing, what it says does.
pub(super) fn check_acr(required: &str, acr: Option<&str>) -> Result<(), Refusal> {
    let suffices = |wanted: &str| match (acr, wanted.parse::<u32>()) {
        (Some(acr), Ok(least)) => acr.parse::<u32>().is_ok_and(|level| level >= least),
        (Some(acr), Err(_)) => acr == wanted,
        (None, _) => false,
    };
    match required.split_whitespace().any(suffices) {
        true => Ok(()),
        false => {
            Err(Refusal::from(Reason::StepUp).with(json!({"acr_values": required, "acr": acr})))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_acr;

    #[test]
    fn a_class_suffices_by_name_or_by_level() {
        for (required, acr, suffices) in [
            ("2", Some("2"), true),
            ("2", Some("3"), true),
            ("2", Some("1"), false),
            ("2", Some("urn:mfa"), false),
            ("2", None, false),
            ("urn:mfa phr", Some("phr"), true),
            ("urn:mfa phr", Some("urn:mfa"), true),
            ("urn:mfa phr", Some("urn"), false),
            ("urn:mfa phr", Some("urn:mfa phr"), false),
            ("urn:mfa", None, false),
        ] {
            assert_eq!(check_acr(required, acr).is_ok(), suffices, "{required} {acr:?}");
        }
    }
}
