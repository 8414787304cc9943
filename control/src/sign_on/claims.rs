//! From claims to who it is: one subject, one organisation, roles. What is ambiguous is refused, never guessed.

use super::Reason;
use super::provider::{Kind, Provider};
use super::token::time;
use crate::placement::EVERYBODY;
use serde_json::{Map, Value as Json};

const NAME_CHARS_MAX: usize = 200;
const EMAIL_BYTES_MAX: usize = 320;
const SESSION_BYTES_MAX: usize = 255;

/// Who a token says it is, for which organisation, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) subject: String,
    /// As it is linked; `EVERYBODY` of a provider that has none.
    pub(crate) organisation: String,
    /// Roles of ours that roles of the provider are mapped to.
    pub(crate) roles: Vec<String>,
    pub(crate) display_name: String,
    pub(crate) email: Option<String>,
    pub(crate) acr: Option<String>,
    pub(crate) issued_at: Option<i64>,
    pub(crate) authenticated_at: Option<i64>,
    /// The provider's session.
    pub(crate) sid: Option<String>,
}

impl Identity {
    /// Who it is; `chosen` is the organisation that was asked for at the sign-in.
    ///
    /// # Errors
    /// `AmbiguousTenant`, `NoTenant`, `Claims`.
    pub(crate) fn read(
        provider: &Provider,
        claims: &Map<String, Json>,
        chosen: Option<&str>,
    ) -> Result<Identity, Reason> {
        let text = |name: &str| claims.get(name).and_then(Json::as_str);
        let subject = text("sub").ok_or(Reason::Claims)?.to_owned();
        let organisation = organisation(provider, claims, chosen)?;
        let given = roles(provider, claims, &organisation);
        let mut roles: Vec<String> =
            given.iter().filter_map(|role| provider.role_mapping.get(role)).cloned().collect();
        roles.sort_unstable();
        roles.dedup();
        let is_name = |name: &&str| {
            !name.trim().is_empty()
                && name.chars().count() <= NAME_CHARS_MAX
                && !name.chars().any(char::is_control)
        };
        let named = ["name", "preferred_username", "username", "client_id"];
        let display_name = named.iter().filter_map(|name| text(name)).find(is_name);
        let is_email = |email: &&str| {
            email.len() <= EMAIL_BYTES_MAX
                && email.contains('@')
                && !email.chars().any(char::is_control)
        };
        Ok(Identity {
            display_name: display_name.unwrap_or(&subject).to_owned(),
            email: text("email").filter(is_email).map(str::to_owned),
            acr: text("acr").map(str::to_owned),
            issued_at: time(claims, "iat")?,
            authenticated_at: time(claims, "auth_time")?,
            sid: text("sid").filter(|sid| sid.len() <= SESSION_BYTES_MAX).map(str::to_owned),
            subject,
            organisation,
            roles,
        })
    }
}

/// The one organisation that a token is for, or the chosen one if it is for that too.
fn organisation(
    provider: &Provider,
    claims: &Map<String, Json>,
    chosen: Option<&str>,
) -> Result<String, Reason> {
    let mut named = match (provider.kind, &provider.organisation_claim) {
        (Kind::Oidc, None) => return Ok(EVERYBODY.to_owned()),
        (Kind::Oidc, Some(claim)) => names(at(claims, claim)),
        (Kind::Keycloak, _) => names(claims.get("organization")),
        (Kind::Logto, _) => logto(claims),
    }?;
    named.retain(|name| chosen.is_none_or(|chosen| chosen == name));
    named.sort_unstable();
    named.dedup();
    match (named.pop(), named.is_empty()) {
        (None, _) => Err(Reason::NoTenant),
        (Some(only), true) if !only.is_empty() && only != EVERYBODY => Ok(only),
        (Some(_), true) => Err(Reason::NoTenant),
        (Some(_), false) => Err(Reason::AmbiguousTenant),
    }
}

/// A name, a list of names, or an object by names; anything else is no organisation.
fn names(claim: Option<&Json>) -> Result<Vec<String>, Reason> {
    match claim {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(name)) => Ok(vec![name.clone()]),
        Some(Json::Object(by_name)) => Ok(by_name.keys().cloned().collect()),
        Some(Json::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or(Reason::Claims))
            .collect(),
        Some(_) => Err(Reason::Claims),
    }
}

/// `organization_id`, an audience that is an organisation, and the list that a token for none carries: they must agree.
fn logto(claims: &Map<String, Json>) -> Result<Vec<String>, Reason> {
    let audience = names(claims.get("aud"))?;
    let of_audience =
        audience.iter().filter_map(|name| name.strip_prefix("urn:logto:organization:"));
    let mut chosen: Vec<String> = of_audience.map(str::to_owned).collect();
    chosen.extend(names(claims.get("organization_id"))?);
    match chosen.is_empty() {
        true => names(claims.get("organizations")),
        false => Ok(chosen),
    }
}

