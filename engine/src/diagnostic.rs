//! Load errors as data: code, number, severity, file, span, labels, help.
//!
//! The CLI draws them, the log carries the same fields; nothing here prints. Every code has its
//! page in docs/reference/errors.md (`cargo xtask tidy` checks). To add a code: one row in `codes!`,
//! one page, one bad file in a golden test.

use crate::bounds::DIAGNOSTICS_MAX;

macro_rules! codes {
    ($($variant:ident $number:literal $name:literal),* $(,)?) => {
        /// The stable code of a load diagnostic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($variant),* }

        impl Code {
            /// Every code in the order of its number.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The stable number, 1xxx.
            pub const fn number(self) -> u16 {
                match self { $(Code::$variant => $number),* }
            }

            /// The stable word.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }
        }
    };
}

codes! {
    MissingSection 1101 "missing-section",
    FieldCount 1102 "field-count",
    UnknownSection 1103 "unknown-section",
    MalformedLine 1104 "malformed-line",
    DuplicateDefinition 1105 "duplicate-definition",
    UnknownEffect 1106 "unknown-effect",
    UnknownToken 1108 "unknown-token",
    Syntax 1109 "syntax",
    UnknownFunction 1110 "unknown-function",
    UnsupportedFunction 1111 "unsupported-function",
    ArgumentCount 1112 "argument-count",
    ArgumentKind 1113 "argument-kind",
    UnboundToken 1114 "unbound-token",
    DomainNotImplied 1115 "domain-not-implied",
    UnknownPtype 1116 "unknown-ptype",
    MalformedRow 1117 "malformed-row",
    DuplicateRow 1118 "duplicate-row",
    UnknownEffectValue 1119 "unknown-effect-value",
    BadPattern 1120 "bad-pattern",
    PatternTooLarge 1121 "pattern-too-large",
    RoleDepth 1123 "role-depth",
    BoundExceeded 1124 "bound-exceeded",
    WildcardLink 1125 "wildcard-link",
    ForeignDomain 1126 "foreign-domain",
    DuplicateTenant 1127 "duplicate-tenant",
    UnsupportedDefinition 1128 "unsupported-definition",
    NotUtf8 1129 "not-utf8",
    MissingFile 1130 "missing-file",
    AllowsByDefault 1131 "allows-by-default",
    CommentInValue 1132 "comment-in-value",
    ScannedPolicy 1133 "scanned-policy",
    BadPriority 1134 "bad-priority",
    TomlSyntax 1140 "toml-syntax",
    UnknownKey 1141 "unknown-key",
    WrongType 1142 "wrong-type",
    MissingKey 1143 "missing-key",
    BadRate 1144 "bad-rate",
    OutOfRange 1146 "out-of-range",
    DuplicateLimit 1147 "duplicate-limit",
    UnknownDimension 1148 "unknown-dimension",
    BadName 1149 "bad-name",
    YamlSyntax 1150 "yaml-syntax",
    NoTests 1152 "no-tests",
    BadTime 1153 "bad-time",
    JsonSyntax 1154 "json-syntax",
    SchemaViolation 1155 "schema-violation",
    UnknownVariable 1160 "unknown-variable",
    UnreachableRule 1170 "unreachable-rule",
    ShadowedRule 1171 "shadowed-rule",
    NeverMatches 1172 "never-matches",
    OverlappingPatterns 1173 "overlapping-patterns",
    BroadPattern 1174 "broad-pattern",
    UnknownRole 1175 "unknown-role",
    UnusedRole 1176 "unused-role",
    DialectDifference 1177 "dialect-difference",
    UnusedAllowance 1178 "unused-allowance",
    UnmetLimit 1179 "unmet-limit",
}

impl Code {
    /// The code with this name or number.
    pub fn find(text: &str) -> Option<Code> {
        let number = text.parse::<u16>().ok();
        Code::ALL.iter().copied().find(|code| code.name() == text || Some(code.number()) == number)
    }
}

