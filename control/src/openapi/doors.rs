//! The doors of sign-on in the description: no credential, links for browsers and a form for providers.

use super::operation::{content, header, reference, refusals_of};
use crate::code::Code;
use serde_json::{Map, Value as Json, json};

struct Door {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Members of the query and what they say.
    query: &'static [(&'static str, &'static str)],
    /// Members of its form, each needed.
    form: &'static [(&'static str, &'static str)],
    /// Status, schema and headers of its answer.
    answer: (u16, &'static str, &'static [&'static str]),
    codes: &'static [Code],
}

const DOORS: [Door; 5] = [
    Door {
        method: "get",
        path: "/v1/auth/login",
        summary: "To the identity provider, to sign in with a browser",
        query: &[
            ("provider", "Its id; left out: the only one that has a `client_id`."),
            ("organisation", "Of several that somebody is in, the one to act for."),
            ("acr_values", "What the sign-in must be at least (RFC 9470)."),
            ("return_to", "The path of this host to come back to; `/v1/me` if it is left out."),
            (
                "port",
                "Of a program that waits on 127.0.0.1 of the browser's machine, to come back to instead.",
            ),
            ("code_challenge", "With `port`: SHA-256 of the program's verifier (RFC 7636, S256)."),
        ],
        form: &[],
        answer: (302, "", &["Location", "Set-Cookie"]),
        codes: &[
            Code::Unauthenticated,
            Code::RateLimited,
            Code::Invalid,
            Code::DatabaseUnavailable,
        ],
    },
    Door {
        method: "get",
        path: "/v1/auth/callback",
        summary: "Back from the identity provider: a session begins",
        query: &[
            ("code", "As the provider gave it."),
            ("state", "As the sign-in was begun with."),
            ("iss", "The issuer (RFC 9207)."),
            ("error", "Why the provider did not sign anybody in."),
        ],
        form: &[],
        answer: (303, "", &["Location", "Set-Cookie"]),
        codes: &[
            Code::Unauthenticated,
            Code::CredentialExpired,
            Code::CredentialRevoked,
            Code::StepUpRequired,
            Code::TenantNotReady,
            Code::RateLimited,
            Code::Invalid,
            Code::AmbiguousTenant,
            Code::NoTenant,
            Code::DatabaseUnavailable,
        ],
    },
    Door {
        method: "post",
        path: "/v1/auth/token",
        summary: "A program's code for its session",
        query: &[],
        form: &[
            ("code", "As the browser brought it, within a minute."),
            ("code_verifier", "Of the challenge that the sign-in was begun with."),
        ],
        answer: (200, "SignedIn", &[]),
        codes: &[
            Code::Malformed,
            Code::Unauthenticated,
            Code::RateLimited,
            Code::TooLarge,
            Code::UnsupportedMediaType,
        ],
    },
    Door {
        method: "post",
        path: "/v1/auth/logout",
        summary: "End this browser's session; `Origin` must be this host's",
        query: &[],
        form: &[],
        answer: (200, "SignedOut", &["Set-Cookie"]),
        codes: &[Code::Forbidden, Code::RateLimited, Code::DatabaseUnavailable],
    },
    Door {
        method: "post",
        path: "/v1/auth/backchannel-logout",
        summary: "An identity provider says whose sessions have ended (OpenID Connect Back-Channel Logout 1.0)",
        query: &[],
        form: &[("logout_token", "A JWT of the provider's.")],
        answer: (200, "", &[]),
        codes: &[
            Code::Malformed,
            Code::RateLimited,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::Invalid,
            Code::DatabaseUnavailable,
        ],
    },
];

/// Adds them to the paths.
pub(super) fn add(paths: &mut Map<String, Json>) {
    for door in &DOORS {
        paths.insert(door.path.to_owned(), json!({door.method: operation(door)}));
    }
}

fn operation(door: &Door) -> Json {
    let parameters = door.query.iter().map(|(name, said)| {
        json!({"name": name, "in": "query", "required": false, "description": said, "schema": {"type": "string"}})
    });
    let (status, schema, headers) = door.answer;
    let headers = headers.iter().map(|name| ((*name).to_owned(), header(name)));
    let mut headers: Map<String, Json> = headers.collect();
    headers.insert("X-Request-Id".to_owned(), header("X-Request-Id"));
    let mut answer = json!({"description": door.summary, "headers": headers});
    if !schema.is_empty() {
        answer["content"] = content(&reference(schema));
    }
    let mut responses = Map::from_iter([(status.to_string(), answer)]);
    refusals_of(&mut responses, door.codes.iter().copied());
    let id = door.path.trim_start_matches("/v1/").replace(['/', '-'], "_");
    let mut operation = json!({
        "operationId": id, "summary": door.summary, "tags": ["auth"], "security": [], "responses": responses,
        "parameters": parameters.collect::<Vec<_>>(),
    });
    if !door.form.is_empty() {
        let member = |(name, said): &(&str, &str)| {
            ((*name).to_owned(), json!({"type": "string", "description": said}))
        };
        let properties: Map<String, Json> = door.form.iter().map(member).collect();
        let required: Vec<&str> = door.form.iter().map(|(name, _)| *name).collect();
        let schema = json!({"type": "object", "required": required, "properties": properties});
        operation["requestBody"] = json!({"required": true, "content": {"application/x-www-form-urlencoded": {"schema": schema}}});
    }
    operation
}
