//! Whether one rule's cell accepts all that another's does, or something that the other does, too.

use crate::builtin::finite_set::finite_set;
use crate::builtin::ip::covers as network_covers;
use crate::expr::ast::Function;

/// Whether every text that the pattern `narrow` accepts is accepted by `wide`; false where nothing is known.
pub(super) fn covers(function: Function, wide: &str, narrow: &str) -> bool {
    if wide == narrow {
        return true;
    }
    match function {
        Function::RegexMatch => match (finite_set(wide), finite_set(narrow)) {
            (Some(wide), Some(narrow)) => narrow.iter().all(|text| wide.contains(text)),
            _ => false,
        },
        Function::IpMatch => network_covers(wide, narrow),
        _ => match (Shape::of(function, wide), Shape::of(function, narrow)) {
            (Some(wide), Some(narrow)) => wide.covers(&narrow),
            _ => false,
        },
    }
}

/// Whether some path is accepted by both patterns; false where nothing is known.
pub(super) fn overlap(function: Function, one: &str, other: &str) -> bool {
    match (Shape::of(function, one), Shape::of(function, other)) {
        (Some(one), Some(other)) => one.overlaps(&other),
        _ => false,
    }
}

/// A path pattern by its segments; `None` is a name.
#[derive(Debug)]
struct Shape<'t> {
    segments: Vec<Option<&'t str>>,
    /// Ends in `/*`.
    has_rest: bool,
}

impl<'t> Shape<'t> {
    /// `None`: the pattern says more than whole segments and a rest.
    fn of(function: Function, pattern: &'t str) -> Option<Shape<'t>> {
        let (front, has_rest) = match pattern.strip_suffix("/*") {
            Some(front) => (front, true),
            None => (pattern, false),
        };
        if front.contains('*') {
            return None;
        }
        let segment = |segment: &'t str| match function {
            Function::KeyMatch => Some(Some(segment)),
            Function::KeyMatch2 if segment.starts_with(':') => Some(None),
            Function::KeyMatch2 => (!segment.contains(':')).then_some(Some(segment)),
            Function::KeyMatch3 | Function::KeyMatch5 => {
                let is_name = segment.starts_with('{') && segment.ends_with('}');
                match is_name && segment.matches('{').count() == 1 {
                    true => Some(None),
                    false => (!segment.contains('{')).then_some(Some(segment)),
                }
            }
            _ => None,
        };
        let segments = front.split('/').map(segment).collect::<Option<Vec<_>>>()?;
        Some(Shape { segments, has_rest })
    }

    fn covers(&self, narrow: &Shape<'_>) -> bool {
        let (mine, theirs) = (self.segments.len(), narrow.segments.len());
        let lengths = match self.has_rest {
            true => theirs > mine || (theirs == mine && narrow.has_rest),
            false => theirs == mine && !narrow.has_rest,
        };
        let covers = |pair: (&Option<&str>, &Option<&str>)| match pair {
            (None, None) => true,
            (None, Some(text)) => !text.is_empty(),
            (Some(one), Some(other)) => one == other,
            (Some(_), None) => false,
        };
        lengths && self.segments.iter().zip(&narrow.segments).all(covers)
    }

    fn overlaps(&self, other: &Shape<'_>) -> bool {
        let (mine, theirs) = (self.segments.len(), other.segments.len());
        let lengths = match (self.has_rest, other.has_rest) {
            (false, false) => mine == theirs,
            (true, false) => theirs > mine,
            (false, true) => mine > theirs,
            (true, true) => true,
        };
        let meets = |pair: (&Option<&str>, &Option<&str>)| match pair {
            (Some(one), Some(other)) => one == other,
            (None, Some(text)) | (Some(text), None) => !text.is_empty(),
            (None, None) => true,
        };
        lengths && self.segments.iter().zip(&other.segments).all(meets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_and_overlap() {
        use Function::{IpMatch, KeyMatch, KeyMatch2, KeyMatch3, RegexMatch};
        for (function, wide, narrow, covered, overlapping) in [
            (KeyMatch2, "/a/*", "/a/:id", true, true),
            (KeyMatch2, "/a/:id", "/a/*", false, true),
            (KeyMatch2, "/a/*", "/a/b/c", true, true),
            (KeyMatch2, "/a/*", "/a", false, false),
            (KeyMatch2, "/:x/b", "/a/:y", false, true),
            (KeyMatch2, "/:x/b", "/a/b", true, true),
            (KeyMatch2, "/:x", "/", false, false),
            (KeyMatch2, "/*", "/a/*", true, true),
            (KeyMatch, "/a/*", "/a/b", true, true),
            (KeyMatch, "/a*", "/ab", false, false),
            (KeyMatch3, "/{x}/b", "/a/b", true, true),
            (RegexMatch, "^(read|write)$", "^read$", true, false),
            (RegexMatch, "^read$", "^(read|write)$", false, false),
            (IpMatch, "10.0.0.0/8", "10.1.0.0/16", true, false),
            (IpMatch, "10.1.0.0/16", "10.0.0.0/8", false, false),
            (IpMatch, "10.0.0.0/8", "10.1.2.3", true, false),
        ] {
            assert_eq!(covers(function, wide, narrow), covered, "{wide} {narrow}");
            assert_eq!(overlap(function, wide, narrow), overlapping, "{wide} {narrow}");
        }
    }
}