/// An error keeps the file from loading; a warning is probably a mistake, an info only something to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// Where in a file: bytes from `start` to `end`; `line` and `column` count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub line: usize,
    pub column: usize,
}

/// A second place, or a word under the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// One finding about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    pub file: String,
    pub span: Span,
    pub labels: Vec<Label>,
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span` of `source`.
    pub fn error(source: Source<'_>, span: Span, code: Code, message: String) -> Diagnostic {
        let file = source.file.to_owned();
        let (labels, help) = (Vec::new(), None);
        Diagnostic { code, severity: Severity::Error, message, file, span, labels, help }
    }

    /// The same finding, but the file loads.
    #[must_use]
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Words under the span, such as what was expected there.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span: self.span, text: text.into() });
        self
    }

    /// Words at another place of the same file.
    #[must_use]
    pub fn label_at(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// A did-you-mean label when one of `known` is close to `name`.
    #[must_use]
    pub fn did_you_mean<'k>(
        self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Diagnostic {
        match nearest(name, known) {
            Some(close) => self.label(format!("did you mean `{close}`?")),
            None => self,
        }
    }
}

/// The findings of one load, at most `DIAGNOSTICS_MAX` of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one finding, unless the load has enough of them or this one already: a row that belongs
    /// to several tenants is compiled for each.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < DIAGNOSTICS_MAX && !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    /// Adds the findings of another file.
    pub fn append(&mut self, other: Diagnostics) {
        other.found.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether anything here keeps the file from loading.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether no more findings are taken.
    pub fn is_full(&self) -> bool {
        self.found.len() >= DIAGNOSTICS_MAX
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A file's name and text: what a span points into.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    /// The span of bytes `start..end`, with the line and column of its start.
    pub fn span(&self, start: usize, end: usize) -> Span {
        let before = self.text.get(..start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        let column = before.get(line_start..).map_or(0, |text| text.chars().count()) + 1;
        Span { start, end: end.max(start), line, column }
    }

    /// The span of `part`, which must be a slice of this text; otherwise the start of the file.
    pub fn span_of(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        match start <= self.text.len() {
            true => self.span(start, start + part.len()),
            false => self.span(0, 0),
        }
    }
}

/// The word of `known` that is close enough to `name` to be what was meant.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(name, word), word))
        .filter(|(distance, word)| *distance * 3 <= word.chars().count().max(3))
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_by_name_and_number() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number());
        }
        for code in Code::ALL {
            assert_eq!(Code::find(code.name()), Some(*code));
            assert_eq!(Code::find(&code.number().to_string()), Some(*code));
        }
        assert_eq!(Code::find("1107x"), None);
    }

    #[test]
    fn spans_count_lines_and_characters_from_one() {
        let source = Source { file: "f", text: "ab\nçd\ne" };
        let span = source.span_of(&source.text[5..6]);
        assert_eq!((span.line, span.column, span.start), (2, 2, 5));
        assert_eq!(source.span(0, 0).line, 1);
    }

    #[test]
    fn a_load_reports_a_bounded_number_of_findings() {
        let source = Source { file: "f", text: "x" };
        let mut found = Diagnostics::default();
        let finding =
            |n: usize| Diagnostic::error(source, source.span(0, 1), Code::Syntax, n.to_string());
        found.push(finding(0));
        found.push(finding(0));
        assert_eq!(found.iter().count(), 1, "the same finding twice");
        (0..=DIAGNOSTICS_MAX).for_each(|n| found.push(finding(n)));
        assert_eq!(found.iter().count(), DIAGNOSTICS_MAX);
    }

    #[test]
    fn only_a_close_word_is_suggested() {
        assert_eq!(nearest("departmnt", ["department", "clearance"]), Some("department"));
        assert_eq!(nearest("keyMach", ["keyMatch", "keyMatch2"]), Some("keyMatch"));
        assert_eq!(nearest("zebra", ["department", "clearance"]), None);
    }
}
