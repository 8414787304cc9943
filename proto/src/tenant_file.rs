//! tenant.toml: the dialect, the tenant's name and state, and what unusual request tokens mean.

use crate::toml_reader::read;
use tollgate_engine::{Code, Diagnostic, Diagnostics, Dialect, Disclosure, KillLane, Part, Source};

/// What tenant.toml says; every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantFile {
    pub dialect: Dialect,
    pub tenant: Option<String>,
    pub bind: Vec<(String, Part)>,
    /// `state`: every request is refused unless it is `active`.
    pub kill_lane: KillLane,
    /// How much clients are told of the limit that refuses them.
    pub disclosure: Disclosure,
}

/// Parts as `[bind]` names them.
const PARTS: &[&str] = &["subject", "tenant", "resource", "action", "context"];

/// Words of `state`.
const STATES: [(&str, KillLane); 3] =
    [("active", KillLane::Open), ("suspended", KillLane::Suspended), ("killed", KillLane::Killed)];

/// Reads tenant.toml.
///
/// # Errors
/// Every unknown key, wrong type, unknown dialect, state or part.
pub fn read_tenant(source: Source<'_>) -> Result<TenantFile, Diagnostics> {
    let file = read(source, |root| {
        root.known(&["dialect", "tenant", "state", "disclosure", "bind"]);
        let mut file = TenantFile::default();
        if let Some(name) = root.str("dialect") {
            match Dialect::from_name(&name.value) {
                Some(dialect) => file.dialect = dialect,
                None => {
                    let message = format!("there is no dialect `{}`", name.value);
                    let found = Diagnostic::error(source, name.span, Code::OutOfRange, message)
                        .did_you_mean(&name.value, Dialect::NAMES.iter().copied())
                        .help(format!("one of {}", Dialect::NAMES.join(", ")));
                    root.push(found);
                }
            }
        }
        if let Some(tenant) = root.str("tenant") {
            if tenant.value.is_empty() || tenant.value == "*" {
                root.report(tenant.span, Code::BadName, "a tenant needs a name");
            }
            file.tenant = Some(tenant.value);
        }
        if let Some(state) = root.str("state") {
            match STATES.iter().find(|(name, _)| *name == state.value) {
                Some((_, kill_lane)) => file.kill_lane = *kill_lane,
                None => {
                    let names = STATES.map(|(name, _)| name);
                    let message = format!("a tenant is not `{}`", state.value);
                    let found = Diagnostic::error(source, state.span, Code::OutOfRange, message)
                        .did_you_mean(&state.value, names)
                        .help(format!("one of {}", names.join(", ")));
                    root.push(found);
                }
            }
        }
        if let Some(name) = root.str("disclosure") {
            match Disclosure::ALL.iter().find(|(known, _)| *known == name.value) {
                Some((_, disclosure)) => file.disclosure = *disclosure,
                None => {
                    let names: Vec<&str> = Disclosure::ALL.iter().map(|(name, _)| *name).collect();
                    let message = format!("a tenant does not disclose `{}`", name.value);
                    let found = Diagnostic::error(source, name.span, Code::OutOfRange, message)
                        .did_you_mean(&name.value, names.iter().copied())
                        .help(format!("one of {}", names.join(", ")));
                    root.push(found);
                }
            }
        }
        if let Some(bind) = root.table("bind") {
            for token in bind.keys() {
                let Some(part) = bind.str(&token.value) else { continue };
                match Part::from_name(&part.value) {
                    Some(known) => file.bind.push((token.value, known)),
                    None => {
                        let message = format!("a request has no part `{}`", part.value);
                        let found = Diagnostic::error(source, part.span, Code::OutOfRange, message)
                            .did_you_mean(&part.value, PARTS.iter().copied())
                            .help(format!("one of {}", PARTS.join(", ")));
                        bind.push(found);
                    }
                }
            }
        }
        Some(file)
    })?;
    Ok(file.0)
}
