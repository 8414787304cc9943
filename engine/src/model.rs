//! model.conf: the PERM definitions, from text to names, effect rule and matcher.
//!
//! `entries` knows the file format, `definitions` the names; whether a matcher compiles is for
//! `policy::compile`.

mod definitions;
mod entries;

use crate::diagnostic::{Diagnostics, Source, Span};
use crate::dialect::Dialect;
use crate::expr::ast::{CustomFunction, Expr, Function};
use crate::expr::parse::Names;
use crate::model::entries::Reader;
use crate::policy::casbin_text::escape_assertion;
use crate::policy::go_text;

/// A parsed model, or one context of it.
#[derive(Debug, Clone)]
pub struct Model {
    /// Tokens of `r`, such as `sub`, `dom`, `obj`, `act`.
    pub request: Vec<String>,
    /// Columns of `p`.
    pub policy: Vec<String>,
    /// What expressions call the two: `r` and `p`, in a context `r2` and `p2`.
    pub prefixes: (String, String),
    pub roles: Vec<RoleDefinition>,
    /// Functions that the caller brought.
    pub functions: Vec<CustomFunction>,
    pub effect: EffectRule,
    pub matcher: Expr,
    pub dialect: Dialect,
    /// Where `r`, `e` and `m` stand, for findings about them.
    pub request_span: Span,
    pub effect_span: Span,
    pub matcher_span: Span,
    /// The matcher as one line: what positions in its expression count in.
    pub matcher_text: String,
    /// Casbin's enforce contexts: a matcher `m2` with its own `r2`, `p2` and `e2` where it has them.
    pub contexts: Vec<Context>,
}

/// Another way to ask the same policy.
#[derive(Debug, Clone)]
pub struct Context {
    /// The digits behind `m`, such as `2`.
    pub name: String,
    pub model: Model,
}

/// A role function: `g`, `g2`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDefinition {
    pub name: String,
    /// Arguments: 2, or 3 with the tenant.
    pub arity: usize,
    /// `(_, _)`: each link holds between two times.
    pub is_timed: bool,
    /// The function by which a name stands under the patterns that links write.
    pub name_pattern: Option<Function>,
    /// The function by which a link's tenant is a pattern.
    pub domain_pattern: Option<Function>,
}

impl RoleDefinition {
    /// Links of names as they stand, which always hold.
    pub fn new(name: &str, arity: usize) -> RoleDefinition {
        RoleDefinition {
            name: name.to_owned(),
            arity,
            is_timed: false,
            name_pattern: None,
            domain_pattern: None,
        }
    }

    /// Cells of one link.
    pub fn cells(&self) -> usize {
        self.arity + if self.is_timed { 2 } else { 0 }
    }
}

/// How the effects of matching rows combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectRule {
    /// `some(where (p.eft == allow))`
    AllowOverride,
    /// `!some(where (p.eft == deny))`
    DenyOverride,
    /// `some(where (p.eft == allow)) && !some(where (p.eft == deny))`
    AllowAndDeny,
    /// `priority(p.eft) || deny`
    Priority,
    /// `subjectPriority(p.eft) || deny`: the rules of a role's members before the role's own.
    SubjectPriority,
}

impl EffectRule {
    const TEXTS: &'static [(&'static str, EffectRule)] = &[
        ("some(where (p_eft == allow))", EffectRule::AllowOverride),
        ("!some(where (p_eft == deny))", EffectRule::DenyOverride),
        ("some(where (p_eft == allow)) && !some(where (p_eft == deny))", EffectRule::AllowAndDeny),
        ("priority(p_eft) || deny", EffectRule::Priority),
        ("subjectPriority(p_eft) || deny", EffectRule::SubjectPriority),
    ];

    /// The rule written as `text` for the policy definition `policy`. `strict` does not mind blanks, and knows `p2`;
    /// Casbin's engines mind and do not.
    fn parse(text: &str, policy: &str, dialect: Dialect) -> Option<EffectRule> {
        let mut text = match dialect {
            Dialect::CasbinGo => go_text::escape_assertion(text),
            _ => escape_assertion(text),
        };
        if dialect == Dialect::Strict {
            text = text.replace(&format!("{policy}_eft"), "p_eft");
        }
        let normal = |text: &str| match dialect {
            Dialect::Strict => text.split_whitespace().collect::<String>(),
            Dialect::CasbinRs | Dialect::CasbinGo => text.to_owned(),
        };
        let known = |(written, _): &&(&str, EffectRule)| normal(written) == normal(&text);
        let found = EffectRule::TEXTS.iter().find(known).map(|(_, rule)| *rule);
        found.filter(|rule| dialect != Dialect::CasbinRs || *rule != EffectRule::SubjectPriority)
    }
}

