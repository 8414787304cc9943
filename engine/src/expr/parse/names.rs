//! Names of an expression: request tokens, policy columns, role functions, built-in functions and those of the host.

use crate::diagnostic::Code;
use crate::dialect::Dialect;
use crate::expr::ast::{Expr, ExprKind, Function};
use crate::expr::error::ParseError;
use crate::expr::lex::{Kind, Token};
use crate::expr::parse::{Parsed, Parser};

impl Parser<'_> {
    pub(super) fn named(&mut self, name: &str, token: &Token, depth: usize) -> Parsed {
        let (start, end) = (token.start, token.end);
        match name {
            "true" | "false" => {
                return Ok(Expr { kind: ExprKind::Bool(name == "true"), start, end });
            }
            // Go has rewritten those that it reads.
            _ if self.is_prefix(name)
                && self.next_is(&Kind::Dot)
                && self.names.dialect != Dialect::CasbinGo =>
            {
                self.at += 1;
                let Some(Token { kind: Kind::Name(member), end, .. }) = self.next() else {
                    let message = format!("`{name}.` needs a name behind the point");
                    return Err(ParseError::new(Code::Syntax, start, end, message));
                };
                return Ok(self.reference(name, &member, start, end));
            }
            _ => {}
        }
        if is_definition(name) && self.next_is(&Kind::Dot) {
            return Ok(self.foreign(name, start, end));
        }
        if self.names.dialect.is_casbin() {
            let (request, policy) = self.names.prefixes;
            for side in [request, policy] {
                let member = name.strip_prefix(side).and_then(|rest| rest.strip_prefix('_'));
                if let Some(member) = member {
                    return Ok(self.reference(side, member, start, end));
                }
            }
        }
        if self.next_is(&Kind::Open) {
            self.at += 1;
            let (arguments, end) = self.items(&Kind::Close, depth)?;
            return Ok(self.call(name, arguments, start, end));
        }
        let message =
            format!("`{name}` is neither a request token, a policy column nor a function");
        self.errors
            .push(ParseError::new(Code::UnknownToken, start, end, message).help(self.names_help()));
        Ok(Expr { kind: ExprKind::Bool(false), start, end })
    }

    /// `r.sub` in a context of `r2`, or `p3.obj` in none.
    fn foreign(&mut self, name: &str, start: usize, mut end: usize) -> Expr {
        while self.next_is(&Kind::Dot) {
            self.at += 1;
            if let Some(token) = self.next() {
                end = token.end;
            }
        }
        let message = format!("this matcher does not read `{name}`");
        let error = ParseError::new(Code::UnknownToken, start, end, message);
        self.errors.push(error.help(self.names_help()));
        Expr { kind: ExprKind::Bool(false), start, end }
    }

    /// `r.sub`, `r.sub.x`, `p.obj`.
    fn reference(&mut self, side: &str, member: &str, start: usize, mut end: usize) -> Expr {
        let mut path = Vec::new();
        while self.next_is(&Kind::Dot) {
            self.at += 1;
            match self.next() {
                Some(Token { kind: Kind::Name(part), end: part_end, .. }) => {
                    path.push(part);
                    end = part_end;
                }
                _ => {
                    let message = "a name must follow the point".to_owned();
                    self.errors.push(ParseError::new(Code::Syntax, start, end, message));
                }
            }
        }
        let is_request = side == self.names.prefixes.0;
        let (known, what) = match is_request {
            true => (self.names.request, "the request definition"),
            false => (self.names.policy, "the policy definition"),
        };
        let position = known.iter().position(|name| name == member);
        if position.is_none() {
            let message = format!("{what} has no `{member}`");
            self.errors.push(
                ParseError::new(Code::UnknownToken, start, end, message)
                    .suggest(member, known.iter().map(String::as_str)),
            );
        } else if !is_request && !path.is_empty() {
            let message = format!("a policy cell has no attribute `{}`", path.join("."));
            self.errors.push(ParseError::new(Code::UnknownToken, start, end, message));
        }
        let position = position.unwrap_or(0);
        let kind = match is_request {
            true => ExprKind::Request { token: position, path: path.join(".") },
            false => ExprKind::Policy { column: position },
        };
        Expr { kind, start, end }
    }

    fn call(&mut self, name: &str, arguments: Vec<Expr>, start: usize, end: usize) -> Expr {
        let role = self.names.roles.iter().position(|role| role.name == name);
        if name == "eval" && role.is_none() {
            return self.eval(&arguments, start, end);
        }
        let (function, expected) = match role.map_or_else(
            || self.function(name),
            |index| {
                let arity = self.names.roles.get(index).map_or(2, |role| role.arity);
                Some((Function::Role(index), arity))
            },
        ) {
            Some(found) => found,
            None => {
                self.errors.push(self.unknown_function(name, start));
                return Expr { kind: ExprKind::Bool(false), start, end };
            }
        };
        if arguments.len() != expected {
            let message =
                format!("`{name}` takes {expected} arguments, {} are given", arguments.len());
            self.errors.push(ParseError::new(Code::ArgumentCount, start, end, message));
        } else if function.takes_pattern() {
            self.check_pattern(name, &arguments);
        }
        Expr { kind: ExprKind::Call(function, arguments), start, end }
    }

    /// A built-in function or one of the host, with the number of its arguments.
    fn function(&self, name: &str) -> Option<(Function, usize)> {
        let custom = self.names.functions.iter().position(|function| function.name == name);
        if let Some((index, function)) =
            custom.and_then(|at| Some((at, self.names.functions.get(at)?)))
        {
            return Some((Function::Custom(index), function.arity));
        }
        let (_, function) = Function::BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some((*function, 2 + usize::from(function.gets_a_name())))
    }

    fn is_prefix(&self, name: &str) -> bool {
        let (request, policy) = self.names.prefixes;
        name == request || name == policy
    }

    fn names_help(&self) -> String {
        let (request, policy) = self.names.prefixes;
        format!("write {request}.<token> for the request and {policy}.<column> for the policy row")
    }

    fn eval(&mut self, arguments: &[Expr], start: usize, end: usize) -> Expr {
        let kind = match arguments.first().map(|argument| &argument.kind) {
            Some(ExprKind::Policy { column }) if arguments.len() == 1 => {
                ExprKind::Eval { column: *column }
            }
            _ => {
                let message = "`eval` takes one policy column".to_owned();
                self.errors.push(
                    ParseError::new(Code::ArgumentKind, start, end, message)
                        .help("each row's expression is compiled when the policy loads"),
                );
                ExprKind::Bool(false)
            }
        };
        Expr { kind, start, end }
    }

    fn check_pattern(&mut self, name: &str, arguments: &[Expr]) {
        let Some(pattern) = arguments.get(1) else { return };
        if !matches!(pattern.kind, ExprKind::Policy { .. } | ExprKind::Str(_)) {
            let message = format!("the pattern of `{name}` must be a policy column or a string");
            self.errors.push(
                ParseError::new(Code::ArgumentKind, pattern.start, pattern.end, message)
                    .help("patterns are compiled when the policy loads, never per request"),
            );
        }
    }

    fn unknown_function(&self, name: &str, start: usize) -> ParseError {
        let end = start + name.len();
        if Function::UNSUPPORTED.contains(&name) {
            let message = format!("`{name}` cannot be compiled by this version");
            return ParseError::new(Code::UnsupportedFunction, start, end, message).help(
                "use keyMatch to keyMatch5, keyGet to keyGet3, globMatch, regexMatch or ipMatch",
            );
        }
        let roles = self.names.roles.iter().map(|role| role.name.as_str());
        let custom = self.names.functions.iter().map(|function| function.name);
        let known = Function::BUILT_IN.iter().map(|(known, _)| *known).chain(roles).chain(custom);
        let message = format!("there is no function `{name}`");
        let error = ParseError::new(Code::UnknownFunction, start, end, message);
        match name.strip_prefix('g').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit())) {
            true => error.help(format!("define `{name} = _, _` under [role_definition]")),
            false => error.suggest(name, known),
        }
    }
}

/// `r`, `p`, `r2`, `p2`, ….
fn is_definition(name: &str) -> bool {
    let digits = name.strip_prefix(['r', 'p']);
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}
