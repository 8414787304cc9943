//! Model and rows to a `PolicySet`. Whole or not at all; every finding is reported.

use crate::builtin::ip::is_network;
use crate::builtin::pattern::Pattern;
use crate::diagnostic::{Code as DiagnosticCode, Diagnostic, Diagnostics, Source, Span};
use crate::dialect::Dialect;
use crate::expr::ast::Function;
use crate::expr::code::{Code, Constant, Node, NodeId, Refused};
use crate::model::{EffectRule, Model, parse_model};
use crate::policy::PolicySet;
use crate::policy::alternatives::{Test, alternatives};
use crate::policy::describe::{Described, describe};
use crate::policy::facts::{Effect, Facts};
use crate::policy::index::{Alternative, Index, finite_ids};
use crate::policy::roles::Roles;
use crate::policy::row_expressions::{self, RowExpressions};
use crate::policy::rows::{Row, Rows, parse_rows};
use crate::text::Texts;
use std::collections::HashMap;

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
            diagnostics: Diagnostics::default(),
        };
        let matcher = compiler.matcher();
        let described = compiler.described();
        let phantom_row;
        let phantom = model.dialect == Dialect::CasbinRs && rows.rules.is_empty();
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
                code: Box::new(compiler.code),
                matcher,
                facts: Box::new(facts),
                index,
                phantom,
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

struct Compiler<'a> {
    model: &'a Model,
    model_source: Source<'a>,
    rows_source: Source<'a>,
    code: Code,
    texts: Texts,
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
            Dialect::Strict => Ok(all),
        });
        compiled.map_err(|refused| self.refused(refused)).unwrap_or_default()
    }

    /// Before the facts: rows bring patterns for what it compiles.
    fn described(&mut self) -> Vec<Vec<Described>> {
        let described = describe(self.model, &mut self.code);
        described.map_err(|refused| self.refused(refused)).unwrap_or_default()
    }

    fn facts(&mut self, rules: &[Row<'_>], rows: &Rows<'_>, own: RowExpressions) -> Facts {
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
        Facts {
            texts: std::mem::replace(&mut self.texts, Texts::new(0)),
            roles,
            columns,
            cells,
            row_patterns,
            sites: self.code.sites.len(),
            patterns,
            fixed,
            row_evals: own.roots,
            evals: self.code.evals.len(),
            effects,
            lines: rules.iter().map(|row| row.line).collect(),
            faulty,
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
        (patterns, row_patterns)
    }

    fn pattern_error(&mut self, text: &str, code: DiagnosticCode, message: String) {
        let span = self.rows_source.span_of(text);
        self.diagnostics.push(Diagnostic::error(self.rows_source, span, code, message));
    }

    /// Those that stand in the matcher, and in the rows' own expressions: these at `spans`. The first `known` are
    /// compiled already.
    fn fixed_patterns(&mut self, known: usize, spans: &HashMap<usize, Span>) -> Vec<Pattern> {
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

    fn index(&mut self, facts: &mut Facts) -> Option<Index> {
        if self.model.dialect == Dialect::CasbinRs || self.diagnostics.has_errors() {
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
        facts.fixed.extend(self.fixed_patterns(facts.fixed.len(), &HashMap::new()));
        match built {
            Ok(alternatives) => Some(Index { alternatives }),
            Err(refused) => {
                self.refused(refused);
                None
            }
        }
    }

    fn warn(
        &mut self,
        span: crate::diagnostic::Span,
        code: DiagnosticCode,
        message: &str,
        help: &str,
    ) {
        let found = Diagnostic::error(self.model_source, span, code, message.to_owned());
        self.diagnostics.push(found.warning().help(help));
    }
}
