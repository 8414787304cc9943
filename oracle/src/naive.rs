//! The strict semantics written down as plainly as possible: every row, every time, from the tree.
//!
//! It shares the parser with the engine and nothing else: values compare here, roles are walked
//! here, patterns are regular expressions made here. Property tests hold the engine against it.

use globset::GlobBuilder;
use regex::Regex;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use tollgate_engine::ast::{Expr, ExprKind, Function, Operator};
use tollgate_engine::{EffectRule, Model, Rows, Value, parse_expression};

/// What the policy says; rules are positions in `Rows::rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Allow(Option<usize>),
    Deny(usize),
    Error(usize),
    NoRule,
}

/// A model and its rows.
#[derive(Debug, Clone, Copy)]
pub struct Naive<'a> {
    pub model: &'a Model,
    pub rows: &'a Rows<'a>,
    /// When, as links write it: `2026-06-01 12:00:00`.
    pub now: &'a str,
}

/// Reads a value of the request: position of the token, dotted path (empty for the token itself).
pub type Lookup<'a> = dyn Fn(usize, &str) -> Value<'a> + 'a;

impl Naive<'_> {
    /// Decides one request.
    pub fn decide<'v>(&'v self, lookup: &Lookup<'v>) -> Outcome {
        let mut allow = None;
        let mut deny = None;
        let mut unknown = None;
        let effect_column = self.model.effect_column();
        for (position, row) in self.rows.rules.iter().enumerate() {
            let denies = effect_column.is_some_and(|column| row.cells[column] == "deny");
            let truth = match self.eval(&self.model.matcher, lookup, &row.cells) {
                Answer::Value(Value::Bool(truth)) => Some(truth),
                _ => None,
            };
            match (denies, truth) {
                (false, Some(true)) => allow = allow.or(Some(position)),
                (true, Some(true)) => deny = deny.or(Some(position)),
                (true, None) => unknown = unknown.or(Some(position)),
                _ => {}
            }
        }
        let refusal = deny.map(Outcome::Deny).or(unknown.map(Outcome::Error));
        match self.model.effect {
            EffectRule::AllowOverride => {
                allow.map_or(Outcome::NoRule, |rule| Outcome::Allow(Some(rule)))
            }
            EffectRule::DenyOverride => refusal.unwrap_or(Outcome::Allow(allow)),
            EffectRule::AllowAndDeny => refusal.unwrap_or_else(|| {
                allow.map_or(Outcome::NoRule, |rule| Outcome::Allow(Some(rule)))
            }),
            EffectRule::Priority | EffectRule::SubjectPriority => {
                let mut best = (usize::MAX, Outcome::NoRule);
                for (position, outcome) in [
                    (deny, deny.map(Outcome::Deny)),
                    (unknown, unknown.map(Outcome::Error)),
                    (allow, Some(Outcome::Allow(allow))),
                ] {
                    if let (Some(position), Some(outcome)) = (position, outcome)
                        && position < best.0
                    {
                        best = (position, outcome);
                    }
                }
                best.1
            }
        }
    }

    fn eval<'v>(&'v self, expr: &'v Expr, lookup: &Lookup<'v>, row: &[&'v str]) -> Answer<'v> {
        let eval = |expr: &'v Expr| self.eval(expr, lookup, row);
        match &expr.kind {
            ExprKind::Str(text) => Answer::Value(Value::Str(text)),
            ExprKind::Number(value) => Answer::Value(*value),
            ExprKind::Bool(bool) => Answer::Value(Value::Bool(*bool)),
            ExprKind::Request { token, path } => match lookup(*token, path) {
                Value::Missing => Answer::Unknown,
                value => Answer::Value(value),
            },
            ExprKind::Policy { column } => Answer::Value(Value::Str(row[*column])),
            ExprKind::Not(inner) => match eval(inner).truth() {
                Some(truth) => Answer::Value(Value::Bool(!truth)),
                None => Answer::Unknown,
            },
            ExprKind::Negate(inner) => match eval(inner).number() {
                Some((mantissa, scale)) => number(-mantissa, scale),
                None => Answer::Unknown,
            },
            ExprKind::Binary(operator, left, right) => match operator {
                Operator::And => match (eval(left).truth(), eval(right).truth()) {
                    (Some(false), _) | (_, Some(false)) => Answer::Value(Value::Bool(false)),
                    (Some(true), Some(true)) => Answer::Value(Value::Bool(true)),
                    _ => Answer::Unknown,
                },
                Operator::Or => match (eval(left).truth(), eval(right).truth()) {
                    (Some(true), _) | (_, Some(true)) => Answer::Value(Value::Bool(true)),
                    (Some(false), Some(false)) => Answer::Value(Value::Bool(false)),
                    _ => Answer::Unknown,
                },
                Operator::In => {
                    let Answer::Value(needle) = eval(left) else { return Answer::Unknown };
                    let items: Vec<Answer<'v>> = match &right.kind {
                        ExprKind::List(items) => items.iter().map(eval).collect(),
                        _ => match eval(right) {
                            Answer::Value(Value::List(items)) => {
                                items.iter().map(|item| Answer::Value(*item)).collect()
                            }
                            _ => return Answer::Unknown,
                        },
                    };
                    let mut answer = Answer::Value(Value::Bool(false));
                    for item in items {
                        match item.value().and_then(|item| equal(&needle, &item)) {
                            Some(true) => return Answer::Value(Value::Bool(true)),
                            Some(false) => {}
                            None => answer = Answer::Unknown,
                        }
                    }
                    answer
                }
                _ => self.binary(*operator, eval(left), eval(right)),
            },
            ExprKind::List(_) => Answer::Unknown,
            ExprKind::Eval { column } => eval(self.parsed(row[*column])),
            ExprKind::Call(function, arguments) => {
                let mut texts = Vec::new();
                for argument in arguments {
                    match eval(argument) {
                        Answer::Value(Value::Str(text)) => texts.push(text),
                        _ => return Answer::Unknown,
                    }
                }
                if let Some(text) = gotten(*function, &texts) {
                    return Answer::Value(Value::Str(text));
                }
                match self.call(*function, &texts) {
                    Some(truth) => Answer::Value(Value::Bool(truth)),
                    None => Answer::Unknown,
                }
            }
        }
    }

    fn binary<'v>(&self, operator: Operator, left: Answer<'v>, right: Answer<'v>) -> Answer<'v> {
        let (Some(a), Some(b)) = (left.value(), right.value()) else { return Answer::Unknown };
        let truth = match operator {
            Operator::Equal => equal(&a, &b),
            Operator::NotEqual => equal(&a, &b).map(|truth| !truth),
            Operator::Less => order(&a, &b).map(|order| order == Ordering::Less),
            Operator::LessEqual => order(&a, &b).map(|order| order != Ordering::Greater),
            Operator::Greater => order(&a, &b).map(|order| order == Ordering::Greater),
            Operator::GreaterEqual => order(&a, &b).map(|order| order != Ordering::Less),
            _ => return arithmetic(operator, &left, &right),
        };
        truth.map_or(Answer::Unknown, |truth| Answer::Value(Value::Bool(truth)))
    }

    fn call(&self, function: Function, texts: &[&str]) -> Option<bool> {
        match function {
            Function::Role(graph) => {
                Some(self.reaches(graph, texts[0], texts[1], texts.get(2).copied()))
            }
            Function::KeyMatch => Some(match texts[1].find('*') {
                Some(star) => texts[0].as_bytes().starts_with(&texts[1].as_bytes()[..star]),
                None => texts[0] == texts[1],
            }),
            Function::KeyMatch2 => Some(path_regex(texts[1]).is_match(texts[0])),
            Function::KeyMatch3 => Some(names_agree(texts[1], texts[0], false)),
            Function::KeyMatch4 => Some(names_agree(texts[1], texts[0], true)),
            Function::KeyMatch5 => {
                let path = texts[0].split('?').next().unwrap_or("");
                Some(names_agree(texts[1], path, false))
            }
            Function::GlobMatch => {
                let glob = GlobBuilder::new(texts[1]).literal_separator(true).build().ok()?;
                Some(glob.compile_matcher().is_match(texts[0]))
            }
            Function::RegexMatch => Some(Regex::new(texts[1]).ok()?.is_match(texts[0])),
            Function::IpMatch => in_network(texts[0], texts[1]),
            Function::KeyGet | Function::KeyGet2 | Function::KeyGet3 | Function::Custom(_) => None,
        }
    }

    /// A row's own expression. What was parsed once is kept until the tests end.
    fn parsed(&self, text: &str) -> &'static Expr {
        thread_local! {
            static KNOWN: RefCell<HashMap<String, &'static Expr>> = RefCell::default();
        }
        let (names, (r, p)) = (self.model.names(), &self.model.prefixes);
        let (request, policy, roles) = (names.request, names.policy, names.roles);
        let parse = || {
            let expr = parse_expression(text, names);
            let expr = expr.expect("the engine refuses what does not parse");
            &*Box::leak(Box::new(expr))
        };
        let key = format!("{r} {p} {request:?} {policy:?} {roles:?} {text}");
        KNOWN.with_borrow_mut(|known| *known.entry(key).or_insert_with(parse))
    }

    fn reaches(&self, graph: usize, member: &str, role: &str, tenant: Option<&str>) -> bool {
        let definition = &self.model.roles[graph];
        let links = &self.rows.links[graph];
        let stands_under = |function: Option<Function>, pattern: &str, name: &str| {
            let function = function.filter(|function| match function {
                Function::KeyMatch => pattern.contains('*'),
                Function::KeyMatch2 => pattern.contains(['*', ':']),
                Function::GlobMatch => pattern.contains(['*', '?', '[', '{']),
                _ => pattern.contains(['*', '{']),
            });
            function.is_some_and(|function| self.call(function, &[name, pattern]) == Some(true))
        };
        let holds = |cells: &[&str]| {
            let time = !definition.is_timed || {
                let (start, end) = (cells[definition.arity], cells[definition.arity + 1]);
                (start == "_" || start < self.now) && (end == "_" || self.now < end)
            };
            let pattern = definition.domain_pattern;
            time && tenant.is_none_or(|own| cells[2] == own || stands_under(pattern, cells[2], own))
        };
        let mut reached = vec![member];
        for _ in 0..=2 * links.len() {
            for link in links {
                let (from, to) = (link.cells[0], link.cells[1]);
                let under: Vec<&str> = [from, to]
                    .into_iter()
                    .filter(|name| {
                        let mut all = reached.iter();
                        all.any(|own| stands_under(definition.name_pattern, name, own))
                    })
                    .collect();
                reached.extend(under);
                if holds(&link.cells) && reached.contains(&from) {
                    reached.push(to);
                }
                reached.sort_unstable();
                reached.dedup();
            }
        }
        reached.contains(&role)
    }
}

