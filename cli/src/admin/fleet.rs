//! Migrations of the fleet, and identity providers with their organisations: the platform's own.

use super::asks::{Ask, Asks};
use super::commands::Wanted;
use crate::api::calls;
use crate::exit::Exit;
use clap::Subcommand;
use serde_json::{Map, Value as Json, json};

const MIGRATIONS: &[&str] =
    &["id", "state", "result.paused", "progress.done", "progress.total", "created_at"];
const PROVIDERS: &[&str] = &["id", "issuer", "kind", "audience", "client_id"];
const LINKS: &[&str] = &["id", "issuer", "organisation", "tenant_id"];

#[derive(Debug, Subcommand)]
pub(crate) enum Migration {
    List,
    Show {
        id: String,
    },
    /// Bring every tenant's database to the service's schema: one, one in a hundred, one in ten, all
    Start,
    /// Begin no further tenant
    Pause {
        id: String,
    },
    Resume {
        id: String,
    },
}

impl Asks for Migration {
    fn ask(&self, _tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            Migration::List => calls::get_migrations(&calls::MigrationQuery::default()),
            Migration::Show { id } => calls::get_migrations_id(id),
            Migration::Start => calls::post_migrations(),
            Migration::Pause { id } => calls::post_migrations_id_pause(id),
            Migration::Resume { id } => calls::post_migrations_id_resume(id),
        };
        Ok(Ask { call, columns: MIGRATIONS })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Idp {
    /// Accept an identity provider's tokens; a client's secret is read from the variable TOLLGATE_CLIENT_SECRET
    Create {
        issuer: String,
        /// oidc, logto or keycloak
        #[arg(long, default_value = "oidc")]
        kind: String,
        #[arg(long, required = true)]
        audience: Vec<String>,
        #[arg(long)]
        client_id: Option<String>,
        /// PROVIDER-ROLE=ROLE
        #[arg(long = "role")]
        roles: Vec<String>,
    },
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    Delete {
        id: String,
    },
    /// Link an organisation of an issuer to a tenant; `*` is everybody of an issuer without organisations
    Link {
        issuer: String,
        organisation: String,
        tenant_id: String,
    },
    Links,
    /// Its people are refused at once
    Unlink {
        id: String,
    },
}

impl Asks for Idp {
    fn ask(&self, _tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let (call, columns) = match self {
            Idp::Create { issuer, kind, audience, client_id, roles } => {
                let mapping: Map<String, Json> = roles
                    .iter()
                    .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                    .map(|(role, ours)| (role.to_owned(), json!(ours)))
                    .collect();
                // Not as an argument: those are seen by everybody on the machine.
                let secret =
                    std::env::var("TOLLGATE_CLIENT_SECRET").ok().map(|secret| json!(secret));
                let secret = secret.filter(|_| client_id.is_some());
                let call = calls::post_identity_providers(&calls::NewIdentityProvider {
                    issuer,
                    audience,
                    kind: Some(kind),
                    role_mapping: Some(&mapping),
                    client_id: client_id.as_ref().map(|id| json!(id)).as_ref(),
                    client_secret: secret.as_ref(),
                    algorithms: None,
                    jwks_uri: None,
                    organisation_claim: None,
                    roles_claim: None,
                    just_in_time: None,
                });
                (call, PROVIDERS)
            }
            Idp::List { wanted } => {
                let query = calls::IdentityProviderQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                (calls::get_identity_providers(&query), PROVIDERS)
            }
            Idp::Show { id } => (calls::get_identity_providers_id(id), PROVIDERS),
            Idp::Delete { id } => (calls::delete_identity_providers_id(id), PROVIDERS),
            Idp::Link { issuer, organisation, tenant_id } => {
                let body = calls::NewOrganisation { issuer, organisation, tenant_id };
                (calls::post_organisations(&body), LINKS)
            }
            Idp::Links => (calls::get_organisations(&calls::OrganisationQuery::default()), LINKS),
            Idp::Unlink { id } => (calls::delete_organisations_id(id), LINKS),
        };
        Ok(Ask { call, columns })
    }
}
