//! Resource paths: what two readers could read differently is refused before any rule sees it.
//!
//! A resource that begins with `/` is a path. Matching is on the decoded text; what decodes to a
//! separator, a parent, a parameter, a fragment or a control byte is ambiguous.

/// The path that rules match, decoded into `buffer` if it had escapes; `None` if it is ambiguous.
/// A resource that is no path is returned as it is.
pub(crate) fn decode<'a>(resource: &'a str, buffer: &'a mut String) -> Option<&'a str> {
    if !resource.starts_with('/') {
        return Some(resource);
    }
    if is_plain(resource) {
        return Some(resource);
    }
    if !resource.contains('%') {
        return None;
    }
    unescape(resource, buffer)?;
    is_plain(buffer).then_some(buffer.as_str())
}

/// What a byte of a path is to `is_plain`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Slash,
    Point,
    Refused,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Text; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        if let Some(kind) = kinds.split_at_mut(byte as usize).1.first_mut() {
            *kind = kind_of(byte);
        }
        byte += 1;
    }
    kinds
};

const fn kind_of(byte: u8) -> Kind {
    match byte {
        b'/' => Kind::Slash,
        b'.' => Kind::Point,
        b'\\' | b';' | b'#' | b'%' | 0..=0x1f | 0x7f => Kind::Refused,
        _ => Kind::Text,
    }
}

/// One pass: no byte that means something else to somebody, no empty, `.` or `..` segment.
fn is_plain(path: &str) -> bool {
    // How many points the segment has so far, or `usize::MAX` once it holds anything else.
    let mut points = 0;
    for byte in path.bytes().skip(1) {
        match KINDS.get(usize::from(byte)) {
            Some(Kind::Text) => points = usize::MAX,
            Some(Kind::Slash) if points > 2 => points = 0,
            Some(Kind::Point) => points = points.saturating_add(1),
            _ => return false,
        }
    }
    // The path may end in a slash, but not in a segment of points.
    !(1..=2).contains(&points)
}

/// Decodes percent escapes. An escaped `/`, `.`, `\` or NUL, half an escape and bytes that are no
/// UTF-8 have no single meaning.
fn unescape(path: &str, buffer: &mut String) -> Option<()> {
    buffer.clear();
    let mut sequence = [0u8; 4];
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            let length = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            let (plain, after) = rest.split_at_checked(length)?;
            buffer.push_str(std::str::from_utf8(plain).ok()?);
            rest = after;
            continue;
        }
        let (byte, after) = escape(tail)?;
        if matches!(byte, b'/' | b'.' | b'\\' | 0 | b'%') {
            return None;
        }
        rest = after;
        let length = match byte {
            0..=0x7f => 1,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return None,
        };
        *sequence.first_mut()? = byte;
        for place in sequence.iter_mut().take(length).skip(1) {
            let (byte, after) = escape(rest.strip_prefix(b"%")?)?;
            *place = byte;
            rest = after;
        }
        buffer.push_str(std::str::from_utf8(sequence.get(..length)?).ok()?);
    }
    Some(())
}

fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(*high)? * 16 + digit(*low)?;
    Some((u8::try_from(value).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn only_one_reading_is_accepted() {
        for (path, expected) in [
            ("/v1/models", Some("/v1/models")),
            ("/", Some("/")),
            ("/caf%C3%A9", Some("/café")),
            ("/a%20b", Some("/a b")),
            ("/a:b@c,d=e", Some("/a:b@c,d=e")),
            ("document:7//x", Some("document:7//x")),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a/..", None),
            ("/./a", None),
            ("/a%2fb", None),
            ("/a%2Fb", None),
            ("/a%5cb", None),
            ("/%2e%2e/b", None),
            ("/a%00", None),
            ("/a\\b", None),
            ("/a;v=1", None),
            ("/a%3bv=1", None),
            ("/a#b", None),
            ("/a\nb", None),
            ("/a%0ab", None),
            ("/a%2", None),
            ("/a%zz", None),
            ("/a%c3", None),
            ("/a%c3%28", None),
            ("/a%252fb", None),
            ("/a%ff", None),
        ] {
            let mut buffer = String::new();
            assert_eq!(decode(path, &mut buffer), expected, "{path}");
        }
    }
}
