//! The engine: decides, for one request, whether it may pass and what it uses up.
//!
//! Pure: no IO, no clock, no async, no serialisation, no global state. Time, randomness and the
//! table of counters are arguments. It parses and compiles the Casbin language (`model`, `policy`,
//! `expr`), keeps rate limits (`quota`) and joins both in `decide`.
//!
//! To add a reason, see `reason`; a load error, `diagnostic`; a function of the policy language,
//! `expr`; an indexed conjunct, `policy`; a kind of limit, `quota`.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

pub mod atomic;
pub mod bind;
pub mod bounds;
mod builtin;
pub mod cell;
pub mod compare;
pub mod decide;
pub mod diagnostic;
pub mod dialect;
pub mod explain;
pub mod expr;
pub mod lint;
pub mod model;
pub mod now;
mod path;
pub mod policy;
pub mod quota;
pub mod reason;
pub mod request;
pub mod schema;
pub mod search;
mod steps;
mod text;
pub mod universe;
pub mod value;

pub use bind::{Binding, Part, bind};
pub use cell::{CellHost, Cells};
pub use decide::{Decision, Disclosure, ENFORCE_CONTEXT, Scratch, TenantState};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Label, Severity, Source, Span};
pub use dialect::Dialect;
pub use expr::ast;
pub use expr::ast::CustomFunction;
pub use expr::code::Slot;
pub use expr::error::ParseError;
pub use expr::parse::{Names, parse as parse_expression};
pub use model::{Context, EffectRule, Model, RoleDefinition, parse_model, parse_model_with};
pub use now::{Now, Version};
pub use policy::PolicySet;
pub use policy::evaluate::Verdict;
pub use policy::facts::Effect;
pub use policy::rows::{Row, Rows, parse_rows};
pub use policy::tenants::split;
pub use quota::counter::{Counter, Standing};
pub use quota::estimate::{Estimate, ExplainedEstimate};
pub use quota::limit::{
    Bucket, Budget, Capacity, Dimension, FailureMode, Limit, LimitTerms, Mode, Quotas, Stage,
};
pub use quota::reservation::{RESERVATION_WORDS, ReservationId, Reservations, Usage, UsageLine};
pub use quota::reserve::{LimitUse, LimitUses};
pub use quota::settle::{SettleCode, Settlement, True};
pub use reason::Reason;
pub use request::{Amount, Attribute, Entity, Request, Reserve};
pub use steps::KillLane;
pub use value::Value;
