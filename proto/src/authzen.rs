//! AuthZEN 1.0 bodies to requests, and faults that name the member at fault.
//!
//! Source: OpenID AuthZEN Authorization API 1.0, sections 5 to 7. Unknown members are ignored; a
//! member named twice is refused. What is wrong here never reaches the engine; what a decision can
//! say (a tenant that is missing or named twice differently) is left to it. The gRPC door hands in
//! the same members as `Tree`s.

mod decision;
mod id;
mod search;
mod settle;

pub use decision::{DecisionBody, LimitBody, mode_name};
pub use id::DecisionId;
pub use search::{SEARCH_PAGE, SEARCH_PAGE_MAX, Search, seal as seal_page, search};
pub use settle::{Settle, SettleBody, settle, what_to_do};

use crate::frame::{AMOUNTS_MAX, BATCH_MAX};
use crate::json;
use crate::owned::{OwnedEntity, OwnedRequest};
use crate::tree::Tree;
use std::borrow::Cow;
use tollgate_engine::bounds::ATTRIBUTES_MAX;
use tollgate_engine::{Part, Value};

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: FaultCode,
    /// What to change, with the member's JSON pointer.
    pub message: String,
    /// The member at fault, if it is one.
    pub field: Option<Field>,
}

/// The code of an error envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCode {
    MalformedJson,
    Invalid,
}

/// A member at fault: JSON pointer, what was expected, what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub pointer: String,
    pub expected: String,
    pub got: String,
}

impl Fault {
    /// A member that is not what it should be.
    pub fn invalid(pointer: &str, expected: &str, got: &str) -> Fault {
        Fault {
            code: FaultCode::Invalid,
            message: format!("{pointer}: expected {expected}, got {got}"),
            field: Some(Field {
                pointer: pointer.to_owned(),
                expected: expected.to_owned(),
                got: got.to_owned(),
            }),
        }
    }
}

impl FaultCode {
    pub const fn name(self) -> &'static str {
        match self {
            FaultCode::MalformedJson => "malformed-json",
            FaultCode::Invalid => "invalid",
        }
    }
}

/// The tenant that stands beside a body, in a header or in metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantHeader<'h> {
    Missing,
    Named(&'h str),
    /// Given more than once, differently, or not as text.
    Ambiguous,
}

/// When a batch ends before its last item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    /// Whether the batch ends after an item with this decision.
    pub fn ends_after(self, is_allow: bool) -> bool {
        match self {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !is_allow,
            Semantic::PermitOnFirstPermit => is_allow,
        }
    }
}

/// The four members of an evaluation, as they came.
#[derive(Debug, Clone, Default)]
pub struct Members<'b> {
    pub subject: Option<Tree<'b>>,
    pub action: Option<Tree<'b>>,
    pub resource: Option<Tree<'b>>,
    pub context: Option<Tree<'b>>,
}

/// A body of the evaluations endpoint.
#[derive(Debug)]
pub enum Asked<'b> {
    /// Without items it is a single evaluation and answered as one.
    One(OwnedRequest<'b>),
    Many {
        items: Vec<Result<OwnedRequest<'b>, Fault>>,
        semantic: Semantic,
    },
}

/// Reads a body of the evaluation endpoint.
///
/// ```
/// use tollgate_proto::authzen::{TenantHeader, evaluation};
/// let body = br#"{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},
///     "resource":{"type":"path","id":"/x"},"context":{"tenant":"acme"}}"#;
/// let request = evaluation(body, TenantHeader::Missing).unwrap();
/// assert_eq!((&*request.tenant, &*request.action), ("acme", "read"));
/// ```
///
/// # Errors
/// No JSON, a member missing, of another type or out of bounds.
pub fn evaluation<'b>(body: &'b [u8], tenant: TenantHeader<'b>) -> Result<OwnedRequest<'b>, Fault> {
    Members::read(&mut members(body)?).request(tenant)
}

