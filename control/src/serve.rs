//! Puts the parts together: migrates, listens, provisions, drains.

use crate::audit::{Event, Origin, append};
use crate::config::Config;
use crate::database::Addresses;
use crate::pools::Pools;
use crate::secret::MasterKey;
use crate::service::Service;
use crate::sql::{self, text};
use crate::{chain, copies, denials, epochs, fleet, migrate, operations, ops, publish, wire};
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens pools after bringing the database to head.
///
/// # Errors
/// A sentence.
pub async fn prepare(config: &Config) -> Result<Pools, String> {
    let master = Arc::new(MasterKey::read(&config.secrets.master_key_file)?);
    let previous = config.secrets.previous_master_key_file.as_deref().map(MasterKey::read);
    let previous = previous.transpose()?;
    let addresses = Addresses::read(&config.database.url, config.database.direct_url.as_deref())?;
    migrate::run(&addresses, &master).await?;
    ensure_cluster(&addresses).await?;
    let named_statements = config.database.named_statements;
    Ok(Pools::new(addresses, master, previous, config.pools.clone(), named_statements))
}

/// The cluster that holds the platform database is the first that tenants are placed on.
async fn ensure_cluster(addresses: &Addresses) -> Result<(), String> {
    let said = |error: tokio_postgres::Error| crate::said(&error);
    let mut admin = addresses.admin(addresses.platform_database()).await.map_err(said)?;
    let tx = admin.transaction().await.map_err(said)?;
    let statement = "INSERT INTO clusters (id, region, jurisdiction) SELECT 'local', 'local', 'local' \
        WHERE NOT EXISTS (SELECT FROM clusters) RETURNING id";
    if sql::first(&tx, statement, &[]).await.map_err(said)?.is_some() {
        let event = Event {
            action: "cluster.created",
            tenant_id: None,
            resource: ("cluster", "local"),
            before: None,
            after: None,
        };
        append(&tx, &Origin::system("serve"), &event).await.map_err(said)?;
    }
    tx.commit().await.map_err(said)
}

/// Serves until a signal ends it.
///
/// # Errors
/// A sentence: the database, the address, the built-in policy.
pub async fn run(config: Config) -> Result<(), String> {
    let listen = config.api.listen;
    let refused = |error: std::io::Error| format!("api.listen {listen}: {error}");
    let listener = std::net::TcpListener::bind(listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let tls = tls(&config).await?;
    let pools = prepare(&config).await?;
    epochs::ensure_open(pools.addresses()).await?;
    fleet::ensure(&pools).await.map_err(|refusal| refusal.cause.unwrap_or(refusal.message))?;
    let service = Arc::new(Service::new(config, pools)?);
    ops::serve(Arc::clone(&service), ops::register()?).await?;
    if service.config.jobs.enabled {
        tokio::spawn(operations::work::work(Arc::clone(&service)));
        tokio::spawn(copies::work(Arc::clone(&service)));
        tokio::spawn(chain::work(Arc::clone(&service)));
    }
    if !service.config.publish.dir.as_os_str().is_empty() {
        tokio::spawn(publish::work(Arc::clone(&service)));
        tokio::spawn(publish::sweep(Arc::clone(&service)));
    }
    tokio::spawn(sweep(Arc::clone(&service)));
    tokio::spawn(denials::work(Arc::clone(&service)));
    let ending = Arc::clone(&service);
    let database = service.pools.addresses().shown();
    tracing::info!(listen = listen.to_string(), database, "serving");
    let app = Router::new().fallback(wire::answer).with_state(service);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    tokio::spawn(end(handle.clone()));
    let served = match tls {
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
        None => match axum_server::from_tcp(listener) {
            Ok(server) => server.handle(handle).serve(app).await,
            Err(error) => Err(error),
        },
    };
    ending.denials.write(&ending).await;
    // Not on a thread of the runtime: it waits for the exporter's.
    let _ = tokio::task::spawn_blocking(move || ending.spans.end()).await;
    served.map_err(|error| format!("the service ended: {error}"))
}

async fn tls(config: &Config) -> Result<Option<RustlsConfig>, String> {
    let Some((cert, key)) = config.tls() else { return Ok(None) };
    let read = RustlsConfig::from_pem_file(cert, key).await;
    let shown = (cert.display(), key.display());
    read.map(Some).map_err(|error| {
        format!(
            "api.tls_cert {}, api.tls_key {}: expected a chain and its key in PEM: {error}",
            shown.0, shown.1
        )
    })
}

/// Answers what has begun, and nothing new.
async fn end(handle: Handle<SocketAddr>) {
    ended().await;
    handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
}

async fn sweep(service: Arc<Service>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        service.pools.sweep();
        service.rates.retain_recent();
        service.floods.sweep();
        let statement =
            "DELETE FROM idempotency_keys WHERE created_at < now() - $1::text::interval";
        if let Ok(conn) = service.pools.platform().await {
            let _ = sql::run(&conn, statement, &[text(&"24 hours")]).await;
        }
    }
}

async fn ended() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
}
