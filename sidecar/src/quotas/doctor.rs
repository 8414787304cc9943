//! Looking at the region, and putting it right.

use super::change::audit;
use crate::shared::Shared;
use tollgate_proto::quota::{QuotaBody, RegionBody};

/// Looks at the region while decisions go on, and puts right what is wrong once that is audited.
pub(super) fn answer(shared: &Shared, repair: bool, uid: u32) -> Result<QuotaBody, String> {
    let audited = match repair {
        true => audit(shared, serde_json::json!({"event": "region-repaired", "uid": uid})),
        false => Ok(()),
    };
    let cells = shared.cells.cells();
    let body = audited.map(|()| {
        let found = cells.examine(repair);
        RegionBody {
            path: shared.config.region.display().to_string(),
            members: shared.cells.members() as u64,
            cells: shared.cells.capacity() as u64,
            occupied: cells.occupied() as u64,
            reservations: shared.config.reservations as u64,
            held: cells.held() as u64,
            unkept: cells.unkept().len() as u64,
            half_evicted: found.half_evicted,
            doubled: found.doubled,
            misplaced: found.misplaced,
            abandoned: if repair { cells.recover() } else { cells.abandoned() },
            repaired: repair,
        }
    });
    body.map(|region| QuotaBody { region: Some(region), ..QuotaBody::default() })
}
