//! What the control plane signs with: ed25519 keys of its own, sealed in the platform's database, one in use and those
//! before it, until nobody trusts them.

use crate::audit::{Event, Origin, append};
use crate::code::Refusal;
use crate::pools::{Conn, Pools, Tx};
use crate::random::bytes;
use crate::sealed;
use crate::sql::{self, text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use tollgate_proto::bundle::{SigningSecret, hex};

/// What they are sealed for.
pub(crate) const LABEL: &str = "signing-keys";

/// The key in use; the first is made when it is needed first.
///
/// # Errors
/// Those of the database; `internal` for a key that does not open under the master key.
pub(crate) async fn current(pools: &Pools, platform: &mut Conn) -> Result<SigningSecret, Refusal> {
    let statement = "SELECT id, sealed FROM signing_keys WHERE retired_at IS NULL ORDER BY created_at DESC, id LIMIT 1";
    if let Some(row) = sql::first(platform, statement, &[]).await? {
        let (id, sealed): (String, Vec<u8>) = (row.get(0), row.get(1));
        let opened = sealed::open(pools.masters(), LABEL, &id, &sealed);
        let opened = opened.and_then(|opened| opened.try_into().ok());
        let secret = opened.as_ref().map(SigningSecret::from_bytes);
        return secret.ok_or_else(|| {
            Refusal::internal(format!("the signing key {id} does not open under this master key"))
        });
    }
    let tx = platform.begin().await?;
    sql::run(&tx, "SELECT pg_advisory_xact_lock(hashtext('tollgate signing keys'))", &[]).await?;
    if sql::first(&tx, statement, &[]).await?.is_none() {
        make(&tx, pools).await?;
    }
    tx.commit().await?;
    Box::pin(current(pools, platform)).await
}

/// A new key takes over; what the one before has signed is verified by its public half, which stays. Answers both ids.
///
/// # Errors
/// Those of the database.
pub async fn rotate(pools: &Pools) -> Result<(Option<String>, String), Refusal> {
    let mut platform = pools.platform().await?;
    let tx = platform.begin().await?;
    sql::run(&tx, "SELECT pg_advisory_xact_lock(hashtext('tollgate signing keys'))", &[]).await?;
    let retire = "UPDATE signing_keys SET retired_at = now() WHERE retired_at IS NULL RETURNING id";
    let retired = sql::first(&tx, retire, &[]).await?.map(|row| row.get::<_, String>(0));
    if let Some(id) = &retired {
        append(&tx, &Origin::system("signing"), &event("signing_key.retired", id)).await?;
    }
    let made = make(&tx, pools).await?;
    tx.commit().await?;
    Ok((retired, made))
}

async fn make(tx: &Tx<'_>, pools: &Pools) -> Result<String, Refusal> {
    let seed = bytes::<32>();
    let public = SigningSecret::from_bytes(&seed).public();
    let id = hex(&public.id());
    let sealed = sealed::seal(pools.master(), LABEL, &id, &seed);
    let statement = "INSERT INTO signing_keys (id, sealed, public_key) VALUES ($1, $2, $3)";
    let pem = public.to_pem().unwrap_or_default();
    sql::run(tx, statement, &[text(&id), sql::bytes(&sealed), text(&pem)]).await?;
    append(tx, &Origin::system("signing"), &event("signing_key.created", &id)).await?;
    Ok(id)
}

fn event<'e>(action: &'e str, id: &'e str) -> Event<'e> {
    Event { action, tenant_id: None, resource: ("signing-key", id), before: None, after: None }
}

/// A document as a JWS in compact form (RFC 7515, EdDSA), and the public key that verifies it (RFC 7517, RFC 8037).
pub(crate) fn jws(secret: &SigningSecret, kind: &str, document: &Json) -> (String, Json) {
    let public = secret.public();
    let id = hex(&public.id());
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({"alg": "EdDSA", "typ": kind, "kid": id});
    let message = format!("{}.{}", part(&header), part(document));
    let signature = URL_SAFE_NO_PAD.encode(secret.sign(message.as_bytes()));
    let x = URL_SAFE_NO_PAD.encode(public.to_bytes());
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "alg": "EdDSA", "use": "sig"});
    (format!("{message}.{signature}"), jwk)
}
