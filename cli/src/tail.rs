//! `tollgate tail`: the decisions that the running sidecar makes, as it makes them.

use crate::client;
use crate::exit::{Exit, fail};
use crate::places::Places;
use serde_json::Value as Json;
use std::time::Duration;
use tollgate_proto::follow::Filter;
use tollgate_proto::frame::{kind, put_frame};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Decisions of this tenant alone
    #[arg(short, long)]
    tenant: Option<String>,
    /// Allowed or refused ones alone
    #[arg(long, value_enum)]
    effect: Option<Effect>,
    /// Decisions for this reason alone, such as no-rule
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Those alone that the candidate of --shadow would answer otherwise
    #[arg(long)]
    shadow: bool,
    /// End after so many
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// End with the newest decision that there is
    #[arg(long)]
    no_follow: bool,
    /// Print one JSON object a decision
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Effect {
    Allow,
    Deny,
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let mut filter = Filter {
        after: 0,
        tenant: arguments.tenant.clone(),
        allows: arguments.effect.map(|effect| effect == Effect::Allow),
        shadow: arguments.shadow,
        reason: arguments.reason.clone(),
    };
    let mut left = arguments.lines.unwrap_or(usize::MAX);
    loop {
        let found = match look(places, &filter) {
            Ok(found) => found,
            Err((exit, message)) => return fail(exit, message),
        };
        let decisions = found["decisions"].as_array().map(Vec::as_slice).unwrap_or_default();
        for decision in decisions.iter().take(left) {
            match arguments.json {
                true => println!("{decision}"),
                false => println!("{}", line(decision)),
            }
        }
        left = left.saturating_sub(decisions.len());
        let last = decisions.last().and_then(|decision| decision["number"].as_u64());
        // A run that began anew counts from one again.
        let newest = found["newest"].as_u64().unwrap_or(0);
        filter.after = if newest < filter.after { 0 } else { last.unwrap_or(filter.after) };
        if left == 0 || (arguments.no_follow && decisions.is_empty()) {
            return Exit::Yes;
        }
        if decisions.is_empty() {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn look(places: &Places, filter: &Filter) -> Result<Json, (Exit, String)> {
    let mut frame = Vec::new();
    let body = serde_json::to_vec(filter).unwrap_or_default();
    put_frame(&mut frame, kind::FOLLOW, 1, &body);
    let reply = client::exchange(&places.socket(), &frame)?;
    let body = (reply.kind == kind::FOLLOWED).then_some(reply.body.as_slice());
    body.and_then(|body| serde_json::from_slice(body).ok()).ok_or_else(|| {
        let message = "the sidecar's decisions cannot be read; upgrade both";
        (Exit::Unreachable, message.to_owned())
    })
}

fn line(decision: &Json) -> String {
    let text = |name: &str| decision[name].as_str().unwrap_or("");
    let at = decision["at_ms"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let effect = if decision["decision"] == true { "allow" } else { "deny" };
    let mut line = format!(
        "{}  {effect:<5}  {:<14}  {}  {}  {}  {}",
        at.unwrap_or_default(),
        text("reason"),
        text("tenant"),
        text("subject"),
        text("resource"),
        text("action"),
    );
    let shadow = match &decision["shadow"]["outcome"] {
        Json::String(outcome) if outcome != "same" => {
            let of = |name: &str| decision["shadow"][name].as_str().unwrap_or("");
            format!("shadow: {outcome} {} {}", of("reason"), of("rule"))
        }
        _ => String::new(),
    };
    for more in [text("rule"), text("request_id"), shadow.trim_end()] {
        if !more.is_empty() {
            line.push_str("   ");
            line.push_str(more);
        }
    }
    line
}
