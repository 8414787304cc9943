//! TOML tables read key by key, every mistake a diagnostic with its place.
//!
//! limits.toml, tenant.toml and the sidecar's configuration are read with it: unknown keys are
//! refused with the nearest known one, a wrong type says what came.

use std::cell::RefCell;
use std::ops::Range;
use tollgate_engine::{Code, Diagnostic, Diagnostics, Source, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads `source` with `read`, which sees the root table.
///
/// # Errors
/// The syntax errors of the file, or what `read` and the table's own checks found.
pub fn read<T>(
    source: Source<'_>,
    read: impl FnOnce(&Table<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let (root, errors) = DeTable::parse_recoverable(source.text);
    let mut found = Diagnostics::default();
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        let message = error.message().to_owned();
        let span = source.span(range.start, range.end);
        found.push(Diagnostic::error(source, span, Code::TomlSyntax, message));
    }
    if !errors.is_empty() {
        return Err(found);
    }
    let found = RefCell::new(found);
    let table = Table { source, entries: root.get_ref(), span: 0..0, found: &found };
    let value = read(&table);
    let found = found.into_inner();
    match value {
        Some(value) if !found.has_errors() => Ok((value, found)),
        _ => Err(found),
    }
}

/// One table and where it stands.
#[derive(Debug)]
pub struct Table<'t> {
    source: Source<'t>,
    entries: &'t DeTable<'t>,
    span: Range<usize>,
    found: &'t RefCell<Diagnostics>,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
}

impl<'t> Table<'t> {
    /// Reports a finding at a place of this file.
    pub fn report(&self, span: Span, code: Code, message: impl Into<String>) {
        self.push(Diagnostic::error(self.source, span, code, message.into()));
    }

    /// Adds a finding made elsewhere.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub fn source(&self) -> Source<'t> {
        self.source
    }

    /// Where the table begins.
    pub fn span(&self) -> Span {
        self.source.span(self.span.start, self.span.end)
    }

    /// Refuses every key that is not one of `keys`.
    pub fn known(&self, keys: &[&str]) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let span = self.place(key.span());
                let message = format!("there is no key `{name}` here");
                let found = Diagnostic::error(self.source, span, Code::UnknownKey, message);
                self.push(found.did_you_mean(name, keys.iter().copied()));
            }
        }
    }

    /// The keys of this table with their places.
    pub fn keys(&self) -> Vec<At<String>> {
        let at = |key: &Spanned<std::borrow::Cow<'_, str>>| At {
            value: key.get_ref().to_string(),
            span: self.place(key.span()),
        };
        self.entries.keys().map(at).collect()
    }

    /// Reports a key that must be there.
    pub fn missing(&self, key: &str) {
        self.report(self.span(), Code::MissingKey, format!("`{key}` is missing"));
    }

    /// A string.
    pub fn str(&self, key: &str) -> Option<At<String>> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A whole number from 0 to `u64::MAX`.
    pub fn integer(&self, key: &str) -> Option<At<u64>> {
        let text = self.typed(key, "a whole number", |value| {
            value.as_integer().map(|integer| (integer.as_str().replace('_', ""), integer.radix()))
        })?;
        self.number(text.value, text.span)
    }

    fn number(&self, (digits, radix): (String, u32), span: Span) -> Option<At<u64>> {
        match u64::from_str_radix(digits.trim_start_matches('+'), radix) {
            Ok(value) => Some(At { value, span }),
            Err(_) => {
                let message = format!("expected a number from 0 to {}, got {digits}", u64::MAX);
                self.report(span, Code::OutOfRange, message);
                None
            }
        }
    }

    /// True or false.
    pub fn bool(&self, key: &str) -> Option<At<bool>> {
        self.typed(key, "true or false", |value| value.as_bool())
    }

    /// A list of strings.
    pub fn strings(&self, key: &str) -> Option<Vec<At<String>>> {
        let items = self.typed(key, "a list of strings", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span()))).collect()
        })?;
        let items: Vec<(String, Range<usize>)> = items.value;
        Some(items.into_iter().map(|(value, s)| At { value, span: self.place(s) }).collect())
    }

    /// A list of whole numbers from 0 to `u64::MAX`.
    pub fn integers(&self, key: &str) -> Option<Vec<At<u64>>> {
        let items = self.typed(key, "a list of whole numbers", |value| {
            let items = value.as_array()?.iter().map(|item| {
                let number = item.get_ref().as_integer()?;
                Some(((number.as_str().replace('_', ""), number.radix()), item.span()))
            });
            items.collect::<Option<Vec<_>>>()
        })?;
        let read = |(number, span)| self.number(number, self.place(span));
        items.value.into_iter().map(read).collect()
    }

    /// A table below this one.
    pub fn table(&self, key: &str) -> Option<Table<'t>> {
        let value = self.entries.get(key)?;
        match value.get_ref().as_table() {
            Some(entries) => Some(self.below(entries, value.span())),
            None => {
                self.wrong(value, "a table");
                None
            }
        }
    }

    /// A list of tables, as `[[key]]` writes it.
    pub fn tables(&self, key: &str) -> Vec<Table<'t>> {
        let Some(value) = self.entries.get(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(value, "a list of tables");
            return Vec::new();
        };
        let below = |item: &'t Spanned<DeValue<'t>>| match item.get_ref().as_table() {
            Some(entries) => Some(self.below(entries, item.span())),
            None => {
                self.wrong(item, "a table");
                None
            }
        };
        items.iter().filter_map(below).collect()
    }

    /// Whether the key is there, whatever its type.
    pub fn has(&self, key: &str) -> Option<Span> {
        self.entries.get_key_value(key).map(|(key, _)| self.place(key.span()))
    }

    fn below(&self, entries: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
        Table { source: self.source, entries, span, found: self.found }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        get: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.entries.get(key)?;
        match get(value.get_ref()) {
            Some(found) => Some(At { value: found, span: self.place(value.span()) }),
            None => {
                self.wrong(value, expected);
                None
            }
        }
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, expected: &str) {
        let got = value.get_ref().type_str();
        let message = format!("expected {expected}, got {got}");
        self.report(self.place(value.span()), Code::WrongType, message);
    }

    fn place(&self, range: Range<usize>) -> Span {
        self.source.span(range.start, range.end)
    }
}
