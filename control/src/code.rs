//! Every way to say no, in order of precedence, and the envelope that says it.

use http::StatusCode;
use serde_json::{Value as Json, json};

/// Every page, one section per code.
const PAGES: &str = include_str!("../../docs/reference/errors.md");

macro_rules! codes {
    ($($variant:ident $status:literal $name:literal,)*) => {
        /// A stable word of the API, in order of precedence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($variant,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// What it means, as its page says.
            pub fn meaning(self) -> &'static str {
                let heading = format!("\n### {} {}\n", self.status().as_u16(), self.name());
                let (_, section) = PAGES.split_once(&heading).unwrap_or_default();
                section.lines().next().unwrap_or_default()
            }

            pub fn status(self) -> StatusCode {
                let number = match self { $(Code::$variant => $status,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

codes! {
    Malformed 400 "malformed",
    InvalidRequestId 400 "invalid-request-id",
    AmbiguousCredential 400 "ambiguous-credential",
    Unauthenticated 401 "unauthenticated",
    CredentialExpired 401 "credential-expired",
    CredentialRevoked 401 "credential-revoked",
    StepUpRequired 401 "step-up-required",
    PlatformMismatch 403 "platform-mismatch",
    TenantMismatch 403 "tenant-mismatch",
    UserMismatch 403 "user-mismatch",
    TenantNotFound 404 "tenant-not-found",
    TenantNotReady 409 "tenant-not-ready",
    TenantSuspended 403 "tenant-suspended",
    RouteNotFound 404 "route-not-found",
    MethodNotAllowed 405 "method-not-allowed",
    Forbidden 403 "forbidden",
    RateLimited 429 "rate-limited",
    TooLarge 413 "too-large",
    UnsupportedMediaType 415 "unsupported-media-type",
    MalformedJson 400 "malformed-json",
    Invalid 422 "invalid",
    InvalidCursor 400 "invalid-cursor",
    NotFound 404 "not-found",
    IfMatchRequired 428 "if-match-required",
    VersionMismatch 412 "version-mismatch",
    AlreadyExists 409 "already-exists",
    InvalidState 409 "invalid-state",
    InUse 409 "in-use",
    LastAdmin 409 "last-admin",
    IdempotencyInProgress 409 "idempotency-in-progress",
    IdempotencyMismatch 422 "idempotency-mismatch",
    PolicyInvalid 422 "policy-invalid",
    PolicyTestsFailed 422 "policy-tests-failed",
    RoleTooWide 403 "role-too-wide",
    AmbiguousTenant 403 "ambiguous-tenant",
    NoTenant 403 "no-tenant",
    Overloaded 503 "overloaded",
    DatabaseUnavailable 503 "database-unavailable",
    Timeout 504 "timeout",
    Internal 500 "internal",
}

/// A refusal: its code, a sentence and what a program may read.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    pub details: Json,
    /// For the log alone.
    pub cause: Option<String>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), details: json!({}), cause: None }
    }

    pub fn with(mut self, details: Json) -> Refusal {
        self.details = details;
        self
    }

    /// A member that is not what it should be; `pointer` is a JSON pointer.
    pub fn invalid(pointer: &str, expected: &str, got: impl Into<String>) -> Refusal {
        let got: String = got.into();
        let message = format!("{pointer}: expected {expected}, got {got}");
        let fields = json!([{"pointer": pointer, "expected": expected, "got": got}]);
        Refusal::new(Code::Invalid, message).with(json!({ "fields": fields }))
    }

    pub fn not_found(resource: &str, id: &str) -> Refusal {
        let message = format!("there is no {resource} `{id}`");
        Refusal::new(Code::NotFound, message).with(json!({ "resource": resource }))
    }

    pub fn internal(cause: impl std::fmt::Display) -> Refusal {
        let mut refusal = Refusal::new(
            Code::Internal,
            "something failed here; try again, or name the request id to the operator",
        );
        refusal.cause = Some(cause.to_string());
        refusal
    }

    pub fn unavailable(cause: String) -> Refusal {
        let message = "the database does not answer; try again";
        Refusal { cause: Some(cause), ..Refusal::new(Code::DatabaseUnavailable, message) }
    }

    pub fn body(&self) -> Json {
        json!({"error": {"code": self.code.name(), "message": self.message, "details": self.details}})
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Refusal {
        let state = error.code().map(tokio_postgres::error::SqlState::code);
        // Of SQLSTATE: connections, resources (such as no place for another connection), an operator.
        let is_away = error.is_closed()
            || state.is_none_or(|state| ["08", "53", "57"].iter().any(|of| state.starts_with(of)));
        let cause = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
        match is_away {
            true => Refusal::unavailable(cause),
            false => Refusal::internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_are_kebab_words_and_unique() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in names {
            assert!(name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{name}");
        }
    }

    #[test]
    fn each_code_has_its_section_in_order_and_each_section_its_code() {
        let pages =
            super::PAGES.split("\n## Refusals of the control plane's API\n").nth(1).unwrap();
        let pages = pages.split("\n## ").next().unwrap();
        let headings = pages.lines().filter_map(|line| line.strip_prefix("### "));
        let wanted =
            Code::ALL.iter().map(|code| format!("{} {}", code.status().as_u16(), code.name()));
        assert_eq!(headings.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        assert!(Code::ALL.iter().all(|code| code.meaning().ends_with('.')));
    }

    /// The page lists the codes in their order of precedence: it is the golden copy.
    #[test]
    fn the_page_has_every_code_in_order() {
        let page = include_str!("../../docs/reference/api.md");
        let section = page.split("\n## Codes").nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ") && !line.contains("codes"));
        let mut listed = Vec::new();
        for row in rows {
            let named = row
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|word| !word.contains('.') && !word.contains('['));
            listed.extend(named.filter(|word| !["pointer", "expected", "got"].contains(word)));
            for word in row.split('`').skip(1).step_by(2) {
                let known = Code::ALL.iter().find(|code| code.name() == word);
                let status = known.map(|code| code.status().as_u16().to_string());
                assert!(status.is_none_or(|status| row.contains(&status)), "{word}: {row}");
            }
        }
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(listed, all);
    }
}
