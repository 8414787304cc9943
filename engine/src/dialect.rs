//! Which engine's answers a policy asks for; an argument of parsing and compiling only.

/// How silent, lazy and undefined cases of the Casbin language are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Errors at load, three truth values, a role graph per `g`, deny in doubt.
    #[default]
    Strict,
    /// What the `casbin` crate 2.20 answers; where it panics, refused at load or `policy-error`.
    CasbinRs,
    /// What Casbin for Go 2.135 answers; where it panics, the same.
    CasbinGo,
}

impl Dialect {
    /// Every dialect's name, as written in tenant.toml and on the command line.
    pub const NAMES: &'static [&'static str] = &["strict", "casbin-rs", "casbin-go"];

    /// The dialect of this name.
    pub fn from_name(name: &str) -> Option<Dialect> {
        match name {
            "strict" => Some(Dialect::Strict),
            "casbin-rs" => Some(Dialect::CasbinRs),
            "casbin-go" => Some(Dialect::CasbinGo),
            _ => None,
        }
    }

    /// The name of this dialect.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Strict => "strict",
            Dialect::CasbinRs => "casbin-rs",
            Dialect::CasbinGo => "casbin-go",
        }
    }

    /// Whether it answers as one of Casbin's engines: row by row, with faults in place of the unknown.
    pub fn is_casbin(self) -> bool {
        self != Dialect::Strict
    }
}
