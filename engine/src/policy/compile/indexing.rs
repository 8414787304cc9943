//! Facts to an index: the matcher's conjunctions, finite sets of expressions, one table for each.

use crate::diagnostic::{Code as DiagnosticCode, Diagnostic, Span};
use crate::model::EffectRule;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::compile::Compiler;
use crate::policy::facts::Facts;
use crate::policy::index::{Alternative, Index, finite_ids};
use std::collections::HashMap;
use std::sync::Arc;

impl Compiler<'_> {
    pub(super) fn index(&mut self, facts: &mut Facts) -> Option<Index> {
        if self.model.dialect.is_casbin() || self.diagnostics.has_errors() {
            return None;
        }
        if self.model.effect == EffectRule::DenyOverride {
            self.warn(
                self.model.effect_span,
                DiagnosticCode::AllowsByDefault,
                "this effect rule allows what no rule mentions",
                "use some(where (p.eft == allow)) && !some(where (p.eft == deny))",
            );
        }
        let Some(found) = alternatives(&self.model.matcher) else {
            self.warn(
                self.model.matcher_span,
                DiagnosticCode::ScannedPolicy,
                "the matcher has too many alternatives: every decision asks every rule",
                "split the policy, or move alternatives into rows",
            );
            return None;
        };
        let mut sets: HashMap<u32, Option<Vec<u32>>> = HashMap::new();
        for conjunct in found.iter().flatten() {
            let Test::Regex { column, .. } = conjunct.test else { continue };
            let column = u16::try_from(column).unwrap_or(u16::MAX);
            for row in 0..facts.rows() {
                let cell = facts.cell(row, column);
                let text = facts.texts.get(cell).to_owned();
                sets.entry(cell)
                    .or_insert_with(|| finite_ids(&text, &mut |member| facts.texts.intern(member)));
            }
        }
        let set_of = |row: usize, column: usize| {
            let cell = facts.cell(row, u16::try_from(column).unwrap_or(u16::MAX));
            sets.get(&cell).cloned().flatten()
        };
        let built: Result<Vec<_>, _> = found
            .iter()
            .map(|conjuncts| Alternative::build(conjuncts, &mut self.code, facts, &set_of))
            .collect();
        // Sites and constants were made again for the conjuncts: patterns of rows stay shared,
        // written ones are appended.
        let more = self.fixed_patterns(facts.fixed.len(), &HashMap::new());
        Arc::make_mut(&mut facts.fixed).extend(more);
        facts.texts.shrink();
        match built {
            Ok(alternatives) => Some(Index { alternatives: alternatives.into() }),
            Err(refused) => {
                self.refused(refused);
                None
            }
        }
    }

    fn warn(&mut self, span: Span, code: DiagnosticCode, message: &str, help: &str) {
        let found = Diagnostic::error(self.model_source, span, code, message.to_owned());
        self.diagnostics.push(found.warning().help(help));
    }
}