/// A value, or unknown.
#[derive(Debug, Clone, Copy)]
enum Answer<'v> {
    Value(Value<'v>),
    Unknown,
}

impl<'v> Answer<'v> {
    fn value(self) -> Option<Value<'v>> {
        match self {
            Answer::Value(value) => Some(value),
            Answer::Unknown => None,
        }
    }

    fn truth(self) -> Option<bool> {
        match self {
            Answer::Value(Value::Bool(truth)) => Some(truth),
            _ => None,
        }
    }

    fn number(self) -> Option<(i128, u32)> {
        match self {
            Answer::Value(Value::Int(int)) => Some((i128::from(int), 0)),
            Answer::Value(Value::Dec { mantissa, scale }) => {
                Some((i128::from(mantissa), u32::from(scale)))
            }
            _ => None,
        }
    }
}

fn equal(a: &Value<'_>, b: &Value<'_>) -> Option<bool> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Bool(a), Value::Bool(b)) => Some(a == b),
        _ => order(a, b).map(|order| order == Ordering::Equal),
    }
}

fn order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    if let (Value::Str(a), Value::Str(b)) = (a, b) {
        return Some(a.cmp(b));
    }
    let ((a, a_scale), (b, b_scale)) = (Answer::Value(*a).number()?, Answer::Value(*b).number()?);
    let scale = a_scale.max(b_scale);
    Some((a * 10i128.pow(scale - a_scale)).cmp(&(b * 10i128.pow(scale - b_scale))))
}

