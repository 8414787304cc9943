//! Break-glass: grants to see what is a tenant's people's own, and the kill switch of the platform.

use super::asks::{Ask, Asks, own};
use super::commands::Wanted;
use crate::api::calls;
use crate::exit::Exit;
use clap::Subcommand;

const GRANTS: &[&str] = &["id", "holder", "reason", "state", "expires_at", "approved_by"];
const KILL_SWITCHES: &[&str] = &["id", "state", "reason", "asked_by", "confirmed_by", "expires_at"];

#[derive(Debug, Subcommand)]
pub(crate) enum Grant {
    /// Ask for one, for this login
    Create {
        reason: String,
        /// 60, if left out; at most 240
        #[arg(long)]
        minutes: Option<u16>,
    },
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// Say yes to another's
    Approve {
        id: String,
    },
    /// At once
    End {
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KillSwitch {
    /// Ask that everything stop; nothing does yet
    Create {
        reason: String,
    },
    List {
        #[command(flatten)]
        wanted: Wanted,
    },
    Show {
        id: String,
    },
    /// Stop everything, as another asked
    Confirm {
        id: String,
    },
    /// Let decisions go on
    End {
        id: String,
    },
}

impl Asks for Grant {
    fn ask(&self, tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let tenant = own(tenant)?;
        let call = match self {
            Grant::Create { reason, minutes } => {
                let body = calls::NewBreakGlassGrant { reason, minutes: minutes.map(i64::from) };
                calls::post_tenants_tenant_id_break_glass_grants(tenant, &body)
            }
            Grant::List { wanted } => {
                let query = calls::BreakGlassGrantQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                calls::get_tenants_tenant_id_break_glass_grants(tenant, &query)
            }
            Grant::Show { id } => calls::get_tenants_tenant_id_break_glass_grants_id(tenant, id),
            Grant::Approve { id } => {
                calls::post_tenants_tenant_id_break_glass_grants_id_approve(tenant, id)
            }
            Grant::End { id } => calls::delete_tenants_tenant_id_break_glass_grants_id(tenant, id),
        };
        Ok(Ask { call, columns: GRANTS })
    }
}

impl Asks for KillSwitch {
    fn ask(&self, _tenant: Option<&str>) -> Result<Ask, (Exit, String)> {
        let call = match self {
            KillSwitch::Create { reason } => calls::post_kill_switches(&calls::Reason { reason }),
            KillSwitch::List { wanted } => {
                let query = calls::KillSwitchQuery {
                    search: wanted.search.as_deref(),
                    sort: wanted.sort.as_deref(),
                    ..Default::default()
                };
                calls::get_kill_switches(&query)
            }
            KillSwitch::Show { id } => calls::get_kill_switches_id(id),
            KillSwitch::Confirm { id } => calls::post_kill_switches_id_confirm(id),
            KillSwitch::End { id } => calls::delete_kill_switches_id(id),
        };
        Ok(Ask { call, columns: KILL_SWITCHES })
    }
}
