//! Model and rows to a `PolicySet`, stage by stage. Whole or not at all; every finding is reported.

mod facts;
mod indexing;

use crate::bounds::AUTOMATA_BYTES_MAX;
use crate::diagnostic::{Code as DiagnosticCode, Diagnostic, Diagnostics, Source};
use crate::dialect::Dialect;
use crate::expr::code::{Code, NodeId, Refused};
use crate::model::{Model, parse_model};
use crate::policy::PolicySet;
use crate::policy::compile::facts::Budget;
use crate::policy::describe::{Described, describe};
use crate::policy::go_text::escape_assertion;
use crate::policy::row_expressions::{self, RowExpressions};
use crate::policy::rows::{Row, Rows, parse_rows};
use crate::text::Texts;
use std::sync::Arc;

impl PolicySet {
    /// Parses and compiles one policy without splitting it into tenants.
    ///
    /// # Errors
    /// Every finding in either file.
    pub fn from_texts(
        model: Source<'_>,
        rows: Source<'_>,
        dialect: Dialect,
        seed: u64,
    ) -> Result<PolicySet, Diagnostics> {
        let parsed = parse_model(model, dialect)?;
        let parsed_rows = parse_rows(rows, &parsed)?;
        PolicySet::compile(&parsed, &parsed_rows, (model, rows), seed)
    }

    /// Compiles rows of a model. `seed` keys the hash tables; any number will do.
    ///
    /// # Errors
    /// Patterns that do not compile, role chains beyond the bound, too many attributes.
    pub fn compile(
        model: &Model,
        rows: &Rows<'_>,
        sources: (Source<'_>, Source<'_>),
        seed: u64,
    ) -> Result<PolicySet, Diagnostics> {
        let mut set = PolicySet::compile_one(model, rows, sources, seed);
        for (position, context) in model.contexts.iter().enumerate() {
            let rows = rows.of_context(model, position);
            match (&mut set, PolicySet::compile_one(&context.model, &rows, sources, seed)) {
                (Ok(set), Ok(own)) => {
                    set.warnings.append(own.warnings.clone());
                    set.contexts.push((context.name.clone(), own));
                }
                (Err(found), Err(more)) => found.append(more),
                (set, Err(more)) => *set = Err(more),
                (Err(_), Ok(_)) => {}
            }
        }
        set
    }

    /// Compiles the model itself or one context.
    fn compile_one(
        model: &Model,
        rows: &Rows<'_>,
        (model_source, rows_source): (Source<'_>, Source<'_>),
        seed: u64,
    ) -> Result<PolicySet, Diagnostics> {
        let mut compiler = Compiler {
            model,
            model_source,
            rows_source,
            code: Code { functions: model.functions.clone(), ..Code::default() },
            texts: Texts::new(seed),
            automata: Budget(AUTOMATA_BYTES_MAX),
            diagnostics: Diagnostics::default(),
        };
        let matcher = compiler.matcher();
        let described = compiler.described();
        let phantom_row;
        let phantom = asks_no_row(model, rows);
        let rules = match phantom {
            true => {
                phantom_row = [Row { cells: vec![""; model.policy.len()], line: 0 }];
                phantom_row.as_slice()
            }
            false => rows.rules.as_slice(),
        };
        let expressions = compiler.expressions(rules);
        let mut facts = compiler.facts(rules, rows, expressions);
        let index = compiler.index(&mut facts);
        match (compiler.diagnostics.has_errors(), matcher) {
            (false, Some(matcher)) => Ok(PolicySet {
                dialect: model.dialect,
                effect_rule: model.effect,
                code: Arc::new(compiler.code),
                matcher,
                facts: Box::new(facts),
                index,
                phantom,
                is_changed: false,
                warnings: compiler.diagnostics,
                described,
                tokens: model.request.clone(),
                prefix: model.prefixes.0.clone(),
                contexts: Vec::new(),
            }),
            _ => Err(compiler.diagnostics),
        }
    }
}

/// Casbin asks one row of empty cells where there are no rules; in Go also where the matcher reads no cell.
pub(crate) fn asks_no_row(model: &Model, rows: &Rows<'_>) -> bool {
    let reads_cells = || {
        let text = escape_assertion(&model.matcher_text);
        text.contains(&format!("{}_", model.prefixes.1))
    };
    match model.dialect {
        Dialect::Strict => false,
        Dialect::CasbinRs => rows.rules.is_empty(),
        Dialect::CasbinGo => rows.rules.is_empty() || !reads_cells(),
    }
}

/// What the stages share.
struct Compiler<'a> {
    model: &'a Model,
    model_source: Source<'a>,
    rows_source: Source<'a>,
    code: Code,
    texts: Texts,
    automata: Budget,
    diagnostics: Diagnostics,
}

impl Compiler<'_> {
    fn refused(&mut self, refused: Refused) {
        let (code, message) = match refused {
            Refused::TooManySlots => (
                DiagnosticCode::BoundExceeded,
                format!("the matcher reads more than {} values", crate::bounds::SLOTS_MAX),
            ),
            Refused::ListOutsideIn => (
                DiagnosticCode::ArgumentKind,
                "a list may only stand on the right of `in`".to_owned(),
            ),
        };
        let span = self.model.matcher_span;
        self.diagnostics.push(Diagnostic::error(self.model_source, span, code, message));
    }

    fn matcher(&mut self) -> Option<NodeId> {
        let compiled = self.code.compile(&self.model.matcher);
        compiled.map_err(|refused| self.refused(refused)).ok()
    }

    /// Those of the rows; then every request value is known that is read.
    fn expressions(&mut self, rules: &[Row<'_>]) -> RowExpressions {
        let (code, found) = (&mut self.code, &mut self.diagnostics);
        let compiled = row_expressions::compile(self.model, rules, self.rows_source, code, found);
        let compiled = compiled.and_then(|all| match self.model.dialect {
            Dialect::CasbinRs => self.code.add_probes().map(|()| all),
            Dialect::Strict | Dialect::CasbinGo => Ok(all),
        });
        compiled.map_err(|refused| self.refused(refused)).unwrap_or_default()
    }

    /// Before the facts: rows bring patterns for what it compiles.
    fn described(&mut self) -> Vec<Vec<Described>> {
        let described = describe(self.model, &mut self.code);
        described.map_err(|refused| self.refused(refused)).unwrap_or_default()
    }
}