impl Model {
    /// The column that holds the effect, if the policy has one. casbin-rs looks for that of `p` alone.
    pub fn effect_column(&self) -> Option<usize> {
        if self.dialect == Dialect::CasbinRs && self.prefixes.1 != "p" {
            return None;
        }
        self.policy.iter().position(|column| column == "eft")
    }

    /// The column whose numbers are the order of the rows: Casbin's explicit priority. Go orders by it whatever the
    /// effect rule, casbin-rs never.
    pub fn priority_column(&self) -> Option<usize> {
        let is_ordered = match self.dialect {
            Dialect::Strict => self.effect == EffectRule::Priority,
            Dialect::CasbinRs => false,
            Dialect::CasbinGo => true,
        };
        self.policy.iter().position(|column| is_ordered && column == "priority")
    }

    /// The names that an expression of this model may use.
    pub fn names(&self) -> Names<'_> {
        Names {
            request: &self.request,
            policy: &self.policy,
            prefixes: (&self.prefixes.0, &self.prefixes.1),
            roles: &self.roles,
            functions: &self.functions,
            dialect: self.dialect,
        }
    }
}

/// Parses model.conf.
///
/// # Errors
/// Every finding in the file, at most `DIAGNOSTICS_MAX`.
pub fn parse_model(source: Source<'_>, dialect: Dialect) -> Result<Model, Diagnostics> {
    parse_model_with(source, dialect, &[])
}

/// The same, with functions of the caller's own.
///
/// # Errors
/// As `parse_model`.
pub fn parse_model_with(
    source: Source<'_>,
    dialect: Dialect,
    functions: &[CustomFunction],
) -> Result<Model, Diagnostics> {
    let mut reader =
        Reader { source, dialect, entries: Vec::new(), diagnostics: Diagnostics::default() };
    reader.read();
    reader.finish(functions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    const GOOD: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\n\
        p = sub, obj, act, eft\n[role_definition]\ng = _, _\n[policy_effect]\n\
        e = some(where (p.eft == allow))\n[matchers]\n\
        m = g(r.sub, p.sub) && \\\n    r.obj == p.obj && r.act == p.act\n";

    fn codes(text: &str, dialect: Dialect) -> Vec<(Code, usize)> {
        match parse_model(Source { file: "model.conf", text }, dialect) {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().map(|d| (d.code, d.span.line)).collect(),
        }
    }

    #[test]
    fn a_model_loads_whole_or_says_why() {
        assert_eq!(codes(GOOD, Dialect::Strict), []);
        assert_eq!(codes(GOOD, Dialect::CasbinRs), []);
        let rows: &[(&str, &str, Code, usize)] = &[
            ("[matchers]", "[matcher]", Code::UnknownSection, 9),
            ("e = some(where (p.eft == allow))", "e = maybe", Code::UnknownEffect, 8),
            ("g = _, _", "g = _, _, _, _", Code::UnsupportedDefinition, 6),
            ("r.act == p.act", "r.act == p.actt", Code::UnknownToken, 11),
            ("r = sub, obj, act", "r = sub, obj, sub", Code::DuplicateDefinition, 2),
            ("r = sub, obj, act", "r = sub, obj, act # who", Code::CommentInValue, 2),
            ("r = sub, obj, act", "r = sub, obj, a-t", Code::BadName, 2),
            ("r = sub, obj, act", "r = sub, obj, act\nr2 = sub", Code::UnsupportedDefinition, 3),
            ("r = sub, obj, act", "nonsense", Code::MalformedLine, 2),
            ("[request_definition]\n", "x = 1\n[request_definition]\n", Code::MalformedLine, 1),
            ("p = sub, obj, act, eft\n", "", Code::MissingSection, 1),
            ("g = _, _\n", "g = _, _\ng = _, _\n", Code::DuplicateDefinition, 7),
        ];
        for (from, to, code, line) in rows {
            let found = codes(&GOOD.replace(from, to), Dialect::Strict);
            assert_eq!(found.first(), Some(&(*code, *line)), "{to}");
        }
    }

    #[test]
    fn every_error_is_reported_in_one_load() {
        let text = GOOD.replace("g = _, _", "g = _").replace("p.obj", "p.objj");
        assert_eq!(codes(&text, Dialect::Strict).len(), 3);
    }

    #[test]
    fn casbin_minds_the_blanks_of_an_effect() {
        let text = GOOD.replace("some(where (p.eft == allow))", "some(where(p.eft==allow))");
        assert_eq!(codes(&text, Dialect::Strict), []);
        assert_eq!(codes(&text, Dialect::CasbinRs), [(Code::UnknownEffect, 8)]);
    }
}
