//! A test report as JUnit XML, for those who show it in CI.

use std::fmt::Write;

/// One row of tests.yaml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// One folder's rows.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) folder: String,
    pub(super) cases: Vec<Case>,
    /// Why none could run.
    pub(super) error: Option<String>,
}

/// The whole document.
pub(super) fn document(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let failures = suite.cases.iter().filter(|case| case.failure.is_some()).count();
        let (tests, errors) = (suite.cases.len(), usize::from(suite.error.is_some()));
        let folder = escaped(&suite.folder);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{folder}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">",
            tests + errors
        );
        if let Some(error) = &suite.error {
            let error = escaped(error);
            let _ = writeln!(
                out,
                "    <testcase name=\"load\" classname=\"{folder}\"><error message=\"{error}\"/></testcase>"
            );
        }
        for case in &suite.cases {
            let name = escaped(&case.name);
            let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{folder}\"");
            let _ = match &case.failure {
                None => writeln!(out, "/>"),
                Some(why) => {
                    writeln!(out, "><failure message=\"{}\"/></testcase>", escaped(why))
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text as XML 1.0 takes it in an attribute; what it cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\t' | '\n' | '\r' => format!("&#{};", u32::from(c)),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}'.to_string(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_names() {
        let case = Case { name: "\"/><x>\u{1}&\n".to_owned(), failure: Some("<".to_owned()) };
        let suite = Suite { folder: "p".to_owned(), cases: vec![case], error: None };
        let text = document(&[suite]);
        assert!(text.contains("&quot;/&gt;&lt;x&gt;\u{fffd}&amp;&#10;"), "{text}");
        assert!(text.contains("tests=\"1\" failures=\"1\" errors=\"0\""), "{text}");
    }
}
