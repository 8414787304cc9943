//! What a client is told of its limits: headers, the body of a refusal, and how much each tenant lets it know.

use crate::common::*;
use serde_json::Value as Json;

const LIMITS: &str = r#"
[[limit]]
id = "calls"
meter = "requests"
bucket = { rate = "60/min", burst = 3 }
dimensions = ["subject"]
when = 'r.obj == "/v1/calls"'

[[limit]]
id = "tokens-per-month"
meter = "tokens"
budget = { amount = 10, window = "month", zone = "Europe/Berlin" }
default_amount = 4
dimensions = ["subject"]
when = 'r.obj == "/v1/tokens"'

[[limit]]
id = "calls-per-day"
meter = "requests"
budget = { amount = 1, window = "day" }
when = 'r.obj == "/v1/daily"'

[[limit]]
id = "unseen"
meter = "requests"
bucket = { rate = "1/h", burst = 1 }
mode = "shadow"
"#;

fn start() -> Sidecar {
    let folder = folder();
    for (tenant, disclosure) in [("acme", ""), ("terse", "code"), ("open", "full")] {
        write(&folder, &format!("{tenant}/model.conf"), MODEL);
        write(&folder, &format!("{tenant}/policy.csv"), "p, alice, /v1/:x, GET\n");
        write(&folder, &format!("{tenant}/limits.toml"), LIMITS);
        if !disclosure.is_empty() {
            let text = format!("disclosure = \"{disclosure}\"\n");
            write(&folder, &format!("{tenant}/tenant.toml"), &text);
        }
    }
    Sidecar::start(folder, &[])
}

/// Status, the head as lower-case lines, and the body.
fn authorize(
    sidecar: &Sidecar,
    tenant: &str,
    path: &str,
    headers: &str,
) -> (u16, Vec<String>, String) {
    let headers = format!(
        "x-tenant-id: {tenant}\r\nx-tollgate-subject: alice\r\nx-forwarded-method: GET\r\n\
         x-forwarded-uri: {path}\r\n{headers}"
    );
    let (status, head, body) = sidecar.http("GET /v1/authorize", &headers, "");
    (status, head.lines().map(str::to_owned).collect(), body)
}

fn header<'h>(head: &'h [String], name: &str) -> Option<&'h str> {
    head.iter().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        known.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn number(head: &[String], name: &str) -> u64 {
    header(head, name).unwrap_or_else(|| panic!("no {name}: {head:?}")).parse().unwrap()
}

#[test]
fn a_bucket_says_how_it_stands_and_when_to_come_again() {
    let sidecar = start();
    for left in [2, 1, 0] {
        let (status, head, body) = authorize(&sidecar, "acme", "/v1/calls", "");
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(header(&head, "ratelimit-policy"), Some("\"calls\";q=3;w=3"));
        let standing = format!("\"calls\";r={left};t={}", 3 - left);
        assert_eq!(header(&head, "ratelimit"), Some(standing.as_str()));
        assert_eq!(number(&head, "x-ratelimit-limit-minute"), 3);
        assert_eq!(number(&head, "x-ratelimit-remaining-minute"), left);
        assert_eq!(number(&head, "ratelimit-remaining"), left);
        assert_eq!(header(&head, "retry-after"), None);
    }
    let (status, head, body) = authorize(&sidecar, "acme", "/v1/calls", "");
    assert_eq!(status, 429);
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    assert_eq!(header(&head, "ratelimit"), Some("\"calls\";r=0;t=1"));
    assert_eq!(number(&head, "retry-after"), 1);
    assert!((1..=1000).contains(&number(&head, "retry-after-ms")), "{head:?}");
    assert_eq!(header(&head, "x-should-retry"), None);
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["type"], "rate_limit_error");
    assert_eq!(body["error"]["code"], "quota-exceeded");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("too many requests of this user: 60 in 60 s, 3 at once; try again in ")
    );
    assert_eq!(body["request_id"].as_str(), header(&head, "x-tollgate-request-id"));
    // What the header says is the truth: then, not before, there is room.
    std::thread::sleep(std::time::Duration::from_millis(number(&head, "retry-after-ms")));
    assert_eq!(authorize(&sidecar, "acme", "/v1/calls", "").0, 200);
}

