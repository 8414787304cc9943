//! Why a request passed or did not: one kebab word with one number, never reused.
//!
//! The order of the variants is the order of precedence: the first step that refuses names the
//! reason. What each means to a caller stands in docs/reference/decision.md.

/// The reason of a decision. Only `Allow` and `FailedOpen` let the request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    BadRequest,
    AmbiguousPath,
    UnknownTenant,
    NoBundle,
    Stale,
    Killed,
    TenantSuspended,
    Revoked,
    Residency,
    Egress,
    PolicyDenied,
    PolicyError,
    NoRule,
    QuotaExceeded,
    QuotaStoreFull,
    /// A limit could not count it, and its `failure_mode` lets it pass nevertheless.
    FailedOpen,
    Allow,
}

impl Reason {
    /// Every reason, in the order of precedence.
    pub const ALL: &'static [Reason] = &[
        Reason::BadRequest,
        Reason::AmbiguousPath,
        Reason::UnknownTenant,
        Reason::NoBundle,
        Reason::Stale,
        Reason::Killed,
        Reason::TenantSuspended,
        Reason::Revoked,
        Reason::Residency,
        Reason::Egress,
        Reason::PolicyDenied,
        Reason::PolicyError,
        Reason::NoRule,
        Reason::QuotaExceeded,
        Reason::QuotaStoreFull,
        Reason::FailedOpen,
        Reason::Allow,
    ];

    /// The stable number.
    pub const fn number(self) -> u16 {
        match self {
            Reason::Allow => 0,
            Reason::FailedOpen => 1,
            Reason::BadRequest => 2010,
            Reason::AmbiguousPath => 2011,
            Reason::UnknownTenant => 2020,
            Reason::NoBundle => 2021,
            Reason::Stale => 2022,
            Reason::Killed => 2030,
            Reason::TenantSuspended => 2031,
            Reason::Revoked => 2032,
            Reason::Residency => 2040,
            Reason::Egress => 2041,
            Reason::PolicyDenied => 2050,
            Reason::PolicyError => 2051,
            Reason::NoRule => 2052,
            Reason::QuotaExceeded => 2060,
            Reason::QuotaStoreFull => 2061,
        }
    }

    /// The stable word.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Allow => "allow",
            Reason::FailedOpen => "failed-open",
            Reason::BadRequest => "bad-request",
            Reason::AmbiguousPath => "ambiguous-path",
            Reason::UnknownTenant => "unknown-tenant",
            Reason::NoBundle => "no-bundle",
            Reason::Stale => "stale",
            Reason::Killed => "killed",
            Reason::TenantSuspended => "tenant-suspended",
            Reason::Revoked => "revoked",
            Reason::Residency => "residency",
            Reason::Egress => "egress",
            Reason::PolicyDenied => "policy-denied",
            Reason::PolicyError => "policy-error",
            Reason::NoRule => "no-rule",
            Reason::QuotaExceeded => "quota-exceeded",
            Reason::QuotaStoreFull => "quota-store-full",
        }
    }

    /// Whether the request passes.
    pub const fn allows(self) -> bool {
        matches!(self, Reason::Allow | Reason::FailedOpen)
    }

    /// The reason with this number; an unknown number is no reason to allow.
    pub fn from_number(number: u16) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            for other in Reason::ALL.iter().skip(index + 1) {
                assert_ne!(reason.number(), other.number());
                assert_ne!(reason.name(), other.name());
            }
        }
        assert_eq!(Reason::from_number(2), None);
        assert_eq!(Reason::from_number(u16::MAX), None);
    }
}
