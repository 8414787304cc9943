//! Which engine's answers a policy asks for; an argument of parsing and compiling only.

/// How silent, lazy and undefined cases of the Casbin language are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Errors at load, three truth values, a role graph per `g`, deny in doubt.
    #[default]
    Strict,
    /// What the `casbin` crate 2.20 answers; where it panics, refused at load or `policy-error`.
    CasbinRs,
}

impl Dialect {
    /// Every dialect's name, as written in tenant.toml and on the command line.
    pub const NAMES: &'static [&'static str] = &["strict", "casbin-rs"];

    /// The dialect of this name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        match name {
            "strict" => Some(Dialect::Strict),
            "casbin-rs" => Some(Dialect::CasbinRs),
            _ => None,
        }
    }

    /// The name of this dialect.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Strict => "strict",
            Dialect::CasbinRs => "casbin-rs",
        }
    }
}
