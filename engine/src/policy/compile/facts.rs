//! Rows to facts: cells as text ids, patterns compiled once each, roles as closures.

use crate::builtin::ip::is_network;
use crate::builtin::pattern::Pattern;
use crate::diagnostic::{Code as DiagnosticCode, Diagnostic, Span};
use crate::dialect::Dialect;
use crate::expr::ast::Function;
use crate::expr::code::{Constant, Node};
use crate::policy::compile::Compiler;
use crate::policy::facts::{Effect, Facts, RowFacts};
use crate::policy::roles::Roles;
use crate::policy::row_expressions::RowExpressions;
use crate::policy::rows::{Row, Rows};
use crate::text::Texts;
use std::collections::HashMap;
use std::sync::Arc;

impl Compiler<'_> {
    pub(super) fn facts(
        &mut self,
        rules: &[Row<'_>],
        rows: &Rows<'_>,
        own: RowExpressions,
    ) -> Facts {
        let columns = self.model.policy.len();
        let effect_column = self.model.effect_column();
        let mut cells = Vec::with_capacity(rules.len() * columns);
        let mut effects = Vec::with_capacity(rules.len());
        let mut faulty = Vec::with_capacity(rules.len());
        for row in rules {
            let fits = row.cells.len() == columns;
            cells.extend((0..columns).map(|column| match fits {
                true => self.texts.intern(row.cells.get(column).copied().unwrap_or("")),
                false => self.texts.intern(""),
            }));
            faulty.push(!fits);
            effects.push(match effect_column.and_then(|column| row.cells.get(column)) {
                None | Some(&"allow") => Effect::Allow,
                Some(&"deny") => Effect::Deny,
                Some(_) => Effect::Indeterminate,
            });
        }
        let (patterns, row_patterns) = self.row_patterns(rules);
        let fixed = self.fixed_patterns(0, &own.fixed_spans);
        if self.model.dialect == Dialect::Strict {
            self.check_networks(rules);
        }
        let roles = Roles::build(
            &rows.links,
            &self.model.roles,
            self.model.dialect,
            &mut self.texts,
            self.rows_source,
            &mut self.diagnostics,
        );
        let lines = rules.iter().map(|row| row.line).collect();
        let row_evals = own.roots;
        let loaded = RowFacts { cells, row_patterns, patterns, row_evals, effects, lines, faulty };
        Facts {
            texts: std::mem::replace(&mut self.texts, Texts::new(0)),
            roles,
            columns,
            sites: self.code.sites.len(),
            fixed: Arc::new(fixed),
            evals: self.code.evals.len(),
            loaded: Arc::new(loaded),
            changes: None,
        }
    }

    /// The patterns of all rows, each text compiled once.
    fn row_patterns(&mut self, rules: &[Row<'_>]) -> (Vec<Pattern>, Vec<u32>) {
        let mut patterns = Vec::new();
        let mut known: HashMap<(Function, &str), u32> = HashMap::new();
        let mut row_patterns = Vec::with_capacity(rules.len() * self.code.sites.len());
        let sites = self.code.sites.clone();
        for row in rules {
            for (function, column) in &sites {
                let text = row.cells.get(*column).copied().unwrap_or("");
                let key = (*function, text);
                let position = match known.get(&key) {
                    Some(position) => *position,
                    None => match Pattern::compile(*function, text, self.model.dialect) {
                        Ok(pattern) => {
                            if !self.automata.take(pattern.automaton_bytes()) {
                                self.pattern_error(text, DiagnosticCode::BoundExceeded, too_many());
                                return (patterns, row_patterns);
                            }
                            let position = u32::try_from(patterns.len()).unwrap_or(u32::MAX);
                            patterns.push(pattern);
                            known.insert(key, position);
                            position
                        }
                        Err(error) => {
                            self.pattern_error(text, error.code, error.message);
                            u32::MAX
                        }
                    },
                };
                row_patterns.push(position);
            }
            if self.diagnostics.is_full() {
                break;
            }
        }
        patterns.shrink_to_fit();
        (patterns, row_patterns)
    }

    fn pattern_error(&mut self, text: &str, code: DiagnosticCode, message: String) {
        let span = self.rows_source.span_of(text);
        self.diagnostics.push(Diagnostic::error(self.rows_source, span, code, message));
    }

    /// Those that stand in the matcher, and in the rows' own expressions: these at `spans`. The first `known` are
    /// compiled already.
    pub(super) fn fixed_patterns(
        &mut self,
        known: usize,
        spans: &HashMap<usize, Span>,
    ) -> Vec<Pattern> {
        let mut fixed = Vec::new();
        for (at, (function, text)) in self.code.fixed.clone().into_iter().enumerate().skip(known) {
            match Pattern::compile(function, &text, self.model.dialect) {
                Ok(pattern) => fixed.push(pattern),
                Err(error) => {
                    let message = format!("`{text}`: {}", error.message);
                    let (source, span) = match spans.get(&at) {
                        Some(span) => (self.rows_source, *span),
                        None => (self.model_source, self.model.matcher_span),
                    };
                    self.diagnostics.push(Diagnostic::error(source, span, error.code, message));
                }
            }
        }
        fixed
    }

    /// Networks that stand in rows or in the matcher are read at load.
    fn check_networks(&mut self, rules: &[Row<'_>]) {
        let networks: Vec<Node> = (self.code.nodes.iter())
            .filter_map(|node| match node {
                Node::IpMatch(_, network) => self.code.nodes.get(*network as usize).copied(),
                _ => None,
            })
            .collect();
        let refusal = |text: &str| format!("`{text}` is no address or network such as 10.0.0.0/8");
        for network in networks {
            match network {
                Node::Column(column) => {
                    for row in rules {
                        let text = row.cells.get(usize::from(column)).copied().unwrap_or("");
                        if !is_network(text) {
                            self.pattern_error(text, DiagnosticCode::BadPattern, refusal(text));
                        }
                    }
                }
                Node::Constant(constant) => {
                    let Some(Constant::Str(text)) = self.code.constants.get(constant as usize)
                    else {
                        continue;
                    };
                    if !is_network(text) {
                        let (span, message) = (self.model.matcher_span, refusal(text));
                        self.diagnostics.push(Diagnostic::error(
                            self.model_source,
                            span,
                            DiagnosticCode::BadPattern,
                            message,
                        ));
                    }
                }
                _ => {}
            }
        }
    }
}

fn too_many() -> String {
    let most = crate::bounds::AUTOMATA_BYTES_MAX;
    format!("the automata of all patterns together have more than {most} bytes")
}

/// What may still be used up of a bound.
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// Takes so much; false if there is not as much.
    fn take(&mut self, amount: usize) -> bool {
        let left = self.0.checked_sub(amount);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_budget_is_taken_to_its_end_and_not_beyond() {
        let mut budget = Budget(10);
        assert!(budget.take(4) && budget.take(6) && budget.take(0));
        assert!(!budget.take(1));
        assert!(!Budget(10).take(11));
    }
}