#[test]
fn a_budget_says_when_it_resets_and_that_trying_again_is_useless() {
    let sidecar = start();
    for left in [6, 2] {
        let (status, head, _) = authorize(&sidecar, "acme", "/v1/tokens", "");
        assert_eq!((status, number(&head, "ratelimit-remaining")), (200, left));
    }
    let (status, head, body) = authorize(&sidecar, "acme", "/v1/tokens", "");
    assert_eq!(status, 429);
    let wait_s = number(&head, "retry-after");
    assert!((121..=31 * 86_400 + 3_600).contains(&wait_s), "{wait_s}: the month ends too soon");
    assert!(number(&head, "retry-after-ms") <= wait_s * 1_000);
    let standing = format!("\"tokens-per-month\";r=2;t={wait_s}");
    assert_eq!(header(&head, "ratelimit"), Some(standing.as_str()));
    assert_eq!(header(&head, "x-should-retry"), Some("false"));
    assert_eq!(header(&head, "x-ratelimit-limit-month"), None);
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], "insufficient_quota");
    assert_eq!(body["error"]["param"], Json::Null);
    let message = body["error"]["message"].as_str().unwrap();
    let begins = "monthly token budget of this user has 2 left, and this request asks for 4; it resets on 1 ";
    assert!(message.starts_with(begins) && message.ends_with(", 00:00 Europe/Berlin"), "{message}");
    let details = &body["error"]["details"];
    assert_eq!(
        (&details["limit"], &details["scope"]),
        (&"tokens-per-month".into(), &"subject".into())
    );
    assert_eq!(
        (&details["used"], &details["of"], &details["asked"]),
        (&8.into(), &10.into(), &4.into())
    );
    let (status, head, _) = authorize(&sidecar, "acme", "/v1/daily", "");
    assert_eq!((status, number(&head, "x-ratelimit-remaining-day")), (200, 0));
    let (_, _, body) = authorize(&sidecar, "acme", "/v1/daily", "");
    let body: Json = serde_json::from_str(&body).unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("daily request budget of this tenant is used up; it resets on "));
    assert!(message.ends_with(", 00:00 UTC"), "{message}");
}

#[test]
fn a_problem_is_given_to_who_asks_for_one() {
    let sidecar = start();
    authorize(&sidecar, "acme", "/v1/daily", "");
    for (accept, is_problem) in [
        ("", false),
        ("accept: */*\r\n", false),
        ("accept: application/json\r\n", false),
        ("accept: application/json, application/Problem+json;q=0.9\r\n", true),
    ] {
        let (status, head, body) = authorize(&sidecar, "acme", "/v1/daily", accept);
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 429);
        if !is_problem {
            assert_eq!(body["type"], "error", "{accept}");
            continue;
        }
        assert_eq!(header(&head, "content-type"), Some("application/problem+json"));
        let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
        assert_eq!((&body["type"], &body["status"]), (&kind.into(), &429.into()));
        assert_eq!(body["violated-policies"], serde_json::json!(["calls-per-day"]));
    }
    let accept = "accept: application/problem+json\r\n";
    let (status, _, body) = authorize(&sidecar, "acme", "/v2/x", accept);
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["type"], &body["code"]),
        (403, &"about:blank".into(), &"no-rule".into())
    );
}

#[test]
fn a_tenant_says_how_much_its_clients_may_know() {
    let sidecar = start();
    for (tenant, knows_limit, knows_all) in
        [("terse", false, false), ("acme", true, false), ("open", true, true)]
    {
        authorize(&sidecar, tenant, "/v1/daily", "");
        let (status, head, body) = authorize(&sidecar, tenant, "/v1/daily", "");
        assert_eq!(status, 429);
        assert!(number(&head, "retry-after") >= 1);
        assert_eq!(header(&head, "ratelimit").is_some(), knows_limit, "{tenant}: {head:?}");
        assert_eq!(body.contains("calls-per-day"), knows_limit, "{tenant}: {body}");
        assert_eq!(body.contains("unseen"), knows_all, "{tenant}: {body}");
        assert!(head.iter().all(|line| !line.contains("unseen")), "{tenant}: {head:?}");
    }
    // Where no tenant is known, nothing is told of one.
    let (status, _, body) = authorize(&sidecar, "nobody", "/v1/daily", "");
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (403, &"unknown-tenant".into()));
    assert_eq!(
        (&body["error"]["type"], &body["error"]["details"]),
        (&"permission_error".into(), &serde_json::json!({}))
    );
}
