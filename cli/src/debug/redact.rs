//! What must not leave the machine, taken out of any text: keys and sessions, tokens, passwords in addresses, whatever stands
//! behind `Bearer`, and values of settings whose name says that they are secret.

const REDACTED: &str = "(redacted)";
/// `tgk_`, `tgp_`, `tgs_` and what belongs to them.
const KINDS: [&str; 3] = ["tgk_", "tgp_", "tgs_"];
/// Names of settings whose value is one, or holds one.
const NAMES: [&str; 5] = ["password", "secret", "token", "url", "key"];

/// The same without.
pub(super) fn redacted(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line_redacted(line))).collect()
}

fn line_redacted(line: &str) -> String {
    if let Some((name, _)) = line.split_once(" = ") {
        let last = name.trim().rsplit(['.', '_']).next().unwrap_or_default();
        if NAMES.contains(&last) && name.trim() != "public_url" {
            return format!("{name} = \"{REDACTED}\"");
        }
    }
    let mut line = password_redacted(line);
    for kind in KINDS {
        line = behind(&line, kind, |letter| letter.is_ascii_alphanumeric());
    }
    for start in ["Bearer ", "bearer ", "eyJ"] {
        line = behind(&line, start, |letter| {
            letter.is_ascii_alphanumeric() || "-._~+/=".contains(letter)
        });
    }
    line
}

/// Takes out what follows each occurrence of a start, as far as it is made of some letters.
fn behind(line: &str, start: &str, belongs: impl Fn(char) -> bool) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(start) {
        let (before, found) = rest.split_at(at + start.len());
        let end = found.find(|letter| !belongs(letter)).unwrap_or(found.len());
        out.push_str(before);
        if end > 0 {
            out.push_str(REDACTED);
        }
        rest = found.get(end..).unwrap_or_default();
    }
    out + rest
}

/// `scheme://user:password@host` without both.
fn password_redacted(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(at) = rest.find("://") {
        let (before, found) = rest.split_at(at + 3);
        let end = found.find(|letter: char| letter.is_whitespace() || "\"'/".contains(letter));
        let (authority, after) = found.split_at(end.unwrap_or(found.len()));
        out.push_str(before);
        match authority.rsplit_once('@') {
            Some((_, host)) => out.push_str(&format!("{REDACTED}@{host}")),
            None => out.push_str(authority),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let key = format!("tgp_{}", "a1B2".repeat(11));
        for (line, expected) in [
            (format!("key {key} used"), "key tgp_(redacted) used"),
            ("url = \"postgres://u:p@h/d\"".to_owned(), "url = \"(redacted)\""),
            ("to postgres://u:p@h/d, and on".to_owned(), "to postgres://(redacted)@h/d, and on"),
            (
                "public_url = \"http://127.0.0.1:1\"".to_owned(),
                "public_url = \"http://127.0.0.1:1\"",
            ),
            ("Authorization: Bearer abc.d-e x".to_owned(), "Authorization: Bearer (redacted) x"),
            ("jwt eyJhbGci.eyJzdWIi.c2ln,".to_owned(), "jwt eyJ(redacted),"),
            ("client_secret = \"x\"".to_owned(), "client_secret = \"(redacted)\""),
            ("master_key_file = \"/k\"".to_owned(), "master_key_file = \"/k\""),
            ("nothing at all: http://h/p".to_owned(), "nothing at all: http://h/p"),
            ("a tgk_ b".to_owned(), "a tgk_ b"),
        ] {
            assert_eq!(redacted(&line), format!("{expected}\n"), "{line}");
        }
    }
}