/// `mantissa / 10^scale`, if it is a value.
fn number(mut mantissa: i128, mut scale: u32) -> Answer<'static> {
    while scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    match (i64::try_from(mantissa), scale) {
        (Ok(int), 0) => Answer::Value(Value::Int(int)),
        (Ok(mantissa), 1..=18) => Answer::Value(Value::Dec { mantissa, scale: scale as u8 }),
        _ => Answer::Unknown,
    }
}

fn arithmetic(operator: Operator, left: &Answer<'_>, right: &Answer<'_>) -> Answer<'static> {
    let (Some((a, a_scale)), Some((b, b_scale))) = (left.number(), right.number()) else {
        return Answer::Unknown;
    };
    let scale = a_scale.max(b_scale);
    let (x, y) = (a * 10i128.pow(scale - a_scale), b * 10i128.pow(scale - b_scale));
    match operator {
        Operator::Add => number(x + y, scale),
        Operator::Subtract => number(x - y, scale),
        Operator::Multiply => number(a * b, a_scale + b_scale),
        Operator::Remainder if y != 0 => number(x % y, scale),
        Operator::Divide if y != 0 => (0..=18)
            .find(|digits| (x * 10i128.pow(*digits)) % y == 0)
            .map_or(Answer::Unknown, |digits| number(x * 10i128.pow(digits) / y, digits)),
        _ => Answer::Unknown,
    }
}

