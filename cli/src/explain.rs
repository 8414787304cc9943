//! `tollgate explain`: why the running sidecar decides a request as it does, or did. It takes nothing.

use crate::check::Question;
use crate::client;
use crate::exit::{Exit, fail};
use crate::places::Places;
use serde_json::Value as Json;
use std::fmt::Write;
use tollgate_proto::frame::{kind, put_explain, put_frame};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Explain the decision with this id instead: `context.request_id`, or the client's own X-Request-ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["subject", "resource", "action"])]
    request_id: Option<String>,
    #[command(flatten)]
    question: Option<Question>,
    /// Print the explanation as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(places: &Places, arguments: &Arguments) -> Exit {
    let explained = match (&arguments.request_id, &arguments.question) {
        (Some(id), _) => recall(places, id),
        (None, Some(question)) => explain(places, question),
        (None, None) => {
            Err((Exit::Usage, "expected SUBJECT RESOURCE ACTION or --request-id ID".to_owned()))
        }
    };
    let (explanation, tenant, subject) = match explained {
        Ok(explained) => explained,
        Err((exit, message)) => return fail(exit, message),
    };
    match arguments.json {
        true => println!("{explanation}"),
        false => {
            let place = format!("sidecar {}", places.socket().display());
            print!("{}", picture(&explanation, &tenant, &subject, &place));
        }
    }
    match explanation["decision"].as_bool() {
        Some(true) => Exit::Yes,
        _ => Exit::No,
    }
}

/// The limits alone: those that would bind, and those that would not.
pub(crate) fn of_limits(places: &Places, question: &Question, json: bool) -> Exit {
    let (explanation, ..) = match explain(places, question) {
        Ok(explained) => explained,
        Err((exit, message)) => return fail(exit, message),
    };
    match json {
        true => {
            let context = &explanation["context"];
            let limits = serde_json::json!({
                "limits": context["limits"], "limit": context["limit"],
                "retry_after_ms": context["retry_after_ms"], "not_met": explanation["not_met"],
                "estimates": explanation["estimates"],
            });
            println!("{limits}");
        }
        false => {
            let mut out = String::new();
            limit_lines(&mut out, &explanation, explanation["decision"] == true);
            print!("{out}");
        }
    }
    if explanation["decision"] == true { Exit::Yes } else { Exit::No }
}

/// An explanation with the tenant and subject that it is of.
type Explained = (Json, String, String);

fn explain(places: &Places, question: &Question) -> Result<Explained, (Exit, String)> {
    let request = question.request(places)?;
    let mut frame = Vec::new();
    request.with(|request| put_explain(&mut frame, 1, request));
    let explanation = exchange(places, &frame)?;
    Ok((explanation, request.tenant.to_string(), request.subject.id.to_string()))
}

/// A decision that was made, by the configuration that made it.
fn recall(places: &Places, id: &str) -> Result<Explained, (Exit, String)> {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind::RECALL, 1, id.as_bytes());
    let explanation = exchange(places, &frame)?;
    let text = |name: &str| explanation["asked"][name].as_str().unwrap_or("").to_owned();
    let (tenant, subject) = (text("tenant"), text("subject"));
    Ok((explanation, tenant, subject))
}

fn exchange(places: &Places, frame: &[u8]) -> Result<Json, (Exit, String)> {
    let reply = client::exchange(&places.socket(), frame)?;
    let body = (reply.kind == kind::EXPLANATION).then_some(reply.body.as_slice());
    body.and_then(|body| serde_json::from_slice::<Json>(body).ok()).ok_or_else(|| {
        let message = "the sidecar's explanation cannot be read; upgrade both";
        (Exit::Unreachable, message.to_owned())
    })
}

/// An explanation as people read it; `place` is where it comes from.
pub(crate) fn picture(explanation: &Json, tenant: &str, subject: &str, place: &str) -> String {
    let context = &explanation["context"];
    let text = |value: &'_ Json| value.as_str().unwrap_or("").to_owned();
    let is_allow = explanation["decision"] == true;
    let mut out = match is_allow {
        true => "ALLOW  ".to_owned(),
        false => format!("DENY   {} ({}) ·", text(&context["reason"]), context["reason_code"]),
    };
    let _ = write!(out, " {tenant}");
    if let Some(version) = context["version"].as_str() {
        let _ = write!(out, " · bundle {version}");
    }
    let _ = writeln!(out, " · {place}");
    if let Some(asked) = explanation["asked"].as_object() {
        let text = |name: &str| asked.get(name).and_then(Json::as_str).unwrap_or("");
        let (action, resource) = (text("action"), text("resource"));
        let _ = writeln!(out, "  asked   {subject}  {resource}  {action}");
    }
    let decided = context["rule"].is_string();
    for rule in explanation["rules"].as_array().into_iter().flatten() {
        rule_lines(&mut out, rule, decided, subject);
    }
    let values = explanation["values"].as_array().into_iter().flatten().map(|value| {
        let shown = value["value"].as_str().unwrap_or("missing");
        format!("{} = {shown} ({})", text(&value["name"]), text(&value["origin"]))
    });
    let values: Vec<String> = values.collect();
    if !values.is_empty() {
        let _ = writeln!(out, "  values  {}", values.join("    "));
    }
    limit_lines(&mut out, explanation, is_allow);
    out
}