/// A claim by its name, or by a dotted path through objects; a name with dots wins.
fn at<'c>(claims: &'c Map<String, Json>, path: &str) -> Option<&'c Json> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let (first, rest) = path.split_once('.')?;
    at(claims.get(first)?.as_object()?, rest)
}

/// The roles that the provider gives in this organisation.
fn roles(provider: &Provider, claims: &Map<String, Json>, organisation: &str) -> Vec<String> {
    let list = |claim: Option<&Json>| match claim {
        Some(Json::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        claim => names(claim.filter(|claim| claim.is_array())).unwrap_or_default(),
    };
    let mut all: Vec<String> = match &provider.roles_claim {
        Some(claim) => list(at(claims, claim)),
        None => Vec::new(),
    };
    match provider.kind {
        Kind::Oidc => {}
        // `<organisation>:<role>`.
        Kind::Logto => {
            let given: Vec<String> = list(claims.get("organization_roles"));
            let own = given.iter().filter_map(|role| {
                role.strip_prefix(organisation)?.strip_prefix(':').map(str::to_owned)
            });
            all.extend(own);
        }
        Kind::Keycloak => {
            let Some(own) = claims.get("organization").and_then(|all| all.get(organisation)) else {
                return all;
            };
            all.extend(list(own.get("roles")));
            all.extend(list(own.get("groups")));
            all.extend(list(own.get("realm_access").and_then(|access| access.get("roles"))));
            let clients = own.get("resource_access").and_then(Json::as_object);
            for access in clients.into_iter().flat_map(Map::values) {
                all.extend(list(access.get("roles")));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider(kind: &str, more: &Json) -> Provider {
        let mut settings = json!({
            "kind": kind, "audience": ["api"],
            "role_mapping": {"admin": "tenant-admin", "/staff": "auditor", "owner": "tenant-admin"},
        });
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        Provider {
            id: "idp_1".to_owned(),
            issuer: "https://id".to_owned(),
            settings: serde_json::from_value(settings).unwrap(),
            required_acr: None,
        }
    }

    /// Kind, settings, claims; the organisation and the roles, or why not.
    #[test]
    fn each_shape_names_one_organisation_or_none() {
        let none = json!({});
        let by_claim = json!({"organisation_claim": "https://example.com/org"});
        let by_path = json!({"organisation_claim": "org.id", "roles_claim": "org.roles"});
        for (kind, settings, claims, expected) in [
            ("logto", &none, json!({"organization_id": "o1"}), Ok(("o1", ""))),
            (
                "logto",
                &none,
                json!({"organization_id": "o1", "organization_roles": ["o1:admin", "o2:owner", "o1:none"]}),
                Ok(("o1", "tenant-admin")),
            ),
            ("logto", &none, json!({"aud": ["urn:logto:organization:o1"]}), Ok(("o1", ""))),
            (
                "logto",
                &none,
                json!({"aud": ["urn:logto:organization:o1"], "organization_id": "o1"}),
                Ok(("o1", "")),
            ),
            (
                "logto",
                &none,
                json!({"aud": ["urn:logto:organization:o1"], "organization_id": "o2"}),
                Err(Reason::AmbiguousTenant),
            ),
            ("logto", &none, json!({"organizations": ["o1"]}), Ok(("o1", ""))),
            ("logto", &none, json!({"organizations": ["o1", "o2"]}), Err(Reason::AmbiguousTenant)),
            (
                "logto",
                &none,
                json!({"organizations": ["o1", "o2"], "organization_id": "o2"}),
                Ok(("o2", "")),
            ),
            ("logto", &none, json!({"organizations": []}), Err(Reason::NoTenant)),
            ("logto", &none, json!({}), Err(Reason::NoTenant)),
            ("logto", &none, json!({"organization_id": 7}), Err(Reason::Claims)),
            ("logto", &none, json!({"organization_id": ""}), Err(Reason::NoTenant)),
            ("logto", &none, json!({"organization": "o1"}), Err(Reason::NoTenant)),
            ("keycloak", &none, json!({"organization": ["acme"]}), Ok(("acme", ""))),
            ("keycloak", &none, json!({"organization": ["acme", "acme"]}), Ok(("acme", ""))),
            ("keycloak", &none, json!({"organization": "acme"}), Ok(("acme", ""))),
            ("keycloak", &none, json!({"organization": {"acme": {}}}), Ok(("acme", ""))),
            (
                "keycloak",
                &none,
                json!({"organization": {"acme": {"id": "42", "groups": ["/staff"]}}}),
                Ok(("acme", "auditor")),
            ),
            (
                "keycloak",
                &none,
                json!({"organization": {"acme": {"roles": ["admin"], "realm_access": {"roles": ["owner"]}}}}),
                Ok(("acme", "tenant-admin")),
            ),
            (
                "keycloak",
                &none,
                json!({"organization": {"acme": {"resource_access": {"api": {"roles": ["admin"]}}}}}),
                Ok(("acme", "tenant-admin")),
            ),
            (
                "keycloak",
                &none,
                json!({"organization": {"acme": {}, "beta": {}}}),
                Err(Reason::AmbiguousTenant),
            ),
            (
                "keycloak",
                &none,
                json!({"organization": ["acme", "beta"]}),
                Err(Reason::AmbiguousTenant),
            ),
            ("keycloak", &none, json!({"organization": []}), Err(Reason::NoTenant)),
            ("keycloak", &none, json!({"organization": {}}), Err(Reason::NoTenant)),
            ("keycloak", &none, json!({}), Err(Reason::NoTenant)),
            ("keycloak", &none, json!({"organization": null}), Err(Reason::NoTenant)),
            ("keycloak", &none, json!({"organization": [["acme"]]}), Err(Reason::Claims)),
            ("keycloak", &none, json!({"organization": true}), Err(Reason::Claims)),
            // The realm's roles are not the organisation's.
            (
                "keycloak",
                &none,
                json!({"organization": ["acme"], "realm_access": {"roles": ["admin"]}}),
                Ok(("acme", "")),
            ),
            ("oidc", &none, json!({"organization_id": "o1"}), Ok((EVERYBODY, ""))),
            ("oidc", &by_claim, json!({"https://example.com/org": "acme"}), Ok(("acme", ""))),
            (
                "oidc",
                &by_claim,
                json!({"https://example.com/org": ["a", "b"]}),
                Err(Reason::AmbiguousTenant),
            ),
            ("oidc", &by_claim, json!({}), Err(Reason::NoTenant)),
            // Nobody is everybody by saying so.
            (
                "oidc",
                &by_claim,
                json!({"https://example.com/org": EVERYBODY}),
                Err(Reason::NoTenant),
            ),
            (
                "oidc",
                &by_path,
                json!({"org": {"id": "acme", "roles": ["admin", "other"]}}),
                Ok(("acme", "tenant-admin")),
            ),
            (
                "oidc",
                &by_path,
                json!({"org": {"id": "acme", "roles": "admin other"}}),
                Ok(("acme", "tenant-admin")),
            ),
            (
                "oidc",
                &by_path,
                json!({"org": {"id": "acme", "roles": {"admin": true}}}),
                Ok(("acme", "")),
            ),
            ("oidc", &by_path, json!({"org": "acme"}), Err(Reason::NoTenant)),
            (
                "oidc",
                &by_path,
                json!({"org": {"id": {"acme": 1, "beta": 2}}}),
                Err(Reason::AmbiguousTenant),
            ),
        ] {
            let mut claims = claims.as_object().cloned().unwrap();
            claims.insert("sub".to_owned(), json!("alice"));
            let read = Identity::read(&provider(kind, settings), &claims, None);
            let read = read.map(|identity| (identity.organisation, identity.roles.join(" ")));
            let expected = expected.map(|(one, roles)| (one.to_owned(), roles.to_owned()));
            assert_eq!(read, expected, "{kind} {claims:?}");
        }
    }

    #[test]
    fn a_chosen_organisation_must_be_one_of_those_that_are_named() {
        for (kind, claims, chosen, expected) in [
            ("logto", json!({"organizations": ["o1", "o2"]}), "o2", Ok("o2")),
            ("logto", json!({"organizations": ["o1", "o2"]}), "o3", Err(Reason::NoTenant)),
            ("logto", json!({"organization_id": "o1"}), "o2", Err(Reason::NoTenant)),
            ("keycloak", json!({"organization": {"acme": {}, "beta": {}}}), "acme", Ok("acme")),
            ("keycloak", json!({"organization": ["beta"]}), "acme", Err(Reason::NoTenant)),
            ("keycloak", json!({"organization": ["acme"]}), EVERYBODY, Err(Reason::NoTenant)),
        ] {
            let mut claims = claims.as_object().cloned().unwrap();
            claims.insert("sub".to_owned(), json!("alice"));
            let read = Identity::read(&provider(kind, &json!({})), &claims, Some(chosen));
            let read = read.map(|identity| identity.organisation);
            assert_eq!(read, expected.map(str::to_owned), "{claims:?} {chosen}");
        }
    }
}
