//! `tollgate policy who-can` and `what-can`: who may do this, what may they do; from files, without a sidecar.

use crate::draw;
use crate::exit::{Exit, fail};
use crate::folder::FolderFiles;
use std::path::{Path, PathBuf};
use tollgate_engine::search::{Names, Sought};
use tollgate_engine::{Decision, Entity, Now, Request, Scratch, TenantState, Version};
use tollgate_proto::bundle::{self, Options};

/// Lines of one page where the caller does not say.
const PAGE: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Paging {
    /// The tenant; a folder of one tenant needs none
    #[arg(short, long)]
    tenant: Option<String>,
    /// Answers at most
    #[arg(long, value_name = "N", default_value_t = PAGE)]
    limit: usize,
    /// Go on behind this name
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Ask as if it were this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhoCan {
    /// The policy folder
    dir: PathBuf,
    action: String,
    resource: String,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WhatCan {
    /// The policy folder
    dir: PathBuf,
    subject: String,
    #[command(flatten)]
    paging: Paging,
}

/// One answer: what is allowed, and the rule that allows it.
pub(super) struct Line {
    subject: String,
    action: String,
    resource: String,
    rule: Option<u32>,
}

pub(super) struct Answers {
    lines: Vec<Line>,
    next: Option<String>,
    is_exact: bool,
}

pub(crate) fn who(arguments: &WhoCan) -> Exit {
    let paging = &arguments.paging;
    match load(&arguments.dir, paging.tenant.as_deref()) {
        Ok(state) => {
            let page = (paging.after.as_deref(), paging.limit);
            let answers =
                who_can(&state, &arguments.action, &arguments.resource, page, now(paging));
            answers.show(&state, paging.json)
        }
        Err(exit) => exit,
    }
}

/// The subjects that may do an action on a resource.
pub(super) fn who_can(
    state: &TenantState,
    action: &str,
    resource: &str,
    page: (Option<&str>, usize),
    now: Now,
) -> Answers {
    let names = Names::of(state, Sought::Subject);
    let request = request(state, "", resource, action);
    let found = names.search(state, &request, page, now, &mut Scratch::default());
    let line = |subject: &String| Line {
        subject: subject.clone(),
        action: action.to_owned(),
        resource: resource.to_owned(),
        rule: decide(state, subject, resource, action, now).rule,
    };
    let lines = found.names.iter().map(line).collect();
    Answers { lines, next: found.next, is_exact: found.is_exact }
}

pub(crate) fn what(arguments: &WhatCan) -> Exit {
    let paging = &arguments.paging;
    match load(&arguments.dir, paging.tenant.as_deref()) {
        Ok(state) => {
            let page = (paging.after.as_deref(), paging.limit);
            what_can(&state, &arguments.subject, page, now(paging)).show(&state, paging.json)
        }
        Err(exit) => exit,
    }
}

/// Each resource that the policy names, with each action that is allowed on it; a page is one of resources.
pub(super) fn what_can(
    state: &TenantState,
    subject: &str,
    (after, limit): (Option<&str>, usize),
    now: Now,
) -> Answers {
    let (actions, resources) =
        (Names::of(state, Sought::Action), Names::of(state, Sought::Resource));
    let mut answers = Answers { lines: Vec::new(), next: None, is_exact: resources.is_whole() };
    for resource in resources.behind(after) {
        let request = request(state, subject, resource, "");
        let found =
            actions.search(state, &request, (None, usize::MAX), now, &mut Scratch::default());
        answers.is_exact &= found.is_exact;
        for action in found.names {
            let rule = decide(state, subject, resource, &action, now).rule;
            let (subject, resource) = (subject.to_owned(), resource.to_owned());
            answers.lines.push(Line { subject, action, resource, rule });
        }
        if answers.lines.len() >= limit {
            answers.next = Some(resource.to_owned());
            break;
        }
    }
    answers
}

fn now(paging: &Paging) -> Now {
    let at = paging.at.unwrap_or_else(jiff::Timestamp::now);
    Now(u64::try_from(at.as_nanosecond()).unwrap_or(0))
}

fn request<'r>(
    state: &'r TenantState,
    subject: &'r str,
    resource: &'r str,
    action: &'r str,
) -> Request<'r> {
    let entity = |id| Entity { id, kind: "" };
    Request {
        tenant: state.name(),
        subject: entity(subject),
        resource: entity(resource),
        action,
        attributes: &[],
        amounts: None,
        reserve: None,
    }
}

fn decide(state: &TenantState, subject: &str, resource: &str, action: &str, now: Now) -> Decision {
    let request = request(state, subject, resource, action);
    state.decide_policy(&request, now, &mut Scratch::default())
}

/// The tenant that is asked, compiled from a folder.
pub(super) fn load(folder: &Path, tenant: Option<&str>) -> Result<TenantState, Exit> {
    let shown = folder.display();
    let files = FolderFiles::read(folder)
        .map_err(|error| fail(Exit::Usage, format!("{shown}: {error}")))?;
    let options = Options::new(u64::from(std::process::id()), Version::default());
    let compiled = bundle::from_files(&files.name, &files.files(), options).map_err(|found| {
        draw::show(&found, &|path| files.text(path));
        eprintln!("{}", draw::count_line(&found));
        Exit::DoesNotLoad
    })?;
    let names: Vec<String> = compiled.tenants.iter().map(|one| one.name().to_owned()).collect();
    let mut tenants = compiled.tenants.into_iter();
    match tenant {
        None if names.len() == 1 => tenants.next(),
        None => None,
        Some(name) => tenants.find(|one| one.name() == name),
    }
    .ok_or_else(|| {
        let known = names.join(", ");
        fail(Exit::Usage, format!("{shown}: expected --tenant with one of {known}"))
    })
}

impl Answers {
    pub(super) fn show(&self, state: &TenantState, json: bool) -> Exit {
        let place = |line: &Line| {
            line.rule.map(|rule| format!("policy.csv:{}", state.policy().rule_line(rule)))
        };
        if json {
            let line = |line: &Line| {
                serde_json::json!({
                    "subject": line.subject, "action": line.action, "resource": line.resource, "rule": place(line),
                })
            };
            let lines: Vec<_> = self.lines.iter().map(line).collect();
            println!(
                "{}",
                serde_json::json!({"answers": lines, "exact": self.is_exact, "next": self.next})
            );
        } else {
            for line in &self.lines {
                let rule = place(line).unwrap_or_default();
                println!("{}  {}  {}   {rule}", line.subject, line.action, line.resource);
            }
            println!("{}", self.basis());
        }
        if self.lines.is_empty() { Exit::No } else { Exit::Yes }
    }

    fn basis(&self) -> String {
        let count = self.lines.len();
        let basis = match self.is_exact {
            true => "exact",
            false => "of the names that the policy knows; others may, too",
        };
        match &self.next {
            Some(next) => format!("{count} answers · {basis} · more with --after {next:?}"),
            None => format!("{count} answers · {basis}"),
        }
    }
}
