//! `tollgate check`: one request to the running sidecar. It consumes what the request uses.

use crate::client;
use crate::exit::{Exit, fail};
use crate::places::Places;
use crate::status;
use tollgate_engine::{Mode, Part, Reason};
use tollgate_proto::authzen::DecisionBody;
use tollgate_proto::frame::{Reply, ReplyLimit};
use tollgate_proto::json;
use tollgate_proto::owned::{OwnedEntity, OwnedRequest};
use tollgate_proto::tree::Tree;

/// One request on the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// Whose policies and limits decide; may be left out if only one tenant is served
    #[arg(short = 't', long)]
    tenant: Option<String>,
    /// Who asks
    subject: String,
    /// What is asked for
    resource: String,
    /// What is to be done with it
    action: String,
    /// An attribute: subject.team='"search"', resource.size=7, context.hour=10
    #[arg(long = "attr", value_name = "PATH=JSON")]
    attributes: Vec<String>,
    /// How much of a meter the request uses, such as tokens=1200
    #[arg(long = "quota", value_name = "METER=N")]
    quotas: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    question: Question,
    /// Print the answer as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let request = match arguments.question.request(places) {
        Ok(request) => request,
        Err((exit, message)) => return fail(exit, message),
    };
    let reply = match request.with(|request| client::ask(&places.socket(), request)) {
        Ok(reply) => reply,
        Err((exit, message)) => return fail(exit, message),
    };
    match arguments.json {
        true => {
            let body = serde_json::to_string(&DecisionBody::from_reply(&reply));
            println!("{}", body.unwrap_or_default());
        }
        false => println!("{}", as_text(&reply)),
    }
    if reply.reason.allows() { Exit::Yes } else { Exit::No }
}

impl Question {
    /// The request that is asked about.
    ///
    /// # Errors
    /// An exit and a sentence: no tenant, an attribute or amount that cannot be read.
    pub(crate) fn request(&self, places: &Places) -> Result<OwnedRequest<'_>, (Exit, String)> {
        let tenant = match &self.tenant {
            Some(tenant) => tenant.clone(),
            None => status::only_tenant(places)?,
        };
        self.build(tenant).map_err(|message| (Exit::Usage, message))
    }

    fn build(&self, tenant: String) -> Result<OwnedRequest<'_>, String> {
        let entity = |id| OwnedEntity { kind: "".into(), id };
        let mut request = OwnedRequest {
            tenant: tenant.into(),
            subject: entity(self.subject.as_str().into()),
            resource: entity(self.resource.as_str().into()),
            action: self.action.as_str().into(),
            ..OwnedRequest::default()
        };
        for attribute in &self.attributes {
            add_attribute(&mut request, attribute)?;
        }
        let mut amounts = Vec::new();
        for quota in &self.quotas {
            let parsed = quota.split_once('=').and_then(|(m, n)| Some((m.into(), n.parse().ok()?)));
            amounts.push(parsed.ok_or_else(|| format!("expected METER=N, got `{quota}`"))?);
        }
        request.amounts = (!amounts.is_empty()).then_some(amounts);
        Ok(request)
    }
}

pub(crate) fn add_attribute<'a>(
    request: &mut OwnedRequest<'a>,
    text: &'a str,
) -> Result<(), String> {
    let expected = || format!("expected subject.PATH=JSON, resource.… or context.…, got `{text}`");
    let (path, value) = text.split_once('=').ok_or_else(expected)?;
    let (head, path) = path.split_once('.').ok_or_else(expected)?;
    let part = match head {
        "subject" => Part::Subject,
        "resource" => Part::Resource,
        "context" => Part::Context,
        _ => return Err(expected()),
    };
    let tree = json::parse(value.as_bytes()).map_err(|error| {
        format!("`{value}` is no JSON ({error}); quote a string twice: '\"search\"'")
    })?;
    match (part, path, tree) {
        (Part::Subject, "type", Tree::Str(kind)) => request.subject.kind = kind,
        (Part::Resource, "type", Tree::Str(kind)) => request.resource.kind = kind,
        (_, _, tree) => {
            request.add_attributes(part, Tree::Object(vec![(path.into(), tree)]))?;
        }
    }
    Ok(())
}

fn as_text(reply: &Reply) -> String {
    let rule = reply.rule_line.map(|line| format!("policy.csv:{line}"));
    let mut text = match reply.reason {
        allow if allow.allows() => {
            format!("allow  {}", rule.unwrap_or_else(|| "nothing denies".to_owned()))
        }
        Reason::QuotaExceeded => {
            let limit = reply.binding.and_then(|position| reply.limits.get(position));
            let id = limit.map_or("", |limit| limit.id.as_str());
            let wait = reply.retry_after_ms.map_or("never with this amount".to_owned(), |ms| {
                format!("retry in {}.{} s", ms / 1000, ms % 1000 / 100)
            });
            format!("deny   quota-exceeded  {id}  {wait}")
        }
        reason => match rule {
            Some(rule) => format!("deny   {}  {rule}", reason.name()),
            None => format!("deny   {}", reason.name()),
        },
    };
    for warning in warnings(reply) {
        let id = &warning.id;
        text.push_str(&match warning.failed_open {
            true => format!("  (limit {id} cannot count and lets pass)"),
            false => format!("  (soft limit {id} is used up)"),
        });
    }
    text
}

fn warnings(reply: &Reply) -> impl Iterator<Item = &ReplyLimit> {
    let warns = |limit: &&ReplyLimit| limit.mode == Mode::Soft && limit.exceeded;
    reply.limits.iter().filter(move |limit| limit.failed_open || warns(limit))
}
