//! Every bound of the engine, each one constant with a unit in its name.
//!
//! Nothing here is a tuning knob: a bound says what is refused. `ALL` is what `--check` prints.
//! Each is tested at n and n + 1 where it is enforced.

/// Bytes of all automata of one policy together.
pub const AUTOMATA_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Conjunctions that one matcher may become; more and the policy is scanned row by row.
pub const ALTERNATIVES_MAX: usize = 8;
/// Names whose roles one change of links may touch without its policy being compiled again.
pub const CHANGED_MEMBERS_MAX: usize = 4 * 1024;
/// Rows that one change may hold, likewise: each decision asks those that came.
pub const CHANGED_ROWS_MAX: usize = 64;
/// Attributes that one request may carry.
pub const ATTRIBUTES_MAX: usize = 128;
/// Levels of an attribute below `properties` or `context`.
pub const ATTRIBUTE_DEPTH_MAX: usize = 8;
/// Bytes of one model, policy, limits or tests file.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Errors that one load reports before it stops looking.
pub const DIAGNOSTICS_MAX: usize = 20;
/// Dimensions of one limit.
pub const DIMENSIONS_MAX: usize = 8;
/// Patterns of tenants that the links of one role definition write.
pub const DOMAIN_PATTERNS_MAX: usize = 16;
/// Arguments of a function that the host brings.
pub const CUSTOM_ARGUMENTS_MAX: usize = 8;
/// Bytes of one matcher or condition.
pub const EXPR_BYTES_MAX: usize = 8 * 1024;
/// Levels of nesting in one matcher or condition.
pub const EXPR_DEPTH_MAX: usize = 64;
/// Bytes of one frame on the frame door, its length prefix left out.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Expression steps that one decision may take.
pub const FUEL_PER_DECISION: u64 = 20_000_000;
/// Bytes of a subject, resource, action or tenant in a request.
pub const ID_BYTES_MAX: usize = 4 * 1024;
/// Limits that may apply to one request.
pub const LIMITS_PER_REQUEST_MAX: usize = 16;
/// Limits of one tenant.
pub const LIMITS_PER_TENANT_MAX: usize = 10_000;
/// Elements of a list in a request.
pub const LIST_LENGTH_MAX: usize = 256;
/// Bytes of one pattern as it is written.
pub const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// Bytes of one compiled regular expression.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Hops from a subject to a role.
pub const ROLE_DEPTH_MAX: usize = 10;
/// Patterns of names that the links of one role definition write.
pub const ROLE_PATTERNS_MAX: usize = 256;
/// Milliseconds for which a reservation holds if nothing is said.
pub const RESERVATION_TTL_MS: u64 = 300_000;
/// Milliseconds for which one may hold.
pub const RESERVATION_TTL_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Roles that one subject may reach.
pub const ROLES_PER_SUBJECT_MAX: usize = 1024;
/// Rows of one policy.
pub const RULES_MAX: usize = 4_000_000;
/// Distinct attribute paths that one policy may read.
pub const SLOTS_MAX: usize = 32;
/// Thresholds of one limit.
pub const THRESHOLDS_MAX: usize = 8;
/// Tokens of a request or policy definition.
pub const TOKENS_MAX: usize = 16;

/// One line of `ALL`.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub name: &'static str,
    pub value: u64,
    pub unit: &'static str,
}

macro_rules! bounds {
    ($($name:ident $unit:literal),* $(,)?) => {
        /// Every bound with its unit, in the order of their names.
        pub const ALL: &[Bound] = &[$(Bound {
            name: stringify!($name),
            value: $name as u64,
            unit: $unit,
        }),*];
    };
}

bounds! {
    ALTERNATIVES_MAX "conjunctions",
    ATTRIBUTES_MAX "attributes",
    ATTRIBUTE_DEPTH_MAX "levels",
    AUTOMATA_BYTES_MAX "bytes",
    CHANGED_MEMBERS_MAX "names",
    CHANGED_ROWS_MAX "rows",
    CUSTOM_ARGUMENTS_MAX "arguments",
    DIAGNOSTICS_MAX "diagnostics",
    DIMENSIONS_MAX "dimensions",
    DOMAIN_PATTERNS_MAX "patterns",
    EXPR_BYTES_MAX "bytes",
    EXPR_DEPTH_MAX "levels",
    FILE_BYTES_MAX "bytes",
    FRAME_BYTES_MAX "bytes",
    FUEL_PER_DECISION "steps",
    ID_BYTES_MAX "bytes",
    LIMITS_PER_REQUEST_MAX "limits",
    LIMITS_PER_TENANT_MAX "limits",
    LIST_LENGTH_MAX "elements",
    PATTERN_BYTES_MAX "bytes",
    REGEX_BYTES_MAX "bytes",
    RESERVATION_TTL_MS "milliseconds",
    RESERVATION_TTL_MS_MAX "milliseconds",
    ROLES_PER_SUBJECT_MAX "roles",
    ROLE_DEPTH_MAX "hops",
    ROLE_PATTERNS_MAX "patterns",
    RULES_MAX "rows",
    SLOTS_MAX "paths",
    THRESHOLDS_MAX "thresholds",
    TOKENS_MAX "tokens",
}