/// keyMatch2 as an expression: `:name` is a segment, `/*` a slash and a rest, the rest is literal.
fn path_regex(pattern: &str) -> Regex {
    let mut expression = String::from("^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("/*") {
            expression.push_str("/.*");
            2
        } else if c == ':' {
            expression.push_str("[^/]+");
            rest.find('/').unwrap_or(rest.len())
        } else {
            expression.push_str(&regex::escape(&c.to_string()));
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    Regex::new(&format!("{expression}$")).expect("an escaped pattern is an expression")
}

/// keyMatch3 as an expression with a group for each name; with `are_equal`, equal names must have found equal texts.
fn names_agree(pattern: &str, text: &str, are_equal: bool) -> bool {
    let (mut expression, mut names) = (String::from("^"), Vec::new());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("/*") {
            expression.push_str("/.*");
            2
        } else if c == '{' {
            let end = rest.find('}').expect("the engine refuses what is not closed");
            names.push(&rest[1..end]);
            expression.push_str("([^/]+)");
            end + 1
        } else {
            expression.push_str(&regex::escape(&c.to_string()));
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    let regex = Regex::new(&format!("{expression}$")).expect("an escaped pattern is an expression");
    let Some(found) = regex.captures(text) else { return false };
    let value = |at: usize| found.get(at + 1).map(|group| group.as_str());
    !are_equal
        || (0..names.len()).all(|one| {
            (0..one).all(|other| names[one] != names[other] || value(one) == value(other))
        })
}

/// What the keyGet functions answer.
fn gotten<'t>(function: Function, texts: &[&'t str]) -> Option<&'t str> {
    let (text, pattern) = (*texts.first()?, *texts.get(1)?);
    let open = match function {
        Function::KeyGet => {
            let prefix = pattern.find('*').map(|star| &pattern[..star]);
            return Some(prefix.and_then(|prefix| text.strip_prefix(prefix)).unwrap_or(""));
        }
        Function::KeyGet2 => ":",
        Function::KeyGet3 => "{",
        _ => return None,
    };
    let (mut expression, mut wanted) = (String::new(), None);
    for (at, segment) in pattern.split('/').enumerate() {
        if at > 0 {
            expression.push('/');
        }
        let name = segment.strip_prefix(open);
        if wanted.is_none() && name.is_some_and(|name| name.trim_end_matches('}') == texts[2]) {
            wanted = Some(at);
        }
        match (name, segment.strip_prefix('*')) {
            (Some(_), _) => expression.push_str("[^/]+"),
            (None, Some(text)) => expression.push_str(&format!(".*{}", regex::escape(text))),
            (None, None) => expression.push_str(&regex::escape(segment)),
        }
    }
    let regex = Regex::new(&format!("^{expression}$")).ok()?;
    Some(
        wanted
            .filter(|_| regex.is_match(text))
            .and_then(|at| text.split('/').nth(at))
            .unwrap_or(""),
    )
}

fn in_network(address: &str, network: &str) -> Option<bool> {
    let bits_of = |text: &str| match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(v4) => Some((u128::from(u32::from(v4)), 32u32)),
        IpAddr::V6(v6) => Some((u128::from(v6), 128)),
    };
    let (base, prefix) = match network.split_once('/') {
        Some((base, prefix)) => (bits_of(base)?, Some(prefix.parse::<u32>().ok()?)),
        None => (bits_of(network)?, None),
    };
    let address = bits_of(address)?;
    let prefix = prefix.unwrap_or(base.1);
    if prefix > base.1 {
        return None;
    }
    let shift = base.1 - prefix;
    let head = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
    Some(address.1 == base.1 && head(address.0) == head(base.0))
}