fn rule_lines(out: &mut String, rule: &Json, decided: bool, subject: &str) {
    let text = |value: &'_ Json| value.as_str().unwrap_or("").to_owned();
    let cells = rule["cells"].as_array().into_iter().flatten();
    let cells: Vec<String> = cells.map(text).collect();
    let (head, place) = (if decided { "rule" } else { "nearest" }, text(&rule["rule"]));
    let conjuncts = || rule["conjuncts"].as_array().into_iter().flatten();
    let held = conjuncts().filter(|conjunct| conjunct["holds"] == true).count();
    let _ = write!(out, "  {head:<7} {place:<14} p, {}", cells.join(", "));
    match decided {
        true => out.push('\n'),
        false => {
            let _ = writeln!(out, "      {held} of {} hold", conjuncts().count());
        }
    }
    let path = rule["role_path"].as_array().into_iter().flatten();
    let steps = path.map(|step| format!("{} ({})", text(&step["role"]), text(&step["link"])));
    let steps: Vec<String> = steps.collect();
    if !steps.is_empty() {
        let _ = writeln!(out, "  role    {subject} → {}", steps.join(" → "));
    }
    if decided && conjuncts().count() == held {
        return;
    }
    let mut marks = Vec::new();
    for conjunct in conjuncts() {
        let mark = match conjunct["holds"].as_bool() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "?",
        };
        let mut said = format!("{mark} {}", text(&conjunct["about"]));
        if conjunct["holds"] != true {
            let has = conjunct["has"].as_str().unwrap_or("missing");
            let _ = match conjunct["needs"].as_str() {
                Some(needs) if conjunct["about"] == "role" => {
                    write!(said, ": needs {needs}, {has}")
                }
                Some(needs) => write!(said, ": needs {needs}, got {has}"),
                None => write!(said, ": {}", text(&conjunct["text"])),
            };
        }
        marks.push(said);
    }
    let _ = writeln!(out, "          {}", marks.join("   "));
    for would in conjuncts().filter_map(|conjunct| conjunct["would_match"].as_str()) {
        let _ = writeln!(out, "  would match with  {would}");
    }
}

fn limit_lines(out: &mut String, explanation: &Json, is_allow: bool) {
    let limits = || explanation["context"]["limits"].as_array().into_iter().flatten();
    if !is_allow && limits().next().is_none() {
        let _ = writeln!(out, "  limits  not asked; a denied request uses nothing");
    }
    for (at, limit) in limits().enumerate() {
        let head = if at == 0 { "limits" } else { "" };
        let (id, mode) = (limit["id"].as_str().unwrap_or(""), limit["mode"].as_str().unwrap_or(""));
        let mode = if mode == "hard" { String::new() } else { format!("   {mode}") };
        let _ = writeln!(
            out,
            "  {head:<7} {id:<23} {} of {} left{mode}{}",
            limit["remaining"],
            limit["of"],
            verdict(limit, &explanation["context"])
        );
    }
    if !is_allow {
        return;
    }
    for learned in explanation["estimates"].as_array().into_iter().flatten() {
        let (id, quantile) = (learned["id"].as_str().unwrap_or(""), &learned["quantile"]);
        let _ = match learned["likely"].as_u64() {
            Some(likely) => writeln!(
                out,
                "  learned {id:<23} {quantile} of 100 such requests use at most {likely}"
            ),
            None => writeln!(
                out,
                "  learns  {id:<23} {} settles seen, too few: reservations take the worst case",
                learned["settles"]
            ),
        };
    }
    for limit in explanation["not_met"].as_array().into_iter().flatten() {
        let text = |member: &str| limit[member].as_str().unwrap_or("");
        let (id, condition) = (text("id"), text("condition"));
        let _ = writeln!(out, "  not met {id:<23} condition `{condition}` is false");
    }
}

/// What a limit does to the request, if it does anything.
fn verdict(limit: &Json, context: &Json) -> String {
    if limit["failed_open"] == true {
        return "   cannot count the request and lets it pass".to_owned();
    }
    if limit["exceeded"] != true {
        return String::new();
    }
    match (limit["id"] == context["limit"], context["retry_after_ms"].as_u64()) {
        (true, Some(wait_ms)) => format!("   refuses; the request fits in {wait_ms} ms"),
        (true, None) => "   refuses; the request never fits".to_owned(),
        (false, _) => "   used up".to_owned(),
    }
}
