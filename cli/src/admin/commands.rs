//! The nouns and their commands, as they are typed.

use super::Flags;
use clap::Subcommand;
use std::path::PathBuf;

/// Which of a list, and in what order.
#[derive(Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Only those whose id or name begins so
    #[arg(long)]
    pub(super) search: Option<String>,
    /// A member such as created_at; with - before it, the other way
    #[arg(long, allow_hyphen_values = true)]
    pub(super) sort: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant, with a database of its own
    Create {
        id: String,
        #[arg(long)]
        display_name: Option<String>,
        /// KEY=VALUE
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    List {
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// Change the display name or labels; KEY= removes a label
    Update {
        id: String,
        #[arg(long)]
        display_name: Option<String>,
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    /// Refuse everything of a tenant until it is resumed
    Suspend {
        id: String,
        #[arg(long)]
        reason: String,
    },
    Resume {
        id: String,
        #[arg(long)]
        reason: String,
    },
    /// Silence a tenant, and erase it when its grace is over
    Offboard {
        id: String,
        #[arg(long)]
        reason: String,
        /// How long it can come back; the setting offboarding.grace_days if it is left out
        #[arg(long)]
        grace_days: Option<u16>,
    },
    /// Bring a tenant back within its grace
    Reinstate {
        id: String,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    List {
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// Wait for its end, at most half a minute
    Wait {
        id: String,
    },
    Retry {
        id: String,
    },
    Cancel {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; its secret is printed once
    Create {
        name: String,
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// RFC 3339
        #[arg(long)]
        expires_at: Option<String>,
    },
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// A new secret; the old one works for the overlap
    Rotate {
        id: String,
        #[arg(long, default_value_t = 3600)]
        overlap_seconds: u32,
    },
    /// At once
    Revoke {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Setting {
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Get {
        key: String,
    },
    /// VALUE is JSON, or a text
    Set {
        key: String,
        value: String,
    },
    /// Back to what the level above says
    Unset {
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Whether the log is what was written; exit 1 and the rows if not
    Verify,
    /// Write the log into a file, one event a line, held against its digest; exit 1 if the log was changed
    Export {
        #[arg(long)]
        out: PathBuf,
        /// RFC 3339
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339
        #[arg(long)]
        to: Option<String>,
    },
    List {
        #[arg(long)]
        action: Option<String>,
        /// Its id
        #[arg(long)]
        actor: Option<String>,
        /// Its id or its type
        #[arg(long)]
        resource: Option<String>,
        /// ok, denied or failed
        #[arg(long)]
        outcome: Option<String>,
        /// RFC 3339
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339
        #[arg(long)]
        to: Option<String>,
        /// tenant or platform
        #[arg(long)]
        log: Option<String>,
        /// at, or -at for the newest first
        #[arg(long, allow_hyphen_values = true)]
        sort: Option<String>,
    },
}

/// A tenant's policies: what sidecars decide by.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// List a tenant's policies
    List {
        #[command(flatten)]
        flags: Flags,
    },
    /// Show what was published last under a name
    Show {
        name: String,
        #[command(flatten)]
        flags: Flags,
    },
    /// Send a policy folder as the draft of a name
    Draft {
        name: String,
        dir: PathBuf,
        #[command(flatten)]
        flags: Flags,
    },
    /// Bring a draft into force: it loads, and its tests hold
    Publish {
        name: String,
        #[command(flatten)]
        flags: Flags,
    },
    /// Bring an earlier version into force again
    Rollback {
        name: String,
        number: i64,
        #[command(flatten)]
        flags: Flags,
    },
    /// List what was published under a name
    Versions {
        name: String,
        #[command(flatten)]
        flags: Flags,
    },
}

impl Policy {
    pub(super) fn flags(&self) -> &Flags {
        match self {
            Policy::List { flags }
            | Policy::Show { flags, .. }
            | Policy::Draft { flags, .. }
            | Policy::Publish { flags, .. }
            | Policy::Rollback { flags, .. }
            | Policy::Versions { flags, .. } => flags,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Limit {
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// DOCUMENT is JSON, as limits.toml has it; in force at once
    Set {
        id: String,
        document: String,
    },
    /// In force at once
    Unset {
        id: String,
    },
}
