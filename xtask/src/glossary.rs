//! One word, one thing: words that GLOSSARY.md lists under *never* do not stand in our code.

use std::path::Path;

pub(crate) fn check(root: &Path) -> Vec<String> {
    let glossary = std::fs::read_to_string(root.join("docs/GLOSSARY.md")).unwrap_or_default();
    let banned: Vec<(String, String)> = glossary.lines().filter_map(row).flatten().collect();
    if banned.is_empty() {
        return vec!["docs/GLOSSARY.md names no word under `never`".to_owned()];
    }
    let mut findings = Vec::new();
    // Peers are spoken to in their own words.
    let peers = ["benches/src/peers", "benches/src/published"].map(|folder| root.join(folder));
    let is_theirs = |path: &Path| {
        peers.iter().any(|peer| path.starts_with(peer) || path.with_extension("") == *peer)
    };
    for path in crate::files(root, "rs").into_iter().filter(|path| !is_theirs(path)) {
        let text = std::fs::read_to_string(&path).unwrap_or_default().to_lowercase();
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        for (word, term) in banned.iter().filter(|(word, _)| words.contains(&word.as_str())) {
            let shown = path.strip_prefix(root).unwrap_or(&path).display();
            findings.push(format!("{shown}: say `{term}`, not `{word}`"));
        }
    }
    findings
}

/// The banned words of one table row `| term | meaning | never |`, each with its term.
fn row(line: &str) -> Option<Vec<(String, String)>> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    let [term, _, never, ..] = cells.as_slice() else { return None };
    if *never == "never" || never.starts_with('-') {
        return None;
    }
    let term = term.trim_matches('`').to_owned();
    let words = never.split(',').map(|word| word.trim().to_lowercase());
    Some(words.filter(|word| !word.is_empty()).map(|word| (word, term.clone())).collect())
}
