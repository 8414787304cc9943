//! Entries to definitions: names, roles, effect rule and matcher of the model and of its contexts.

use crate::bounds::{CUSTOM_ARGUMENTS_MAX, TOKENS_MAX};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::dialect::Dialect;
use crate::expr::ast::{CustomFunction, Function};
use crate::expr::error::ParseError;
use crate::expr::parse::{Names, parse};
use crate::model::entries::{DOMAIN_PATTERNS, Entry, ROLE_PATTERNS, Reader, SECTIONS};
use crate::model::{Context, EffectRule, Model, RoleDefinition};
use crate::policy::go_text::{brackets, escape_assertion};

impl Reader<'_> {
    /// The model that the entries define.
    pub(super) fn finish(mut self, functions: &[CustomFunction]) -> Result<Model, Diagnostics> {
        self.check_functions(functions);
        let roles = self.roles();
        let main = self.model("", &roles, functions);
        let contexts = self.contexts(&roles, functions);
        match (main, self.diagnostics.has_errors()) {
            (Some(main), false) => Ok(Model { contexts, ..main }),
            _ => Err(self.diagnostics),
        }
    }

    fn check_functions(&mut self, functions: &[CustomFunction]) {
        for function in functions.iter().filter(|f| f.arity > CUSTOM_ARGUMENTS_MAX) {
            let (name, arity) = (function.name, function.arity);
            let message =
                format!("`{name}` takes {arity} arguments, at most {CUSTOM_ARGUMENTS_MAX}");
            self.diagnostic(Span::default(), Code::BoundExceeded, message, None);
        }
    }

    /// Those that have a matcher of their own: `m2`, `m3`, ….
    fn contexts(&mut self, roles: &[RoleDefinition], functions: &[CustomFunction]) -> Vec<Context> {
        let numbered =
            |section: &str, entry: &&Entry| entry.section == section && entry.key != section;
        let suffix = |entry: &Entry| entry.key.get(1..).unwrap_or("").to_owned();
        let names: Vec<String> =
            self.entries.iter().filter(|e| numbered("m", e)).map(suffix).collect();
        if self.dialect == Dialect::Strict {
            let alone = |entry: &&Entry| {
                ["r", "p", "e", "m"].contains(&entry.section)
                    && numbered(entry.section, entry)
                    && !names.contains(&suffix(entry))
            };
            let alone: Vec<(Span, String, String)> = (self.entries.iter().filter(alone))
                .map(|entry| (entry.span, entry.key.clone(), suffix(entry)))
                .collect();
            for (span, key, name) in alone {
                let message = format!("`{key}` belongs to no matcher");
                let help =
                    format!("add `m{name}` under [matchers]: a context is asked by its matcher");
                self.diagnostic(span, Code::UnsupportedDefinition, message, Some(&help));
            }
        }
        let mut contexts = Vec::new();
        for name in names {
            let has = |section: &&str| self.find(&format!("{section}{name}")).is_some();
            // casbin knows no context of which a part is missing.
            let is_whole = ["r", "p", "e"].iter().all(has);
            if self.dialect.is_casbin() && !(is_whole && self.is_reached(&name)) {
                continue;
            }
            if let Some(model) = self.model(&name, roles, functions) {
                contexts.push(Context { name, model });
            }
        }
        contexts
    }

    /// Casbin for Go reads `r2`, `r3`, … up to the first that is not there.
    fn is_reached(&self, name: &str) -> bool {
        let last = name.parse::<usize>().unwrap_or(0);
        let has = |at: usize| {
            ["r", "p", "e", "m"].iter().all(|s| self.find(&format!("{s}{at}")).is_some())
        };
        self.dialect != Dialect::CasbinGo || (2..=last.min(self.entries.len())).all(has)
    }

    /// The definitions of one context; what it does not define are those of the model.
    fn model(
        &mut self,
        context: &str,
        roles: &[RoleDefinition],
        functions: &[CustomFunction],
    ) -> Option<Model> {
        let key = |section: &str| {
            let own = format!("{section}{context}");
            if self.find(&own).is_some() { own } else { section.to_owned() }
        };
        let [r, p, e, m] = ["r", "p", "e", "m"].map(key);
        let (request, policy) = (self.names(&r), self.names(&p));
        let effect = self.effect(&e, &p);
        if effect == Some(EffectRule::SubjectPriority) {
            self.check_subject_priority(&e, roles);
        }
        let (matcher_text, _) = self.required(&m)?;
        if request.is_empty() || policy.is_empty() {
            return None;
        }
        let names = Names {
            request: &request,
            policy: &policy,
            prefixes: (&r, &p),
            roles,
            functions,
            dialect: self.dialect,
        };
        let go_text;
        let text = match self.dialect {
            Dialect::CasbinGo => {
                go_text = brackets(&matcher_text);
                self.check_domain_pattern(&go_text, &m, roles);
                go_text.as_str()
            }
            _ => matcher_text.as_str(),
        };
        let matcher = parse(text, names).map_err(|errors| self.matcher_errors(&m, &errors));
        let span = |key: &str| self.find(key).map_or(Span::default(), |entry| entry.span);
        Some(Model {
            request_span: span(&r),
            effect_span: span(&e),
            matcher_span: span(&m),
            request,
            policy,
            prefixes: (r, p),
            roles: roles.to_vec(),
            functions: functions.to_vec(),
            effect: effect?,
            matcher: matcher.ok()?,
            dialect: self.dialect,
            matcher_text,
            contexts: Vec::new(),
        })
    }

    /// Casbin for Go orders rules by the links of `g`, and demands them.
    fn check_subject_priority(&mut self, key: &str, roles: &[RoleDefinition]) {
        if self.dialect == Dialect::CasbinGo && roles.iter().all(|role| role.name != "g") {
            let span = self.find(key).map_or(Span::default(), |entry| entry.span);
            let message = "`subjectPriority` needs a `g` under [role_definition]";
            self.diagnostic(span, Code::UnsupportedDefinition, message, None);
        }
    }

    /// Casbin for Go makes tenants of links patterns where the matcher says so.
    fn check_domain_pattern(&mut self, matcher: &str, key: &str, roles: &[RoleDefinition]) {
        let is_pattern = escape_assertion(matcher).contains("keyMatch(r_dom, p_dom)");
        if is_pattern && roles.iter().any(|role| role.arity == 3) {
            let span = self.find(key).map_or(Span::default(), |entry| entry.span);
            let message = "`keyMatch(r.dom, p.dom)` makes the tenants of links patterns in Go";
            let help = "use the dialect strict, with `g = keyMatch` under [domain_patterns]";
            self.diagnostic(span, Code::UnsupportedDefinition, message, Some(help));
        }
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key && !entry.value.is_empty())
    }

    fn required(&mut self, key: &str) -> Option<(String, Span)> {
        if let Some(entry) = self.find(key) {
            return Some((entry.value.clone(), entry.span));
        }
        let name = SECTIONS.iter().find(|(_, short)| *short == key).map_or("", |(name, _)| *name);
        let message = format!("the model has no `{key}` under [{name}]");
        self.diagnostic(self.source.span(0, 0), Code::MissingSection, message, None);
        None
    }

    fn names(&mut self, key: &str) -> Vec<String> {
        let Some((value, span)) = self.required(key) else { return Vec::new() };
        let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
        if names.len() > TOKENS_MAX {
            let message = format!("`{key}` has {} names, at most {TOKENS_MAX}", names.len());
            self.diagnostic(span, Code::BoundExceeded, message, None);
        }
        for (index, name) in names.iter().enumerate() {
            let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let starts = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
            if !word || !starts {
                let message = format!("`{name}` is no name: letters, digits and `_` only");
                self.diagnostic(span, Code::BadName, message, None);
            } else if names.iter().take(index).any(|earlier| earlier == name) {
                let message = format!("`{key}` names `{name}` twice");
                self.diagnostic(span, Code::DuplicateDefinition, message, None);
            }
        }
        names
    }

    fn roles(&mut self) -> Vec<RoleDefinition> {
        let mut roles = Vec::new();
        let mut wrong = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.section == "g") {
            let shape: String = entry.value.split_whitespace().collect();
            let (places, is_timed) = match shape.strip_suffix(",(_,_)") {
                Some(places) if self.dialect == Dialect::Strict => (places, true),
                // With a tenant, Go asks only the first link of a chain for its times.
                Some("_,_") if self.dialect == Dialect::CasbinGo => ("_,_", true),
                _ => (shape.as_str(), false),
            };
            match places {
                "_,_" | "_,_,_" => roles.push(RoleDefinition {
                    is_timed,
                    ..RoleDefinition::new(&entry.key, if places == "_,_" { 2 } else { 3 })
                }),
                _ => wrong.push((entry.span, entry.key.clone())),
            }
        }
        for (span, key) in wrong {
            let message = format!("`{key}` must be `_, _` or `_, _, _` (with the tenant)");
            let help = "links that hold for a time are `_, _, (_, _)`, in the dialect strict";
            self.diagnostic(span, Code::UnsupportedDefinition, message, Some(help));
        }
        self.patterns(&mut roles);
        roles
    }

    /// The functions by which links write patterns.
    fn patterns(&mut self, roles: &mut [RoleDefinition]) {
        let mut wrong = Vec::new();
        let sections = [ROLE_PATTERNS, DOMAIN_PATTERNS];
        for entry in self.entries.iter().filter(|entry| sections.contains(&entry.section)) {
            let (key, value, is_domain) =
                (&entry.key, &entry.value, entry.section == DOMAIN_PATTERNS);
            let known = Function::BUILT_IN.iter().filter(|(_, function)| function.matches_links());
            let function = known.clone().find(|(name, _)| name == value);
            let role = roles.iter_mut().find(|role| role.name == *key);
            let refusal = match (function, role) {
                (None, _) => {
                    let names: Vec<&str> = known.map(|(name, _)| *name).collect();
                    let message = format!("expected one of {}, got `{value}`", names.join(", "));
                    Some((Code::UnknownFunction, message))
                }
                (_, None) => {
                    let message = format!("there is no `{key}` in [role_definition]");
                    Some((Code::UnsupportedDefinition, message))
                }
                (_, Some(role)) if is_domain && role.arity == 2 => {
                    let message = format!("links of `{key}` have no tenant: `{key} = _, _, _`");
                    Some((Code::UnsupportedDefinition, message))
                }
                (Some((_, function)), Some(role)) => {
                    let place =
                        if is_domain { &mut role.domain_pattern } else { &mut role.name_pattern };
                    *place = Some(*function);
                    None
                }
            };
            wrong.extend(refusal.map(|(code, message)| (entry.span, code, message)));
        }
        for (span, code, message) in wrong {
            self.diagnostic(span, code, message, None);
        }
    }

    fn effect(&mut self, key: &str, policy: &str) -> Option<EffectRule> {
        let (value, span) = self.required(key)?;
        let effect = EffectRule::parse(&value, policy, self.dialect);
        if effect.is_none() {
            let message = format!("`{value}` is none of the effect rules");
            let help = "use some(where (p.eft == allow)), !some(where (p.eft == deny)), both \
                        joined by &&, priority(p.eft) || deny or subjectPriority(p.eft) || deny";
            self.diagnostic(span, Code::UnknownEffect, message, Some(help));
        }
        effect
    }

    fn matcher_errors(&mut self, key: &str, errors: &[ParseError]) {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == key) else { return };
        let place = |offset: usize| {
            let piece = entry.pieces.iter().rev().find(|(begin, _)| *begin <= offset);
            piece.map_or(0, |(begin, file)| file + offset - begin)
        };
        for error in errors {
            let span = self.source.span(place(error.start), place(error.end));
            let message = error.message.clone();
            let mut found = Diagnostic::error(self.source, span, error.code, message);
            found.help.clone_from(&error.help);
            self.diagnostics.push(match &error.label {
                Some(label) => found.label(label.clone()),
                None => found,
            });
        }
    }
}