/// Reads a body of the evaluations endpoint; a fault of one item is that item's.
///
/// # Errors
/// As `evaluation`, for the body as a whole; more than `BATCH_MAX` items; an unknown
/// semantic.
pub fn evaluations<'b>(body: &'b [u8], tenant: TenantHeader<'b>) -> Result<Asked<'b>, Fault> {
    let mut members = members(body)?;
    let items = match take(&mut members, "evaluations") {
        None => Vec::new(),
        Some(Tree::List(items)) => items,
        Some(other) => return Err(Fault::invalid("/evaluations", "a list", other.kind())),
    };
    let semantic = semantic(take(&mut members, "options"))?;
    let defaults = Members::read(&mut members);
    if items.is_empty() {
        return defaults.request(tenant).map(Asked::One);
    }
    check_count(items.len())?;
    let read = |(position, item)| match item {
        Tree::Object(mut members) => Ok(Members::read(&mut members)),
        other => {
            let pointer = format!("/evaluations/{position}");
            Err(Fault::invalid(&pointer, "an object", other.kind()))
        }
    };
    let items = items.into_iter().enumerate().map(read);
    let items = items.map(|item| item.and_then(|item| item.or(&defaults).request(tenant)));
    Ok(Asked::Many { items: items.collect(), semantic })
}

/// Refuses a batch that is too long.
///
/// # Errors
/// More than `BATCH_MAX` items.
pub fn check_count(count: usize) -> Result<(), Fault> {
    match count > BATCH_MAX {
        true => Err(Fault::invalid(
            "/evaluations",
            &format!("at most {BATCH_MAX} items"),
            &count.to_string(),
        )),
        false => Ok(()),
    }
}

type Object<'b> = Vec<(Cow<'b, str>, Tree<'b>)>;

fn members(body: &[u8]) -> Result<Object<'_>, Fault> {
    match json::parse(body) {
        Ok(Tree::Object(members)) => Ok(members),
        Ok(other) => Err(Fault::invalid("", "an object", other.kind())),
        Err(error) => Err(Fault {
            code: FaultCode::MalformedJson,
            message: format!("the body is no JSON that is read here: {error}"),
            field: None,
        }),
    }
}

fn take<'b>(members: &mut Object<'b>, name: &str) -> Option<Tree<'b>> {
    let position = members.iter().position(|(known, _)| known == name)?;
    Some(members.swap_remove(position).1)
}

fn semantic(options: Option<Tree<'_>>) -> Result<Semantic, Fault> {
    let mut options = match options {
        None => return Ok(Semantic::default()),
        Some(Tree::Object(options)) => options,
        Some(other) => return Err(Fault::invalid("/options", "an object", other.kind())),
    };
    let Some(value) = take(&mut options, "evaluations_semantic") else {
        return Ok(Semantic::default());
    };
    match value.as_str() {
        Some("execute_all") => Ok(Semantic::ExecuteAll),
        Some("deny_on_first_deny") => Ok(Semantic::DenyOnFirstDeny),
        Some("permit_on_first_permit") => Ok(Semantic::PermitOnFirstPermit),
        other => Err(Fault::invalid(
            "/options/evaluations_semantic",
            "execute_all, deny_on_first_deny or permit_on_first_permit",
            other.unwrap_or(value.kind()),
        )),
    }
}

impl<'b> Members<'b> {
    fn read(members: &mut Object<'b>) -> Members<'b> {
        Members {
            subject: take(members, "subject"),
            action: take(members, "action"),
            resource: take(members, "resource"),
            context: take(members, "context"),
        }
    }

    /// A member that is missing is taken whole from the defaults.
    #[must_use]
    pub fn or(self, defaults: &Members<'b>) -> Members<'b> {
        Members {
            subject: self.subject.or_else(|| defaults.subject.clone()),
            action: self.action.or_else(|| defaults.action.clone()),
            resource: self.resource.or_else(|| defaults.resource.clone()),
            context: self.context.or_else(|| defaults.context.clone()),
        }
    }

    /// Turns the members into a request.
    ///
    /// # Errors
    /// A member is missing, of another type or out of bounds.
    pub fn request(self, tenant: TenantHeader<'b>) -> Result<OwnedRequest<'b>, Fault> {
        let mut request = OwnedRequest {
            subject: OwnedEntity { kind: Cow::Borrowed(""), id: Cow::Borrowed("") },
            ..OwnedRequest::default()
        };
        let (kind, id) = ("type", "id");
        let mut subject = object(self.subject, "/subject")?;
        request.subject.kind = text(&mut subject, "/subject", kind)?;
        request.subject.id = text(&mut subject, "/subject", id)?;
        properties(&mut request, Part::Subject, subject, "/subject")?;
        let mut action = object(self.action, "/action")?;
        request.action = text(&mut action, "/action", "name")?;
        properties(&mut request, Part::Action, action, "/action")?;
        let mut resource = object(self.resource, "/resource")?;
        request.resource.kind = text(&mut resource, "/resource", kind)?;
        request.resource.id = text(&mut resource, "/resource", id)?;
        properties(&mut request, Part::Resource, resource, "/resource")?;
        let context = match self.context {
            None => Vec::new(),
            context => object(context, "/context")?,
        };
        context_members(&mut request, context, tenant)?;
        match request.attributes.len() > ATTRIBUTES_MAX {
            true => Err(Fault::invalid(
                "",
                &format!("at most {ATTRIBUTES_MAX} attributes"),
                &request.attributes.len().to_string(),
            )),
            false => Ok(request),
        }
    }
}

fn object<'b>(member: Option<Tree<'b>>, pointer: &str) -> Result<Object<'b>, Fault> {
    match member {
        Some(Tree::Object(members)) => Ok(members),
        Some(other) => Err(Fault::invalid(pointer, "an object", other.kind())),
        None => Err(Fault::invalid(pointer, "an object", "nothing")),
    }
}

fn text<'b>(members: &mut Object<'b>, at: &str, name: &str) -> Result<Cow<'b, str>, Fault> {
    match take(members, name) {
        Some(Tree::Str(text)) => Ok(text),
        other => {
            let got = other.map_or("nothing", |other| other.kind());
            Err(Fault::invalid(&format!("{at}/{name}"), "a string", got))
        }
    }
}

