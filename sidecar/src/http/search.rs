//! The AuthZEN search endpoints: names are asked one by one, beside the decisions of others.

use super::answer::{Answer, Refused, json};
use super::evaluate::{read, tenant};
use super::route::Session;
use crate::searches::Searches;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tollgate_engine::search::{Found, Sought};
use tollgate_engine::{Now, Reason, Scratch, TenantState};
use tollgate_proto::authzen::{Search, seal_page, search};

/// `POST /access/v1/search/{subject, resource, action}`.
pub(super) async fn answer(
    session: &Session,
    request: Request<Incoming>,
    sought: Sought,
    age: Duration,
) -> Result<Answer, Refused> {
    let (head, body) = read(session, request, age).await?;
    let router = Arc::clone(&session.router);
    let Some(permit) = session.shared().searches.admit() else {
        let message = "other searches are running; ask again";
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message));
    };
    let work = move || {
        let _permit = permit;
        let shared = &router.shared;
        let searches = &shared.searches;
        let asked = search(&body, sought, tenant(&head.headers), searches.secret())?;
        let table = shared.table.load_full();
        let state = table.shared_state(&asked.request.tenant);
        let found = state.map(|state| (find(searches, &state, &asked, shared.clock.now()), state));
        Ok(json(StatusCode::OK, &answered(&asked, found.as_ref(), searches)))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(_) => Err(Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the search ended before its end; ask again",
        )),
    }
}

fn find(searches: &Searches, state: &Arc<TenantState>, asked: &Search<'_>, now: Now) -> Found {
    let names = searches.names(state, asked.sought);
    asked.request.with(|request| {
        let page = (asked.after.as_deref(), asked.limit);
        names.search(state, request, page, now, &mut Scratch::default())
    })
}

/// The page first, as the specification asks.
#[derive(Serialize)]
struct Body<'f> {
    page: Page,
    context: Context,
    results: Vec<Entity<'f>>,
}

#[derive(Serialize)]
struct Page {
    next_token: String,
    count: usize,
}

#[derive(Serialize)]
struct Context {
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entity<'f> {
    Action {
        name: &'f str,
    },
    Other {
        #[serde(rename = "type")]
        kind: &'f str,
        id: &'f str,
    },
}

/// A tenant that is not known has nobody.
fn answered<'f>(
    asked: &'f Search<'_>,
    found: Option<&'f (Found, Arc<TenantState>)>,
    searches: &Searches,
) -> Body<'f> {
    let names = found.map_or(&[][..], |(found, _)| &found.names);
    let next = found.and_then(|(found, _)| found.next.as_deref());
    let seal = |after| seal_page(after, asked.sought, &asked.request, searches.secret());
    let kind = match asked.sought {
        Sought::Subject => &asked.request.subject.kind,
        _ => &asked.request.resource.kind,
    };
    let result = |name: &'f String| match asked.sought {
        Sought::Action => Entity::Action { name },
        _ => Entity::Other { kind, id: name },
    };
    let context = match found {
        Some((found, state)) => {
            let version = state.version();
            let version = Some(format!("{}.{}", version.epoch, version.seq));
            Context { exact: found.is_exact, version, reason: None }
        }
        None => Context { exact: true, version: None, reason: Some(Reason::UnknownTenant.name()) },
    };
    Body {
        page: Page { next_token: next.map(seal).unwrap_or_default(), count: names.len() },
        context,
        results: names.iter().map(result).collect(),
    }
}
