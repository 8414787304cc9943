//! Which part of a request each token of `r` means.
//!
//! A policy folder needs names; `policy enforce` binds by position and never comes here.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Source};
use crate::model::Model;

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Subject,
    Tenant,
    Resource,
    Action,
    Context,
}

impl Part {
    /// The names under which a token is bound without being told.
    pub const NAMES: &'static [(&'static str, Part)] = &[
        ("sub", Part::Subject),
        ("user", Part::Subject),
        ("subject", Part::Subject),
        ("dom", Part::Tenant),
        ("domain", Part::Tenant),
        ("tenant", Part::Tenant),
        ("obj", Part::Resource),
        ("resource", Part::Resource),
        ("path", Part::Resource),
        ("act", Part::Action),
        ("action", Part::Action),
        ("method", Part::Action),
        ("env", Part::Context),
        ("ctx", Part::Context),
        ("context", Part::Context),
    ];

    /// What the part is called in a request.
    pub fn name(self) -> &'static str {
        match self {
            Part::Subject => "subject",
            Part::Tenant => "tenant",
            Part::Resource => "resource",
            Part::Action => "action",
            Part::Context => "context",
        }
    }

    /// The part with this name.
    pub fn from_name(name: &str) -> Option<Part> {
        Part::NAMES.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    }
}

/// The part that each token of the request definition is bound to, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub parts: Vec<Part>,
    /// The same for each context of the model.
    pub contexts: Vec<Vec<Part>>,
}

/// Whether a token or column of this name is the tenant's without being told.
pub(crate) fn is_tenant(name: &str) -> bool {
    Part::from_name(name) == Some(Part::Tenant)
}

impl Binding {
    /// The position of the token that names the tenant.
    pub fn tenant_token(&self) -> Option<usize> {
        self.parts.iter().position(|part| *part == Part::Tenant)
    }
}

/// Binds the tokens of a model: by `extra` (the `[bind]` table of tenant.toml), else by name.
///
/// # Errors
/// `unbound-token` for each token that neither names, `duplicate-definition` for two tokens that
/// mean the same part.
pub fn bind(
    model: &Model,
    extra: &[(String, Part)],
    source: Source<'_>,
) -> Result<Binding, Diagnostics> {
    let mut found = Diagnostics::default();
    let parts = parts_of(model, extra, source, &mut found);
    let of = |context: &crate::model::Context| parts_of(&context.model, extra, source, &mut found);
    let contexts = model.contexts.iter().map(of).collect();
    match found.has_errors() {
        true => Err(found),
        false => Ok(Binding { parts, contexts }),
    }
}

fn parts_of(
    model: &Model,
    extra: &[(String, Part)],
    source: Source<'_>,
    found: &mut Diagnostics,
) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for token in &model.request {
        let given = extra.iter().find(|(name, _)| name == token).map(|(_, part)| *part);
        let Some(part) = given.or_else(|| Part::from_name(token)) else {
            let message = format!("`{token}` is bound to no part of a request");
            let diagnostic =
                Diagnostic::error(source, model.request_span, Code::UnboundToken, message)
                    .help(format!("add `{token} = \"subject\"` under [bind] in tenant.toml"));
            found.push(diagnostic);
            continue;
        };
        if parts.contains(&part) {
            let message = format!("`{token}` means the same part as an earlier token");
            let code = Code::DuplicateDefinition;
            found.push(Diagnostic::error(source, model.request_span, code, message));
        }
        parts.push(part);
    }
    parts
}