fn properties<'b>(
    request: &mut OwnedRequest<'b>,
    part: Part,
    mut members: Object<'b>,
    at: &str,
) -> Result<(), Fault> {
    match take(&mut members, "properties") {
        None => Ok(()),
        Some(tree @ Tree::Object(_)) => add(request, part, tree, &format!("{at}/properties")),
        Some(other) => Err(Fault::invalid(&format!("{at}/properties"), "an object", other.kind())),
    }
}

fn add<'b>(
    request: &mut OwnedRequest<'b>,
    part: Part,
    tree: Tree<'b>,
    pointer: &str,
) -> Result<(), Fault> {
    request
        .add_attributes(part, tree)
        .map_err(|error| Fault::invalid(pointer, "attributes within their bounds", &error))
}

/// `tenant`, `explain`, `quota` and `reserve` are said to the sidecar, the rest are attributes.
fn context_members<'b>(
    request: &mut OwnedRequest<'b>,
    mut context: Object<'b>,
    tenant: TenantHeader<'b>,
) -> Result<(), Fault> {
    let named = match take(&mut context, "tenant") {
        None => None,
        Some(Tree::Str(name)) => Some(name),
        Some(other) => return Err(Fault::invalid("/context/tenant", "a string", other.kind())),
    };
    // No tenant is `bad-request`, and so are two of them.
    request.tenant = match (tenant, named) {
        (TenantHeader::Missing, named) => named.unwrap_or_default(),
        (TenantHeader::Named(header), None) => Cow::Borrowed(header),
        (TenantHeader::Named(header), Some(named)) if named == header => named,
        (TenantHeader::Named(_) | TenantHeader::Ambiguous, _) => Cow::Borrowed(""),
    };
    request.explain = match take(&mut context, "explain") {
        None => false,
        Some(Tree::Bool(explain)) => explain,
        Some(other) => {
            return Err(Fault::invalid("/context/explain", "true or false", other.kind()));
        }
    };
    request.amounts = match take(&mut context, "quota") {
        None => None,
        Some(quota) => Some(read_amounts(quota, "/context/quota")?),
    };
    request.reserve = match take(&mut context, "reserve") {
        Some(reserve) => settle::reserve(reserve)?.map(Box::new),
        // A plain request of true amounts is charged; estimates of other meters can be settled.
        None => request.amounts.as_deref().and_then(settle::of_estimates).map(Box::new),
    };
    match context.is_empty() {
        true => Ok(()),
        false => add(request, Part::Context, Tree::Object(context), "/context"),
    }
}

fn read_amounts<'b>(amounts: Tree<'b>, at: &str) -> Result<Vec<(Cow<'b, str>, u64)>, Fault> {
    let amounts = object(Some(amounts), at)?;
    if amounts.len() > AMOUNTS_MAX {
        let expected = format!("at most {AMOUNTS_MAX} meters");
        return Err(Fault::invalid(at, &expected, &amounts.len().to_string()));
    }
    let read = |(meter, amount): (Cow<'b, str>, Tree<'b>)| match amount {
        Tree::Number(Value::Int(count)) if count >= 0 => Ok((meter, count.unsigned_abs())),
        other => {
            let pointer = format!("{at}/{meter}");
            Err(Fault::invalid(&pointer, "a whole number of 0 or more", other.kind()))
        }
    };
    amounts.into_iter().map(read).collect()
}
