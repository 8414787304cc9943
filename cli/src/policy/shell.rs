//! `tollgate policy shell DIR`: one subject, one moment, one question after the other; from files, without a sidecar.

mod lines;

use super::can::{load, what_can, who_can};
use super::oracles::no_cells;
use crate::check::add_attribute;
use crate::exit::Exit;
use crate::explain::picture;
use lines::Lines;
use std::path::PathBuf;
use tollgate_engine::search::{Names, Sought};
use tollgate_engine::{Now, Scratch, TenantState};
use tollgate_proto::authzen::DecisionId;
use tollgate_proto::explain::ExplanationBody;
use tollgate_proto::owned::{OwnedEntity, OwnedRequest};

/// Answers of one question.
const ANSWERS: usize = 50;

const HELP: &str = "\
as SUBJECT               who asks
set PATH=JSON            an attribute: set subject.team=\"search\"; without a value it is gone
at TIME                  when: RFC 3339, or now
tenant NAME              whose policy
can ACTION RESOURCE      may the subject?
why ACTION RESOURCE      the same, with the rule, the role path, or what is missing
who-can ACTION RESOURCE  everybody who may
what-can                 everything that the subject may
reload                   read the files again
quit";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy folder
    dir: PathBuf,
    /// The tenant; a folder of one tenant needs none
    #[arg(short, long)]
    tenant: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let state = match load(&arguments.dir, arguments.tenant.as_deref()) {
        Ok(state) => state,
        Err(exit) => return exit,
    };
    let tenant = arguments.tenant.clone();
    let mut shell = Shell {
        dir: arguments.dir.clone(),
        tenant,
        state,
        subject: String::new(),
        attributes: Vec::new(),
        at: None,
    };
    let mut lines = Lines::open();
    lines.offer(shell.words());
    while let Some(line) = lines.next() {
        match shell.answer(line.trim()) {
            Said::Text(text) => println!("{text}"),
            Said::Shown => {}
            Said::Changed => lines.offer(shell.words()),
            Said::End => break,
        }
    }
    Exit::Yes
}

/// What is asked, and of what.
struct Shell {
    dir: PathBuf,
    tenant: Option<String>,
    state: TenantState,
    subject: String,
    /// As they were written, by path.
    attributes: Vec<(String, String)>,
    at: Option<jiff::Timestamp>,
}

enum Said {
    Text(String),
    /// It is printed already.
    Shown,
    /// Another policy: other names complete.
    Changed,
    End,
}

impl Shell {
    fn answer(&mut self, line: &str) -> Said {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let pair = rest.split_once(char::is_whitespace).map(|(a, b)| (a, b.trim()));
        match (word, rest, pair) {
            ("" | "#", ..) => Said::Shown,
            ("quit" | "exit", ..) => Said::End,
            ("help", ..) => Said::Text(HELP.to_owned()),
            ("as", subject, _) if !subject.is_empty() => {
                subject.clone_into(&mut self.subject);
                Said::Shown
            }
            ("set", setting, _) if !setting.is_empty() => self.set(setting),
            ("at", time, _) => self.set_time(time),
            ("tenant", name, _) if !name.is_empty() => self.reload(Some(name.to_owned())),
            ("reload", ..) => self.reload(self.tenant.clone()),
            ("can", _, Some((action, resource))) => self.can(action, resource),
            ("why", _, Some((action, resource))) => self.why(action, resource),
            ("who-can", _, Some((action, resource))) => {
                let page = (None, ANSWERS);
                who_can(&self.state, action, resource, page, self.now()).show(&self.state, false);
                Said::Shown
            }
            ("what-can", ..) => {
                let page = (None, ANSWERS);
                what_can(&self.state, &self.subject, page, self.now()).show(&self.state, false);
                Said::Shown
            }
            (unknown, ..) => Said::Text(format!("expected one of these, got `{unknown}`:\n{HELP}")),
        }
    }

    /// Names that complete: commands, and what the policy knows.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            HELP.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        for sought in [Sought::Subject, Sought::Action, Sought::Resource] {
            words.extend(Names::of(&self.state, sought).behind(None).map(str::to_owned));
        }
        words
    }

    fn now(&self) -> Now {
        let at = self.at.unwrap_or_else(jiff::Timestamp::now);
        Now(u64::try_from(at.as_nanosecond()).unwrap_or(0))
    }

    fn set(&mut self, setting: &str) -> Said {
        let (path, value) = setting.split_once('=').unwrap_or((setting, ""));
        self.attributes.retain(|(known, _)| known != path);
        if value.is_empty() {
            return Said::Shown;
        }
        if let Err(message) = add_attribute(&mut OwnedRequest::default(), setting) {
            return Said::Text(message);
        }
        self.attributes.push((path.to_owned(), setting.to_owned()));
        Said::Shown
    }

    fn set_time(&mut self, time: &str) -> Said {
        self.at = match time {
            "now" | "" => None,
            time => match time.parse() {
                Ok(at) => Some(at),
                Err(error) => return Said::Text(format!("`{time}` is no RFC 3339 time: {error}")),
            },
        };
        Said::Shown
    }

    /// Reads the files again; a policy that does not load leaves the one that did.
    fn reload(&mut self, tenant: Option<String>) -> Said {
        match load(&self.dir, tenant.as_deref()) {
            Ok(state) => {
                self.state = state;
                self.tenant = tenant;
                Said::Changed
            }
            Err(_) => Said::Text("the policy before it stays".to_owned()),
        }
    }

    fn with_request<T>(
        &self,
        action: &str,
        resource: &str,
        ask: impl FnOnce(&tollgate_engine::Request<'_>) -> T,
    ) -> T {
        let entity = |id: &str| OwnedEntity { kind: "".into(), id: id.to_owned().into() };
        let mut request = OwnedRequest {
            tenant: self.state.name().to_owned().into(),
            subject: entity(&self.subject),
            resource: entity(resource),
            action: action.to_owned().into(),
            ..OwnedRequest::default()
        };
        for (_, setting) in &self.attributes {
            // It was read once already.
            let _ = add_attribute(&mut request, setting);
        }
        request.with(ask)
    }

    fn can(&self, action: &str, resource: &str) -> Said {
        let decide = |request: &tollgate_engine::Request<'_>| {
            self.state.decide_policy(request, self.now(), &mut Scratch::default())
        };
        let decision = self.with_request(action, resource, decide);
        let line = decision
            .rule
            .map(|rule| format!("  policy.csv:{}", self.state.policy().rule_line(rule)));
        let word = if decision.is_allow() { "allow" } else { "deny " };
        let reason = if decision.is_allow() {
            String::new()
        } else {
            format!("  {}", decision.reason.name())
        };
        Said::Text(format!("{word}{reason}{}", line.unwrap_or_default()))
    }

    fn why(&self, action: &str, resource: &str) -> Said {
        let explain = |request: &tollgate_engine::Request<'_>| {
            let cells = no_cells();
            let explanation =
                self.state.explain(&cells, request, self.now(), &mut Scratch::default());
            serde_json::to_value(ExplanationBody::of(&self.state, &explanation, DecisionId::NONE))
        };
        let explained = self.with_request(action, resource, explain).unwrap_or_default();
        let place = format!("files {}", self.dir.display());
        let shown = picture(&explained, self.state.name(), &self.subject, &place);
        Said::Text(shown.trim_end().to_owned())
    }
}
